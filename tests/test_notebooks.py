"""The notebooks: what the conversion makes of every construct, that they follow the chapters, and that they run."""

from __future__ import annotations

import re
import shutil

import make_notebooks
import nbformat
import pytest
from chapter_source import ChapterError
from conftest import FIXTURES, ROOT
from make_notebooks import chapters, dump, fit, make_notebook
from notebook_markdown import Book
from repository import Repository, move, repository

CHAPTERS = chapters()


@pytest.fixture(scope="module")
def book() -> Book:
    return Book(FIXTURES / "book", bibliography=ROOT / "book" / "references.bib")


@pytest.fixture(scope="module")
def make(everything, catalog, book):
    """Makes the notebook of the chapter with everything in it."""

    def build(path=everything, **options):
        return make_notebook(path, book=book, catalog=catalog, root=FIXTURES, **options)

    return build


@pytest.fixture(scope="module")
def notebook(make):
    return make()


@pytest.fixture(scope="module")
def text(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def cell(notebook, name: str):
    return next(cell for cell in notebook.cells if cell.id == name)


# --- Markdown ---


def test_nothing_of_myst_is_left(text):
    prose = re.sub(r"```.*?```|``.*?``|`[^`]*`|\$\$.*?\$\$", "", text, flags=re.S)
    assert not re.search(r"\{[a-z:]+\}|^:::|^\(.*\)=$|^%", prose, flags=re.M)
    assert "which nobody else sees" not in text
    assert "file_format" not in text


@pytest.mark.parametrize(
    "expected",
    [
        "cites [He et al. (2015)](https://arxiv.org/abs/1512.03385)",
        "([He et al., 2016](https://arxiv.org/abs/1603.05027); [Xie et al., 2016](https://arxiv.org/abs/1611.05431))",
        "Depth brings degradation, which many plain networks show.",
        "A `{term}` in code stays as it is, and so does ``a `tick` in code``.",
        "The section Exercise 4.2: Write the block stands on this page, [another page](05_other.ipynb) does not,",
        "nor does [A part of it](05_other.ipynb).",
        "Read [5. The other page](05_other.ipynb),",
        "or the [part `b`](05_other.ipynb).",
        "The [paper](https://arxiv.org/abs/1512.03385) is elsewhere.",
        "Inline $y = F(x) + x$ and $x_l$, and in (4.1) the sum:",
        "$$\ny_l = h(x_l) + F(x_l, W_l)\n\\tag{4.1}\n$$",
        "$$ \\sum_{i=1}^{n} x_i^2 $$",
        "\\tag{4.3}\n$$",
        "| `conv1` | 64 × 112 × 112 |",
        "> **Note.** A note with **bold** text.\n>\n> - and a list\n> - of two items",
        "> **Tip.** A tip begins on the line of its directive.",
        "> **Warning.**\n>\n> - A list first.",
        "> **Why `bias=False`?** The batch normalisation subtracts the mean.",
        "> <details>\n> <summary>And the <em>scale</em>?</summary>\n>\n> It multiplies.\n>\n> ```python",
        "<details>\n<summary>Folded away</summary>\n\nThe text.\n\n</details>",
        "> **Important.** With backticks.",
        "```text\n(not-a-label)=\n$ make book\n```",
        "*Difficulty ●●●○○ · importance ●●●●● · 20 minutes · 5 points*",
        "<summary>Why is there no ReLU before the addition?</summary>",
    ],
)
def test_each_construct_becomes_plain_markdown(text, expected):
    assert expected in text


def test_a_page_without_a_notebook_is_linked_where_it_is_published(make, everything):
    links = Repository("https://github.com/Ada/deep-nets", "main")
    text = "\n".join(cell.source for cell in make(links=links).cells)
    assert "[Glossary](https://ada.github.io/deep-nets/book/glossary.html)" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{index}`x`", r"the role '\{index\}'"),
        (":::{margin}\nx\n:::", r"the directive '\{margin\}'"),
        ("{ref}`nowhere`", "nothing is labelled 'nowhere'"),
        ("{doc}`99_missing`", "there is no page '99_missing'"),
        ("{cite}`nobody1999`", "no entry 'nobody1999'"),
        ("{eq}`nothing`", "no equation is labelled 'nothing'"),
        ("![A cat](cat.svg)", "there is no file 'cat.svg'"),
        ("[a page](99_missing.md)", "there is no page '99_missing'"),
    ],
)
def test_what_a_notebook_cannot_show_is_an_error_with_file_and_line(tmp_path, make, line, message):
    path = tmp_path / "04_wrong.md"
    path.write_text(f"# 4. Wrong\n\nA first line.\n{line}\n", encoding="utf-8")
    with pytest.raises(ChapterError, match=rf"04_wrong\.md:4: .*{message}"):
        make(path)


