"""The chapter reader: cells, sources from the package, stubs, and the page that Sphinx gets to read."""

from __future__ import annotations

import ast
import textwrap

import pytest
from chapter_source import (
    ChapterError,
    Code,
    Text,
    metadata_line,
    object_source,
    object_stub,
    page_source,
    read_chapter,
)
from conftest import FIXTURES, ROOT


def draw(reference: str) -> str:
    return object_source(reference, FIXTURES)


def stub(reference: str, *given: str) -> str:
    return object_stub(reference, given, FIXTURES)


def chapter(tmp_path, text: str):
    path = tmp_path / "04_test.md"
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return read_chapter(path)


# --- sources ---


def test_source_is_the_definition_and_nothing_else():
    assert draw("demo.blocks:undocumented") == (
        "def undocumented(x):\n    # This comment gives the answer away.\n    return x + 1"
    )


def test_the_packages_own_decorators_and_tool_marks_are_left_out():
    source = draw("demo.blocks:width")
    assert source.startswith("@functools.cache\ndef width(")
    assert "house_keeping" not in source
    assert "noqa" not in source
    assert "fmt" not in draw("demo.blocks:answer")
    assert draw("demo.blocks:Shape").startswith("@dataclass\nclass Shape:")


def test_constants_methods_and_several_names_can_be_drawn_in():
    assert draw("demo.blocks:WIDTHS") == "WIDTHS = (64, 128, 256, 512)"
    assert draw("demo.blocks:Block.forward").startswith("def forward(self, x):")
    both = draw("demo.blocks:WIDTHS, undocumented")
    assert both.startswith("WIDTHS =") and "\n\n\ndef undocumented" in both


@pytest.mark.parametrize("reference", ["demo.blocks:Nothing", "demo.nowhere:Block", "demo.blocks"])
def test_what_is_not_there_is_refused(reference):
    with pytest.raises(LookupError):
        draw(reference)


# --- stubs ---


def test_a_functions_stub_keeps_signature_and_docstring():
    assert stub("demo.blocks:width") == textwrap.dedent('''\
        @functools.cache
        def width(planes: int, groups: int = 1, *, table: dict[str, int] = {"a": 1}) -> int:
            """Return the width.

            In two paragraphs.
            """
            # YOUR CODE HERE
            raise NotImplementedError()''')


def test_a_stub_gives_nothing_away():
    assert "answer away" not in stub("demo.blocks:undocumented")
    assert stub("demo.blocks:answer") == (
        "def answer() -> float:\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    )


def test_a_classs_stub_keeps_attributes_given_methods_and_the_call_of_super():
    assert stub("demo.blocks:Block", "extra_repr") == textwrap.dedent('''\
        class Block:
            """A block with given and missing parts."""

            #: how many times wider the output is
            expansion = 4

            def __init__(
                self,
                channels: int,
                stride: int = 1,
            ) -> None:
                super().__init__()
                # YOUR CODE HERE
                raise NotImplementedError()

            # The next method is given, and so is this comment.
            def extra_repr(self) -> str:
                return f"channels={self.channels}"

            @property
            def size(self) -> int:
                """The size."""
                # YOUR CODE HERE
                raise NotImplementedError()

            def forward(self, x):
                # YOUR CODE HERE
                raise NotImplementedError()''')


def test_every_exercise_of_the_book_has_a_stub_that_is_python_and_a_solution_that_differs():
    from resnet_tutorial.check.core import catalog

    for entry in catalog().values():
        blank = object_stub(entry.solution, entry.given)
        ast.parse(blank)
        assert "raise NotImplementedError()" in blank, entry.id
        assert blank != object_source(entry.solution), entry.id


# --- structure ---


def test_text_and_cells_keep_their_lines(tmp_path):
    found = chapter(
        tmp_path,
        """
        ---
        file_format: mystnb
        ---
        # Title

        ```{code-cell} python
        :tags: [hide-input]
        x = 1
        ```

        End.
        """,
    )
    assert found.title == "Title"
    text, code, end = found.blocks
    assert isinstance(text, Text) and (text.line, text.lines[0]) == (4, "# Title")
    assert isinstance(code, Code) and (code.line, code.source, code.tags) == (
        6,
        "x = 1",
        ["hide-input"],
    )
    assert isinstance(end, Text) and end.line == 10


def test_a_cell_inside_a_longer_fence_is_an_example_only_if_it_is_no_cell(tmp_path):
    with pytest.raises(
        ChapterError, match=r"04_test\.md:4: a code cell stands inside another block"
    ):
        chapter(tmp_path, "# T\n\n:::{note}\n```{code-cell} python\n```\n:::\n")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (":tags: [raises-exception]\nx", "Run all"),
        (":tags: [hide_input]\nx", "unknown cell tag 'hide_input'"),
        (":excercise: block", "unknown cell option 'excercise'"),  # codespell:ignore excercise
        (":exercise: block\nx = 1", "stays empty"),
    ],
)
def test_a_mistake_in_a_cell_is_named_with_its_line(tmp_path, cell, message):
    with pytest.raises(ChapterError, match=rf"04_test\.md:3: .*{message}"):
        chapter(tmp_path, f"# T\n\n```{{code-cell}} python\n{cell}\n```\n")


