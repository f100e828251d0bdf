"""Chapter 7's checks: right answers in several styles pass, each known mistake is named."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import SplitTransformMerge, blocks, check, shapes
from resnet_tutorial.blocks import conv1x1, conv3x3, needs_projection, projection

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from chapter_source import stub_source

IDS = (
    "grouped_conv", "bottleneck_width", "resnext_block", "split_transform", "equal_cost_width",
    "count_groups",
)  # fmt: skip


def first_failure(report) -> str:
    return next((finding.code for finding in report.findings if not finding.ok), "passed")


@pytest.mark.parametrize("name", IDS)
def test_the_books_solution_passes(name):
    entry = check.catalog()[name]
    assert entry.chapter == 7 and [id for id in check.catalog() if id in IDS] == list(IDS)
    report = entry(entry.load_solution())
    assert report.passed, str(report)


@pytest.mark.parametrize("name", IDS)
def test_the_blank_is_not_attempted(name, tmp_path):
    entry = check.catalog()[name]
    stub = tmp_path / "stub.py"  # a file, so that the traceback knows its lines, as in a notebook
    source = "from __future__ import annotations\nfrom torch import nn\n" + stub_source(entry)
    stub.write_text(source, encoding="utf-8")
    namespace = {"nn": nn, "F": F}
    exec(compile(source, str(stub), "exec"), namespace)
    report = entry(namespace[entry.solution.partition(":")[2]])
    assert not report.attempted and not report.passed


# --- 7.1 -------------------------------------------------------------------------------------


def by_index(x, weight, groups, stride=1, padding=0):
    """The output is filled in slice by slice."""
    into, out = x.shape[1] // groups, weight.shape[0] // groups
    y = None
    for g in range(groups):
        piece = F.conv2d(
            x[:, g * into : (g + 1) * into], weight[g * out : (g + 1) * out], None, stride, padding
        )
        y = piece if y is None else torch.cat((y, piece), 1)
    return y


def as_one_dense_kernel(x, weight, groups, stride=1, padding=0):
    """The weight is spread over a block-diagonal one."""
    out, thin, k, _ = weight.shape
    dense = weight.new_zeros(out, thin * groups, k, k)
    for g in range(groups):
        rows = slice(g * out // groups, (g + 1) * out // groups)
        dense[rows, g * thin : (g + 1) * thin] = weight[rows]
    return F.conv2d(x, dense, stride=stride, padding=padding)


def by_einsum(x, weight, groups, stride=1, padding=0):
    """Unfold the windows and multiply."""
    n, c, h, w = x.shape
    k = weight.shape[-1]
    windows = F.unfold(x, k, padding=padding, stride=stride).view(n, groups, c // groups * k * k, -1)
    y = torch.einsum("ngip,goi->ngop", windows, weight.reshape(groups, weight.shape[0] // groups, -1))
    height = (h + 2 * padding - k) // stride + 1
    return y.reshape(n, weight.shape[0], height, -1)


@pytest.mark.parametrize("attempt", [by_index, as_one_dense_kernel, by_einsum])
def test_grouped_conv_in_another_style(attempt):
    report = check.grouped_conv(attempt)
    assert report.passed, str(report)


def pieces_of(x, weight, groups, stride=1, padding=0):
    return [
        F.conv2d(a, b, stride=stride, padding=padding)
        for a, b in zip(x.chunk(groups, 1), weight.chunk(groups, 0), strict=True)
    ]


def summed(*args):
    return sum(pieces_of(*args))


def not_split(x, weight, groups, stride=1, padding=0):
    return torch.cat([F.conv2d(a, weight, None, stride, padding) for a in x.chunk(groups, 1)], 1)


def filters_in_steps_of_x(x, weight, groups, stride=1, padding=0):
    step = x.shape[1] // groups
    cut = [slice(g * step, (g + 1) * step) for g in range(groups)]
    return torch.cat([F.conv2d(x[:, run], weight[run], None, stride, padding) for run in cut], 1)


def filters_cut_along_the_wrong_axis(x, weight, groups, stride=1, padding=0):
    pairs = zip(x.chunk(groups, 1), weight.chunk(groups, 1), strict=False)
    return torch.cat([F.conv2d(a, b, None, stride, padding) for a, b in pairs], 1)


def count_taken_for_width(x, weight, groups, stride=1, padding=0):
    pairs = zip(x.split(groups, 1), weight.split(groups, 0), strict=False)
    return torch.cat([F.conv2d(a, b, None, stride, padding) for a, b in pairs], 1)


def no_stride(x, weight, groups, stride=1, padding=0):
    return torch.cat(pieces_of(x, weight, groups, 1, padding), 1)


def no_padding(x, weight, groups, stride=1, padding=0):
    return torch.cat(pieces_of(x, weight, groups, stride), 1)


def every_other(x, weight, groups, stride=1, padding=0):
    parts = [
        F.conv2d(x[:, g::groups], w, None, stride, padding)
        for g, w in enumerate(weight.chunk(groups, 0))
    ]
    return torch.cat(parts, 1)


def reversed_groups(*args):
    return torch.cat(pieces_of(*args)[::-1], 1)


def interleaved_outputs(*args):
    return torch.stack(pieces_of(*args), 2).flatten(1, 2)


def first_filters_only(x, weight, groups, stride=1, padding=0):
    first = weight.chunk(groups, 0)[0]
    return torch.cat([F.conv2d(a, first, None, stride, padding) for a in x.chunk(groups, 1)], 1)


def first_channels_only(x, weight, groups, stride=1, padding=0):
    first = x.chunk(groups, 1)[0]
    return torch.cat([F.conv2d(first, w, None, stride, padding) for w in weight.chunk(groups, 0)], 1)


def detached(*args):
    return torch.cat(pieces_of(*args), 1).detach()


def weight_detached(x, weight, *args):
    return torch.cat(pieces_of(x, weight.detach(), *args), 1)


def weight_in_a_layer(x, weight, *args):
    return torch.cat(pieces_of(x, nn.Parameter(weight), *args), 1)


def groups_by_keyword(x, weight, groups, stride=1, padding=0):
    return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)


def groups_by_place(x, weight, groups, stride=1, padding=0):
    return torch.conv2d(x, weight, None, stride, padding, 1, groups)


def groups_in_a_layer(x, weight, groups, stride=1, padding=0):
    out, _, k, _ = weight.shape
    layer = nn.Conv2d(x.shape[1], out, k, stride, padding, groups=groups, bias=False)
    layer.weight = nn.Parameter(weight)
    return layer(x)


def always_float32(*args):
    y = torch.cat(pieces_of(*args), 1)
    return torch.zeros(y.shape).copy_(y)


def another_stride(x, weight, groups, stride=2, padding=0):
    return torch.cat(pieces_of(x, weight, groups, stride, padding), 1)


def another_padding(x, weight, groups, stride=1, padding=1):
    return torch.cat(pieces_of(x, weight, groups, stride, padding), 1)


def writes_into_x(x, weight, groups, stride=1, padding=0):
    y = F.conv2d(x, weight, None, stride, padding, 1, groups)
    x.data.mul_(2)
    return y


@pytest.mark.parametrize(
    "code, attempt",
    [
        ("wrong-type", pieces_of),
        ("wrong-type", lambda *args: None),
        ("groups-summed", summed),
        ("weight-not-split", not_split),
        ("filters-cut-as-channels", filters_in_steps_of_x),
        ("wrong-size", no_stride),
        ("wrong-size", no_padding),
        ("groups-interleaved", every_other),
        ("groups-reordered", reversed_groups),
        ("groups-reordered", interleaved_outputs),
        ("weights-shared", first_filters_only),
        ("input-shared", first_channels_only),
        ("wrong-value", lambda *args: 2 * torch.cat(pieces_of(*args), 1)),
        ("gradient-cut", detached),
        ("gradient-cut", weight_detached),
        ("gradient-cut", weight_in_a_layer),
        ("used-groups", groups_by_keyword),
        ("used-groups", groups_by_place),
        ("used-groups", groups_in_a_layer),
        ("wrong-dtype", always_float32),
        ("wrong-default", another_stride),
        ("wrong-default", another_padding),
        ("wrong-signature", lambda x, weight, groups, stride, padding: by_index(x, weight, groups, stride, padding)),
        ("input-modified", writes_into_x),
        ("raised", lambda x, weight, groups, stride, padding: F.conv2d(x, weight)),
    ],
)
def test_grouped_conv_names_the_mistake(code, attempt):
    assert first_failure(check.grouped_conv(attempt)) == code


@pytest.mark.parametrize("attempt", [filters_cut_along_the_wrong_axis, count_taken_for_width])
def test_grouped_conv_names_the_call_that_raised(attempt):
    said = next(f for f in check.grouped_conv(attempt).findings if not f.ok)
    assert said.code == "raised" and "groups=4 with a 3×3 kernel, stride=1, padding=1" in said.message
    assert "x is (2, 8, 6, 5), weight is (12, 2, 3, 3)" in said.message
    assert "2 of the channels and 3 of the filters" in said.message


def test_grouped_conv_says_whose_gradient_is_wrong():
    said = next(f for f in check.grouped_conv(weight_detached).findings if not f.ok)
    assert said.message.endswith("not the gradient of weight.")


# --- 7.2 -------------------------------------------------------------------------------------


def whole_division(planes, groups=1, base_width=64):
    return planes * base_width // 64 * groups


def by_fraction(planes, groups=1, base_width=64):
    return groups * int(planes / 64 * base_width)


def as_tensor(function):
    return lambda *arguments: torch.tensor(function(*arguments))


@pytest.mark.parametrize("attempt", [whole_division, by_fraction, as_tensor(whole_division)])
def test_width_in_another_style(attempt):
    report = check.bottleneck_width(attempt)
    assert report.passed, str(report)


@pytest.mark.parametrize(
    "code, formula",
    [
        ("wrong-type", lambda p, g, b: p * b / 64 * g),
        ("wrong-type", lambda p, g, b: print(p * b // 64 * g)),
        ("one-group-only", lambda p, g, b: p * b // 64),
        ("base-width-ignored", lambda p, g, b: p),
        ("base-width-ignored", lambda p, g, b: p * g),
        ("planes-ignored", lambda p, g, b: b * g if g > 1 else p * b // 64),
        ("rounded-last", lambda p, g, b: p * b * g // 64),
        ("rounded-up", lambda p, g, b: -(-p * b // 64) * g),
        ("rounded-up", lambda p, g, b: round(p * b / 64) * g),
        ("not-scaled", lambda p, g, b: p * b * g if g > 1 else p * b // 64),
        ("groups-divide", lambda p, g, b: p * b // 64 // g if g > 1 else p * b // 64),
        ("wrong-value", lambda p, g, b: p * b // 64 * g + 1),
        ("raised", lambda p, g, b: p // (g - 1)),
    ],
)
def test_width_names_the_mistake(code, formula):
    def attempt(planes, groups=1, base_width=64):
        return formula(planes, groups, base_width)

    assert first_failure(check.bottleneck_width(attempt)) == code


def test_width_looks_at_the_defaults():
    report = check.bottleneck_width(lambda p, g=32, b=4: int(p * b / 64) * g)
    assert first_failure(report) == "wrong-default"


# --- 7.3 -------------------------------------------------------------------------------------


class OneSequence(nn.Module):
    """The branch as one sequence, other names, the shortcut made last, another initialisation."""

    expansion = 4

    def __init__(
        self, in_channels, planes, stride=1, downsample=None, groups=1, base_width=64, version="v1.5"
    ):
        super().__init__()
        width, out = int(planes * base_width / 64) * groups, planes * 4
        a, b = (stride, 1) if version == "v1" else (1, stride)
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, a, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, b, 1, groups=groups, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        nn.init.zeros_(self.body[-1].weight)
        self.past = downsample or nn.Identity()
        if downsample is None and (stride, in_channels) != (1, out):
            self.past = nn.Sequential(nn.Conv2d(in_channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        return torch.relu(self.past(x) + self.body(x))


class Paths(SplitTransformMerge):
    """Form (a) is a right answer too, where the stride is in the 3x3."""

    def __init__(
        self, in_channels, planes, stride=1, downsample=None, groups=1, base_width=64, version="v1.5"
    ):
        super().__init__(in_channels, planes, stride, groups, base_width)
        if downsample is not None:
            self.downsample = downsample
        if version == "v1":
            for path in self.paths:
                path[0].stride, path[3].stride = path[3].stride, path[0].stride


@pytest.mark.parametrize("attempt", [OneSequence, Paths, blocks.Bottleneck])
def test_block_in_another_style(attempt):
    report = check.resnext_block(attempt)
    assert report.passed, str(report)


class Sloppy(nn.Module):
    """The block with one slip."""

    expansion = 4

    def __init__(
        self, in_channels, planes, stride=1, downsample=None, groups=1, base_width=64,
        version="v1.5", slip="",
    ):  # fmt: skip
        super().__init__()
        self.slip = slip
        width = shapes.bottleneck_width(planes, groups, base_width)
        if slip == "width-is-planes":
            width = planes
        if slip == "width-not-scaled":
            width = base_width * groups
        if slip == "one-group-only":
            width //= groups
        out = 2 * width if slip == "expansion-of-width" else 4 * planes
        in_3x3 = {"groups-ignored": 1, "groups-as-width": width // groups, "one-group-only": 1}
        if slip == "bias":
            self.conv1 = nn.Conv2d(in_channels, width, 1)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups)
            self.conv3 = nn.Conv2d(width, out, 1)
        else:
            first, second = (stride, 1) if (version == "v1") != (slip == "stride") else (1, stride)
            self.conv1 = conv1x1(in_channels, width, first)
            self.conv2 = conv3x3(width, width, second, in_3x3.get(slip, groups))
            self.conv3 = conv1x1(width, out)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(width), nn.BatchNorm2d(width), nn.BatchNorm2d(out)
        wants = needs_projection(in_channels, out, stride)
        if slip == "needless-projection":
            wants = True
        if slip == "only-stride":
            wants = stride != 1
        self.downsample = projection(in_channels, out, stride) if wants else None
        if downsample is not None and slip != "ignores-downsample":
            self.downsample = downsample

    def forward(self, x):
        if self.slip == "in-place":
            x = F.relu(x, inplace=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = self.bn3(self.conv3(out if self.slip == "no-second-relu" else F.relu(out)))
        if self.slip == "relu-before-add":
            out = F.relu(out)
        if self.slip == "no-shortcut":
            return F.relu(out)
        if self.slip == "detached":
            out = out.detach()
        return out + shortcut if self.slip == "no-relu" else F.relu(out + shortcut)


@pytest.mark.parametrize(
    "code, slip",
    [
        ("groups-ignored", "groups-ignored"),
        ("groups-as-width", "groups-as-width"),
        ("width-is-planes", "width-is-planes"),
        ("width-not-scaled", "width-not-scaled"),
        ("one-group-only", "one-group-only"),
        ("expansion-of-width", "expansion-of-width"),
        ("bias-before-bn", "bias"),
        ("projection-only-on-stride", "only-stride"),
        ("needless-projection", "needless-projection"),
        ("stride-wrong-conv", "stride"),
        ("missing-final-relu", "no-relu"),
        ("relu-before-add", "relu-before-add"),
        ("no-shortcut", "no-shortcut"),
        ("input-modified", "in-place"),
        ("missing-inner-relu", "no-second-relu"),
        ("gradient-cut", "detached"),
        ("downsample-ignored", "ignores-downsample"),
    ],
)
def test_block_names_the_mistake(code, slip):
    assert first_failure(check.resnext_block(partial(Sloppy, slip=slip))) == code


def test_sloppy_without_a_slip_is_right():
    assert first_failure(check.resnext_block(Sloppy)) == "passed"


def test_a_block_without_its_expansion_would_fail_in_make_layer():
    class Forgets(nn.Module):
        def __init__(self, *sizes, **options):
            super().__init__()
            self.block = Sloppy(*sizes, **options)

        def forward(self, x):
            return self.block(x)

    assert first_failure(check.resnext_block(Forgets)) == "wrong-expansion"


def test_block_with_statistics_of_its_own():
    class NoStatistics(OneSequence):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.track_running_stats, module.running_mean, module.running_var = False, None, None

    assert first_failure(check.resnext_block(NoStatistics)) == "eval-mode"


def test_block_that_is_no_module():
    assert first_failure(check.resnext_block(lambda *args, **options: F.relu)) == "not-a-module"


# --- 7.4 -------------------------------------------------------------------------------------


def path_of(x, w1, w2, w3, groups, i, relus=(True, True), padding=1):
    wide = w1.shape[0] // groups
    part = slice(i * wide, (i + 1) * wide)
    out = F.conv2d(x, w1[part])
    out = F.conv2d(out.relu() if relus[0] else out, w2[part], padding=padding)
    return F.conv2d(out.relu() if relus[1] else out, w3[:, part])


def all_paths(x, w1, w2, w3, groups, **options):
    return torch.stack([path_of(x, w1, w2, w3, groups, i, **options) for i in range(groups)])


def masked(x, w1, w2, w3, groups):
    """One pass of the grouped form for each path, with the other paths' channels put to zero."""
    out = F.relu(F.conv2d(F.relu(F.conv2d(x, w1)), w2, padding=1, groups=groups))
    wide = w1.shape[0] // groups
    owner = torch.arange(w1.shape[0]) // wide
    return torch.stack([F.conv2d(out * (owner == i).view(1, -1, 1, 1), w3) for i in range(groups)])


