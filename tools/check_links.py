#!/usr/bin/env python3
"""Report the external links that lead nowhere.

    python tools/check_links.py _build/html *.md   # every page in the folder, and these Markdown files

A link is dead if there is no such host or no such page. Some hosts tell programs nothing (403, 418, 429):
those links are printed for somebody to try in a browser, and do not count. Parts of a page are not looked for.
"""

from __future__ import annotations

import argparse
import http.client
import re
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from chapter_source import outside_fences

IN_MARKDOWN = re.compile(r"https?://[^\s<>()\[\]\"'`{}]+")
COLAB = "https://colab.research.google.com/github/"
AGENT = "Mozilla/5.0 (compatible; link check of resnet_tutorial)"
NO_PAGE = (404, 410)


class _Links(HTMLParser):
    """What the links of a page lead to."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        address = dict(attributes).get("href") or ""
        if tag == "a" and address.startswith(("http://", "https://")):
            self.found.append(address)


def links(path: Path) -> list[str]:
    """The external links of a page or of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        return _Links(text).found
    lines = (line for _, line in outside_fences(text.splitlines()))
    return [found.rstrip(".,;:") for line in lines for found in IN_MARKDOWN.findall(line)]


def collect(places: Iterable[Path]) -> dict[str, set[str]]:
    """Each address, and the files that link to it."""
    found: dict[str, set[str]] = defaultdict(set)
    for place in places:
        for path in sorted(place.rglob("*.html")) if place.is_dir() else [place]:
            for address in links(path):
                found[address.partition("#")[0]].add(path.name)
    return dict(found)


def target(address: str) -> str:
    """What to ask for: Colab has an answer for every address, and only GitHub knows the notebook."""
    if address.startswith(COLAB):
        return address.replace(COLAB, "https://github.com/", 1)
    return address


def ask(address: str, timeout: float = 20.0, tries: int = 3, pause: float = 5.0) -> tuple[str, str]:
    """Return `("alive" | "dead" | "silent", reason)`; what may pass, such as a 503, is tried again."""
    reason = ""
    for attempt in range(tries):
        time.sleep(pause * attempt)
        try:
            request = urllib.request.Request(target(address), headers={"User-Agent": AGENT})
            with urllib.request.urlopen(request, timeout=timeout):
                return "alive", ""
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            if error.code in NO_PAGE:
                return "dead", reason
            if (
                not 500 <= error.code < 600
            ):  # the host is there, and does not say whether the page is
                return "silent", reason
        except ValueError as error:  # the address itself is wrong
            return "dead", str(error)
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
    return "dead", reason


def check(addresses: Iterable[str], **options: Any) -> Iterator[tuple[str, str, str]]:
    """Yield `(address, state, reason)`; hosts are asked side by side, and each one question at a time."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for address in sorted(addresses):
        hosts[target(address).split("/")[2]].append(address)

    def visit(queue: list[str]) -> list[tuple[str, str, str]]:
        return [(address, *ask(address, **options)) for address in queue]

    with ThreadPoolExecutor(16) as pool:
        for results in pool.map(visit, hosts.values()):
            yield from results


def main(arguments: list[str] | None = None, **options: float) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "places", nargs="+", type=Path, help="folders of pages, pages, Markdown files"
    )
    places = parser.parse_args(arguments).places
    missing = [str(place) for place in places if not place.exists()]
    if missing:
        parser.error(f"not found: {', '.join(missing)} (the pages are built by 'make book')")
    found = collect(places)
    counts = {"alive": 0, "silent": 0, "dead": 0}
    for address, state, reason in check(found, **options):
        counts[state] += 1
        if state != "alive":
            print(f"{state}: {address} ({reason}) in {', '.join(sorted(found[address]))}")
    print(f"{len(found)} links: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    return 1 if counts["dead"] else 0


if __name__ == "__main__":
    sys.exit(main())
