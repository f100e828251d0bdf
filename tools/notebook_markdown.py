"""Turn a chapter's MyST into plain Markdown that Colab, JupyterLab and VS Code render.

CONTRIBUTING.md has the table of what a chapter may hold; whatever is not in it is an error with its file and line,
so that no directive reaches a reader as raw text.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from chapter_source import (
    CHAPTER_NAME,
    FENCE,
    HEADING,
    LABEL,
    ROOT,
    Chapter,
    ChapterError,
    closes,
    exercise_entry,
    metadata_line,
    outside_fences,
    read_options,
)
from repository import Repository

ADMONITIONS = {
    "note": "Note", "tip": "Tip", "warning": "Warning", "important": "Important", "hint": "Hint",
    "caution": "Caution", "attention": "Attention", "danger": "Danger", "error": "Error", "seealso": "See also",
}  # fmt: skip
DIRECTIVE = re.compile(r"^\{([\w:-]+)\}\s*(.*)$")
ROLE_OR_CODE = re.compile(
    r"\{([\w:-]+)\}(`+)((?:(?!\n[ \t]*\n).)+?)(?<!`)\2(?!`)|(`+)((?:(?!\n[ \t]*\n).)+?)(?<!`)\4(?!`)",
    re.S,
)
LINK = re.compile(r"(?P<bang>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^()\s]+)\)")
TITLED = re.compile(r"^(.*?)\s*<([^<>]+)>$", re.S)


@dataclass(frozen=True)
class Target:
    """What a label stands for: a document and the text of its heading."""

    document: str
    title: str


@dataclass
class Book:
    """What the pages know about each other: labels, titles and references."""

    folder: Path = ROOT / "book"
    bibliography: Path | None = None
    lenient: bool = False  # let a link to a page that is not written yet stand as text

    @cached_property
    def documents(self) -> dict[str, str]:
        """The title of every page by document name."""
        return {path.stem: self._title(path) for path in sorted(self.folder.glob("*.md"))}

    @staticmethod
    def _title(path: Path) -> str:
        lines = path.read_text(encoding="utf-8").splitlines()
        for _, line in outside_fences(lines):
            if (match := HEADING.match(line)) and match[1] == "#":
                return match[2]
        return path.stem

    @cached_property
    def labels(self) -> dict[str, Target]:
        """Every `(label)=` and every directive's `:name:`, over all pages."""
        found: dict[str, Target] = {}
        for path in sorted(self.folder.glob("*.md")):
            waiting: list[str] = []
            lines = path.read_text(encoding="utf-8").splitlines()
            for _, line in outside_fences(lines):
                if match := LABEL.match(line):
                    waiting.append(match[1])
                elif waiting and line.strip():
                    heading = HEADING.match(line)
                    title = heading[2] if heading else line.strip()
                    found.update((label, Target(path.stem, title)) for label in waiting)
                    waiting = []
            for line in lines:
                if match := re.match(r"^\s*:(?:name|label):\s*(\S+)\s*$", line):
                    found.setdefault(match[1], Target(path.stem, match[1]))
        return found

    @cached_property
    def references(self) -> dict[str, tuple[str, str, str]]:
        """Authors, year and address of every entry of the bibliography."""
        path = self.bibliography or self.folder / "references.bib"
        if not path.is_file():
            return {}
        from pybtex.database import parse_file

        return {key: _reference(entry) for key, entry in parse_file(str(path)).entries.items()}


def _reference(entry: Any) -> tuple[str, str, str]:
    surnames = [" ".join(person.prelast_names + person.last_names).replace("{", "").replace("}", "")
                for person in entry.persons.get("author", [])]  # fmt: skip
    authors = f"{surnames[0]} et al." if len(surnames) > 2 else " and ".join(surnames)
    fields = entry.fields
    if "eprint" in fields:
        address = f"https://arxiv.org/abs/{fields['eprint']}"
    elif "doi" in fields:
        address = f"https://doi.org/{fields['doi']}"
    else:
        address = fields.get("url", "")
    return authors, fields.get("year", ""), address