def by_cat(x, w1, w2, w3, groups):
    return torch.cat([path_of(x, w1, w2, w3, groups, i)[None] for i in range(groups)])


@pytest.mark.parametrize("attempt", [all_paths, masked, by_cat])
def test_paths_in_another_style(attempt):
    report = check.split_transform(attempt)
    assert report.passed, str(report)


def rows_for_columns(x, w1, w2, w3, groups):
    return torch.stack(
        [F.conv2d(path, part) for path, part in zip(x.chunk(groups, 1), w3.chunk(groups, 0), strict=True)]
    )


def rolled_columns(x, w1, w2, w3, groups):
    return all_paths(x, w1, w2, w3.roll(1, dims=1), groups)


def same_share_for_all(*args):
    y = all_paths(*args)
    return y.mean(0, keepdim=True).expand_as(y)


@pytest.mark.parametrize(
    "code, attempt",
    [
        ("wrong-type", lambda *a: list(all_paths(*a))),
        ("merged-already", lambda *a: all_paths(*a).sum(0)),
        ("padding-missing", partial(all_paths, padding=0)),
        ("concatenated", lambda *a: torch.cat(list(all_paths(*a)), 1)),
        ("concatenated", lambda *a: torch.cat(list(all_paths(*a)), 0)),
        ("paths-not-first", lambda *a: torch.stack(list(all_paths(*a)), 1)),
        ("missing-relu", partial(all_paths, relus=(False, True))),
        ("missing-relu", partial(all_paths, relus=(True, False))),
        ("missing-relu", partial(all_paths, relus=(False, False))),
        ("relu-after-last", lambda *a: all_paths(*a).relu()),
        ("averaged", lambda *a: all_paths(*a) / a[-1]),
        ("wrong-paths", same_share_for_all),
        ("wrong-paths", lambda *a: all_paths(*a).flip(0)),
        ("wrong-value", rolled_columns),
        ("gradient-cut", lambda *a: all_paths(*a).detach()),
        ("raised", rows_for_columns),
    ],
)
def test_paths_name_the_mistake(code, attempt):
    assert first_failure(check.split_transform(attempt)) == code