def test_unclosed_blocks_are_named(tmp_path):
    with pytest.raises(ChapterError, match=r":3: the block that opens here is not closed"):
        chapter(tmp_path, "# T\n\n:::{note}\nText.\n")


# --- the page ---


@pytest.fixture(scope="module")
def page(everything, catalog) -> str:
    return page_source(everything, everything.read_text(encoding="utf-8"), catalog, FIXTURES)


def test_the_page_shows_the_stub_then_the_hints_then_the_folded_solution_then_the_check(page):
    order = [
        page.index(":class: exercise-stub"),
        page.index("{dropdown} Hint 1"),
        page.index("code_prompt_show: Solution"),
        page.index("report = check.block(Block)"),
    ]
    assert order == sorted(order)
    assert page.count("self.channels = channels") == 1  # the solution's only: the stub is blank


def test_the_page_runs_the_source_of_the_package(page):
    assert "# source:" not in page
    assert "def undocumented(x):" in page


def test_text_reaches_the_page_unchanged(page, everything):
    for line in everything.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith((":exercise", ":check", ":tags", "# source", "```")):
            assert line in page.splitlines(), line


def test_a_page_without_cells_from_the_package_is_left_alone(tmp_path):
    text = "# T\n\n```{code-cell} python\nx = 1\n```\n"
    assert page_source(tmp_path / "04_test.md", text) == text


EXERCISE = """# 4. T

### {heading}

```{{exercise}} {name}
```

```{{code-cell}} python
:exercise: {name}
```

```{{code-cell}} python
:check: {check}
```
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"heading": "Exercise 4.3: Write the block"},
            "the registry 'Exercise 4.2: Write the block'",
        ),
        ({"name": "nothing"}, "the registry has no exercise 'nothing'"),
        ({"check": "other"}, "no exercise 'other'|has 0 ':check:' cells"),
    ],
)
def test_an_exercise_that_is_not_whole_is_refused(tmp_path, catalog, change, message):
    values = {
        "heading": "Exercise 4.2: Write the block",
        "name": "block",
        "check": "block",
    } | change
    with pytest.raises(ChapterError, match=message):
        page_source(tmp_path / "04_test.md", EXERCISE.format(**values), catalog, FIXTURES)


def test_an_exercise_of_another_chapter_is_refused(tmp_path, catalog):
    text = EXERCISE.format(heading="Exercise 4.2: Write the block", name="block", check="block")
    with pytest.raises(ChapterError, match="belongs to chapter 4"):
        page_source(tmp_path / "05_test.md", text, catalog, FIXTURES)


def test_the_metadata_line_says_effort_and_worth(catalog):
    assert metadata_line(catalog["block"]) == (
        "Difficulty ●●●○○ · importance ●●●●● · 20 minutes · 5 points"
    )


def test_every_exercise_of_the_registry_stands_in_its_chapter():
    from resnet_tutorial.check.core import catalog

    placed = {
        cell.exercise: read_chapter(path).number
        for path in sorted((ROOT / "book").glob("[0-9][0-9]_*.md"))
        for cell in read_chapter(path).code()
        if cell.exercise
    }
    assert placed == {entry.id: entry.chapter for entry in catalog().values()}