@dataclass
class Converter:
    """Converts the text of one chapter."""

    chapter: Chapter
    book: Book
    repository: Repository
    catalog: Mapping[str, Any] | None = None
    equations: dict[str, str] = field(default_factory=dict)  # label -> number

    def __post_init__(self) -> None:
        # Equations are numbered before the text is converted, since a reference may stand before its equation; all
        # of them, as on the page, although here only those that have a label show their number.
        count, inside = 0, False
        for block in self.chapter.blocks:
            for line in getattr(block, "lines", []):
                begins = re.match(r"^\s*(?:\$\$|(?:```+|:::+)\{math\})", line) and not inside
                count += bool(begins)
                if re.match(r"^\s*\$\$", line):
                    inside = bool(begins) and line.count("$$") == 1
                if match := re.match(r"^\s*(?:.*\$\$\s*\(([\w:.-]+)\)|:label:\s*(\S+))\s*$", line):
                    number = self.chapter.number
                    self.equations[match[1] or match[2]] = str(count) if number is None else f"{number}.{count}"

    # --- blocks ---

    def convert(self, lines: list[str], line: int) -> str:
        """Plain Markdown for `lines`, whose first one is line `line` of the file."""
        text = "\n".join(self.blocks(lines, line))
        return re.sub(r"\n{3,}", "\n\n", text).strip("\n")

    def blocks(self, lines: list[str], line: int) -> list[str]:
        out: list[str] = []
        prose: list[str] = []

        def flush(end: int) -> None:
            if prose:
                out.extend(self.inline("\n".join(prose), line + end - len(prose)).split("\n"))
                prose.clear()

        index = 0
        while index < len(lines):
            text = lines[index]
            match = FENCE.match(text)
            if match:
                flush(index)
                end = self._end(lines, index, match["ticks"], line)
                indent = match["indent"]
                body = [row.removeprefix(indent) for row in lines[index + 1 : end]]
                out += [
                    indent + row if row else row for row in self._fence(match, body, line + index)
                ]
                index = end + 1
            elif text.strip().startswith("$$"):
                flush(index)
                end = index
                if text.strip() == "$$" or "$$" not in text.strip()[2:]:
                    closing = (i for i in range(index + 1, len(lines)) if "$$" in lines[i])
                    end = next(closing, -1)
                    if end < 0:
                        raise self.error(line + index, "the formula is not closed")
                out += self._display(lines[index : end + 1])
                index = end + 1
            elif LABEL.match(text) or re.match(r"^%(\s|$)", text) or re.match(r"^\+\+\+", text):
                flush(index)
                index += 1
            else:
                prose.append(text)
                index += 1
        flush(index)
        return out

    def _end(self, lines: list[str], index: int, ticks: str, line: int) -> int:
        for end in range(index + 1, len(lines)):
            if closes(lines[end], ticks):
                return end
        raise self.error(line + index, "the block that opens here is not closed")

    def _fence(self, match: re.Match[str], body: list[str], line: int) -> list[str]:
        info = match["info"].strip()
        directive = DIRECTIVE.match(info)
        if directive is None:
            if match["ticks"].startswith(":"):
                raise self.error(line, "':::' without a directive's name")
            return [match["ticks"] + info, *body, match["ticks"]]
        name, argument = directive[1], directive[2].strip()
        options, used = read_options(body, self.chapter.path, line + 1)
        content, first = body[used:], line + 1 + used
        handler: Callable[..., list[str]] | None = {
            "exercise": self._exercise, "dropdown": self._dropdown, "admonition": self._admonition,
            "math": self._math, "code-block": self._code, "code": self._code, "figure": self._image,
            "image": self._image, "table": self._table,
        }.get(name)  # fmt: skip
        if name in ADMONITIONS:
            # Docutils lets the text begin on the directive's own line.
            lines = ([argument] if argument else []) + content
            return self._quoted(ADMONITIONS[name], options, lines, first - bool(argument))
        if handler is None:
            raise self.error(
                line,
                f"a notebook cannot show the directive '{{{name}}}'; CONTRIBUTING.md lists what it can",
            )
        return handler(argument, options, content, first)

    def _exercise(self, argument: str, options: dict, content: list[str], line: int) -> list[str]:
        entry = exercise_entry(argument, self.chapter, line - 1, self.catalog)
        return ["", f"*{metadata_line(entry)}*", ""]

    def _dropdown(self, argument: str, options: dict, content: list[str], line: int) -> list[str]:
        body = self.convert(content, line)
        return ["", "<details>", f"<summary>{self.summary(argument, line - 1)}</summary>", "",
                *body.split("\n"), "", "</details>", ""]  # fmt: skip

    def _admonition(self, argument: str, options: dict, content: list[str], line: int) -> list[str]:
        return self._quoted(self.inline(argument, line - 1), options, content, line)

    def _quoted(self, title: str, options: dict, content: list[str], line: int) -> list[str]:
        if "dropdown" in str(options.get("class", "")):
            return self._dropdown(title, options, content, line)
        body = self.convert(content, line).split("\n")
        mark = title if title.endswith((".", "?", ":")) else f"{title}."
        if re.match(
            r"^(\s*[-*+|>`$<#]|\s*\d+[.)]\s)", body[0]
        ):  # a list, a table, code: not a sentence to run on into
            rows = [f"**{mark}**", "", *body]
        else:
            rows = [f"**{mark}** {body[0]}".rstrip(), *body[1:]]
        return ["", *(f"> {row}".rstrip() for row in rows), ""]

    def _math(self, argument: str, options: dict, content: list[str], line: int) -> list[str]:
        rows = ([argument] if argument else []) + [row for row in content if row.strip()]
        return self._formula(rows, options.get("label"))

    def _display(self, rows: list[str]) -> list[str]:
        label = None
        if match := re.match(r"^(.*\$\$)\s*\(([\w:.-]+)\)\s*$", rows[-1]):
            rows, label = [*rows[:-1], match[1]], match[2]
        if label is None:
            return rows
        inner = "\n".join(rows).strip().removeprefix("$$").removesuffix("$$").strip("\n")
        return self._formula(inner.split("\n"), label)

    def _formula(self, rows: list[str], label: str | None) -> list[str]:
        tag = [rf"\tag{{{self.equations[label]}}}"] if label else []
        return ["", "$$", *rows, *tag, "$$", ""]

    def _code(self, argument: str, options: dict, content: list[str], line: int) -> list[str]:
        body = content[1:] if content and not content[0].strip() else content
        longest = max((len(run) for run in re.findall(r"`{3,}", "\n".join(body))), default=2)
        ticks = "`" * (longest + 1)
        return [ticks + argument, *body, ticks]

    def _image(self, argument: str, options: dict, content: list[str], line: int) -> list[str]:
        if not options.get("alt"):
            raise self.error(line, "an image needs ':alt:', a text that says what is to be seen")
        caption = self.convert(content, line)
        image = f"![{options['alt']}]({self.file(argument, line, self.repository.raw)})"
        return ["", image, *(["", f"*{caption}*"] if caption else []), ""]

    def _table(self, argument: str, options: dict, content: list[str], line: int) -> list[str]:
        caption = [f"**{self.inline(argument, line - 1)}**", ""] if argument else []
        return ["", *caption, *self.convert(content, line).split("\n"), ""]

    # --- inline ---

    def inline(self, text: str, line: int) -> str:
        """Convert roles and links, leaving code spans alone."""
        out: list[str] = []
        position = 0
        for match in ROLE_OR_CODE.finditer(text):
            out.append(
                self.links(text[position : match.start()], line + text.count("\n", 0, position))
            )
            if match[1]:
                out.append(self.role(match[1], match[3], line + text.count("\n", 0, match.start())))
            else:
                out.append(match[0])
            position = match.end()
        out.append(self.links(text[position:], line + text.count("\n", 0, position)))
        # A link's text may hold a code span: look again over the whole.
        return self.links("".join(out), line)

    def links(self, text: str, line: int) -> str:
        return LINK.sub(
            lambda match: self._link(match, line + text.count("\n", 0, match.start())), text
        )

    def _link(self, match: re.Match[str], line: int) -> str:
        target = match["target"]
        if re.match(r"^[a-z]+:", target):
            return match[0]
        if match["bang"]:
            return f"![{match['text']}]({self.file(target, line, self.repository.raw)})"
        document, _, anchor = target.partition("#")
        if not document:
            return match["text"] or self.label(anchor, line).title
        if document.endswith(".ipynb"):
            return match[0]  # converted already
        if document.endswith(".md") and "/" not in document:
            name = document.removesuffix(".md")
            return f"[{match['text'] or self.title(name, line)}]({self.page(name, line, anchor)})"
        return f"[{match['text']}]({self.file(target, line, self.repository.blob)})"

    def role(self, name: str, content: str, line: int) -> str:
        titled = TITLED.match(content)
        text, target = (titled[1], titled[2]) if titled else ("", content)
        if name == "term":
            return text or content
        if name in ("ref", "numref"):
            found = self.label(target, line)
            title = text if "%s" not in text and "{n" not in text else ""
            if found.document == self.chapter.path.stem:
                return title or found.title
            return f"[{title or found.title}]({self.page(found.document, line)})"
        if name == "doc":
            document = target.removeprefix("/").removeprefix("book/").removesuffix(".md")
            return f"[{text or self.title(document, line)}]({self.page(document, line)})"
        if name in ("cite", "cite:p", "cite:t"):
            return self.cite(target, line, textual=name == "cite:t")
        if name == "eq":
            if target not in self.equations:
                raise self.error(line, f"no equation is labelled '{target}' in this chapter")
            return f"({self.equations[target]})"
        if name == "math":
            return f"${content}$"
        if name in ("sub", "sup"):
            return f"<{name}>{content}</{name}>"
        if name == "abbr":
            return re.sub(r"\s*\(.*\)$", "", content, flags=re.S)
        raise self.error(
            line, f"a notebook cannot show the role '{{{name}}}'; CONTRIBUTING.md lists what it can"
        )

    def cite(self, keys: str, line: int, textual: bool) -> str:
        shown = []
        for key in keys.split(","):
            if key.strip() not in self.book.references:
                raise self.error(line, f"the bibliography has no entry '{key.strip()}'")
            authors, year, address = self.book.references[key.strip()]
            text = f"{authors} ({year})" if textual else f"{authors}, {year}"
            shown.append(f"[{text}]({address})" if address else text)
        return ", ".join(shown) if textual else f"({'; '.join(shown)})"

    def label(self, label: str, line: int) -> Target:
        if label not in self.book.labels:
            if self.book.lenient:
                return Target(self.chapter.path.stem, label)
            raise self.error(line, f"nothing is labelled '{label}'")
        return self.book.labels[label]

    def title(self, document: str, line: int) -> str:
        if document not in self.book.documents:
            if self.book.lenient:
                return document
            raise self.error(line, f"there is no page '{document}'")
        return self.book.documents[document]

    def page(self, document: str, line: int, anchor: str = "") -> str:
        """Where a link to another page leads: its notebook, or the published page of one that has none.

        The links between notebooks are relative: Colab resolves them against the repository, and JupyterLab and
        VS Code open the file beside.
        """
        self.title(document, line)
        if CHAPTER_NAME.match(document):
            return f"{document}.ipynb"
        return self.repository.site(f"book/{document}.html" + (f"#{anchor}" if anchor else ""))

    def file(self, target: str, line: int, address: Callable[[str], str]) -> str:
        path = Path(os.path.normpath(self.chapter.path.parent / target.partition("#")[0]))
        if not path.exists() or not path.is_relative_to(ROOT):
            raise self.error(line, f"there is no file '{target}' in the repository")
        return address(path.relative_to(ROOT).as_posix())

    def summary(self, text: str, line: int) -> str:
        """A dropdown's title as HTML, since Markdown inside `<summary>` is not read."""
        text = html.escape(self.inline(text, line), quote=False)
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
        text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
        return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)

    def error(self, line: int, message: str) -> ChapterError:
        return ChapterError(self.chapter.path, line, message)
