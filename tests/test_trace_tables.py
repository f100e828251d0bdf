"""What a reader of a trace sees: the table as text and as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from resnet_tutorial import SplitTransformMerge, build_model, resnet18, resnet50, resnet152, trace

HEADINGS = ["operation", "module", "output shape", "parameters", "MACs", "receptive field"]


@pytest.fixture(scope="module")
def t():
    with torch.device("meta"):
        return trace(resnet50())


def rows_of(text):
    """Return the lines of the table, split at two blanks or more."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("----")) + 1
    end = next(i for i, line in enumerate(lines[start:], start) if not line)
    return lines[start:end]


def numbers_below(text, heading):
    """Return the numbers of a column, read by position as an eye would."""
    head = next(line for line in text.splitlines() if line.startswith("operation"))
    end = head.index(heading) + len(heading)
    cells = [line[:end].rsplit("  ", 1)[-1] for line in rows_of(text) if len(line) >= end]
    return [int(cell.replace(",", "")) for cell in cells if cell.replace(",", "").strip().isdigit()]


def test_print_shows_the_columns_and_the_totals(t):
    text = str(t)
    assert text.startswith("ResNet, input (1, 3, 224, 224), training mode")
    head = next(line for line in text.splitlines() if line.startswith("operation"))
    assert [heading for heading in HEADINGS if heading in head] == HEADINGS
    assert "conv2d 7x7, stride 2" in text and "(1, 64, 112, 112)" in text
    assert "25,557,032" in text and "4,089,185,256" in text
    assert max(map(len, text.splitlines())) < 130


@pytest.mark.parametrize(
    "options", [{}, {"collapse": False}, {"depth": 1}, {"depth": 2}, {"depth": 2, "collapse": False}]
)
@pytest.mark.parametrize("name", ["resnet50", "resnet152", "resnext50_32x4d"])
def test_columns_add_up_however_much_is_shown(name, options):
    with torch.device("meta"):
        t = trace(build_model(name))
    text = t.table(**options)
    assert sum(numbers_below(text, "parameters")) == t.params
    assert sum(numbers_below(text, "MACs")) == t.macs


def test_repeated_blocks_are_shown_once():
    with torch.device("meta"):
        t = trace(resnet152())
    text = str(t)
    assert "34 more like it" in text and "layer3.2 to layer3.35" in text
    assert len(text.splitlines()) < 150 < len(t.table(collapse=False).splitlines())
    paths = trace(SplitTransformMerge(64, 64), (1, 64, 8, 8))
    assert "30 more like it" in str(paths)  # a path and its addition, thirty times


def test_what_differs_is_not_taken_for_a_repetition():
    def block(kernel):
        return nn.Sequential(nn.Conv2d(3, 3, kernel, padding=kernel // 2), nn.ReLU(), nn.ReLU())

    t = trace(nn.Sequential(block(1), block(3), block(3)), (1, 3, 4, 4))
    assert str(t).count("once more") == 1


def test_both_branches_stand_at_an_addition(t):
    lines = rows_of(str(t))
    add = next(i for i, line in enumerate(lines) if line.startswith("add"))
    assert lines[add - 2].split()[:3] == ["branch", "from", "layer1.0.bn3"]
    assert lines[add - 1].split()[:3] == ["shortcut", "from", "layer1.0.downsample.1"]
    assert lines[add - 2].rstrip().endswith("19") and lines[add - 1].rstrip().endswith("11")
    assert "shortcut (identity)" in str(t)


def test_stages(t):
    lines = [line for line in rows_of(t.table(depth=1)) if line.startswith("Sequential")]
    assert [line.split()[1] for line in lines] == ["layer1", "layer2", "layer3", "layer4"]
    assert "(1, 256, 56, 56)" in lines[0]


class Table(HTMLParser):
    """Collects what matters of a table's structure."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags are nested"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def test_the_html_table_is_accessible(t):
    table = Table(t._repr_html_())
    assert not table.open
    assert "caption" in table.tags
    columns = [a for tag, a in table.attributes if tag == "th" and a.get("scope") == "col"]
    assert len(columns) == len(HEADINGS)
    rows = [a for tag, a in table.attributes if tag == "th" and a.get("scope") == "row"]
    assert len(rows) == table.tags.count("tr") - 1 == len(rows_of(str(t)))
    (region,) = [a for _, a in table.attributes if a.get("role") == "region"]
    assert region["aria-label"] and region["tabindex"] == "0"
    for words in (*HEADINGS, "25,557,032", "4,089,185,256", "once more"):
        assert words in "".join(table.text)


def test_html_is_escaped():
    class Odd(nn.Module):
        def forward(self, x):
            return (lambda y: y < 1)(x) + x[:, :, :2]

    html = trace(lambda x: Odd()(x), (1, 3, 4))._repr_html_()
    assert "<lambda>" not in html and "&lt;lambda&gt;" in html
    Table(html)


def test_a_broken_network_is_shown_up_to_its_end():
    model = resnet18()
    model.layer2[0].downsample = None
    t = trace(model)
    for text in (str(t), t._repr_html_()):
        assert "layer1.1" in text and "layer3" not in text and "fails" in text
        for note in (t.failure.message, t.failure.cause, t.failure.fix):
            assert " ".join(note.split()[:5]) in text.replace("&#x27;", "'")
    assert repr(t) == "<Trace of ResNet: 23 operations, ends at add>"


def test_paths_of_this_machine_do_not_show():
    model = resnet18()
    model.layer2[0].downsample = None
    t = trace(model)
    for text in (str(t), t._repr_html_(), t.to_json(), str(t.to_records()), str(t.diff(resnet18()))):
        assert __file__.rpartition("/tests")[0] not in text


def test_nothing_to_show():
    for t in (trace(nn.Identity(), (1, 3)), trace(lambda: 1 / 0), trace(nn.Module(), (1, 3))):
        assert str(t) and t._repr_html_() and repr(t) and t.to_json()
        assert t.params == t.macs == len(t.to_records()) == 0


def test_amounts_of_memory():
    assert "24 bytes" in str(trace(lambda x: x + 1, (2, 3)))
    assert "4.1 kB" in str(trace(lambda x: x + 1, (32, 32)))
