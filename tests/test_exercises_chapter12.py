"""Chapter 12's checks: right answers in several styles pass, wrong ones are named."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import check
from resnet_tutorial.solutions import chapter12 as solutions


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def highway(*, bias=-2.0, mix=lambda t, h, x: t * h + (1 - t) * x, swap=False, gate=torch.sigmoid):
    class Block(nn.Module):
        def __init__(self, c, gate_bias=bias):
            super().__init__()
            a, b = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
            self.first, self.second = a, b
            self.h, self.t = (b, a) if swap else (a, b)
            nn.init.constant_(self.t.bias, gate_bias)

        def forward(self, x):
            return mix(gate(self.t(x)), F.relu(self.h(x)), x)

    return Block


@pytest.mark.parametrize("block", [solutions.HighwayBlock, highway(), highway(swap=True)])
def test_right_highway_blocks_pass(block):
    report = check.highway_block(block)
    assert report.passed, report


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (highway(bias=0.0), "gate-starts-open"),
        (highway(mix=lambda t, h, x: t * h + t * x), "wrong-mixture"),
        (highway(mix=lambda t, h, x: t * h + x), "wrong-function"),
        (highway(mix=lambda t, h, x: t * (h + x) + (1 - t) * x), "wrong-function"),
    ],
)
def test_wrong_highway_blocks_are_named(block, code):
    report = check.highway_block(block)
    assert not report.passed and first_fault(report) == code, report


def dense(*, join=lambda x, n: torch.cat([x, n], 1), bias=False, order="bn-first", through=False):
    class Layer(nn.Module):
        def __init__(self, c, g):
            super().__init__()
            self.bn = nn.BatchNorm2d(c if order != "bn-last" else g)
            self.conv = nn.Conv2d(c, g, 3, padding=1, bias=bias)

        def forward(self, x):
            if order == "bn-last":
                return join(x, F.relu(self.bn(self.conv(x))))
            y = self.bn(x) if order == "no-relu" else F.relu(self.bn(x))
            return join(y if through else x, self.conv(y))

    return Layer


@pytest.mark.parametrize("layer", [solutions.DenseLayer, dense(), dense(join=lambda x, n: torch.cat([n, x], 1))])
def test_right_dense_layers_pass(layer):
    report = check.dense_layer(layer)
    assert report.passed, report


@pytest.mark.parametrize(
    ("layer", "code"),
    [
        (dense(join=lambda x, n: n), "not-appended"),
        (dense(through=True), "input-changed"),
        (dense(bias=True), "bias"),
        (dense(order="bn-last"), "bn-after-conv"),
        (dense(order="no-relu"), "wrong-order"),
    ],
)
def test_wrong_dense_layers_are_named(layer, code):
    report = check.dense_layer(layer)
    assert not report.passed and first_fault(report) == code, report


def squeeze(*, last=torch.sigmoid, pool=lambda x: x.mean((2, 3)), skip=False, middle=F.relu, reverse=False):
    class SE(nn.Module):
        def __init__(self, c, r=16):
            super().__init__()
            if reverse:
                self.up = nn.Conv2d(c // r, c, 1)
            self.down = nn.Conv2d(c, c // r, 1)
            if not reverse:
                self.up = nn.Conv2d(c // r, c, 1)

        def forward(self, x):
            scale = last(self.up(middle(self.down(pool(x)[:, :, None, None]))))
            return x + x * scale if skip else x * scale

    return SE


@pytest.mark.parametrize("module", [solutions.SqueezeExcitation, squeeze(), squeeze(reverse=True)])
def test_right_squeeze_excitations_pass(module):
    report = check.squeeze_excitation(module)
    assert report.passed, report


@pytest.mark.parametrize(
    ("module", "code"),
    [
        (squeeze(last=lambda x: x - 3), "no-sigmoid"),
        (squeeze(skip=True), "skip-added"),
        (squeeze(pool=lambda x: x[:, :, 0, 0]), "not-from-the-means"),
        (squeeze(middle=torch.tanh), "wrong-function"),
    ],
)
def test_wrong_squeeze_excitations_are_named(module, code):
    report = check.squeeze_excitation(module)
    assert not report.passed and first_fault(report) == code, report


def shortcut(*, pool=lambda s: nn.AvgPool2d(s, s, ceil_mode=True, count_include_pad=False), stride=1, bn=True):
    class Shortcut(nn.Module):
        def __init__(self, i, o, s=2):
            super().__init__()
            conv = nn.Conv2d(i, o, 1, s if stride == "s" else 1, bias=False)
            self.layers = nn.Sequential(pool(s), conv, nn.BatchNorm2d(o) if bn else nn.Identity())

        def forward(self, x):
            return self.layers(x)

    return Shortcut


def test_right_averaging_shortcuts_pass():
    for block in (solutions.AveragingShortcut, shortcut()):
        report = check.averaging_shortcut(block)
        assert report.passed, report


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (shortcut(pool=lambda s: nn.AvgPool2d(s)), "floor-instead-of-ceil"),
        (shortcut(pool=lambda s: nn.Identity(), stride="s"), "pixels-unread"),
        (shortcut(bn=False), "missing-bn"),
        (shortcut(pool=lambda s: nn.MaxPool2d(s, s, ceil_mode=True)), "wrong-edge"),
    ],
)
def test_wrong_averaging_shortcuts_are_named(block, code):
    report = check.averaging_shortcut(block)
    assert not report.passed, report
    assert first_fault(report) in (code, "pixels-unread") if code == "wrong-edge" else first_fault(report) == code


def blank(*args, **kwargs):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("name", ["highway_block", "dense_layer", "squeeze_excitation", "averaging_shortcut"])
def test_blanks_are_not_attempted(name):
    assert not getattr(check, name)(blank).attempted
