#!/usr/bin/env python3
"""Build one chapter as a page, outside the source tree, and say how long its cells took.

python tools/preview.py book/04_bottleneck.md                    # into a folder of its own under the temp directory
python tools/preview.py book/04_bottleneck.md --out DIR --screenshots

Links to other chapters stay open here; `make book` checks those.
A change of the prose alone does not run the cells again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import yaml
from build_book import build
from chapter_source import ROOT

SHOW_FROM = 2.0  # seconds
COMPANIONS = ("glossary", "references")  # so that terms and citations find their targets


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapter", type=Path)
    parser.add_argument("--out", type=Path, help="folder for the page (kept between calls)")
    parser.add_argument(
        "--screenshots", action="store_true", help="write PNGs: light, dark and phone"
    )
    parser.add_argument(
        "--force", action="store_true", help="run the cells even if nothing has changed"
    )
    options = parser.parse_args()

    chapter = options.chapter.resolve()
    source = ROOT if chapter.is_relative_to(ROOT / "book") else chapter.parent
    out = (options.out or Path(tempfile.gettempdir()) / f"preview-{chapter.stem}").resolve()
    out.mkdir(parents=True, exist_ok=True)
    document = chapter.relative_to(source).with_suffix("").as_posix()
    ok = build(
        out,
        source=source,
        toc=write_toc(out, document, source),
        strict=False,
        jobs=1,
        times=out / "times.json",
        overrides=settings(source, options.force),
    )
    print_times(out / "times.json")
    page = out / "html" / f"{document}.html"
    report = out / "html" / "reports" / f"{document}.err.log"
    if not ok or not page.is_file():
        if report.is_file():
            print(report.read_text(encoding="utf-8")[-4000:], file=sys.stderr)
        return 1
    print(f"page: {page}")
    if options.screenshots:
        from browser import screenshots

        for old in (out / "screenshots").glob("*.png"):
            old.unlink()
        for path in screenshots([page], out / "screenshots"):
            print(f"  {path}")
    return 0


def write_toc(out: Path, document: str, source: Path) -> Path:
    """A table of contents of the chapter and the pages that every chapter refers to."""
    folder = Path(document).parent.as_posix()
    others = [name if folder == "." else f"{folder}/{name}" for name in COMPANIONS]
    others = [name for name in others if (source / f"{name}.md").is_file() and name != document]
    toc: dict = {"format": "jb-book", "root": document}
    if others:
        toc["chapters"] = [{"file": name} for name in others]
    path = out / "_toc.yml"
    path.write_text(yaml.safe_dump(toc), encoding="utf-8")
    return path


def settings(source: Path, force: bool) -> dict:
    """Paths for a chapter that lies elsewhere, and silence about open references."""
    found = {
        "suppress_warnings": [
            "myst.domains",
            "myst.xref_missing",
            "ref.doc",
            "ref.ref",
            "ref.term",
            "bibtex",
        ],
        "nb_execution_mode": "force" if force else "cache",
    }
    if source != ROOT:
        found["html_static_path"] = [os.path.relpath(ROOT / "book/_static", source)]
        found["bibtex_bibfiles"] = [os.path.relpath(ROOT / "book/references.bib", source)]
    return found


def print_times(path: Path) -> None:
    """The cells that took long when they last ran."""
    if path.is_file():
        times = json.loads(path.read_text(encoding="utf-8"))
        for first_line, seconds in times:
            if seconds >= SHOW_FROM:
                print(f"  {seconds:6.1f} s  {first_line}")
        print(f"  {sum(seconds for _, seconds in times):6.1f} s  all cells")


if __name__ == "__main__":
    sys.exit(main())
