"""``resnet_tutorial.shapes`` against PyTorch's own layers, over many settings, and its errors."""

import subprocess
import sys

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_tutorial import shapes

SIZES = st.integers(1, 300)
KERNELS = st.integers(1, 11)
STRIDES = st.integers(1, 5)
PADDINGS = st.integers(0, 8)
DILATIONS = st.integers(1, 4)

many = settings(max_examples=300, deadline=None)
few = settings(max_examples=60, deadline=None)


def meta(*shape):
    return torch.empty(*shape, device="meta")


# --- conv_output_size ---


@many
@given(SIZES, KERNELS, STRIDES, PADDINGS, DILATIONS)
def test_output_size_is_that_of_conv2d(size, kernel, stride, padding, dilation):
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation, device="meta")
    other = 2 * size + 1  # the two axes do not meet
    try:
        expected = tuple(layer(meta(1, 1, size, other)).shape[2:])
    except RuntimeError:
        with pytest.raises(ValueError, match="does not fit"):
            shapes.conv_output_size(size, kernel, stride, padding, dilation)
        return
    found = tuple(
        shapes.conv_output_size(side, kernel, stride, padding, dilation) for side in (size, other)
    )
    assert found == expected


@many
@given(SIZES, KERNELS, STRIDES, PADDINGS, DILATIONS)
def test_output_size_is_that_of_max_pooling(size, kernel, stride, padding, dilation):
    padding = min(padding, kernel // 2)  # PyTorch's own limit
    assume(dilation * (kernel - 1) + 1 <= size + 2 * padding)
    layer = nn.MaxPool2d(kernel, stride, padding, dilation)
    expected = layer(meta(1, 1, size, size)).shape[-1]
    assert shapes.conv_output_size(size, kernel, stride, padding, dilation) == expected


@many
@given(SIZES, st.integers(0, 5).map(lambda half: 2 * half + 1), DILATIONS, STRIDES)
def test_half_the_extent_as_padding_keeps_the_size_and_strides_round_up(
    size, kernel, dilation, stride
):
    padding = dilation * (kernel - 1) // 2
    assert shapes.conv_output_size(size, kernel, 1, padding, dilation) == size
    assert shapes.conv_output_size(size, kernel, stride, padding, dilation) == -(-size // stride)


@pytest.mark.parametrize(
    "arguments, expected",
    [((224, 7, 2, 3), 112), ((112, 3, 2, 1), 56), ((56, 1, 2), 28), ((7, 7), 1), ((1, 3, 2, 1), 1)],
)
def test_output_sizes_of_the_resnet(arguments, expected):
    assert shapes.conv_output_size(*arguments) == expected


@pytest.mark.parametrize(
    "arguments, says",
    [
        ({"size": 5, "kernel_size": 7}, "spans 7 pixels does not fit into 5 pixels with a padding of 0"),
        ({"size": 5, "kernel_size": 3, "dilation": 3}, "spans 7 pixels"),
        ({"size": 2, "kernel_size": 7, "padding": 2}, "with a padding of 2"),
        ({"size": 0, "kernel_size": 3}, "size must be a whole number of 1 or more, not 0"),
        ({"size": 8, "kernel_size": 0}, "kernel_size must be a whole number of 1 or more"),
        ({"size": 8, "kernel_size": 3, "stride": 0}, "stride must be a whole number of 1 or more"),
        ({"size": 8, "kernel_size": 3, "dilation": -1}, "dilation must be a whole number of 1 or more"),
        ({"size": 8, "kernel_size": 3, "padding": -1}, "padding must be a whole number of 0 or more"),
        ({"size": 8.0, "kernel_size": 3}, "size must be a whole number of 1 or more, not 8.0"),
        ({"size": 8, "kernel_size": True}, "kernel_size must be a whole number of 1 or more, not True"),
        ({"size": 8, "kernel_size": 3, "padding": 0.5}, "padding must be a whole number"),
        ({"size": 8, "kernel_size": 3, "padding": "same"}, "not 'same'"),
        ({"size": 8, "kernel_size": 3, "padding": True}, "not True"),
        ({"size": 8, "kernel_size": (3, 3)}, "kernel_size must be a whole number"),
    ],
)  # fmt: skip
def test_output_size_refuses(arguments, says):
    with pytest.raises(ValueError, match=says):
        shapes.conv_output_size(**arguments)


# --- conv_params and conv_macs ---


@many
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 7), st.integers(1, 8), st.booleans())
def test_params_are_those_of_conv2d(in_factor, out_factor, kernel, groups, bias):
    inputs, outputs = in_factor * groups, out_factor * groups
    layer = nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=bias, device="meta")
    expected = sum(parameter.numel() for parameter in layer.parameters())
    assert shapes.conv_params(inputs, outputs, kernel, groups, bias) == expected


