"""Chapter 11's checks: right answers in several styles pass, wrong ones are named."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import Bottleneck, check
from resnet_tutorial.solutions import chapter11
from resnet_tutorial.solutions.chapter11_blocks import SUSPECTS

EXERCISES = ("can_lower_a_value", "missing_projections", "extra_biases", "pooling_range", "name_faults")
ANSWERS = chapter11.name_faults()


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def lower(*, copied=True, random=True, clone=True, x=torch.rand, less=torch.lt, answer=bool):
    def can_lower(block, channels):
        trial = copy.deepcopy(block).train() if copied else block
        if random:
            for parameter in trial.parameters():
                parameter.data.uniform_(-1, 1)
        given = x(4, channels, 6, 7)
        kept = given.clone() if clone else given
        with torch.no_grad():
            return answer(less(trial(given), kept).any())

    return can_lower


def cases(*, pairs=((16, 1), (16, 2), (8, 1), (8, 2)), errors=Exception, shape=True, sides=(1, 2, 3)):
    def missing(make):
        found = []
        for channels, stride in pairs:
            try:
                y = make(channels, 4, stride)(torch.randn(3, channels, 8, 8))
                due = (3, 16, 8 // stride, 8 // stride)
                if shape and any(y.shape[side] != due[side] for side in sides):
                    found.append((channels, stride))
            except errors:
                found.append((channels, stride))
        return found

    return missing


def trains_the_block_first(block, channels):
    return lower()(block.train(), channels)


def restores_the_weights_only(block, channels):
    kept = copy.deepcopy(block.state_dict())
    found = lower(copied=False)(block.train(), channels)
    block.load_state_dict(kept)
    return found


def switches_gradients_off(block, channels):
    return lower()(block.requires_grad_(False), channels)


def by_name(make):
    """The right cases, with names that the book's own Bottleneck does not have."""
    return cases()(lambda c, m, s: make(in_channels=c, mid_channels=m, stride=s))


def cases_with_stride_by_name(make):
    """The right cases; every block calls its stride so."""
    return cases()(lambda c, m, s: make(c, m, stride=s))


def makes_outside_try(make):
    found = []
    for channels, stride in ((16, 1), (16, 2), (8, 1), (8, 2)):
        block = make(channels, 4, stride)
        found += cases(pairs=((channels, stride),))(lambda *settings, block=block: block)
    return found


def by_size(make):
    found = []
    for channels, stride in ((16, 1), (16, 2), (8, 1), (8, 2)):
        try:
            wrong = make(channels, 4, stride)(torch.rand(2, channels, 8, 8)).numel() != 2 * 16 * (8 // stride) ** 2
        except Exception:
            wrong = True
        found += [(channels, stride)] * wrong
    return found


def by_names(model):
    """The right number, from named modules."""
    layers = dict(model.named_modules()).values()
    return sum(m.out_channels for m in layers if isinstance(m, nn.Conv2d) and m.bias is None)


def in_children(model):
    mine = model.out_channels if isinstance(model, nn.Conv2d) and model.bias is None else 0
    return mine + sum(in_children(child) for child in model.children())


def of_just_this_type(model):
    return sum(m.out_channels for m in model.modules() if type(m) is nn.Conv2d and m.bias is None)


def adds_them(model):
    found = by_weights(model)
    for m in model.modules():
        if isinstance(m, nn.Conv2d) and m.bias is None:
            m.bias = nn.Parameter(torch.zeros(m.out_channels))
    return found


def all_names(model):
    layers = (m for _, m in model.named_modules(remove_duplicate=False) if isinstance(m, nn.Conv2d))
    return sum(m.out_channels for m in layers if m.bias is None)


def with_channels(model):
    return sum(m.out_channels for m in model.modules() if hasattr(m, "out_channels") and m.bias is None)


def all_convolutions(model):
    return sum(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))


