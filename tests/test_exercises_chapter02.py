"""Chapter 2's checks: right answers in several styles pass, each known mistake is named."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from resnet_tutorial import check, shapes
from resnet_tutorial.solutions import chapter02

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from chapter_source import stub_source

IDS = (
    "conv_output_size", "pixels_seen", "sizes_that_give_seven", "find_shrinking_layer",
    "conv_params", "field_of_stack",
)  # fmt: skip


def first_failure(report) -> str:
    return next(finding.code for finding in report.findings if not finding.ok)


@pytest.mark.parametrize("name", IDS)
def test_the_books_solution_passes(name):
    entry = check.catalog()[name]
    assert entry.chapter == 2 and entry.number == IDS.index(name) + 1
    report = entry(entry.load_solution())
    assert report.passed, str(report)


@pytest.mark.parametrize("name", IDS)
def test_the_blank_is_not_attempted(name, tmp_path):
    entry = check.catalog()[name]
    stub = (
        tmp_path / "stub.py"
    )  # from a file, so that the traceback knows its lines, as in a notebook
    stub.write_text(stub_source(entry))
    namespace = {}
    exec(compile(stub.read_text(), str(stub), "exec"), namespace)
    report = entry(namespace[name])
    assert not report.attempted and not report.passed


# --- 2.1 ---


def walks(size, kernel_size, stride=1, padding=0, dilation=1):
    """Count the positions one by one."""
    count, left, extent = 0, -padding, dilation * (kernel_size - 1) + 1
    while left + extent <= size + padding:
        count, left = count + 1, left + stride
    if count == 0:
        raise ValueError("does not fit")
    return count


def torch_formula(size, kernel_size, stride=1, padding=0, dilation=1):
    out = math.floor((size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1)
    if out < 1:
        raise ValueError(f"out of range: {out}")
    return out


def with_a_layer(size, kernel_size, stride=1, padding=0, dilation=1):
    row, kernel = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel_size)
    try:
        y = torch.nn.functional.conv1d(row, kernel, None, stride, padding, dilation)
    except RuntimeError as error:
        raise ValueError("does not fit") from error
    return torch.tensor(y.shape[-1])


@pytest.mark.parametrize("attempt", [walks, torch_formula, with_a_layer])
def test_output_size_in_another_style(attempt):
    report = check.conv_output_size(attempt)
    assert report.passed, str(report)


def size_by(formula):
    def attempt(size, kernel_size, stride=1, padding=0, dilation=1):
        return formula(size, kernel_size, stride, padding, dilation)

    return attempt


@pytest.mark.parametrize(
    "code, formula",
    [
        ("wrong-type", lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) / s + 1),
        ("wrong-type", lambda n, k, s, p, d: print("112")),
        ("wrong-type", lambda n, k, s, p, d: str((n + 2 * p - d * (k - 1) - 1) // s + 1)),
        ("wrong-type", lambda n, k, s, p, d: 112 if n == 224 else None),
        ("wrong-positions", lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s),
        ("padding-once", lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1),
        ("wrong-padding", lambda n, k, s, p, d: (n - d * (k - 1) - 1) // s + 1 if p != 1 else 0),
        ("rounds-up", lambda n, k, s, p, d: math.ceil((n + 2 * p - d * (k - 1) - 1) / s) + 1),
        ("rounds-up", lambda n, k, s, p, d: round((n + 2 * p - d * (k - 1) - 1) / s + 1)),
        ("stride-wrong", lambda n, k, s, p, d: n + 2 * p - d * (k - 1)),
        ("dilation-ignored", lambda n, k, s, p, d: (n + 2 * p - k) // s + 1),
        ("dilation-wrong", lambda n, k, s, p, d: (n + 2 * p - d * k) // s + 1),
        ("kernel-does-not-fit", lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s + 1),
        (
            "kernel-does-not-fit",
            lambda n, k, s, p, d: max(0, (n + 2 * p - d * (k - 1) - 1) // s + 1),
        ),
        ("raised", lambda n, k, s, p, d: n + undefined),  # noqa: F821
    ],
)
def test_output_size_names_the_mistake(code, formula):
    assert first_failure(check.conv_output_size(size_by(formula))) == code


# --- 2.2 ---


def by_gradient(size, kernel_size, stride=1, padding=0, dilation=1):
    import torch
    import torch.nn.functional as F

    x = torch.ones(1, 1, size, requires_grad=True)
    F.conv1d(x, torch.ones(1, 1, kernel_size), None, stride, padding, dilation).sum().backward()
    return int((x.grad != 0).sum())


def by_mask(size, kernel_size, stride=1, padding=0, dilation=1):
    mask = np.zeros(size + 2 * padding, bool)
    for o in range(shapes.conv_output_size(size, kernel_size, stride, padding, dilation)):
        mask[o * stride : o * stride + dilation * (kernel_size - 1) + 1 : dilation] = True
    return mask[padding : padding + size].sum()


def by_sum(*arguments, **options):
    return torch.tensor(by_mask(*arguments, **options))


def by_pixel(size, kernel_size, stride=1, padding=0, dilation=1):
    outputs = shapes.conv_output_size(size, kernel_size, stride, padding, dilation)

    def seen(pixel):
        return any(
            pixel == o * stride - padding + t * dilation
            for o in range(outputs)
            for t in range(kernel_size)
        )

    return sum(seen(pixel) for pixel in range(size))


@pytest.mark.parametrize("attempt", [by_gradient, by_pixel, by_mask, by_sum])
def test_pixels_seen_in_another_style(attempt):
    report = check.pixels_seen(attempt)
    assert report.passed, str(report)


def taps(size, kernel_size, stride, padding, dilation):
    outputs = shapes.conv_output_size(size, kernel_size, stride, padding, dilation)
    return [o * stride - padding + t * dilation for o in range(outputs) for t in range(kernel_size)]


@pytest.mark.parametrize(
    "code, formula",
    [
        ("counts-twice", lambda n, *rest: len([t for t in taps(n, *rest) if 0 <= t < n])),
        ("counts-padding", lambda *all: len(set(taps(*all)))),
        ("counts-unseen", lambda n, *rest: n - len(set(taps(n, *rest)) & set(range(n)))),
        ("wrong-type", lambda n, *rest: set(taps(n, *rest)) & set(range(n))),
        ("padding-not-subtracted", lambda n, k, s, p, d: len({t + p for t in taps(n, k, s, p, d) if t + p < n})),
        ("wrong-type", lambda n, *rest: str(n)),
        ("wrong-value", lambda n, *rest: n),
        ("wrong-value", lambda n, k, s, p, d: len(set(taps(n, k, s, p, 1)) & set(range(n)))),
    ],
)
def test_pixels_seen_names_the_mistake(code, formula):
    assert first_failure(check.pixels_seen(size_by(formula))) == code


# --- 2.3 and 2.4 ---


def test_sizes_that_give_seven_are_those_of_a_real_network():
    import torch

    from resnet_tutorial import resnet18

    with torch.device("meta"):
        network = resnet18().eval()
    smallest, largest = chapter02.sizes_that_give_seven()
    maps = [
        network.forward_features(torch.empty(1, 3, side, side, device="meta")).shape[-1]
        for side in (smallest - 1, smallest, largest, largest + 1)
    ]
    assert maps == [6, 7, 7, 8]


@pytest.mark.parametrize(
    "code, answer",
    [
        ("wrong-type", 224),
        ("wrong-type", (193.0, 224.0)),
        ("wrong-type", (0, 224)),
        ("wrong-type", ("193", "224")),
        ("wrong-type", None),
        ("swapped", (224, 193)),
        ("wrong-smallest", (224, 300)),
        ("wrong-smallest", (224, 224)),
        ("wrong-smallest", (192, 224)),
        ("wrong-largest", (193, 225)),
        ("wrong-largest", (193, 223)),
    ],
)
def test_sizes_names_the_mistake(code, answer):
    assert first_failure(check.sizes_that_give_seven(lambda: answer)) == code


@pytest.mark.parametrize(
    "answer", [(193, 224), [6 * 32 + 1, 7 * 32], np.array([193, 224]), tuple(torch.tensor([193, 224]))]
)
def test_sizes_in_another_style(answer):
    assert check.sizes_that_give_seven(lambda: answer).passed


@pytest.mark.parametrize(
    "code, answer",
    [
        ("wrong-type", 2),
        ("wrong-type", ("2", 2)),
        ("wrong-type", (2, 2, 2)),
        ("wrong-layer", (3, 2)),
        ("wrong-layer", (5, 2)),
        ("wrong-layer", (-3, 2)),
        ("wrong-padding", (2, 1)),
        ("wrong-padding", (2, 3)),
        ("wrong-padding", (2, -2)),
    ],
)
def test_shrinking_layer_names_the_mistake(code, answer):
    assert first_failure(check.find_shrinking_layer(lambda: answer)) == code


@pytest.mark.parametrize("answer", [(2, 2), [2, 2], tuple(np.array([2, 2])), torch.tensor([2, 2])])
def test_shrinking_layer_in_another_style(answer):
    assert check.find_shrinking_layer(lambda: answer).passed


# --- 2.5 ---


def counts_a_layer(in_channels, out_channels, kernel_size, groups=1, bias=False):
    from torch import nn

    layer = nn.Conv2d(
        in_channels, out_channels, kernel_size, groups=groups, bias=bias, device="meta"
    )
    return sum(p.numel() for p in layer.parameters())


def sums_groups(in_channels, out_channels, kernel_size, groups=1, bias=False):
    if in_channels % groups or out_channels % groups:
        raise ValueError("groups must divide both")
    one = (in_channels // groups) * (out_channels // groups) * kernel_size * kernel_size
    return sum(one for _ in range(groups)) + out_channels * int(bias)


def counts_with_torch(*arguments, **options):
    return torch.tensor(counts_a_layer(*arguments, **options))


@pytest.mark.parametrize("attempt", [counts_a_layer, sums_groups, counts_with_torch])
def test_params_in_another_style(attempt):
    report = check.conv_params(attempt)
    assert report.passed, str(report)


def params_by(formula):
    def attempt(in_channels, out_channels, kernel_size, groups=1, bias=False):
        return formula(in_channels, out_channels, kernel_size, groups, bias)

    return attempt


@pytest.mark.parametrize(
    "code, formula",
    [
        ("wrong-type", lambda i, o, k, g, b: o * i / g * k * k + b * o),
        ("kernel-not-squared", lambda i, o, k, g, b: o * (i // g) * k + b * o),
        ("bias-always", lambda i, o, k, g, b: o * (i // g) * k * k + o),
        ("bias-ignored", lambda i, o, k, g, b: o * (i // g) * k * k),
        ("bias-per-input", lambda i, o, k, g, b: o * (i // g) * k * k + b * i),
        ("groups-ignored", lambda i, o, k, g, b: o * i * k * k + b * o),
        ("groups-twice", lambda i, o, k, g, b: (o // g) * (i // g) * k * k + b * o),
        ("wrong-value", lambda i, o, k, g, b: o * k * k + b * o),
        ("groups-not-refused", lambda i, o, k, g, b: o * (i // g) * k * k + b * o),
    ],
)
def test_params_names_the_mistake(code, formula):
    assert first_failure(check.conv_params(params_by(formula))) == code


def test_params_keep_their_defaults():
    def attempt(in_channels, out_channels, kernel_size, groups=1, bias=True):
        return sums_groups(in_channels, out_channels, kernel_size, groups, bias)

    assert first_failure(check.conv_params(attempt)) == "wrong-default"


# --- 2.6 ---


def from_the_top(layers):
    """Walk from the output down to the input."""
    size, jump = 1, 1
    for kernel, stride, dilation in reversed(layers):
        size = (size - 1) * stride + dilation * (kernel - 1) + 1
        jump *= stride
    return size, jump


@pytest.mark.parametrize(
    "attempt", [from_the_top, shapes.receptive_field, lambda layers: np.array(from_the_top(layers))]
)
def test_field_in_another_style(attempt):
    report = check.field_of_stack(attempt)
    assert report.passed, str(report)


def folds(step):
    """A solution whose loop body is ``step(size, jump, kernel, stride, dilation)``."""

    def attempt(layers):
        size, jump = 1, 1
        for layer in layers:
            size, jump = step(size, jump, *layer)
        return size, jump

    return attempt


def empties(layers):
    answer = from_the_top(list(layers))
    while layers:
        layers.pop()
    return answer


@pytest.mark.parametrize(
    "code, attempt",
    [
        ("wrong-type", lambda layers: shapes.receptive_field(layers).size),
        ("swapped", lambda layers: from_the_top(layers)[::-1]),
        ("wrong-type", lambda layers: tuple(str(v) for v in from_the_top(layers))),
        ("sums-kernels", folds(lambda r, j, k, s, d: (r + k * d * j, j * s))),
        ("sums-kernels", lambda layers: (sum(k for k, _, _ in layers), math.prod(s for _, s, _ in layers))),
        ("jump-ignored", folds(lambda r, j, k, s, d: (r + d * (k - 1), j * s))),
        ("jump-too-early", folds(lambda r, j, k, s, d: (r + d * (k - 1) * j * s, j * s))),
        ("dilation-ignored", folds(lambda r, j, k, s, d: (r + (k - 1) * j, j * s))),
        ("wrong-jump", lambda layers: (from_the_top(layers)[0], sum(s for _, s, _ in layers) or 1)),
        ("wrong-jump", folds(lambda r, j, k, s, d: (r + d * (k - 1) * j, j * s * d))),
        ("modifies-input", empties),
        ("raised", lambda layers: layers[0] and from_the_top(layers)),
        ("wrong-value", lambda layers: (7, 1)),
    ],
)  # fmt: skip
def test_field_names_the_mistake(code, attempt):
    assert first_failure(check.field_of_stack(attempt)) == code


# --- what a report says ---


@size_by
def equal_span_refused(n, k, s, p, d):
    if d * (k - 1) + 1 == n + 2 * p:
        raise ValueError
    return walks(n, k, s, p, d)


def test_an_exception_says_of_which_call():
    assert "conv_output_size(5, 5) was called" in str(check.conv_output_size(equal_span_refused))
    report = check.field_of_stack(lambda layers: layers[0] and from_the_top(layers))
    assert "field_of_stack([]) was called" in str(report)


def test_each_fault_is_told_once():
    def rounded_up(n, k, s, p, d):
        walks(n, k, s, p, d)
        return math.ceil((n + 2 * p - d * (k - 1) - 1) / s) + 1

    for report in (check.field_of_stack(empties), check.conv_output_size(size_by(rounded_up))):
        assert len([finding for finding in report.findings if not finding.ok]) == 1, report


@pytest.mark.parametrize("name", ["pixels_seen", "conv_params", "field_of_stack"])
def test_a_right_number_bears_no_mistakes_code(name):
    entry = check.catalog()[name]
    mistakes = {"counts-twice", "counts-padding", "counts-unseen", "sums-kernels", "jump-ignored", "bias-ignored"}
    assert not mistakes & {finding.code for finding in entry(entry.load_solution()).findings}