@few
@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), STRIDES,
    st.integers(5, 40), st.integers(5, 40),
)  # fmt: skip
def test_macs_are_half_the_flops_that_pytorch_counts(
    in_factor, out_factor, kernel, groups, stride, height, width
):
    inputs, outputs = in_factor * groups, out_factor * groups
    layer = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, device="meta")
    with FlopCounterMode(display=False) as counter:
        out = layer(meta(1, inputs, height, width))
    out_size = tuple(out.shape[2:])
    found = shapes.conv_macs(inputs, outputs, kernel, out_size, groups)
    assert 2 * found == counter.get_total_flops()


def test_macs_of_a_square_need_one_number():
    assert shapes.conv_macs(3, 64, 7, 112) == shapes.conv_macs(3, 64, 7, (112, 112)) == 118_013_952


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: shapes.conv_params(6, 8, 3, groups=4), "groups=4 does not divide in_channels=6"),
        (lambda: shapes.conv_params(8, 6, 3, groups=4), "groups=4 does not divide out_channels=6"),
        (lambda: shapes.conv_params(4, 4, 3, groups=8), "groups=8 does not divide"),
        (lambda: shapes.conv_params(0, 4, 3), "in_channels must be a whole number of 1 or more"),
        (lambda: shapes.conv_params(4, 4.0, 3), "out_channels must be a whole number"),
        (lambda: shapes.conv_params(4, 4, 0), "kernel_size must be a whole number of 1 or more"),
        (lambda: shapes.conv_params(4, 4, 3, groups=0), "groups must be a whole number of 1 or more"),
        (lambda: shapes.conv_macs(6, 8, 3, 5, groups=4), "does not divide"),
        (lambda: shapes.conv_macs(4, 4, 3, 0), "height must be a whole number of 1 or more"),
        (lambda: shapes.conv_macs(4, 4, 3, (5, -1)), "width must be a whole number of 1 or more"),
    ],
)
def test_counts_refuse(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# --- receptive fields ---


def measured_field(layers) -> tuple[int, int]:
    """Return size and jump as autograd sees them: which inputs move two neighbouring outputs."""
    stack = nn.Sequential(
        *(nn.Conv1d(1, 1, k, s, dilation=d, bias=False).double() for k, s, d in layers)
    )
    for parameter in stack.parameters():
        nn.init.ones_(parameter)
    field = shapes.receptive_field(layers)
    x = torch.ones(1, 1, field.size + 2 * field.jump, dtype=torch.double, requires_grad=True)
    out = stack(x)
    seen = [
        torch.autograd.grad(out[0, 0, i], x, retain_graph=True)[0][0, 0].nonzero().flatten()
        for i in (0, 1)
    ]
    return int(seen[0].max() - seen[0].min() + 1), int(seen[1].min() - seen[0].min())


@few
@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=5
    )
)
def test_receptive_field_is_what_the_gradient_sees(layers):
    assert tuple(shapes.receptive_field(layers)) == measured_field(layers)


def test_receptive_fields_known_by_hand():
    assert shapes.receptive_field([]) == (1, 1)
    assert shapes.receptive_field([(7, 2), (3, 2)]) == (11, 4)
    assert shapes.receptive_field([(3, 1)] * 10) == (21, 1)
    assert shapes.receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)]).size == 15
    assert shapes.receptive_field(iter([(3, 1)])).size == 3
    assert shapes.conv_receptive_field(3, dilation=2) == 5


@few
@given(
    st.lists(st.tuples(KERNELS, STRIDES, DILATIONS), max_size=6),
    st.lists(st.tuples(KERNELS, STRIDES, DILATIONS), max_size=6),
)
def test_one_output_needs_an_input_of_the_fields_size(first, second):
    """Going backwards through the same layers gives the same size, and jumps multiply."""
    size = 1
    for kernel, stride, dilation in reversed(first + second):
        size = (size - 1) * stride + dilation * (kernel - 1) + 1
    both = shapes.receptive_field(first + second)
    jumps = shapes.receptive_field(first).jump * shapes.receptive_field(second).jump
    assert both == (size, jumps)


@pytest.mark.parametrize("layer", [(0, 1), (3, 0), (3, 1, 0), (3, 1.5), (3.0, 1)])
def test_receptive_field_refuses(layer):
    with pytest.raises(ValueError, match="must be"):
        shapes.receptive_field([layer])


# --- bottleneck_width ---


@pytest.mark.parametrize(
    "planes, groups, base_width, expected",
    [(64, 1, 64, 64), (64, 32, 4, 128), (512, 32, 4, 1024), (64, 1, 128, 128), (64, 2, 40, 80)],
)
def test_bottleneck_widths(planes, groups, base_width, expected):
    assert shapes.bottleneck_width(planes, groups, base_width) == expected


@pytest.mark.parametrize(
    "arguments, says",
    [((8, 1, 4), "less than one channel"), ((0,), "planes must be"), ((64, 0), "groups must be")],
)
def test_bottleneck_width_refuses(arguments, says):
    with pytest.raises(ValueError, match=says):
        shapes.bottleneck_width(*arguments)


def test_the_arithmetic_loads_no_torch():
    code = "import sys; import resnet_tutorial.shapes; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
