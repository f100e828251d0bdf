"""The tracer's numbers: against torchinfo, against a real forward pass, against the book's facts."""

from __future__ import annotations

import time

import pytest
import torch
import torchinfo
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from resnet_tutorial import (
    ConvBlock,
    EarlyConcatenation,
    IdentityBlock,
    SplitTransformMerge,
    build_model,
    cifar_resnet,
    model_names,
    receptive_field,
    resnet18,
    resnet50,
    resnet152,
    trace,
)
from resnet_tutorial.shapes import ReceptiveField

IMAGENET, CIFAR = (1, 3, 224, 224), (1, 3, 32, 32)
# The deep members of a CIFAR family repeat what the shallow ones have.
NAMES = [name for name in model_names() if not name.endswith(("32", "44", "56"))]
OTHERS = {
    "resnet50, v1": (lambda: resnet50(version="v1"), IMAGENET),
    "resnet18, CIFAR stem": (lambda: resnet18(stem="cifar", num_classes=10), CIFAR),
    "option B": (lambda: cifar_resnet(20, "B"), CIFAR),
    "option C": (lambda: cifar_resnet(20, "C"), CIFAR),
    "ConvBlock": (lambda: ConvBlock(64, 64), (2, 64, 56, 56)),
    "IdentityBlock": (lambda: IdentityBlock(256, 64), (2, 256, 56, 56)),
    "split, transform, merge": (lambda: SplitTransformMerge(64, 64), (1, 64, 56, 56)),
    "early concatenation": (lambda: EarlyConcatenation(64, 64, stride=2), (1, 64, 56, 56)),
}


class Function(nn.Module):
    """A function as a network."""

    def __init__(self, forward):
        super().__init__()
        self.forward = forward


def on_meta(build):
    with torch.device("meta"):
        return build()


def torchinfo_of(model: nn.Module, shape: tuple[int, ...]):
    """Return torchinfo's total of parameters, and its MACs of convolutions and linear layers."""
    summary = torchinfo.summary(
        model, input_data=torch.empty(shape, device="meta"), device="meta", verbose=0, depth=9
    )
    layers = [layer for layer in summary.summary_list if layer.is_leaf_layer]
    macs = sum(layer.macs for layer in layers if layer.class_name in ("Conv2d", "Linear"))
    return summary.total_params, macs


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_totals_are_torchinfos(name):
    build, shape = OTHERS.get(name, (lambda: build_model(name), CIFAR if "cifar" in name else IMAGENET))
    model = on_meta(build).eval()
    t = trace(model, shape)
    assert t.ok and not t.warnings
    assert (t.params, t.macs) == torchinfo_of(model, shape)
    assert sum(op.params for op in t) == t.params


@pytest.mark.parametrize(
    ("name", "params", "giga"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
        ("resnet101", 44_549_160, 7.801),
        ("resnet152", 60_192_808, 11.514),
        ("resnext50_32x4d", 25_028_904, 4.230),
        ("resnext101_64x4d", 83_455_272, 15.460),
        ("wide_resnet101_2", 126_886_696, 22.753),
    ],
)
def test_known_networks(name, params, giga):
    t = trace(on_meta(lambda: build_model(name)))
    assert t.params == params
    assert round(t.macs / 1e9, 3) == giga
    assert t.output_shape == (1, 1000)


def test_shapes_are_those_of_a_real_forward_pass():
    model, seen = cifar_resnet(20, "B"), []
    for path, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.Linear)):
            module.register_forward_hook(lambda m, i, o, path=path: seen.append((path, tuple(o.shape))))
    model(torch.randn(2, 3, 33, 29))
    expected, seen[:] = list(seen), []
    t = trace(model, (2, 3, 33, 29))
    assert [(op.module, op.output_shape) for op in t if op.parameters] == expected


def test_convolutions_of_every_dimension():
    model = nn.Sequential(
        nn.Conv3d(2, 4, 3, bias=True), nn.ConvTranspose3d(4, 6, 2, stride=2), nn.Flatten(3),
        nn.Conv2d(6, 6, (3, 1), groups=3, padding="same"), nn.Flatten(2), nn.Conv1d(6, 1, 5, dilation=2),
    )  # fmt: skip
    x = torch.randn(2, 2, 5, 6, 7)
    t = trace(model, tuple(x.shape))
    assert t.output_shape == model(x).shape
    conv3d, transposed, _, conv2d, _, conv1d = (op.macs for op in t)
    assert conv3d == 2 * 4 * (3 * 4 * 5) * (2 * 27 + 1)
    assert transposed == 2 * 4 * (3 * 4 * 5) * 6 * 8 + 2 * 6 * (6 * 8 * 10)
    assert conv2d == 2 * 6 * 6 * 80 * (2 * 3 + 1)
    assert conv1d == 2 * 472 * (6 * 5 + 1)


