#!/usr/bin/env python3
"""Where the book lives: every link to the repository is made here.

    python tools/repository.py                # print the address
    python tools/repository.py ada/deep-nets  # a fork's address into the files; then 'make notebooks'

The address stands in `_config.yml` under `repository: url:`, and in two files that are read as they are: `CITATION.cff`
and the README with its table of notebooks.
The deploy job of a fork sets `RESNET_TUTORIAL_REPOSITORY` (a URL or `owner/name`) instead of editing the file.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import yaml

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Repository:
    """A GitHub repository and the branch whose files the links name."""

    url: str
    branch: str = "main"

    @property
    def slug(self) -> str:
        """`owner/name`."""
        return "/".join(self.url.rsplit("/", 2)[-2:])

    def colab(self, path: str) -> str:
        """The address under which Colab opens the notebook at `path`."""
        return (
            f"https://colab.research.google.com/github/{self.slug}/blob/{self.branch}/{quote(path)}"
        )

    def binder(self, path: str) -> str:
        """The address under which Binder opens the notebook, or the folder, at `path` in JupyterLab."""
        return f"https://mybinder.org/v2/gh/{self.slug}/{self.branch}?urlpath=lab/tree/{quote(path)}"

    def blob(self, path: str) -> str:
        """The page on which the repository's host shows the file."""
        return f"{self.url}/blob/{self.branch}/{quote(path)}"

    def raw(self, path: str) -> str:
        """The file itself, as a notebook needs it for an image."""
        return f"https://raw.githubusercontent.com/{self.slug}/{self.branch}/{quote(path)}"

    def site(self, path: str = "") -> str:
        """A page of the published book (GitHub Pages)."""
        owner, name = self.slug.split("/")
        return f"https://{owner.lower()}.github.io/{name}/{quote(path, safe='/#')}"


def repository(config: Path = ROOT / "_config.yml") -> Repository:
    """Read the configured repository."""
    entry = yaml.safe_load(config.read_text(encoding="utf-8"))["repository"]
    url = os.environ.get("RESNET_TUTORIAL_REPOSITORY") or entry["url"]
    return Repository(full(url), entry.get("branch", "main"))


def full(address: str) -> str:
    """The URL of a repository that is named by it or as `owner/name`."""
    if "://" not in address:
        address = f"https://github.com/{address}"
    return address.rstrip("/").removesuffix(".git")


def move(address: str, root: Path = ROOT) -> list[str]:
    """Put another address into the files that have it; return the names of those that changed."""
    config = root / "_config.yml"
    old = Repository(yaml.safe_load(config.read_text(encoding="utf-8"))["repository"]["url"])
    new = Repository(full(address))
    changed = []
    for name in ("CITATION.cff", "README.md", "_config.yml"):
        before = (root / name).read_text(encoding="utf-8")
        after = before.replace(old.url, new.url)
        for service in (Repository.colab, Repository.binder, Repository.site):
            after = after.replace(service(old, ""), service(new, ""))
        if after != before:
            (root / name).write_text(after, encoding="utf-8")
            changed.append(name)
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", nargs="?", help="of a fork: a URL or owner/name")
    address = parser.parse_args().address
    if address:
        if full(address).count("/") != 4:
            parser.error(f"{address} is neither owner/name nor the URL of a repository")
        for name in move(address):
            print(f"{name}: {full(address)}")
        print("Now 'make notebooks' carries it into every notebook.")
    else:
        print(repository().url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