# --- 7.5 -------------------------------------------------------------------------------------


def by_quadratic_formula(cardinality, channels=256, plain_width=64):
    plain = 2 * channels * plain_width + 9 * plain_width**2
    exact = (-channels + (channels**2 + 9 * plain / cardinality) ** 0.5) / 9
    low = max(1, int(exact))
    return min(low, low + 1, key=lambda d: abs(cardinality * (2 * channels * d + 9 * d * d) - plain))


def by_counting_layers(cardinality, channels=256, plain_width=64):
    def count(groups, width):
        return sum(
            (shapes.conv_params(channels, groups * width, 1), shapes.conv_params(groups * width, channels, 1),
             shapes.conv_params(groups * width, groups * width, 3, groups))
        )  # fmt: skip

    best, nearest = 0, float("inf")
    for width in range(1, 2 * plain_width):
        gap = abs(count(cardinality, width) - count(1, plain_width))
        if gap < nearest:
            best, nearest = width, gap
    return best


def by_argmin(cardinality, channels=256, plain_width=64):
    d = torch.arange(1, plain_width + 1)
    weights = 2 * channels * d + 9 * d**2
    return d[(cardinality * weights - weights[-1]).abs().argmin()]


@pytest.mark.parametrize("attempt", [by_quadratic_formula, by_counting_layers, by_argmin])
def test_equal_cost_in_another_style(attempt):
    report = check.equal_cost_width(attempt)
    assert report.passed, str(report)


