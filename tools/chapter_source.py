"""Read a chapter: its text, its cells, and the package source that the cells draw in.

The Sphinx extension and the notebook maker both stand on this module, so that the page and the notebook cannot
disagree about what an exercise is.
Nothing here imports Sphinx, and the registry of exercises is imported only when a chapter has one.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}(?=[^`]*$)|~{3,}|:{3,})(?P<info>.*)$")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*$")
LABEL = re.compile(r"^\(([\w.:-]+)\)=\s*$")
OPTION = re.compile(r"^:([\w-]+):(.*)$")
CHAPTER_NAME = re.compile(r"^(\d\d)_\w+$")

CELL_OPTIONS = {"tags", "exercise", "check", "mystnb"}
CELL_TAGS = {
    "hide-input", "hide-output", "hide-cell", "remove-input", "remove-output", "remove-cell",
    "output_scroll", "scroll-output", "wrap-output", "page-only",
}  # fmt: skip

BLANK = ("# YOUR CODE HERE", "raise NotImplementedError()")


class ChapterError(Exception):
    """Something in a chapter that cannot be shown, with its file and line."""

    def __init__(self, path: Path | str, line: int, message: str):
        super().__init__(f"{shown(path)}:{line}: {message}")


def shown(path: Path | str) -> str:
    """The path as a contributor names it: from the repository's top where it lies below that."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


# --- the chapter's structure ---


@dataclass
class Text:
    """Lines between two code cells."""

    lines: list[str]
    line: int  # of the first one, in the file


@dataclass
class Code:
    """A `{code-cell}`."""

    source: str
    line: int  # of the opening fence
    length: int  # lines from the opening to the closing fence
    tags: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def exercise(self) -> str | None:
        return self.options.get("exercise")

    @property
    def check(self) -> str | None:
        return self.options.get("check")


@dataclass
class Chapter:
    """A chapter's front matter and blocks, in the order of the file."""

    path: Path
    front: dict[str, Any]
    blocks: list[Text | Code]

    @property
    def number(self) -> int | None:
        """The chapter's number, from its file name; appendices have none."""
        match = CHAPTER_NAME.match(self.path.stem)
        return int(match[1]) if match else None

    @property
    def title(self) -> str:
        for block in self.blocks:
            if isinstance(block, Text):
                for _, line in outside_fences(block.lines):
                    if (match := HEADING.match(line)) and match[1] == "#":
                        return match[2]
        raise ChapterError(self.path, 1, "the chapter has no title ('# …')")

    def code(self) -> Iterator[Code]:
        return (block for block in self.blocks if isinstance(block, Code))


def closes(line: str, ticks: str) -> bool:
    """Whether `line` closes the fence that `ticks` opened."""
    bare = line.strip()
    return len(bare) >= len(ticks) and set(bare) == {ticks[0]}


