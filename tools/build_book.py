#!/usr/bin/env python3
"""Build the HTML book into `_build/html`: every chapter executed, every warning an error.

This is `jupyter-book build . -W -n --keep-going` with two readers at a time, so that two chapters run at once.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path

from chapter_source import ROOT
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from kernels import use_own_kernel
from nbformat import NotebookNode


def build(
    output: Path,
    *,
    toc: Path = ROOT / "_toc.yml",
    source: Path = ROOT,
    config: Path = ROOT / "_config.yml",
    strict: bool = True,
    jobs: int = 2,
    quiet: bool = True,
    overrides: dict | None = None,
    times: Path | None = None,
) -> bool:
    """Build the pages that `toc` names into `output/html`; return whether all went well."""
    from jupyter_book.sphinx import build_sphinx

    use_own_kernel()
    configure_execution(times)
    if jobs > 1:  # each kernel would otherwise take all cores, and they would wait for each other
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // jobs)))
    status = build_sphinx(
        str(source),
        str(output / "html"),
        noconfig=True,  # the settings come from the YAML file, there is no conf.py
        path_config=str(config),
        confoverrides={
            "external_toc_path": toc.resolve().as_posix(),
            "latex_individualpages": False,
            "nitpicky": strict,
            **(overrides or {}),
        },
        warningiserror=strict,
        keep_going=True,
        jobs=jobs,
        quiet=quiet,
    )
    if isinstance(status, Exception):
        print(f"{type(status).__name__}: {status}", file=sys.stderr)
    return status == 0


def configure_execution(times: Path | None) -> None:
    """Have the kernels keep their notices to themselves and, where asked, note how long each cell took."""
    from myst_nb.core.execute import cache, direct

    for module in (cache, direct):
        module.single_nb_execution = functools.partial(execute, times)


def execute(times: Path | None, notebook: NotebookNode, **options) -> ExecutionResult:
    """Run a notebook as jupyter-cache does, and write its cells' times beside the pages."""
    result = single_nb_execution(
        notebook, record_timing=True, extra_arguments=["--log-level=ERROR"], **options
    )
    # Here the kernel left a copy of every widget's script; book/_ext/page_widgets.py has them as files.
    notebook.metadata.pop("widgets", None)
    found = []
    for cell in notebook.cells:
        # The cache compares the cells' metadata with the chapter's: nothing may stay there.
        stamps = cell.metadata.pop("execution", {})
        start, end = stamps.get("iopub.execute_input"), stamps.get("shell.execute_reply")
        if start and end:
            elapsed = datetime.fromisoformat(end) - datetime.fromisoformat(start)
            found.append((cell.source.strip().splitlines()[0], elapsed.total_seconds()))
    if times:
        times.write_text(json.dumps(found), encoding="utf-8")
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="chapters that run at once")
    parser.add_argument("--verbose", action="store_true", help="show Sphinx's progress")
    options = parser.parse_args()
    started = time.perf_counter()
    output = ROOT / "_build"
    if not build(output, jobs=options.jobs, quiet=not options.verbose):
        print("The book was not built: see the messages above.", file=sys.stderr)
        return 1
    import yaml

    root = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["root"]
    index = output / "html" / "index.html"
    index.write_text(REDIRECT.format(page=f"{root}.html"), encoding="utf-8")
    print(f"The book is in {index} ({time.perf_counter() - started:.0f} s).")
    return 0


REDIRECT = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Residual Networks, Step by Step</title>
<meta http-equiv="refresh" content="0; url={page}">
<link rel="canonical" href="{page}">
</head>
<body><p><a href="{page}">Residual Networks, Step by Step</a></p></body>
</html>
"""


if __name__ == "__main__":
    sys.exit(main())
