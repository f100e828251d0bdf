"""The tracer's own arithmetic of shapes, held against real tensors."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_tutorial import trace

small = st.integers(0, 4)
shapes = st.lists(small, max_size=5).map(tuple)


def shape_or_error(function, *tensors):
    try:
        return tuple(function(*tensors).shape)
    except (RuntimeError, ValueError, IndexError):
        return "error"


def agree(function, *sizes):
    """Let the tracer and torch compute the same, and compare shape or failure."""
    expected = shape_or_error(function, *(torch.randn(size) for size in sizes))
    t = trace(lambda *inputs: function(*inputs), list(sizes))
    assert (t.output_shape if t.ok else "error") == expected, t


def check(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True)


@check(60)
@given(shapes, shapes, st.sampled_from([torch.add, torch.mul, torch.Tensor.add_]))
def test_two_tensors(one, other, function):
    agree(function, one, other)


@check(40)
@given(*[st.lists(st.integers(0, 3), min_size=2, max_size=4).map(tuple)] * 2)
def test_matrix_products(one, other):
    agree(torch.matmul, one, other)


@check(80)
@given(
    st.integers(1, 3), st.data(), st.integers(1, 2), st.booleans(),
    st.sampled_from([0, 1, 2, (1,), "same", "valid"]), st.sampled_from([1, 2, (2,), 3]), st.integers(1, 2),
)  # fmt: skip
def test_convolutions(axes, data, groups, bias, padding, stride, dilation):
    x = data.draw(st.lists(st.integers(0, 6), min_size=axes, max_size=axes + 3).map(tuple))
    weight = (
        data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)),
        *data.draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes)),
    )  # fmt: skip
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if bias:
        agree(lambda x, w, b: function(x, w, b, **options), x, weight, (weight[0],))
    else:
        agree(lambda x, w: function(x, w, **options), x, weight)


@check(40)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.integers(1, 2), st.integers(1, 2),
)  # fmt: skip
def test_transposed_convolutions(x, weight, stride, padding, more, groups, dilation):
    agree(lambda x, w: F.conv_transpose2d(x, w, None, stride, padding, more, groups, dilation), x, weight)


@check(80)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=5).map(tuple),
    st.sampled_from([1, 2, 3, (2, 3), 7]), st.sampled_from([None, 1, 2, (1, 2)]), st.integers(0, 2),
    st.booleans(), st.sampled_from([F.max_pool2d, F.avg_pool2d]),
)  # fmt: skip
def test_pooling(x, kernel, stride, padding, ceil, function):
    agree(lambda x: function(x, kernel, stride, padding=padding, ceil_mode=ceil), x)


@check(60)
@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=5).map(tuple),
    st.sampled_from([1, 3, (2, 2), (None, 3), (4,)]),
)
def test_adaptive_pooling(x, size):
    agree(lambda x: F.adaptive_avg_pool2d(x, size), x)


@check(80)
@given(
    shapes,
    st.one_of(st.none(), st.integers(-5, 5), st.lists(st.integers(-4, 4), max_size=3).map(tuple)),
    st.booleans(),
    st.sampled_from([torch.mean, torch.sum]),
)
def test_reductions(x, dim, keep, function):
    agree(lambda x: function(x, dim, keepdim=keep), x)


@check(80)
@given(st.lists(st.lists(st.integers(0, 2), max_size=3).map(tuple), min_size=1, max_size=3), st.integers(-3, 3))
def test_concatenation(sizes, dim):
    agree(lambda *tensors: torch.cat(tensors, dim), *sizes)


@check(50)
@given(shapes, st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_linear_layers(x, features, out, bias):
    if bias:
        agree(F.linear, x, (out, features), (out,))
    else:
        agree(F.linear, x, (out, features))


@check(50)
@given(shapes, st.integers(1, 4), st.booleans())
def test_batch_normalisation(x, channels, training):
    agree(lambda x, m, v: F.batch_norm(x, m, v.abs() + 1, training=training), x, (channels,), (channels,))


@check(60)
@given(shapes, st.lists(st.integers(1, 4), min_size=1, max_size=2), st.integers(1, 3))
def test_other_normalisations(x, last, groups):
    agree(lambda x: F.layer_norm(x, last), x)
    agree(lambda x: F.group_norm(x, groups), x)


def test_the_order_of_axes_in_memory_is_kept():
    """``view`` refuses what ``permute`` has reordered; the tracer must refuse it as well."""

    def forward(x):
        return F.relu(x.permute(0, 2, 3, 1)).view(1, -1)

    failure = trace(forward, (1, 3, 4, 4)).failure
    assert failure.operation == "view"
    with pytest.raises(RuntimeError):
        forward(torch.randn(1, 3, 4, 4))


def test_a_session_s_first_trace_loads_no_compiler():
    """Torch's meta device would load sympy and torch._dynamo, which takes seconds."""
    code = """
import sys
from resnet_tutorial import cifar_resnet, resnet18, trace
model = resnet18()
print(trace(model).ok, trace(cifar_resnet(8), (1, 3, 32, 32)).ok, end=" ")
model.layer2[0].downsample = None
print(trace(model).ok, "torch._dynamo" in sys.modules or "sympy" in sys.modules)
"""
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["True", "True", "False", "False"]