def outside_fences(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The lines that stand in no fence, with their index."""
    ticks = ""
    for index, line in enumerate(lines):
        if ticks:
            if closes(line, ticks):
                ticks = ""
        elif match := FENCE.match(line):
            ticks = match["ticks"]
        else:
            yield index, line


def read_options(lines: list[str], path: Path, line: int) -> tuple[dict[str, Any], int]:
    """A directive's options, and how many of its lines they take."""
    if lines and lines[0].strip() == "---":
        for end in range(1, len(lines)):
            if lines[end].strip() == "---":
                return yaml.safe_load("\n".join(lines[1:end])) or {}, end + 1
        raise ChapterError(path, line, "the options' '---' is not closed")
    options: dict[str, Any] = {}
    for index, text in enumerate(lines):
        match = OPTION.match(text.strip())
        if not match:
            return options, index
        options[match[1]] = yaml.safe_load(match[2].strip() or "null")
    return options, len(lines)


def read_chapter(path: Path, text: str | None = None) -> Chapter:
    """Parse a chapter; `text` stands in for the file's content where it is at hand already."""
    if text is None:
        text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    front: dict[str, Any] = {}
    start = 0
    if lines and lines[0].strip() == "---":
        end = next((i for i in range(1, len(lines)) if lines[i].strip() == "---"), None)
        if end is None:
            raise ChapterError(path, 1, "the front matter is not closed")
        front, start = yaml.safe_load("\n".join(lines[1:end])) or {}, end + 1

    blocks: list[Text | Code] = []
    pending: list[str] = []
    ticks = ""  # of the fence that we stand in
    index = first = start

    def flush() -> None:
        if any(line.strip() for line in pending):
            blocks.append(Text(list(pending), first + 1))
        pending.clear()

    while index < len(lines):
        line = lines[index]
        match = FENCE.match(line)
        if ticks:
            if match and match["info"].strip().startswith("{code-cell}"):
                raise ChapterError(
                    path,
                    index + 1,
                    "a code cell stands inside another block; move it to the top level",
                )
            if closes(line, ticks):
                ticks = ""
        elif match and match["info"].strip().startswith("{code-cell}"):
            if match["indent"]:
                raise ChapterError(
                    path, index + 1, "a code cell stands at the top level, without indentation"
                )
            end = next(
                (i for i in range(index + 1, len(lines)) if closes(lines[i], match["ticks"])), None
            )
            if end is None:
                raise ChapterError(path, index + 1, "the code cell is not closed")
            flush()
            blocks.append(read_cell(lines[index + 1 : end], path, index + 1))
            index = first = end + 1
            continue
        elif match:
            ticks, opened = match["ticks"], index + 1
        pending.append(line)
        index += 1
    if ticks:
        raise ChapterError(path, opened, "the block that opens here is not closed")
    flush()
    return Chapter(path, front, blocks)


def read_cell(lines: list[str], path: Path, line: int) -> Code:
    """One code cell from the lines between its fences."""
    options, used = read_options(lines, path, line)
    tags = options.pop("tags", None) or []
    tags = tags.replace(",", " ").split() if isinstance(tags, str) else list(tags)
    if "raises-exception" in tags:
        raise ChapterError(
            path,
            line,
            "an exception stops Colab's 'Run all': catch it and print it instead of tagging the cell",
        )
    for name in tags:
        if name not in CELL_TAGS:
            raise ChapterError(
                path, line, f"unknown cell tag '{name}'; known are {', '.join(sorted(CELL_TAGS))}"
            )
    for name in options:
        if name not in CELL_OPTIONS:
            raise ChapterError(path, line, f"unknown cell option '{name}'")
    source = "\n".join(lines[used:]).strip("\n")
    cell = Code(source, line, len(lines) + 2, tags, options)
    if cell.exercise and source.strip():
        raise ChapterError(
            path, line, "an exercise's cell stays empty; its code stands in the package"
        )
    return cell


# --- the package's source ---

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class Module:
    """A module's lines and what stands at its top level."""

    path: Path
    lines: list[str]
    tree: ast.Module

    def find(self, name: str) -> ast.stmt | None:
        """The statement that defines `name` (`Class.method` descends)."""
        body: list[ast.stmt] = self.tree.body
        found: ast.stmt | None = None
        for part in name.split("."):
            found = next(
                (statement for statement in body if part in defined_names(statement)), None
            )
            body = getattr(found, "body", [])
        return found


def defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, Definition):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []


@cache
def _parse(path: Path, changed: int) -> Module:
    text = path.read_text(encoding="utf-8")
    return Module(path, text.splitlines(), ast.parse(text))


def load_module(name: str, root: Path = ROOT) -> Module:
    """Parse `package.module` from its file, without importing it."""
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return _parse(path, path.stat().st_mtime_ns)
    raise LookupError(f"there is no module {name}")


def load_objects(reference: str, root: Path = ROOT) -> list[tuple[Module, ast.stmt]]:
    """What `module:Name` names; several names are parted by commas."""
    module_name, colon, names = reference.partition(":")
    if not colon or not names.strip():
        raise LookupError(f"'{reference}' is not of the form module:Name")
    module = load_module(module_name.strip(), root)
    found = []
    for name in names.split(","):
        statement = module.find(name.strip())
        if statement is None:
            raise LookupError(f"{module_name} defines no {name.strip()}")
        found.append((module, statement))
    return found


def object_source(reference: str, root: Path = ROOT) -> str:
    """The source of `module:Name` as it stands in the package, dedented."""
    return join_definitions(
        _whole(module, statement) for module, statement in load_objects(reference, root)
    )


def object_stub(
    reference: str, given: Iterable[str] = (), root: Path = ROOT, *, marked: bool = False
) -> str:
    """The source of `module:Name` with every function body blanked, those named in `given` excepted.

    With `marked` the bodies stand, between the two lines by which nbgrader knows what to blank.
    """
    given = frozenset(given)
    parts = []
    for module, statement in load_objects(reference, root):
        if isinstance(statement, Definition):
            parts.append(textwrap.dedent("\n".join(_stub(module, statement, given, marked))))
        else:
            parts.append(_whole(module, statement))
    return join_definitions(parts)


def join_definitions(parts: Iterable[str]) -> str:
    """Definitions under each other, without the marks that only the repository's own tools read."""
    return re.sub(r"  # (fmt|noqa|type|pragma|ruff)\b.*$", "", "\n\n\n".join(parts), flags=re.M)


def _whole(module: Module, statement: ast.stmt) -> str:
    lines = (
        _decorators(module, statement) + module.lines[statement.lineno - 1 : statement.end_lineno]
    )
    return textwrap.dedent("\n".join(lines))