# --- cells ---


def test_a_notebook_opens_with_title_badge_and_installation(notebook):
    title, install, first = notebook.cells[:3]
    assert title.source.startswith("# 4. Everything a chapter may hold\n\n[![Open in Colab]")
    assert f"{repository().slug}/blob/main/notebooks/04_everything.ipynb" in title.source
    assert f"%pip install -q git+{repository().url}@main" in install.source
    assert 'find_spec("resnet_tutorial") is None' in install.source
    assert first.source.startswith("The first sentence")


def test_what_is_folded_on_the_page_is_folded_in_the_notebook():
    notebook = make_notebook(ROOT / "book" / "04_bottleneck.md")
    folded = [cell for cell in notebook.cells if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert folded and all(cell.metadata["cellView"] == "form" for cell in folded)
    assert all("nbgrader" not in cell.metadata for cell in folded)


def test_it_closes_with_the_score(notebook):
    assert notebook.cells[-1].source.endswith("check.progress(chapter=4)")


def test_nothing_was_run(notebook):
    for found in notebook.cells:
        if found.cell_type == "code":
            assert found.outputs == [] and found.execution_count is None


def test_cells_are_those_of_the_page_save_what_is_for_the_page_only(notebook):
    sources = [found.source for found in notebook.cells if found.cell_type == "code"]
    assert any(source.startswith("def undocumented(x):") for source in sources)
    assert not any("only on the page" in source for source in sources)


def test_exercises_are_blank_and_carry_nbgraders_marks(notebook):
    answer, check = cell(notebook, "ch04-exercise-block"), cell(notebook, "ch04-check-block")
    assert answer.source.count("raise NotImplementedError()") == 3
    assert answer.metadata.nbgrader == {
        "grade": False, "grade_id": "block", "locked": False, "schema_version": 3, "solution": True, "task": False,
    }  # fmt: skip
    assert check.metadata.nbgrader == {
        "grade": True, "grade_id": "check-block", "locked": True, "points": 5, "schema_version": 3,
        "solution": False, "task": False,
    }  # fmt: skip


def test_nbgrader_accepts_the_marks(notebook):
    from nbgrader.preprocessors import CheckCellMetadata

    CheckCellMetadata().preprocess(notebook, {})


def test_the_solved_variant_has_the_packages_own_code(make, notebook):
    solved = make(solved=True)
    assert [found.id for found in solved.cells] == [found.id for found in notebook.cells]
    assert "NotImplementedError" not in cell(solved, "ch04-exercise-block").source
    assert "self.channels = channels" in cell(solved, "ch04-exercise-block").source


def test_a_chapter_may_ask_colab_for_a_gpu(tmp_path, make):
    path = tmp_path / "08_test.md"
    path.write_text("---\naccelerator: GPU\n---\n# 8. Training\n", encoding="utf-8")
    assert make(path).metadata.accelerator == "GPU"


# --- the same input, the same bytes ---


def test_making_a_notebook_twice_gives_the_same_bytes(make):
    assert dump(make()) == dump(make())


def test_ids_are_unique_and_short_and_follow_labels(notebook):
    names = [found.id for found in notebook.cells]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"ch04-[a-z0-9-]{1,59}", name) for name in names)
    assert "ch04-everything-exercise-1" in names


def test_an_edit_in_one_section_moves_no_ids_in_another(tmp_path, everything, make, notebook):
    folder = shutil.copytree(FIXTURES / "book", tmp_path / "book")
    path = folder / everything.name
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("## Boxes\n", "## Boxes\n\n```{code-cell} python\ny = 1\n```\n"),
        encoding="utf-8",
    )
    before = {found.id: found.source for found in notebook.cells}
    after = {found.id: found.source for found in make(path).cells}
    assert {name for name in after if after[name] != before.get(name)} == {
        "ch04-boxes-1", "ch04-boxes-2", "ch04-boxes-3",
    }  # fmt: skip


def test_a_long_name_still_fits(notebook):
    assert len(fit("ch04-" + "x" * 100, "-12")) == 64
    assert fit("ch04-" + "x" * 100) != fit("ch04-" + "x" * 101)


# --- in step with the chapters ---


@pytest.fixture
def small_book(tmp_path):
    """A book of one chapter, with its notebook made."""
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "01_small.md").write_text("# 1. Small\n\nText.\n", encoding="utf-8")
    arguments = ["--book", str(folder), "--notebooks", str(tmp_path / "notebooks")]
    assert make_notebooks.main(arguments) == 0
    return folder / "01_small.md", tmp_path / "notebooks" / "01_small.ipynb", arguments


