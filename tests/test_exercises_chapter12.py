"""Chapter 12's checks: right answers in several styles pass, wrong ones are named."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import check
from resnet_tutorial.solutions import chapter12 as solutions


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def highway(
    *, bias=-2.0, mix=lambda t, h, x: t * h + (1 - t) * x, swap=False, gate=torch.sigmoid, fill=lambda wish: wish,
    take=lambda x: x, act=F.relu,
):
    class Block(nn.Module):
        def __init__(self, c, gate_bias=bias):
            super().__init__()
            a, b = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
            self.first, self.second = a, b
            self.h, self.t = (b, a) if swap else (a, b)
            nn.init.constant_(self.t.bias, fill(gate_bias))

        def forward(self, x):
            return mix(gate(self.t(take(x))), act(self.h(x)), x)

    return Block


class Fused(nn.Module):
    """One convolution for gate and transform."""

    def __init__(self, channels, gate_bias=-2.0):
        super().__init__()
        self.both = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        with torch.no_grad():
            self.both.bias[channels:] = gate_bias

    def forward(self, x):
        h, t = self.both(x).chunk(2, dim=1)
        return x + t.sigmoid() * (h.relu() - x)


class HalfFilled(solutions.HighwayBlock):
    def __init__(self, channels, gate_bias=-2.0):
        super().__init__(channels, gate_bias)
        nn.init.zeros_(self.gate.bias[: channels // 2])


class AddedInForward(nn.Module):
    def __init__(self, channels, gate_bias=-2.0):
        super().__init__()
        self.block, self.gate_bias = solutions.HighwayBlock(channels, 0.0), gate_bias

    def forward(self, x):
        gate = torch.sigmoid(self.block.gate(x) + self.gate_bias)
        return gate * self.block.transform(x).relu() + (1 - gate) * x


class FrozenGate(solutions.HighwayBlock):
    def __init__(self, channels, gate_bias=-2.0):
        super().__init__(channels, gate_bias)
        self.gate.requires_grad_(False)


def gives(what):
    """A module that has no parameters and gives ``what``."""

    class Gives(nn.Module):
        def __init__(self, *arguments, **options):
            super().__init__()

        def forward(self, x):
            return what(x)

    return Gives


@pytest.mark.parametrize("block", [solutions.HighwayBlock, highway(), highway(swap=True), Fused])
def test_right_highway_blocks_pass(block):
    report = check.highway_block(block)
    assert report.passed, report


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (highway(bias=0.0), "wrong-default"),
        (highway(fill=lambda wish: 0.0), "gate-starts-open"),
        (HalfFilled, "gate-starts-open"),
        (AddedInForward, "bias-not-learnt"),
        (highway(act=F.softplus), "wrong-function"),
        (highway(act=lambda h: h), "missing-relu"),
        (highway(act=lambda h: h, mix=lambda t, h, x: (t * h + (1 - t) * x).relu()), "relu-moved"),
        (highway(fill=lambda wish: -2.0), "gate-bias-ignored"),
        (highway(fill=lambda wish: -wish), "wrong-mixture"),
        (highway(gate=lambda t: t), "wrong-mixture"),
        (highway(take=lambda x: x.detach()), "detached"),
        (highway(mix=lambda t, h, x: t * h + (1 - t) * x.detach()), "detached"),
        (highway(mix=lambda t, h, x: t.detach() * h + (1 - t.detach()) * x), "detached"),
        (highway(mix=lambda t, h, x: (t * h + (1 - t) * x).relu()), "relu-on-the-sum"),
        (highway(mix=lambda t, h, x: x.mul_(1 - t).add_(t * h)), "input-modified"),
        (highway(mix=lambda t, h, x: None), "wrong-type"),
        (FrozenGate, "parameters-detached"),
        (gives(lambda x: x), "wrong-parameters"),
        (lambda channels, gate_bias=-2.0: torch.zeros(3), "wrong-type"),
        (highway(mix=lambda t, h, x: t * h + t * x), "wrong-mixture"),
        (highway(mix=lambda t, h, x: t * h + x), "x-not-weighed"),
        (highway(mix=lambda t, h, x: t * (h + x) + (1 - t) * x), "x-not-weighed"),
    ],
)
def test_wrong_highway_blocks_are_named(block, code):
    report = check.highway_block(block)
    assert not report.passed and first_fault(report) == code, report


def dense(*, join=lambda x, n: torch.cat([x, n], 1), bias=False, order="bn-first", through=False, inside=None):
    class Layer(nn.Module):
        def __init__(self, c, g):
            super().__init__()
            self.bn = nn.BatchNorm2d(c if order != "bn-last" else g)
            self.conv = nn.Conv2d(c, g, 3, padding=1, bias=bias)

        def forward(self, x):
            if order == "bn-last":
                return join(x, F.relu(self.bn(self.conv(x))))
            if inside:
                return join(x, inside(self.bn, self.conv, x))
            y = self.bn(x) if order == "no-relu" else F.relu(self.bn(x))
            return join(y if through else x, self.conv(y))

    return Layer


@pytest.mark.parametrize(
    "layer", [solutions.DenseLayer, dense(), dense(join=lambda x, n: torch.concat((x, n), dim=-3))]
)
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
        (dense(order="no-relu"), "missing-relu"),
        (dense(join=lambda x, n: torch.cat([n, x], 1)), "new-channels-first"),
        (dense(join=lambda x, n: torch.cat([x.detach(), n], 1)), "detached"),
        (dense(join=lambda x, n: torch.cat([x, n.detach()], 1)), "detached"),
        (dense(inside=lambda bn, conv, x: conv(F.relu(bn(x.detach())))), "detached"),
        (dense(inside=lambda bn, conv, x: conv(bn(F.relu(x)))), "relu-before-bn"),
        (dense(inside=lambda bn, conv, x: F.relu(conv(F.relu(bn(x))))), "relu-after-conv"),
        (dense(inside=lambda bn, conv, x: F.relu(conv(bn(x)))), "relu-moved"),
        (dense(inside=lambda bn, conv, x: conv(F.relu(x))), "bn-unused"),
        (dense(inside=lambda bn, conv, x: conv(bn(x.relu_()))), "input-modified"),
        (dense(inside=lambda bn, conv, x: conv(torch.tanh(bn(x)))), "wrong-order"),
        (dense(inside=lambda bn, conv, x: conv(F.relu(bn.train()(x)))), "batch-in-eval"),
        (dense(join=lambda x, n: (x, n)), "wrong-type"),
    ],
)
def test_wrong_dense_layers_are_named(layer, code):
    report = check.dense_layer(layer)
    assert not report.passed and first_fault(report) == code, report


def squeeze(
    *, last=torch.sigmoid, pool=lambda x: x.mean((2, 3)), skip=False, middle=F.relu, reverse=False, into=torch.mul,
    default=16, divide=int.__floordiv__,
):  # fmt: skip
    class SE(nn.Module):
        def __init__(self, c, r=default):
            super().__init__()
            if reverse:
                self.up = nn.Conv2d(divide(c, r), c, 1)
            self.down = nn.Conv2d(c, divide(c, r), 1)
            if not reverse:
                self.up = nn.Conv2d(divide(c, r), c, 1)

        def forward(self, x):
            scale = last(self.up(middle(self.down(pool(x)[:, :, None, None]))))
            return x + x * scale if skip else into(x, scale)

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
        (squeeze(middle=lambda x: x), "missing-relu"),
        (squeeze(middle=torch.sigmoid), "sigmoid-twice"),
        (squeeze(last=lambda x: x.softmax(1)), "softmax"),
        (squeeze(pool=lambda x: x.amax((2, 3))), "max-instead-of-mean"),
        (squeeze(pool=lambda x: x.sum((2, 3))), "sum-instead-of-mean"),
        (squeeze(pool=lambda x: x.mean((0, 2, 3), keepdim=True)[:, :, 0, 0]), "mean-of-the-batch"),
        (squeeze(pool=lambda x: x.detach().mean((2, 3))), "detached"),
        (squeeze(into=lambda x, scale: x.mul_(scale)), "input-modified"),
        (squeeze(into=lambda x, scale: scale), "wrong-shape"),
        (squeeze(default=4), "wrong-default"),
        (squeeze(divide=lambda c, r: round(c / r)), "rounded-up"),
        (squeeze(into=lambda x, scale: x * scale if len(x) > 1 else x), "batch-of-one"),
        (squeeze(into=lambda x, scale: x * scale.squeeze()[:, :, None, None]), "raised"),
        (squeeze(into=lambda x, scale: [x * scale]), "wrong-type"),
    ],
)
def test_wrong_squeeze_excitations_are_named(module, code):
    report = check.squeeze_excitation(module)
    assert not report.passed and first_fault(report) == code, report


def shortcut(
    *, pool=lambda s: nn.AvgPool2d(s, s, ceil_mode=True, count_include_pad=False), stride=1, bn=True,
    order=lambda pool, conv, norm: (pool, conv, norm), last=lambda y: y, default=2,
):
    class Shortcut(nn.Module):
        def __init__(self, i, o, s=default):
            super().__init__()
            conv = nn.Conv2d(i, o, 1, s if stride == "s" else 1, bias=False)
            self.layers = nn.Sequential(*order(pool(s), conv, nn.BatchNorm2d(o) if bn else nn.Identity()))

        def forward(self, x):
            return last(self.layers(x))

    return Shortcut


class Padded(nn.Module):
    """Averages over a padded map, in the way that ``mode`` says."""

    def __init__(self, stride, mode):
        super().__init__()
        self.stride, self.mode = stride, mode

    def forward(self, x):
        end = (0, -x.shape[3] % self.stride, 0, -x.shape[2] % self.stride)
        if self.mode == "divided":
            there = F.avg_pool2d(F.pad(torch.ones_like(x), end), self.stride)
            return F.avg_pool2d(F.pad(x, end), self.stride) / there
        return F.avg_pool2d(F.pad(x, end, mode=self.mode), self.stride)


class Adaptive(Padded):
    def forward(self, x):
        return F.adaptive_avg_pool2d(x, [-(-side // self.stride) for side in x.shape[2:]])


def test_right_averaging_shortcuts_pass():
    convolved_first = shortcut(order=lambda pool, conv, norm: (conv, pool, norm))  # the same function, at more cost
    divided = shortcut(pool=lambda s: Padded(s, "divided"))
    for block in (solutions.AveragingShortcut, shortcut(), convolved_first, divided):
        report = check.averaging_shortcut(block)
        assert report.passed, report


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (shortcut(pool=lambda s: nn.AvgPool2d(s)), "floor-instead-of-ceil"),
        (shortcut(pool=lambda s: nn.Identity(), stride="s"), "pixels-unread"),
        (shortcut(bn=False), "missing-bn"),
        (shortcut(pool=lambda s: nn.MaxPool2d(s, s, ceil_mode=True)), "max-pooling"),
        (shortcut(order=lambda pool, conv, norm: (conv, norm, pool)), "pool-last"),
        (shortcut(pool=lambda s: Padded(s, "replicate")), "replicated-edge"),
        (shortcut(pool=lambda s: Padded(s, "constant")), "zero-padding"),
        (shortcut(pool=lambda s: Adaptive(s, "")), "adaptive-pooling"),
        (shortcut(pool=lambda s: nn.AvgPool2d(2, s, ceil_mode=True)), "wrong-window"),
        (shortcut(pool=lambda s: nn.AvgPool2d(3, s, 1, count_include_pad=False)), "wrong-window"),
        (shortcut(pool=lambda s: nn.AvgPool2d(3, 1, 1), stride="s"), "wrong-window"),
        (shortcut(pool=lambda s: Padded(s, "circular")), "wrong-edge"),
        (shortcut(pool=lambda s: nn.LPPool2d(2, s, ceil_mode=True)), "wrong-average"),
        (shortcut(pool=lambda s: nn.AvgPool2d(2, 2, ceil_mode=True)), "wrong-shape"),
        (shortcut(last=F.relu), "extra-relu"),
        (shortcut(last=lambda y: y.detach()), "detached"),
        (shortcut(last=lambda y: (y, y)), "wrong-type"),
        (shortcut(default=1), "wrong-shape"),
    ],
)
def test_wrong_averaging_shortcuts_are_named(block, code):
    report = check.averaging_shortcut(block)
    assert not report.passed, report
    assert first_fault(report) == code, report


def blank(*args, **kwargs):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("name", ["highway_block", "dense_layer", "squeeze_excitation", "averaging_shortcut"])
def test_blanks_are_not_attempted(name):
    assert not getattr(check, name)(blank).attempted