def _decorators(module: Module, statement: ast.stmt) -> list[str]:
    """The decorators' lines, without those that the package defines for its own housekeeping.

    A chapter has no `@register`: what such a decorator needs is not at the reader's hand.
    """
    lines: list[str] = []
    for decorator in getattr(statement, "decorator_list", []):
        if _root_name(decorator) not in _own_names(module):
            lines += module.lines[decorator.lineno - 1 : decorator.end_lineno]
    return lines


def _root_name(node: ast.expr) -> str:
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Attribute):
            node = node.value
        else:
            return ""
    return node.id


def _own_names(module: Module) -> set[str]:
    """Names that the module defines itself or imports from the package."""
    names: set[str] = set()
    for statement in module.tree.body:
        names.update(defined_names(statement))
        if isinstance(statement, ast.ImportFrom) and (
            statement.level or (statement.module or "").split(".")[0] == "resnet_tutorial"
        ):
            names.update(alias.asname or alias.name for alias in statement.names)
    return names


def _stub(
    module: Module, node: Definition, given: frozenset[str], marked: bool = False
) -> list[str]:
    """The lines of a definition with its functions blanked, or marked for blanking."""
    if not isinstance(node, ast.ClassDef) and node.name in given:
        return _decorators(module, node) + module.lines[node.lineno - 1 : node.end_lineno]
    lines = _decorators(module, node) + _header(module, node)
    body = list(node.body)
    position = (
        node.lineno - 1 + len(_header(module, node))
    )  # index of the first line that is not copied yet
    if _is_docstring(body[0]):
        docstring = body.pop(0)
        lines += module.lines[docstring.lineno - 1 : docstring.end_lineno]
        position = _end(docstring)

    if not isinstance(node, ast.ClassDef):
        indent = " " * (node.col_offset + 4)
        if node.name == "__init__" and body and _is_super_init(body[0]):
            lines += module.lines[body[0].lineno - 1 : body[0].end_lineno]
            position = _end(body[0])
        if marked:
            answer = module.lines[position : node.end_lineno]
            return [*lines, f"{indent}### BEGIN SOLUTION", *answer, f"{indent}### END SOLUTION"]
        return lines + [indent + line for line in BLANK]

    for statement in body:
        start = min(
            [statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))]
        )
        gap = module.lines[position : start - 1]
        if isinstance(statement, Definition) and statement.name not in given:
            # A comment above a blanked method talks about the solution.
            lines += [line for line in gap if not line.strip()]
            lines += _stub(module, statement, given, marked)
        else:
            lines += (
                gap
                + _decorators(module, statement)
                + module.lines[statement.lineno - 1 : statement.end_lineno]
            )
        position = _end(statement)
    return lines


def _header(module: Module, node: Definition) -> list[str]:
    """The lines from `def` or `class` to the colon that ends the signature."""
    text = "\n".join(module.lines[node.lineno - 1 : node.end_lineno]) + "\n"
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(textwrap.dedent(text)).readline):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
            if token.string == ":" and depth == 0:
                lines = text.splitlines()[: token.end[0]]
                lines[-1] = lines[-1][: token.end[1] + node.col_offset]
                return lines
    raise AssertionError("a definition without a colon does not parse")


