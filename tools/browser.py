"""Find a Chromium and open pages in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Where installers put a browser without telling the search path, on macOS and Windows. Edge is a Chromium, too.
APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "{ProgramFiles}/Google/Chrome/Application/chrome.exe",
    "{LOCALAPPDATA}/Google/Chrome/Application/chrome.exe",
    "{ProgramFiles(x86)}/Microsoft/Edge/Application/msedge.exe",
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
ADVICE = (
    "No Chromium was found: install one ('apt-get install chromium', 'brew install --cask chromium', "
    "'winget install Google.Chrome') or name it in the environment variable CHROMIUM."
)


def find() -> str | None:
    """The browser's path: from `CHROMIUM`, from the search path, or from where its installer puts it."""
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        return chosen if Path(chosen).exists() else shutil.which(chosen)
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or next((path for path in map(_filled_in, APPLICATIONS) if path and Path(path).is_file()), None)


def _filled_in(path: str) -> str:
    """Return the path with the environment's folders in it, "" where one of them is not known."""
    try:
        return re.sub(r"\{(.+?)\}", lambda match: os.environ[match[1]], path)
    except KeyError:
        return ""


@contextmanager
def chromium() -> Iterator:
    """A headless browser, as playwright drives it."""
    from playwright.sync_api import sync_playwright

    path = find()
    if path is None:
        raise FileNotFoundError(ADVICE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def screenshots(pages: list[Path], folder: Path, height: int = 1600) -> list[Path]:
    """PNGs of the pages at 1280 px in light and dark and at 360 px, cut in slices of at most `height`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    looks = {
        "light": (1280, "light"),
        "dark": (1280, "dark"),
        "phone": (360, "light"),
        "phone-dark": (360, "dark"),
    }
    with chromium() as browser:
        for page_path in pages:
            for look, (width, scheme) in looks.items():
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme
                )
                page = context.new_page()
                page.add_init_script(
                    f"localStorage.setItem('mode', '{scheme}'); localStorage.setItem('theme', '{scheme}')"
                )
                page.goto(page_path.resolve().as_uri())
                page.wait_for_load_state("networkidle")
                # The whole page at once: its height becomes the window's, so that nothing scrolls.
                full = page.evaluate("document.documentElement.scrollHeight")
                page.set_viewport_size({"width": width, "height": full})
                for number, top in enumerate(range(0, full, height), 1):
                    path = folder / f"{page_path.stem}-{look}-{number:02d}.png"
                    clip = {"x": 0, "y": top, "width": width, "height": min(height, full - top)}
                    page.screenshot(path=path, clip=clip)
                    written.append(path)
                context.close()
    return written
