"""What the checks' machinery does with whatever a learner hands it."""

import pytest
import torch

from resnet_tutorial import check
from resnet_tutorial.check.core import CheckFailed, Exercise


def make_exercise(check_function) -> Exercise:
    return Exercise(
        "example", 4, 2, "Example", 1, 1, 5, 2, "resnet_tutorial.blocks:Bottleneck", (), check_function
    )


def doubles(attempt, expect):
    got = attempt(3)
    expect(got == 6, "wrong-value", f"3 became {got}, not 6.", hint="Multiply by two.")


def test_a_right_answer_passes_and_is_used():
    def mine(x):
        return x + x

    report = make_exercise(doubles)(mine)
    assert report.passed and report.score == 1.0
    assert report.working_version() is mine
    assert "passed, 2 points" in str(report)


def test_a_wrong_answer_is_explained_and_the_books_version_goes_on():
    report = make_exercise(doubles)(lambda x: x)
    assert not report.passed and report.score == 0.0
    assert [f.code for f in report.findings if not f.ok] == ["wrong-value"]
    assert "3 became 3, not 6." in str(report) and "Multiply by two." in str(report)
    assert report.working_version().__name__ == "Bottleneck"


def test_html_escapes_what_the_learner_wrote():
    report = make_exercise(doubles)(lambda x: "<script>")
    assert "&lt;script&gt;" in report._repr_html_() and "<script>" not in report._repr_html_()


def untouched(x):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("attempt", [None, ..., untouched])
def test_a_blank_is_not_attempted(attempt):
    report = make_exercise(doubles)(attempt)
    assert not report.attempted and not report.passed
    assert "not attempted" in str(report)


def test_an_exception_becomes_a_finding_with_the_learners_line():
    def mine(x):
        return x.shape

    report = make_exercise(doubles)(mine)
    (finding,) = report.findings
    assert finding.code == "raised"
    assert "AttributeError" in finding.message and "return x.shape" in finding.message


def test_a_check_that_looks_at_nothing_passes_nobody():
    assert not make_exercise(lambda attempt, expect: None)(untouched).passed


def test_the_learners_random_numbers_stay_as_they_were():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    make_exercise(lambda attempt, expect: expect(torch.rand(5).sum() > 0, "x", "y"))(untouched)
    assert torch.equal(torch.rand(3), expected)


def test_under_nbgrader_a_failed_check_fails_its_cell(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(CheckFailed, match="3 became 3"):
        make_exercise(doubles)(lambda x: x)
    assert make_exercise(doubles)(lambda x: 2 * x).passed


def test_every_exercise_of_the_book_has_a_solution_that_passes():
    exercises = check.catalog()
    assert exercises
    for name, exercise in exercises.items():
        report = getattr(check, name)(exercise.load_solution())
        assert report.passed, f"{name}: {report}"


def test_numbers_are_unique_and_run_from_one_in_each_chapter():
    numbers: dict[int, list[int]] = {}
    for exercise in check.catalog().values():
        numbers.setdefault(exercise.chapter, []).append(exercise.number)
    for chapter, found in numbers.items():
        assert found == list(range(1, len(found) + 1)), f"chapter {chapter}: {found}"


def test_an_unknown_exercise_is_named_with_what_there_is():
    with pytest.raises(AttributeError, match="bottleneck"):
        check.botleneck  # noqa: B018
