"""The cards of the home page, one for each chapter, and the box in which a reader keeps count.

Each line of `{chapter-cards}` is `FILE: what stands at its end`. Title and time come from the chapter itself,
difficulty, exercises and points from the exercises' catalogue.
"""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path
from statistics import mean

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "tools"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from chapter_source import CHAPTER_NAME, dots  # noqa: E402

COLOURS = {2: "stem", 3: "stage1", 4: "stage2", 5: "stage3", 6: "stage4", 8: "head"}  # those of the picture above
_TITLE = re.compile(r"^# (\d+)\. (.+)$", re.MULTILINE)
_TIME = re.compile(r"^Time: about (\d+) minutes\b", re.MULTILINE)


def hours(minutes: int) -> str:
    """Return a time as a reader plans it.

    >>> hours(55), hours(60), hours(115)
    ('55 min', '1 h', '1 h 55 min')
    """
    whole, rest = divmod(minutes, 60)
    return " ".join([f"{whole} h"] * (whole > 0) + [f"{rest} min"] * (rest > 0))


def typeset(text: str) -> str:
    """Return a text as the pages have it: curly apostrophes, and names such as ResNet-50 in one piece.

    >>> typeset("torchvision's ResNet-50")
    'torchvision’s <span class="text-nowrap">ResNet-50</span>'
    """
    return re.sub(r"\b(Res\w+-\d+)", r'<span class="text-nowrap">\1</span>', escape(text.replace("'", "’")))


def read_chapter(path: Path) -> tuple[int, str, int]:
    """Return a chapter's number, title and minutes.

    Raises:
        ValueError: the chapter has no title, or does not say how long it takes.
    """
    text = path.read_text(encoding="utf-8")
    title, time = _TITLE.search(text), _TIME.search(text)
    if not title or not time:
        raise ValueError(f'{path.name} needs a title "# N. Title" and a line "Time: about M minutes, ...".')
    return int(title[1]), title[2], int(time[1])


def card(name: str, builds: str, folder: Path) -> str:
    """Return the card of one chapter."""
    from resnet_tutorial.check import catalog

    number, title, minutes = read_chapter(folder / f"{name}.md")
    own = [exercise for exercise in catalog().values() if exercise.chapter == number]
    facts = [hours(minutes)]
    if own:
        level = round(mean(exercise.difficulty for exercise in own))
        facts += [
            f'<span class="visually-hidden">difficulty {level} of 5</span>'
            f'<span class="chapter-card-dots" aria-hidden="true" title="difficulty {level} of 5">{dots(level)}</span>',
            f"{len(own)} exercises, {sum(exercise.points for exercise in own)} points",
        ]
    spans = "".join(f"<span>{fact}</span>" for fact in facts)
    colour = f' style="--part: var(--{COLOURS[number]})"' if number in COLOURS else ""
    return (
        f'<li><a class="chapter-card" href="{name}.html" data-chapter="{name}"{colour}>'
        f'<span class="chapter-card-title">{number}. {typeset(title)}</span>'
        f'<span class="chapter-card-builds">{typeset(builds)}</span>'
        f'<span class="chapter-card-facts">{spans}<span class="chapter-card-state"></span></span></a></li>'
    )


class ChapterCards(SphinxDirective):
    """`{chapter-cards}`: a grid of links to chapters."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the cards; a chapter that is not there or says too little is an error of this directive."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        cards = []
        for line in self.content:
            name, _, builds = line.partition(": ")
            self.env.note_dependency(str(folder / f"{name}.md"))
            try:
                cards.append(card(name, builds, folder))
            except (OSError, ValueError) as problem:
                raise self.error(str(problem)) from problem
        return [nodes.raw("", f'<ul class="chapter-cards">{"".join(cards)}</ul>', format="html")]


# What book/_static/progress.js brings to life; without scripts it stays hidden.
# Empty, so that the search finds no words of a box in it.
OVERALL = '<div class="book-progress" data-progress="all" role="group" aria-label="Your progress" hidden></div>'
MARK = '<div class="book-progress" data-progress="chapter" hidden></div>'


class BookProgress(SphinxDirective):
    """`{book-progress}`: how many chapters the reader has ticked, and which one comes next."""

    def run(self) -> list[nodes.Node]:
        """Return the empty box."""
        return [nodes.raw("", OVERALL, format="html")]


def offer_tick(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """`html-page-context`: end every chapter with a box to tick."""
    if "body" in context and CHAPTER_NAME.match(Path(pagename).name):
        context["body"] += MARK


def setup(app: Sphinx) -> dict:
    """Register the directives and the box."""
    app.add_directive("chapter-cards", ChapterCards)
    app.add_directive("book-progress", BookProgress)
    app.connect("html-page-context", offer_tick)
    app.add_js_file("progress.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