# -- receptive fields ------------------------------------------------------------------------


def test_receptive_field_of_the_stem():
    t = trace(on_meta(resnet18))
    assert t["maxpool"][0].field == (receptive_field([(7, 2), (3, 2)]),) * 2


def test_an_addition_sees_what_its_wider_branch_sees():
    t = trace(on_meta(resnet50))
    first = t.merges[0]
    branch, shortcut = first.branches
    assert first.shortcut == 1
    assert (branch.field[0].size, shortcut.field[0].size) == (19, 11)
    assert t[first.operation].field == branch.field
    assert t["fc"][0].field == "all"


def test_receptive_field_is_where_gradients_come_from():
    """The field of one output pixel is exactly the patch of the input that can change it."""
    layers = [nn.Conv2d(1, 1, 3, stride=2, bias=False), nn.Conv2d(1, 1, (3, 5), dilation=2, bias=False)]
    model = nn.Sequential(*layers, nn.AvgPool2d(2)).double()
    x = torch.randn(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    y = model(x)
    y[0, 0, 3, 3].backward()
    touched = x.grad[0, 0].nonzero()
    extent = touched.max(dim=0).values - touched.min(dim=0).values + 1
    assert [axis.size for axis in trace(model, tuple(x.shape))[-1].field] == extent.tolist()


def test_leaving_out_pixels_widens_the_jump():
    def sliced(x):
        return x[:, :, ::2, ::2]

    def pooled(x):
        return F.avg_pool2d(x, 1, 2)

    for way, name in ((sliced, "getitem"), (pooled, "avg_pool2d")):
        last = trace(Function(way), CIFAR)[-1]
        assert (last.name, last.field) == (name, (ReceptiveField(1, 2),) * 2)
    shortcut = trace(cifar_resnet(20, "A"), CIFAR)["layer2.0.downsample"]
    assert [op.name for op in shortcut] == ["avg_pool2d", "pad"]
    assert shortcut[1].field[0].jump == 2


@pytest.mark.parametrize(
    ("pool", "size", "field"),
    [
        (nn.AvgPool2d(6), 6, "all"),
        (nn.MaxPool2d(6), 6, "all"),
        (nn.AvgPool2d(3), 6, (ReceptiveField(3, 3),) * 2),
        (nn.MaxPool2d(3, 2, 1), 3, (ReceptiveField(3, 2),) * 2),  # two positions, each with padding in its window
        (nn.AvgPool2d(1), 1, (ReceptiveField(1, 1),) * 2),  # of a single position it sees no more than that
    ],
)
def test_a_pooling_over_the_whole_map_sees_all_of_the_image(pool, size, field):
    assert trace(pool, (1, 3, size, size))[-1].field == field


# -- against torch, on networks that nobody thought of ----------------------------------------

layers = st.one_of(
    st.builds(
        lambda o, k, s, p, d, g: nn.Conv2d(6, 6 * o, k, s, p, d, g),
        st.integers(1, 2), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2),
        st.sampled_from([1, 2, 3, 6]),
    ),
    st.builds(nn.BatchNorm2d, st.sampled_from([6, 12])),
    st.builds(nn.MaxPool2d, st.integers(1, 3), st.integers(1, 2), padding=st.integers(0, 1)),
    st.builds(nn.AdaptiveAvgPool2d, st.integers(1, 4)),
    st.builds(nn.ReLU, st.booleans()),
    st.just(nn.Flatten()),
    st.builds(nn.Linear, st.sampled_from([6, 24, 54]), st.just(5)),
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(layers, min_size=1, max_size=5), st.integers(0, 2), st.integers(1, 9), st.integers(1, 9), st.booleans()
)
def test_a_trace_ends_where_torch_does(modules, batch, height, width, training):
    model = nn.Sequential(*modules).train(training)
    x = torch.randn(batch, 6, height, width)
    try:
        expected = model(x).shape
    except (RuntimeError, ValueError):
        expected = None
    t = trace(model, (batch, 6, height, width))
    assert (t.output_shape if t.ok else None) == expected
    assert not t.failure or (t.failure.message and t.failure.error)


# -- cost ------------------------------------------------------------------------------------


def test_nothing_large_is_allocated():
    t = trace(on_meta(resnet152), (1024, 3, 1024, 1024))  # terabytes, if the tensors were real
    assert t.ok
    assert t.activation_bytes > 2**42


def test_faster_than_torchinfo():
    model = resnet50().eval()
    trace(model)
    ours, theirs = [], []
    for _ in range(3):
        start = time.perf_counter()
        trace(model)
        middle = time.perf_counter()
        torchinfo.summary(model, IMAGENET, verbose=0)
        ours.append(middle - start)
        theirs.append(time.perf_counter() - middle)
    assert min(ours) <= min(theirs)
