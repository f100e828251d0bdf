"""What a report shows: what fails, what holds, and what is only remarked on."""

from html.parser import HTMLParser

import pytest
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import check
from resnet_tutorial.check.core import CheckFailed, catalog
from resnet_tutorial.check.holds import ALWAYS, HOLDS, SILENT


class Block(nn.Module):
    """A basic block that can be written in ways that are right and worth a word."""

    expansion = 1
    zero_gamma = second_relu = early_relu = biased = False

    def __init__(self, in_channels, channels, stride=1, downsample=None):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=self.biased)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=self.biased)
        self.bn2 = nn.BatchNorm2d(channels)
        if self.zero_gamma:
            nn.init.zeros_(self.bn2.weight)
        if downsample is None and (stride != 1 or in_channels != channels):
            downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.downsample = downsample

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        if self.second_relu:
            out = F.relu(out)
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(out) + shortcut if self.early_relu else F.relu(out + shortcut)


def written(**choices):
    return type("Block", (Block,), choices)


class Items(HTMLParser):
    """Collects the text of the items of the list of what is right."""

    def __init__(self, html):
        super().__init__()
        self.items, self.inside = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "ul":
            self.inside = dict(attrs).get("aria-label", "") in ("Right", "What holds")
        if tag == "li" and self.inside:
            self.items.append("")

    def handle_data(self, data):
        if self.inside and self.items:
            self.items[-1] += data


def shown(report):
    return [item.removeprefix("✓ ") for item in Items(report._repr_html_()).items]


def test_a_right_block_is_told_what_is_right():
    report = check.basic_block(written())
    assert report.passed and not report.remarks
    assert {"the kernels' shapes", "gradients get through", "evaluation mode"} <= set(report.holds())
    assert shown(report) == report.holds()
    assert "Right: " in str(report)


def test_a_wrong_block_is_told_what_holds_all_the_same():
    report = check.basic_block(written(early_relu=True))
    assert [f.code for f in report.findings if not f.ok] == ["relu-before-add"]
    assert {"no bias before a batch norm", "all else that its output depends on"} <= set(report.holds())
    assert "What holds: " in str(report) and shown(report) == report.holds()
    assert not {"the values", "evaluation mode"} & set(report.holds())


def test_a_fault_that_the_output_does_not_show_hides_no_praise():
    report = check.basic_block(written(early_relu=True, biased=True))
    assert "no bias before a batch norm" not in report.holds()
    assert "all else that its output depends on" in report.holds()


def test_what_fails_in_one_case_is_not_praised_in_another():
    def output_size(size, kernel_size, stride=1, padding=0, dilation=1):
        return (size + 2 * padding - kernel_size) // stride + 1

    report = check.conv_output_size(output_size)
    failed = {f.code for f in report.findings if not f.ok}
    assert failed and not {HOLDS[code] for code in failed if code in HOLDS} & set(report.holds())


@pytest.mark.parametrize(
    "choice, words", [("zero_gamma", "begins at zero"), ("second_relu", "changes nothing and can go")]
)
def test_a_right_block_with_a_peculiarity_gets_a_remark(choice, words):
    report = check.basic_block(written(**{choice: True}))
    assert report.passed
    assert words in str(report) and words in report._repr_html_()


def test_no_remark_stands_beside_a_fault():
    report = check.basic_block(written(second_relu=True, early_relu=True))
    assert not report.passed and "can go" not in str(report)


@pytest.mark.parametrize("exercise", catalog().values(), ids=lambda exercise: exercise.id)
def test_there_are_words_for_all_that_holds(exercise):
    reports = [exercise._examine(exercise.load_solution()) for _ in range(3)]
    assert all(report.passed and report.holds() for report in reports)
    # A right number is now and then a wrong formula's number too, and bears that one's code.
    codes = set.intersection(*({f.code for f in report.findings if f.ok} for report in reports))
    assert not {c for c in codes if f"{exercise.id}/{c}" not in HOLDS} - HOLDS.keys() - SILENT


def test_what_is_said_of_wrong_answers_has_words():
    assert HOLDS.keys() >= ALWAYS


def test_the_book_s_version_is_not_taken_for_the_learner_s(monkeypatch, tmp_path):
    """A check that is run twice after a wrong answer meets what it has put in the answer's place."""
    monkeypatch.setenv("RESNET_TUTORIAL_PROGRESS", str(tmp_path / "progress.json"))
    wrong = check.needs_projection(lambda in_channels, out_channels, stride: stride == 2)
    again = check.needs_projection(wrong.working_version())
    assert "this is the book's version, not yours" in str(again) and "Run the cell with your answer again" in str(again)
    assert "passed" not in again._repr_html_().replace("that is not passed", "") and "Right" not in str(again)
    assert check.progress().exercises[0] == 0
    assert again.score == 0
    with monkeypatch.context() as graded, pytest.raises(CheckFailed, match="the book's version, not yours"):
        graded.setenv("NBGRADER_EXECUTION", "autograde")
        check.needs_projection(wrong.working_version())
    own = check.needs_projection(lambda in_channels, out_channels, stride: stride != 1 or in_channels != out_channels)
    assert "passed, 1 point" in str(own)
