"""Broken networks: a trace never raises; it says where, what met, why, and what to do."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import Bottleneck, cifar_resnet, resnet18, trace


class Block(nn.Module):
    """A residual block that leaves its shortcut to the test."""

    def __init__(self, before, after, stride=1, shortcut=None, padding=1):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = shortcut or nn.Identity()

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


def torch_says(model, shape):
    """Return what torch itself says about a network on real tensors."""
    with pytest.raises(Exception) as caught:
        model(torch.randn(shape))
    return without_kernel(f"{type(caught.value).__name__}: {caught.value}")


def without_kernel(error):
    """Newer versions of torch name the kernel, ``mm`` or ``addmm``: which one is not the matter."""
    return re.sub(r": (add)?mm: ", ": ", error)


# -- additions -------------------------------------------------------------------------------

MAP = (2, 16, 9, 9)


@pytest.mark.parametrize(
    ("block", "code", "axis"),
    [
        (Block(16, 32), "no-projection", 1),
        (Block(16, 32, stride=2), "no-projection", 1),
        (Block(16, 16, stride=2), "stride-on-one-branch", 2),
        (Block(16, 32, 2, nn.Conv2d(16, 32, 1)), "stride-on-one-branch", 2),
        (Block(16, 32, 1, nn.Conv2d(16, 32, 1, stride=2)), "stride-on-one-branch", 2),
        (Block(16, 32, 2, nn.Conv2d(16, 16, 1, stride=2)), "projection-channels", 1),
        (Block(16, 16, padding=0), "padding", 2),
    ],
)
def test_branches_that_do_not_fit(block, code, axis):
    t = trace(block, MAP)
    failure = t.failure
    assert (failure.code, failure.axis, failure.operation) == (code, axis, "add")
    assert failure.shapes["branch"] != failure.shapes["shortcut"]
    one, other = failure.shapes["branch"][axis], failure.shapes["shortcut"][axis]
    assert f"{one} against {other}" in failure.message or f"{other} against {one}" in failure.message
    assert failure.cause and failure.fix
    assert failure.source.text == "return F.relu(out + self.shortcut(x))"
    assert failure.error == torch_says(block, MAP)
    assert t[-1].module in ("bn2", "shortcut")


@pytest.mark.parametrize(("after", "stride"), [(32, 1), (32, 2), (16, 2), (16, 3)])
def test_the_projection_that_is_proposed_repairs_the_block(after, stride):
    block = Block(16, after, stride)
    proposed = re.search(r"nn\.Sequential\(.*\)\)", trace(block, MAP).failure.fix)[0]
    block.shortcut = eval(proposed, {"nn": nn})
    assert trace(block, MAP).ok
    block(torch.randn(MAP))


def test_the_place_is_named_in_a_deep_network():
    model = resnet18()
    model.layer3[0].downsample = None
    failure = trace(model).failure
    assert (failure.module, failure.module_type) == ("layer3.0", "BasicBlock")
    assert "layer3.0.conv1" in failure.cause
    assert failure.shapes == {"branch": (1, 256, 14, 14), "shortcut": (1, 128, 28, 28)}


def test_an_addition_in_place_fails_alike():
    class InPlace(Block):
        def forward(self, x):
            out = self.conv1(x)
            out += x
            return out

    assert trace(InPlace(16, 32), MAP).failure.code == "no-projection"


def test_a_lost_batch_axis_and_a_gate_without_pixels():
    assert trace(lambda x: x + x.flatten(1), MAP).failure.code == "axes"
    assert "[:, :, None, None]" in trace(lambda x: x * x.mean((2, 3)), MAP).failure.fix


# -- layers ----------------------------------------------------------------------------------


def classifier(features, *before):
    return nn.Sequential(nn.Conv2d(3, 8, 3), *before, nn.Linear(features, 10))


@pytest.mark.parametrize(
    ("model", "shape", "code", "fix"),
    [
        (classifier(8, nn.Flatten()), (1, 3, 8, 8), "no-pooling", "nn.AdaptiveAvgPool2d(1)"),
        (classifier(8), (1, 3, 8, 8), "no-pooling", "adaptive_avg_pool2d(x, 1)"),
        (classifier(8 * 36), (1, 3, 8, 8), "no-flatten", "torch.flatten(x, 1)"),
        (classifier(8 * 49, nn.Flatten()), (1, 3, 8, 8), "classifier-size", "nn.Linear(8, 10)"),
        (classifier(100, nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 3, 8, 8), "classifier-size", "nn.Linear(8, 10)"),
        (classifier(8, nn.AdaptiveAvgPool2d(1), nn.Flatten(0)), (2, 3, 8, 8), "batch", "torch.flatten(x, 1)"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(16, 8, 3)), (1, 3, 8, 8), "in-channels", "in_channels=8"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(16)), (1, 3, 8, 8), "num-features", "nn.BatchNorm2d(8)"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)), (1, 3, 8, 8), "one-value", "model.eval()"),
        (nn.BatchNorm2d(3), (3, 8, 8), "axes", "(1, 3, 8, 8)"),
        (nn.Sequential(nn.Flatten(), nn.Conv2d(3, 8, 3)), (1, 3, 8, 8), "axes", "Flatten after"),
        (nn.AvgPool2d(7), (1, 3, 5, 5), "too-small", "AdaptiveAvgPool2d"),
        (nn.Conv2d(3, 8, 5), (1, 3, 4, 6), "too-small", "larger image"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit(model, shape, code, fix):
    failure = trace(model, shape).failure
    assert failure.code == code
    assert fix in failure.fix
    assert failure.shapes["input"]
    assert without_kernel(failure.error) == torch_says(model, shape)


def test_where_a_wrong_number_of_channels_comes_from():
    model = cifar_resnet(20)
    model.layer2[0].conv2 = nn.Conv2d(64, 32, 3, padding=1)
    failure = trace(model, (1, 3, 32, 32)).failure
    assert failure.module == "layer2.0.conv2"
    assert "expects 64 channels and gets 32" in failure.message


def test_groups_that_do_not_divide():
    failure = trace(lambda: nn.Conv2d(64, 64, 3, groups=3)).failure
    assert (failure.code, failure.module_type) == ("groups", "Conv2d")
    failure = trace(lambda x: F.conv2d(x, torch.zeros(6, 2, 3, 3), groups=3), (1, 8, 5, 5)).failure
    assert (failure.code, failure.axis) == ("groups", 1)


def test_joining_reshaping_and_products():
    assert trace(lambda x: torch.cat([x, x[:, :, ::2]], 1), MAP).failure.axis == 2
    assert trace(lambda x: torch.cat([x, x[:, :3]]), MAP).failure.code == "cat"
    assert trace(lambda x: x.view(-1, 7), MAP).failure.code == "reshape"
    assert trace(lambda x: x @ x[..., :3, :], MAP).failure.axis == 3


@pytest.mark.parametrize("model", [nn.Conv2d(3, 4, 1), nn.Linear(8, 4)])
def test_another_type(model):
    failure = trace(model, torch.zeros(1, 3, 8, 8, dtype=torch.float64)).failure
    assert failure.code == "types"


def test_a_parameter_must_not_be_overwritten():
    class Overwrites(nn.Linear):
        def forward(self, x):
            self.weight += 1
            return super().forward(x)

    assert trace(Overwrites(3, 3), (1, 3)).failure.code == "overwrites-parameter"


# -- Python ----------------------------------------------------------------------------------


class NoReturn(nn.Module):
    def forward(self, x):
        x + 1


class Raises(nn.Module):
    def forward(self, x):
        raise KeyError("nothing")


class Misspelt(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv_1(x)


class Endless(nn.Module):
    def forward(self, x):
        return self(x)


class TwoInputs(nn.Module):
    def forward(self, image, mask):
        return image * mask


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        (nn.Sequential(NoReturn(), nn.ReLU()), "no-return", "return x"),
        (nn.Sequential(NoReturn(), nn.Conv2d(3, 3, 1)), "no-return", "return x"),
        (Raises(), "error", ""),
        (Misspelt(), "no-attribute", "self.conv1"),
        (Endless(), "recursion", ""),
        (TwoInputs(), "inputs", "trace(model, [shape, shape])"),
        (nn.ModuleList([nn.ReLU()]), "no-forward", "nn.Sequential"),
        (nn.Module(), "no-forward", "forward"),
        (nn.LazyConv2d(3, 1), "lazy", ""),
    ],
)
def test_errors_of_python(model, code, words):
    failure = trace(model, (1, 3, 4, 4)).failure
    assert failure.code == code
    assert words in failure.fix
    assert failure.message


def test_the_line_of_an_error_is_named():
    failure = trace(Misspelt(), (1, 3, 4, 4)).failure
    assert failure.source.text == "return self.conv_1(x)"
    assert failure.source.place == "test_trace_failures.py"


def test_a_network_that_catches_its_failure_goes_on():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 5), nn.Linear(8, 5)

        def forward(self, x):
            try:
                return self.first(x)
            except RuntimeError:
                return self.second(x)

    t = trace(Careful(), (1, 8))
    assert t.ok and [op.module for op in t] == ["second"]


def test_a_network_that_cannot_be_built():
    class NoSuper(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(3, 3, 1)

    assert trace(NoSuper).failure.code == "no-super-init"
    assert trace(lambda: Bottleneck(64, 0)).failure.code == "construction"
    assert trace(resnet18).ok


def test_only_the_caller_s_own_mistakes_raise():
    with pytest.raises(TypeError, match="nn.Module"):
        trace("resnet18")
    for wrong in ("224", (1, -3, 8, 8), 3.5, [(1, 3), "x"], None):
        with pytest.raises(ValueError, match="input_size"):
            trace(nn.ReLU(), wrong)


def test_the_failure_is_printed():
    text = str(trace(Block(16, 32), MAP))
    for words in ("The trace ends at add in Block", "(2, 32, 9, 9)", "axis 1 (channels)", "Cause:", "Fix:"):
        assert words in text