def _end(statement: ast.stmt) -> int:
    """The statement's last line, which a parsed one always knows."""
    assert statement.end_lineno is not None
    return statement.end_lineno


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_super_init(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith(
        "super().__init__("
    )


# --- exercises ---


@cache
def registry() -> Mapping[str, Any]:
    """The exercises by id, from the package."""
    from resnet_tutorial.check.core import catalog

    return catalog()


def exercise_entry(
    name: str, chapter: Chapter, line: int, catalog: Mapping[str, Any] | None = None
) -> Any:
    """The registry's entry for `name`."""
    entries = registry() if catalog is None else catalog
    if name not in entries:
        raise ChapterError(chapter.path, line, f"the registry has no exercise '{name}'")
    entry = entries[name]
    if chapter.number is not None and entry.chapter != chapter.number:
        raise ChapterError(
            chapter.path,
            line,
            f"exercise '{name}' belongs to chapter {entry.chapter} in the registry",
        )
    return entry


def solution_source(entry: Any, root: Path = ROOT) -> str:
    return object_source(entry.solution, root)


def stub_source(entry: Any, root: Path = ROOT, *, marked: bool = False) -> str:
    return object_stub(entry.solution, entry.given, root, marked=marked)


def dots(count: int, of: int = 5) -> str:
    """`●●●○○`."""
    return "●" * count + "○" * (of - count)


def metadata_line(entry: Any) -> str:
    """The one line under an exercise's heading."""
    minutes = f"{entry.minutes} minute{'s' * (entry.minutes != 1)}"
    points = f"{entry.points} point{'s' * (entry.points != 1)}"
    return f"Difficulty {dots(entry.difficulty)} · importance {dots(entry.importance)} · {minutes} · {points}"


def cell_source(cell: Code, chapter: Chapter, root: Path = ROOT) -> str:
    """The code of a cell, with a `# source:` line expanded."""
    first, _, rest = cell.source.partition("\n")
    if not first.startswith("# source:"):
        return cell.source
    if rest.strip():
        raise ChapterError(chapter.path, cell.line, "a '# source:' cell holds nothing else")
    try:
        return object_source(first.removeprefix("# source:").strip(), root)
    except LookupError as error:
        raise ChapterError(chapter.path, cell.line, str(error)) from None


def check_exercises(chapter: Chapter, catalog: Mapping[str, Any] | None = None) -> None:
    """Refuse a chapter whose exercises are incomplete: each has a heading, one stub and one check."""
    stubs = [cell.exercise for cell in chapter.code() if cell.exercise]
    checks = [cell.check for cell in chapter.code() if cell.check]
    for cell in chapter.code():
        name = cell.exercise or cell.check
        if name is None:
            continue
        exercise_entry(name, chapter, cell.line, catalog)
        if stubs.count(name) != 1:
            raise ChapterError(
                chapter.path,
                cell.line,
                f"exercise '{name}' has {stubs.count(name)} ':exercise:' cells",
            )
        if checks.count(name) != 1:
            raise ChapterError(
                chapter.path,
                cell.line,
                f"exercise '{name}' has {checks.count(name)} ':check:' cells",
            )
    heading = ""
    for block in chapter.blocks:
        if not isinstance(block, Text):
            continue
        for index, line in enumerate(block.lines):
            if match := HEADING.match(line):
                heading = match[2]
            elif match := re.match(r"^[`:]{3,}\{exercise\}\s*(\S*)\s*$", line):
                entry = exercise_entry(match[1], chapter, block.line + index, catalog)
                expected = f"Exercise {entry.chapter}.{entry.number}: {entry.title}"
                if heading != expected:
                    raise ChapterError(
                        chapter.path,
                        block.line + index,
                        f"the heading says '{heading}', the registry '{expected}'",
                    )
                if match[1] not in stubs:
                    raise ChapterError(
                        chapter.path, block.line + index, f"'{match[1]}' has no ':exercise:' cell"
                    )


# --- the page ---


def page_source(
    path: Path, text: str, catalog: Mapping[str, Any] | None = None, root: Path = ROOT
) -> str:
    """The chapter as the Sphinx build reads it: sources drawn in, each exercise as stub, hints and folded solution.

    The solution comes after the hints, just before the next cell that runs.
    """
    chapter = read_chapter(path, text)
    if not any(
        cell.exercise or cell.check or cell.source.startswith("# source:")
        for cell in chapter.code()
    ):
        return text
    check_exercises(chapter, catalog)
    lines = text.splitlines()
    front_end = chapter.blocks[0].line - 1
    parts = ["\n".join(lines[:front_end])]
    waiting: list[str] = []  # solutions whose hints are not over yet
    for block in chapter.blocks:
        if isinstance(block, Text):
            parts.append("\n".join(block.lines))
            continue
        if block.exercise:
            entry = exercise_entry(block.exercise, chapter, block.line, catalog)
            try:
                stub, solution = stub_source(entry, root), solution_source(entry, root)
            except LookupError as error:
                raise ChapterError(chapter.path, block.line, str(error)) from None
            parts.append(fenced("{code-block} python", [":class: exercise-stub"], stub))
            waiting.append(fenced("{code-cell} python", SOLUTION_OPTIONS, solution))
            continue
        parts += waiting
        waiting = []
        parts.append(
            fenced("{code-cell} python", cell_options(block), cell_source(block, chapter, root))
        )
    return "\n\n".join(parts + waiting) + "\n"


SOLUTION_OPTIONS = [
    "---",
    "tags: [hide-input, exercise-solution]",
    "mystnb:",
    "  code_prompt_show: Solution",
    "  code_prompt_hide: Solution",
    "---",
]


def cell_options(cell: Code) -> list[str]:
    """The options that the page needs; those of the exercises have done their work by then."""
    tags = [tag for tag in cell.tags if tag != "page-only"] + (
        ["exercise-check"] if cell.check else []
    )
    options: dict[str, Any] = {"tags": tags} if tags else {}
    if "mystnb" in cell.options:
        options["mystnb"] = cell.options["mystnb"]
    return (
        ["---", *yaml.safe_dump(options, default_flow_style=None).splitlines(), "---"]
        if options
        else []
    )


def fenced(info: str, options: list[str], body: str) -> str:
    """A fenced block whose fence is longer than any that its body holds."""
    longest = max((len(run) for run in re.findall(r"`{3,}", body)), default=2)
    ticks = "`" * (longest + 1)
    return "\n".join(
        [ticks + info, *options, *([""] if options and options[-1] != "---" else []), body, ticks]
    )