def all_weights(model):
    """One bias for every channel of every layer that has none."""
    layers = (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    return sum(m.weight.shape[0] for m in layers if m.bias is None)


def by_weights(model):
    layers = (m for m in model.modules() if isinstance(m, nn.Conv2d))
    return sum(m.weight.shape[0] for m in layers if m.bias is None)


def top_level_only(model):
    return sum(m.out_channels for m in model if isinstance(m, nn.Conv2d) and m.bias is None)


def searched(kernel):
    """The three sizes by trying them all."""
    maps = {n: -(-n // 32) for n in range(1, 32 * 2 * kernel + 1)}
    works = [n for n, side in maps.items() if side // kernel == 1]
    return min(works), max(n for n in works if maps[n] == kernel), max(works)


def stub(*arguments):
    raise NotImplementedError()


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_and_the_stub_is_not_attempted(name):
    exercise = getattr(check, name)
    assert exercise(exercise.load_solution()).passed
    assert not exercise(stub).attempted


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("can_lower_a_value", lower()),
        ("can_lower_a_value", lower(answer=lambda found: found.item())),
        ("can_lower_a_value", lower(answer=lambda found: found)),
        ("missing_projections", cases_with_stride_by_name),
        ("extra_biases", by_names),
        ("missing_projections", cases()),
        ("missing_projections", cases(errors=(RuntimeError, ValueError))),
        ("can_lower_a_value", lower(answer=lambda found: found.numpy().any())),
        ("missing_projections", lambda make: [list(case) for case in cases()(make)]),
        ("extra_biases", by_weights),
        ("extra_biases", lambda model: np.int64(by_weights(model))),
        ("extra_biases", lambda model: torch.tensor(by_weights(model))),
        ("pooling_range", lambda k: np.array(searched(k))),
        ("pooling_range", searched),
        ("pooling_range", lambda k: [32 * k - 31, 32 * k, 64 * k - 32]),
        ("name_faults", lambda: dict(reversed(ANSWERS.items()))),
    ],
)  # fmt: skip
def test_other_styles_pass(name, answer):
    report = getattr(check, name)(answer)
    assert report.passed, report


@pytest.mark.parametrize(
    ("name", "answer", "code"),
    [
        ("can_lower_a_value", lambda block, channels: False, "false-alarm"),
        ("can_lower_a_value", lambda block, channels: True, "missed-relu"),
        ("can_lower_a_value", lower(x=torch.randn, less=lambda y, x: (y - x).abs() > 0), "missed-relu"),
        ("can_lower_a_value", lower(less=torch.le, random=False), "missed-relu"),
        ("can_lower_a_value", lower(random=False), "zero-gamma"),
        ("can_lower_a_value", lower(clone=False), "compared-with-changed-input"),
        ("can_lower_a_value", lower(copied=False), "block-modified"),
        ("can_lower_a_value", lower(answer=lambda found: found.float()), "wrong-type"),
        ("can_lower_a_value", trains_the_block_first, "mode-changed"),
        ("can_lower_a_value", restores_the_weights_only, "mode-changed"),
        ("can_lower_a_value", switches_gradients_off, "block-modified"),
        ("missing_projections", by_name, "named-sizes"),
        ("missing_projections", lambda make: [(8, 1)], "false-alarm"),
        ("missing_projections", cases(pairs=((16, 1), (16, 2))), "missed-channels"),
        ("missing_projections", cases(pairs=((16, 1), (8, 1))), "missed-stride"),
        ("missing_projections", cases(errors=RuntimeError), "other-errors"),
        ("missing_projections", cases(errors=ValueError), "other-errors"),
        ("missing_projections", makes_outside_try, "other-errors"),
        ("missing_projections", by_size, "size-compared"),
        ("missing_projections", cases(shape=False), "missed-shape"),
        ("missing_projections", lambda make: None, "wrong-type"),
        ("missing_projections", lambda make: set(cases()(make)), "wrong-type"),
        ("missing_projections", lambda make: [stride for _, stride in cases()(make)], "wrong-type"),
        ("missing_projections", cases(pairs=((16, 2), (8, 1), (8, 2))), "case-left-out"),
        ("missing_projections", cases(pairs=((8, 1), (8, 2), (16, 1), (16, 2))), "wrong-order"),
        ("missing_projections", lambda make: [case[::-1] for case in cases()(make)], "swapped"),
        ("missing_projections", cases(sides=(2,)), "channels-not-compared"),
        ("missing_projections", cases(sides=(1, 3)), "height-not-compared"),
        ("missing_projections", cases(sides=(1, 2)), "width-not-compared"),
        ("extra_biases", all_convolutions, "counts-existing"),
        ("extra_biases", all_weights, "counts-linear"),
        ("extra_biases", lambda model: sum(1 for m in model.modules() if isinstance(m, nn.Conv2d)), "wrong-value"),
        ("extra_biases", top_level_only, "wrong-value"),
        ("extra_biases", adds_them, "model-modified"),
        ("extra_biases", all_names, "counts-twice"),
        ("extra_biases", in_children, "counts-twice"),
        ("extra_biases", of_just_this_type, "subclass-missed"),
        ("extra_biases", lambda model: by_weights(model) * (not isinstance(model, nn.Conv2d)), "root-missed"),
        ("extra_biases", with_channels, "counts-other-layers"),
        ("extra_biases", lambda model: [by_weights(model)], "wrong-type"),
        ("extra_biases", lambda model: str(by_weights(model)), "wrong-type"),
        ("pooling_range", lambda k: (32 * k, 32 * k, 64 * k - 32), "wrong-smallest"),
        ("pooling_range", lambda k: (32 * k - 31, 32 * k + 1, 64 * k - 32), "wrong-whole"),
        ("pooling_range", lambda k: (32 * k - 31, 32 * k, 64 * k), "wrong-largest"),
        ("pooling_range", lambda k: 224, "wrong-type"),
        ("pooling_range", lambda k: [float(size) for size in searched(k)], "wrong-type"),
        ("pooling_range", lambda k: [str(size) for size in searched(k)], "wrong-type"),
        ("pooling_range", lambda k: (searched(k)[0], searched(k)[2], searched(k)[1]), "swapped"),
        ("name_faults", lambda: ["right"] * 6, "wrong-type"),
        ("name_faults", lambda: dict.fromkeys("ABCDEF", "right"), "missed-fault"),
        ("name_faults", lambda: {key: ANSWERS[key] for key in "ABCDE"}, "wrong-keys"),
        ("name_faults", lambda: {key.lower(): verdict for key, verdict in ANSWERS.items()}, "wrong-keys"),
        ("name_faults", lambda: {**ANSWERS, "A": "norm after add"}, "unknown-verdict"),
        ("name_faults", lambda: dict.fromkeys("ABCDEF", ["right"]), "wrong-type"),
        ("name_faults", lambda: {**ANSWERS, "E": "relu-before-add"}, "false-alarm"),
        ("name_faults", lambda: {**ANSWERS, "F": "norm-after-add"}, "wrong-verdict"),
    ],
)  # fmt: skip
def test_wrong_answers_are_named(name, answer, code):
    report = getattr(check, name)(answer)
    assert not report.passed and first_fault(report) == code, report


def test_the_screening_finds_every_suspect_and_clears_the_right_block():
    torch.manual_seed(0)
    right = chapter11.examine(Bottleneck)
    assert right["failing cases"] == [] and right["backward"] is None and right["lowers a value"]
    assert right["distance, stride 1"] == right["distance, stride 2"] == 0
    for name, make in SUSPECTS.items():
        found = chapter11.examine(make)
        different = {q for q in found if found[q] is None or right[q] is None or found[q] != right[q]}
        assert different - {"backward"} or found["backward"], name


class AddsInPlace(Bottleneck):
    """Right values, written into the input."""

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        shortcut += self.bn3(self.conv3(out))
        return F.relu(shortcut)


class BeginsInPlace(Bottleneck):
    """A ReLU that writes into the input, where the input has no negative values anyway."""

    def forward(self, x):
        return super().forward(F.relu(x, inplace=True))


def test_blocks_that_write_into_their_input_are_examined_like_others():
    torch.manual_seed(0)
    adds, begins = chapter11.examine(AddsInPlace), chapter11.examine(BeginsInPlace)
    for found in (adds, begins):
        assert found["distance, stride 1"] == found["distance, stride 2"] == 0 and found["lowers a value"]
    assert "inplace" in adds["backward"] and begins["backward"] is None
    assert begins["copies at zero"] == begins["gradient at zero"] == 1


def test_an_answer_that_accuses_right_blocks_is_not_praised_for_accusing_none():
    report = check.can_lower_a_value(lower(copied=False, random=False, clone=False))
    assert {"zero-gamma", "compared-with-changed-input"} <= {f.code for f in report.findings if not f.ok}
    assert "nothing that is right is accused" not in str(report)


def test_what_a_block_raises_does_not_hide_that_shapes_are_not_compared():
    report = check.missing_projections(cases(errors=RuntimeError, shape=False))
    assert [f.code for f in report.findings if not f.ok] == ["other-errors", "missed-shape"]