def nearest(weights, choose=lambda gaps: min(gaps, key=lambda d: abs(gaps[d]))):
    def attempt(cardinality, channels=256, plain_width=64):
        plain = weights(1, plain_width, channels)
        return choose({d: weights(cardinality, d, channels) - plain for d in range(1, plain_width + 1)})

    return attempt


def weights_of(c, d, n):
    return c * (2 * n * d + 9 * d * d)


def root_rounded(cardinality, channels=256, plain_width=64):
    plain = weights_of(1, plain_width, channels)
    return round((-channels + (channels**2 + 9 * plain / cardinality) ** 0.5) / 9)


def plain_fixed(cardinality, channels=256, plain_width=64):
    plain = weights_of(1, 64, channels)
    return min(range(1, plain_width + 1), key=lambda d: abs(weights_of(cardinality, d, channels) - plain))


@pytest.mark.parametrize(
    "code, attempt",
    [
        ("wrong-type", lambda c, n=256, w=64: float(by_quadratic_formula(c, n, w))),
        ("all-groups", lambda c, n=256, w=64: c * by_quadratic_formula(c, n, w)),
        ("width-divided", lambda c, n=256, w=64: w // c),
        ("rounded-down", nearest(weights_of, lambda gaps: max(d for d in gaps if gaps[d] <= 0))),
        ("rounded-up", nearest(weights_of, lambda gaps: min(d for d in gaps if gaps[d] >= 0))),
        ("dense-3x3", nearest(lambda c, d, n: 2 * n * c * d + 9 * (c * d) ** 2)),
        ("one-1x1", nearest(lambda c, d, n: c * (n * d + 9 * d * d))),
        ("only-3x3", nearest(lambda c, d, n: 9 * c * d * d)),
        ("batch-norms-counted", nearest(lambda c, d, n: weights_of(c, d, n) + 4 * c * d)),
        ("channels-ignored", nearest(lambda c, d, n: weights_of(c, d, 256))),
        ("plain-width-ignored", plain_fixed),
        ("plain-width-ignored", lambda c, n=256, w=64: by_quadratic_formula(c, n)),
        ("cardinality-ignored", lambda c, n=256, w=64: w),
        ("wrong-value", root_rounded),
        ("wrong-value", lambda c, n=256, w=64: 63),
        ("wrong-default", lambda c, n=512, w=64: by_quadratic_formula(c, n, w)),
    ],
)
def test_equal_cost_names_the_mistake(code, attempt):
    assert first_failure(check.equal_cost_width(attempt)) == code


# --- 7.6 -------------------------------------------------------------------------------------


@torch.no_grad()
def by_poking(layer, channels):
    x = torch.randn(1, channels, 7, 7)
    poked = x.clone()
    poked[:, 0] += 1
    moved = (layer(poked) - layer(x)).abs().amax(dim=(0, 2, 3)) > 1e-7
    return len(moved) // int(moved.sum())


def by_components(layer, channels):
    """Groups are the connected parts of the whole matrix."""
    x = torch.randn(1, channels, 5, 5, requires_grad=True)
    y = layer(x)
    rows = set()
    for output in range(y.shape[1]):
        (gradient,) = torch.autograd.grad(y[:, output].sum(), x, retain_graph=True)
        rows.add(tuple((gradient.abs().amax(dim=(0, 2, 3)) > 0).tolist()))
    return len(rows)


def by_autograd(layer, channels):
    x = torch.randn(2, channels, 6, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[:, -1].pow(2).sum(), x)
    return torch.tensor(channels) // (gradient.abs().sum((0, 2, 3)) > 0).sum()


def by_backward(layer, channels):
    x = torch.randn(2, channels, 6, 6, requires_grad=True)
    layer(x)[:, -1].pow(2).sum().backward()
    return int(channels / (x.grad.abs().sum((0, 2, 3)) > 0).sum())


@pytest.mark.parametrize("attempt", [by_poking, by_components, by_autograd])
def test_count_in_another_style(attempt):
    report = check.count_groups(attempt)
    assert report.passed, str(report)


def rewrites_the_weight(layer, channels):
    groups = by_poking(layer, channels)
    if isinstance(layer, nn.Conv2d):
        nn.init.ones_(layer.weight)
    return groups


def in_eval_mode(layer, channels):
    if isinstance(layer, nn.Module):
        layer.eval()
    return by_poking(layer, channels)


@torch.no_grad()
def from_zeros(layer, channels):
    seen = 0
    for channel in range(channels):
        x = torch.zeros(1, channels, 5, 5)
        x[:, channel] = 1
        seen += bool(layer(x)[0, 0].any())
    return channels // seen


def by_gradient_above(least, layer, channels):
    x = torch.randn(1, channels, 5, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[:, 0].sum(), x)
    return channels // max(1, int((gradient.abs().amax((0, 2, 3)) > least).sum()))


def sides_mixed(layer, channels):
    return channels / (layer(torch.randn(1, channels, 5, 5)).shape[1] // by_poking(layer, channels))


@pytest.mark.parametrize(
    "code, attempt",
    [
        ("wrong-type", lambda layer, channels: None),
        ("wrong-type", lambda layer, channels: channels / 7),
        ("wrong-type", lambda layer, channels: float(by_poking(layer, channels))),
        ("wrong-type", lambda layer, channels: str(by_poking(layer, channels))),
        ("gradients-left", by_backward),
        ("layer-changed", in_eval_mode),
        ("bias-taken-for-input", from_zeros),
        ("width-not-groups", lambda layer, channels: channels // by_poking(layer, channels)),
        ("wrong-value", lambda layer, channels: 1),
        ("wrong-value", lambda layer, channels: 2 * by_poking(layer, channels)),
        ("sides-mixed", lambda layer, channels: int(max(1, sides_mixed(layer, channels)))),
        ("layer-changed", rewrites_the_weight),
        ("reads-attributes", lambda layer, channels: layer.groups),
        ("raised", lambda layer, channels: torch.undefined),
        ("not-zero", lambda layer, channels: by_gradient_above(0.1, layer, channels)),
        ("not-zero", lambda layer, channels: by_gradient_above(0.01, layer, channels)),
        ("width-not-groups", lambda layer, channels: channels // by_gradient_above(0, layer, channels)),
    ],
)
def test_count_names_the_mistake(code, attempt):
    report = check.count_groups(attempt)
    assert first_failure(report) == code, report


def test_count_tells_inputs_from_outputs():
    report = check.count_groups(lambda layer, channels: channels // by_poking(layer, channels))
    assert "how many channels one group has" in str(report)
