"""Where the book lives: every link to the repository is made here.

The address stands once, in `_config.yml` under `repository: url:`.
The deploy job of a fork sets `RESNET_TUTORIAL_REPOSITORY` (a URL or `owner/name`) instead of editing the file.
"""

from __future__ import annotations

import os
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
    if "://" not in url:
        url = f"https://github.com/{url}"
    return Repository(url.rstrip("/").removesuffix(".git"), entry.get("branch", "main"))
