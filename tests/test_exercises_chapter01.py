"""Chapter 1's checks: right answers in several styles pass, wrong ones are named."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import check


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def by_divmod(depth):
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        raise ValueError("not 6n+2")
    return n


def dirac(channels):
    conv = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
    nn.init.dirac_(conv.weight)
    return conv


def copying(*, ones=False, zero=False, bias=False, padding=1):
    def make(channels):
        conv = nn.Conv2d(channels, channels, 3, padding=padding, bias=bias)
        with torch.no_grad():
            conv.weight.zero_()
            if ones:
                conv.weight[:, :, 1, 1] = 1.0
            elif not zero:
                nn.init.dirac_(conv.weight)
            if bias:
                conv.bias.zero_()
        return conv

    return make


def norms(*, clear=True, square=False, kinds=nn.Conv2d):
    def gradient_norms(model, images, labels):
        if clear:
            for parameter in model.parameters():
                parameter.grad = None
        nn.CrossEntropyLoss()(model(images), labels).backward()
        found = [m.weight.grad for m in model.modules() if isinstance(m, kinds)]
        return [(g**2).sum().item() if square else (g**2).sum().sqrt().item() for g in found]

    return gradient_norms


def changed(how):
    """The right norms, and what ``how`` makes of them."""
    return lambda model, images, labels: how(norms()(model, images, labels), model)


def clears_too_late(model, images, labels):
    found = norms(clear=False)(model, images, labels)
    model.zero_grad()
    return found


def summed(model, images, labels):
    model.zero_grad()
    F.cross_entropy(model(images), labels, reduction="sum").backward()
    return [m.weight.grad.norm().item() for m in model.modules() if isinstance(m, nn.Conv2d)]


def takes_a_step(model, images, labels):
    found = norms()(model, images, labels)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    return found


def with_biases(model, images, labels):
    found = norms()(model, images, labels)
    return found + [1.0 for m in model.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]


def in_mode(training, *, restore=False):
    def gradient_norms(model, images, labels):
        before = model.training
        model.train(training)
        found = norms()(model, images, labels)
        if restore:
            model.train(before)
        return found

    return gradient_norms


def refusing(*depths):
    def blocks_per_stage(depth):
        if depth in depths:
            raise ValueError
        return by_divmod(depth)

    return blocks_per_stage


def with_autograd(model, images, labels):
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    return [g.norm() for g in torch.autograd.grad(F.cross_entropy(model(images), labels), weights)]


def judge(shallow, deep):
    if deep[0] <= shallow[0]:
        return "overfitting" if deep[1] > shallow[1] else "improvement"
    return "degradation"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("blocks_per_stage", by_divmod),
        ("blocks_per_stage", lambda depth: np.int64(by_divmod(depth))),
        ("blocks_per_stage", lambda depth: torch.tensor(by_divmod(depth))),
        ("copying_conv", dirac),
        ("gradient_norms", norms()),
        ("gradient_norms", with_autograd),
        ("gradient_norms", changed(lambda found, model: torch.tensor(found))),
        ("gradient_norms", changed(lambda found, model: tuple(np.float32(v) for v in found))),
        ("diagnose", judge),
    ],
)
def test_right_answers_in_another_style_pass(name, answer):
    report = getattr(check, name)(answer)
    assert report.passed, report


WRONG = [
    ("blocks_per_stage", lambda depth: (depth - 2) // 6, "accepts-wrong-depth"),
    ("blocks_per_stage", lambda depth: (depth - 2) / 6, "not-an-integer"),
    ("blocks_per_stage", lambda depth: (depth - 2) // 3, "wrong-value"),
    ("blocks_per_stage", refusing(8), "raised"),
    ("blocks_per_stage", lambda depth: str(by_divmod(depth)), "wrong-type"),
    ("blocks_per_stage", lambda depth: print(by_divmod(depth)), "wrong-type"),
    ("copying_conv", lambda channels: dirac(3), "wrong-channels"),
    ("copying_conv", copying(ones=True), "adds-channels"),
    ("copying_conv", copying(zero=True), "all-zero"),
    ("copying_conv", copying(bias=True), "bias"),
    ("copying_conv", copying(padding=0), "wrong-shape"),
    ("copying_conv", lambda channels: nn.Identity(), "wrong-type"),
    ("gradient_norms", norms(clear=False), "gradients-accumulate"),
    ("gradient_norms", in_mode(False), "mode-changed"),
    ("gradient_norms", in_mode(True), "mode-changed"),
    ("gradient_norms", in_mode(False, restore=True), "mode-changed"),
    ("gradient_norms", in_mode(True, restore=True), "mode-changed"),
    ("gradient_norms", norms(square=True), "squared-norm"),
    ("gradient_norms", norms(kinds=nn.Conv2d | nn.Linear), "wrong-count"),
    ("gradient_norms", norms(kinds=nn.BatchNorm2d), "wrong-value"),
    ("gradient_norms", clears_too_late, "gradients-accumulate"),
    ("gradient_norms", summed, "summed-loss"),
    ("gradient_norms", takes_a_step, "weights-changed"),
    ("gradient_norms", with_biases, "wrong-count"),
    ("gradient_norms", changed(lambda found, model: found[::-1]), "wrong-order"),
    ("gradient_norms", changed(lambda found, model: dict(enumerate(found))), "wrong-type"),
    ("gradient_norms", changed(lambda found, model: [str(v) for v in found]), "wrong-type"),
    ("gradient_norms", changed(lambda found, model: None), "wrong-type"),
    (
        "gradient_norms",
        changed(lambda found, model: [m.weight.norm().item() for m in model.modules() if isinstance(m, nn.Conv2d)]),
        "norm-of-weight",
    ),
    ("diagnose", lambda s, d: "degradation" if d[1] > s[1] else "improvement", "misses-degradation"),
    ("diagnose", lambda s, d: judge((s[0] + 0.5, s[1]), d), "misses-degradation"),
    ("diagnose", lambda s, d: judge(s, (d[0], d[1] - 0.2)), "misses-overfitting"),
    ("diagnose", lambda s, d: judge(s, d).title(), "wrong-word"),
    ("diagnose", lambda s, d: print(judge(s, d)), "wrong-type"),
    ("diagnose", lambda s, d: "degradation" if d[0] > s[0] else "improvement", "misses-overfitting"),
    ("diagnose", lambda s, d: judge(s, d) if d != s else "overfitting", "misses-improvement"),
]


@pytest.mark.parametrize(("name", "answer", "code"), WRONG)
def test_wrong_answers_are_named(name, answer, code):
    report = getattr(check, name)(answer)
    assert not report.passed and first_fault(report) == code, report


def test_each_fault_is_told_once_and_an_exception_says_of_which_call():
    assert str(check.copying_conv(copying(bias=True))).count("[bias]") == 1
    assert "blocks_per_stage(1202) was called" in str(check.blocks_per_stage(refusing(1202)))
    assert "another batch" not in str(check.gradient_norms(norms(kinds=nn.BatchNorm2d)))
    assert "For a model that holds gradients of another batch, it gave" in str(check.gradient_norms(clears_too_late))


def test_what_the_text_asks_for_has_a_tick():
    assert "other depths are refused" in check.blocks_per_stage(by_divmod).holds()
    ticks = {"gradients from before do not count", "one number for each convolution", "the mode is kept"}
    assert ticks <= set(check.gradient_norms(norms()).holds())


def blank(*args, **kwargs):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("name", ["blocks_per_stage", "copying_conv", "gradient_norms", "diagnose"])
def test_blanks_are_not_attempted(name):
    assert not getattr(check, name)(blank).attempted
