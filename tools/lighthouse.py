#!/usr/bin/env python3
"""Measure the built pages with Lighthouse, and fail where a score is below 95.

python tools/lighthouse.py                              # all chapters, as on a phone, which is stricter
python tools/lighthouse.py book/intro book/06_resnet50 --desktop

It needs Node.js and a Chromium, and fetches Lighthouse from npm unless `--lighthouse` names one. Scores of speed depend
on what else the machine does, so this is no part of `make test`.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import browser
from chapter_source import ROOT

VERSION = "12"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
ENOUGH = 95
COMPRESSED = (".html", ".css", ".js", ".json", ".svg")


class Server(http.server.SimpleHTTPRequestHandler):
    """The pages as a web host sends them: text compressed, and kept by the browser."""

    def log_message(self, *arguments) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix not in COMPRESSED or not path.is_file():
            super().do_GET()
            return
        body = gzip.compress(path.read_bytes())
        self.send_response(200)
        self.send_header("Content-Type", f"{self.guess_type(str(path))}; charset=utf-8")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(body)


def measure(address: str, command: list[str], desktop: bool) -> dict:
    """Return Lighthouse's report on one page.

    Raises:
        RuntimeError: Lighthouse could not be run; the message is its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        arguments = [*command, address, "--quiet", "--output=json", f"--output-path={out}",
                     f"--only-categories={','.join(CATEGORIES)}", f"--chrome-flags={' '.join(flags)}"]  # fmt: skip
        if desktop:
            arguments.append("--preset=desktop")
        done = subprocess.run(arguments, capture_output=True, text=True,
                              env={**os.environ, "CHROME_PATH": browser.find() or ""})  # fmt: skip
        if not out.is_file():
            raise RuntimeError((done.stderr or done.stdout).strip()[-500:])
        return json.loads(out.read_text(encoding="utf-8"))


def main() -> int:
    """Measure, print a table, return 1 where a page falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", help="such as book/06_resnet50; default: the home page and all chapters")
    parser.add_argument("--desktop", action="store_true", help="a desktop's screen, network and processor")
    parser.add_argument("--lighthouse", help="the program, if it is installed")
    options = parser.parse_args()
    html = ROOT / "_build" / "html"
    if not (html / "index.html").is_file():
        print("The book is not built: run 'make book'.", file=sys.stderr)
        return 2
    if browser.find() is None:
        print(browser.ADVICE, file=sys.stderr)
        return 2
    command = [options.lighthouse] if options.lighthouse else ["npx", "--yes", f"lighthouse@{VERSION}"]
    pages = options.pages or ["book/intro", *sorted(
        f"book/{path.stem}" for path in (html / "book").glob("*.html") if re.match(r"\d\d_", path.name))]  # fmt: skip
    short = 0
    handler = functools.partial(Server, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"{'page':36} {' '.join(f'{name:>14}' for name in CATEGORIES)}   transferred")
        for page in pages:
            try:
                report = measure(f"http://127.0.0.1:{server.server_port}/{page}.html", command, options.desktop)
            except (OSError, RuntimeError) as problem:
                print(f"Lighthouse did not run ({problem}).", file=sys.stderr)
                return 2
            scores = [round(100 * (report["categories"][name]["score"] or 0)) for name in CATEGORIES]
            weight = report["audits"]["total-byte-weight"]["numericValue"] / 1000
            print(f"{page:36} {' '.join(f'{score:14}' for score in scores)}   {weight:.0f} kB", flush=True)
            short += min(scores) < ENOUGH
            for audit in report["audits"].values():
                if audit.get("score") is not None and audit["score"] < 0.9 and min(scores) < ENOUGH:
                    print(f"    {audit['score']:.2f} {audit['title']} {audit.get('displayValue', '')}")
        server.shutdown()
    return min(1, short)


if __name__ == "__main__":
    sys.exit(main())