def test_check_passes_on_what_was_just_made_and_writes_nothing(small_book):
    _, made, arguments = small_book
    before = made.stat().st_mtime_ns
    assert make_notebooks.main([*arguments, "--check"]) == 0
    assert make_notebooks.main(arguments) == 0
    assert made.stat().st_mtime_ns == before


def test_check_notices_an_edited_chapter(small_book, capsys):
    source, _, arguments = small_book
    source.write_text("# 1. Small\n\nOther text.\n", encoding="utf-8")
    assert make_notebooks.main([*arguments, "--check"]) == 1
    error = capsys.readouterr().err
    assert "Other text." in error and "make notebooks" in error


def test_check_notices_an_edited_notebook(small_book):
    _, made, arguments = small_book
    made.write_text(made.read_text(encoding="utf-8").replace("Text.", "Edited."), encoding="utf-8")
    assert make_notebooks.main([*arguments, "--check"]) == 1


def test_check_notices_a_missing_and_a_left_over_notebook(small_book, capsys):
    _, made, arguments = small_book
    made.rename(made.with_name("02_old.ipynb"))
    assert make_notebooks.main([*arguments, "--check"]) == 1
    error = capsys.readouterr().err
    assert "01_small.ipynb is missing" in error and "02_old.ipynb has no chapter" in error
    assert make_notebooks.main(arguments) == 0
    assert [path.name for path in made.parent.iterdir()] == ["01_small.ipynb"]


def test_the_committed_notebooks_follow_the_chapters(capsys):
    assert make_notebooks.main(["--check"]) == 0, capsys.readouterr().err


# --- a fork ---


def test_one_edit_in_the_configuration_changes_every_link(tmp_path, make, monkeypatch):
    monkeypatch.delenv("RESNET_TUTORIAL_REPOSITORY", raising=False)
    config = tmp_path / "_config.yml"
    original = (ROOT / "_config.yml").read_text(encoding="utf-8")
    address = repository().url
    assert original.count(address) == 1
    config.write_text(
        original.replace(address, "https://github.com/ada/deep-nets"), encoding="utf-8"
    )
    text = dump(make(links=repository(config)))
    assert (
        "colab.research.google.com/github/ada/deep-nets/blob/main/notebooks/04_everything.ipynb"
        in text
    )
    assert "git+https://github.com/ada/deep-nets@main" in text
    assert repository().slug not in text


def test_the_address_stands_in_one_file_only():
    address = repository(ROOT / "_config.yml").slug
    derived = {".ipynb"}
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in ("book", "tools", "resnet_tutorial", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".js", ".css", ".html", ".yml", ".toml"} - derived
        and address in path.read_text(encoding="utf-8")
    ]
    assert found == []


@pytest.mark.parametrize("value", ["ada/deep-nets", "https://github.com/ada/deep-nets.git"])
def test_one_command_puts_a_forks_address_into_the_files(tmp_path, monkeypatch, value):
    monkeypatch.delenv("RESNET_TUTORIAL_REPOSITORY", raising=False)
    names = ["CITATION.cff", "README.md", "_config.yml"]
    before = {name: (ROOT / name).read_text(encoding="utf-8") for name in names}
    for name, text in before.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert move(value, tmp_path) == names
    assert repository(tmp_path / "_config.yml").url == "https://github.com/ada/deep-nets"
    for name, text in before.items():  # the address and nothing else
        after = (tmp_path / name).read_text(encoding="utf-8")
        moved = text.replace(repository().slug, "ada/deep-nets")
        moved = moved.replace(repository().site(), "https://ada.github.io/deep-nets/")
        assert after == moved != text
    assert move(value, tmp_path) == []


@pytest.mark.parametrize("value", ["ada/deep-nets", "https://github.com/ada/deep-nets.git"])
def test_the_deploy_job_can_name_another_repository(monkeypatch, value):
    monkeypatch.setenv("RESNET_TUTORIAL_REPOSITORY", value)
    assert repository().url == "https://github.com/ada/deep-nets"


# --- they run ---


@pytest.mark.notebooks
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_untouched_notebook_runs_to_its_end(path):
    from kernels import run

    notebook = nbformat.read(ROOT / "notebooks" / f"{path.stem}.ipynb", as_version=4)
    result = run(notebook)
    assert not result.failure, result.failure
    for found in notebook.cells:
        if found.metadata.get("nbgrader", {}).get("grade"):
            said = "".join(output.get("data", {}).get("text/plain", "") for output in found.outputs)
            assert "not attempted yet" in said, f"{found.id}: {said or 'no report'}"
