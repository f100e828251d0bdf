"""The judge of residual blocks: every fault in the blocks of four exercises, and right ones in many styles.

``block`` writes a basic block or a bottleneck as a learner might; each case changes one thing in it.
"""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import BasicBlock, Bottleneck, check

OPTIONS = {
    "act": F.relu, "last": F.relu, "norm": nn.BatchNorm2d, "short_norm": None, "conv": {}, "end": lambda f: f,
    "before": lambda x: x, "join": lambda f, s, x: f + s, "short": lambda s: s, "project": None,
    "strided": None, "short_stride": None, "short_size": 1, "order": "conv norm act", "bias": False,
}  # fmt: skip


class Written(nn.Module):
    """Two or three convolutions and a shortcut, written plainly; ``how`` changes single things."""

    expansion = 1

    def __init__(self, channels, stride, sizes, downsample=None, always=False, **how):
        super().__init__()
        self.how = how = {**OPTIONS, **how}
        right = sizes.index(3)
        places = {right} if how["strided"] is None else how["strided"]
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for place, size in enumerate(sizes):
            c, d = channels[place], channels[place + 1]
            s = stride if place in places else 1
            extra = how["conv"] if size > 1 else {}
            self.convs.append(nn.Conv2d(c, d, size, s, **{"padding": size // 2, **extra}, bias=how["bias"]))
            self.norms.append(how["norm"](d))
        first, last = channels[0], channels[-1]
        project = how["project"] or (lambda c, d, s: s != 1 or c != d or always)
        self.shortcut = nn.Identity()
        if downsample is not None:
            self.shortcut = downsample
        elif project(first, last, stride):
            s = stride if how["short_stride"] is None else how["short_stride"]
            k = how["short_size"]
            self.shortcut = nn.Sequential(
                nn.Conv2d(first, last, k, s, k // 2, bias=how["bias"]), (how["short_norm"] or how["norm"])(last)
            )

    def branch(self, x):
        act, end = self.how["act"], len(self.convs) - 1
        for place, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            if self.how["order"] == "conv act norm" and place < end:
                x = norm(act(conv(x)))
            else:
                x = norm(conv(x))
                x = act(x) if place < end else x
        return self.how["end"](x)

    def forward(self, x):
        x = self.how["before"](x)
        return self.how["last"](self.how["join"](self.branch(x), self.how["short"](self.shortcut(x)), x))


def basic(base=Written, **how):
    class BasicBlock(base):
        def __init__(self, in_channels, planes, stride=1, downsample=None):
            super().__init__((in_channels, planes, planes), stride, (3, 3), downsample, **how)

    return check.basic_block, BasicBlock


def bottleneck(base=Written, **how):
    class Bottleneck(base):
        def __init__(self, in_channels, planes, stride=1):
            super().__init__((in_channels, planes, planes, 4 * planes), stride, (1, 3, 1), **how)

    return check.bottleneck, Bottleneck


def conv_block(base=Written, **how):
    class ConvBlock(base):
        def __init__(self, in_channels, mid, stride=2):
            super().__init__((in_channels, mid, mid, 4 * mid), stride, (1, 3, 1), always=True, **how)

    return check.conv_block, ConvBlock


def identity_block(base=Written, **how):
    class IdentityBlock(base):
        def __init__(self, channels, mid):
            super().__init__((channels, mid, mid, channels), 1, (1, 3, 1), **how)

    return check.identity_block, IdentityBlock


KINDS = (basic, bottleneck, conv_block, identity_block)


def codes(report):
    return [finding.code for finding in report.findings if not finding.ok]


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_block_passes(kind):
    judge, block = kind()
    report = judge(block)
    assert report.passed, report


def halved(f):
    return 0.5 * f


def no_grad_of(layer):
    def shortcut(x):
        with torch.no_grad():
            return layer(x)

    return shortcut


ONE_CHANGE = [
    ("relu-before-add", {"end": F.relu}),
    ("missing-final-relu", {"last": lambda y: y}),
    ("relu-before-add", {"end": F.relu, "last": lambda y: y}),
    ("relu-on-shortcut", {"short": F.relu}),
    ("no-shortcut", {"join": lambda f, s, x: f}),
    ("no-branch", {"join": lambda f, s, x: s}),
    ("shortcut-twice", {"join": lambda f, s, x: f + s + s}),
    ("branch-twice", {"join": lambda f, s, x: f + f}),
    ("branch-twice", {"join": lambda f, s, x: f + f + s}),
    ("subtracted", {"join": lambda f, s, x: f - s}),
    ("subtracted", {"join": lambda f, s, x: s - f}),
    ("multiplied", {"join": lambda f, s, x: f * s}),
    ("multiplied", {"join": lambda f, s, x: s * (1 + f)}),
    ("averaged", {"join": lambda f, s, x: (f + s) / 2}),
    ("maximum", {"join": lambda f, s, x: torch.maximum(f, s)}),
    ("scaled", {"join": lambda f, s, x: 0.5 * f + s}),
    ("scaled", {"join": lambda f, s, x: f + 0.5 * s}),
    ("relu-twice-apart", {"join": lambda f, s, x: F.relu(f) + F.relu(s), "last": lambda y: y}),
    ("relu-on-input", {"before": F.relu}),
    ("missing-inner-relu", {"act": lambda y: y}),
    ("relu-before-bn", {"order": "conv act norm"}),
    ("wrong-activation", {"act": F.gelu, "last": F.gelu}),
    ("wrong-activation", {"act": F.relu6, "last": F.relu6}),
    ("wrong-activation", {"act": F.leaky_relu}),
    ("wrong-activation", {"last": F.silu}),
    ("wrong-activation", {"last": torch.sigmoid}),
    ("bn-missing", {"norm": lambda n: nn.Identity()}),
    ("bn-missing", {"norm": lambda n: nn.Identity(), "bias": True}),
    ("wrong-norm", {"norm": lambda n: nn.GroupNorm(1, n)}),
    ("wrong-norm", {"norm": lambda n: nn.InstanceNorm2d(n, affine=True)}),
    ("wrong-eps", {"norm": lambda n: nn.BatchNorm2d(n, eps=1e-3)}),
    ("eval-mode", {"norm": lambda n: nn.BatchNorm2d(n, momentum=0.01)}),
    ("eval-mode", {"norm": lambda n: nn.BatchNorm2d(n, momentum=None)}),
    ("eval-mode", {"norm": lambda n: nn.BatchNorm2d(n, track_running_stats=False)}),
    ("bn-not-trained", {"norm": lambda n: nn.BatchNorm2d(n, affine=False)}),
    ("bias-before-bn", {"bias": True}),
    ("wrong-padding", {"conv": {"padding": 0}}),
    ("wrong-padding", {"conv": {"padding": 2}}),
    ("wrong-padding", {"conv": {"padding_mode": "reflect"}}),
    ("dilated", {"conv": {"dilation": 2, "padding": 2}}),
    ("random-output", {"end": nn.Dropout(0.2)}),
    ("random-output", {"end": lambda f: f + 0.01 * torch.randn_like(f)}),
    ("gradient-cut", {"short": lambda s: s.detach()}),
    ("gradient-cut", {"end": lambda f: f.detach()}),
    ("gradient-cut", {"before": lambda x: x.detach()}),
    ("dtype-changed", {"last": lambda y: F.relu(y).double()}),
    ("wrong-value", {"last": lambda y: F.relu(y) + 0.1}),
    ("wrong-value", {"join": lambda f, s, x: 0.83 * f + s}),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("code", "how"), ONE_CHANGE)
def test_one_change_is_named(kind, code, how):
    judge, block = kind(**how)
    found = codes(judge(block))
    if kind is identity_block and code in ("relu-on-shortcut",):
        assert found[0] in (code, "relu-on-input")
    else:
        assert found[:1] == [code]


STRIDED = [
    ("projection-only-on-stride", {"project": lambda c, d, s: s != 1}),
    ("projection-only-on-channels", {"project": lambda c, d, s: c != d}),
    ("missing-projection", {"project": lambda c, d, s: False}),
    ("needless-projection", {"project": lambda c, d, s: True}),
    ("projection-kernel", {"short_size": 3}),
    ("projection-stride", {"short_stride": 1}),
    ("stride-missing", {"strided": ()}),
    ("stride-missing", {"strided": (), "short_stride": 1}),
    ("stride-twice", {"strided": (0, 1)}),
    ("stride-wrong-conv", {"strided": (-1,)}),
    ("bn-missing", {"short_norm": lambda n: nn.Identity()}),
    ("relu-on-shortcut", {"short_norm": lambda n: nn.Sequential(nn.BatchNorm2d(n), nn.ReLU())}),
]  # fmt: skip


@pytest.mark.parametrize("kind", (basic, bottleneck))
@pytest.mark.parametrize(("code", "how"), STRIDED)
def test_one_change_of_stride_or_shortcut_is_named(kind, code, how):
    if how.get("strided") == (-1,):
        how = {"strided": (1 if kind is basic else 2,)}
    judge, block = kind(**how)
    assert codes(judge(block))[:1] == [code]


class Hidden(Written):
    """The projection stands in a list, where no module sees it."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.hidden = [self.shortcut]
        del self.shortcut

    def forward(self, x):
        return F.relu(self.branch(x) + self.hidden[0](x))


class MadeInForward(Written):
    def branch(self, x):
        conv = self.convs[1]
        fresh = nn.Conv2d(conv.in_channels, conv.out_channels, 3, conv.stride, 1, bias=False).to(x.dtype)
        x = F.relu(self.norms[0](self.convs[0](x)))
        x = self.norms[1](fresh(x))
        return x if len(self.convs) == 2 else self.norms[2](self.convs[2](F.relu(x)))


class Spare(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.spare = nn.BatchNorm2d(self.norms[0].num_features)


class OneNorm(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.norms[1] = self.norms[0]


class SharedByAll(Written):
    norm = {}

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        for place, norm in enumerate(self.norms):
            norm.weight = SharedByAll.norm.setdefault((place, norm.num_features), norm.weight)


class InEval(Written):
    def branch(self, x):
        for norm in self.norms:
            norm.eval()
        return super().branch(x)


class AlwaysTrains(Written):
    def forward(self, x):
        return super().forward(x) if self.training else self.train().forward(x)


class Frozen(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.convs[0].weight.requires_grad_(False)


class OverwritesAndRaises(Written):
    """Right in forward; backward needs what ``+=`` has overwritten."""

    def branch(self, x):
        first = F.relu(self.norms[0](self.convs[0](x)))
        x = first
        for place in range(1, len(self.convs)):
            x = self.norms[place](self.convs[place](x))
            x = F.relu(x) if place < len(self.convs) - 1 else x
        first += 1
        return x


class HardBatch(Written):
    def branch(self, x):
        return super().branch(x).reshape(3, -1, *self.sizes(x))

    def sizes(self, x):
        return super().branch(x).shape[2:]


class Tuple(Written):
    def forward(self, x):
        return super().forward(x), x


class Nothing(Written):
    def forward(self, x):
        super().forward(x)


class AddsToX(Written):
    def forward(self, x):
        f, s = self.branch(x), self.shortcut(x)
        s += f
        return F.relu(s)


class LosesX(Written):
    """x is given to the first layer's result, which is added then."""

    def forward(self, x):
        x = F.relu(self.norms[0](self.convs[0](x)))
        out = x
        for place in range(1, len(self.convs)):
            out = self.norms[place](self.convs[place](out))
            out = F.relu(out) if place < len(self.convs) - 1 else out
        return F.relu(out + x)


class Scale(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.alpha = nn.Parameter(torch.ones(1))

    def branch(self, x):
        return self.alpha * super().branch(x)


class Forgets(Written):
    """Running statistics of its own, which no state dict holds."""

    def __init__(self, *args, **how):
        super().__init__(*args, norm=OwnNorm, **how)


class OwnNorm(nn.Module):
    registered = False

    def __init__(self, channels):
        super().__init__()
        self.scale, self.move = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        stats = torch.zeros(channels), torch.ones(channels)
        for name, value in zip(("mean", "var"), stats, strict=True):
            if self.registered:
                self.register_buffer(name, value)
            else:
                setattr(self, name, value.double())

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            n = x.numel() / x.shape[1]
            with torch.no_grad():
                self.mean = 0.9 * self.mean + 0.1 * mean
                self.var = 0.9 * self.var + 0.1 * var * n / (n - 1)
        else:
            mean, var = self.mean, self.var
        x = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
        return x * self.scale[:, None, None] + self.move[:, None, None]


class RegisteredNorm(OwnNorm):
    registered = True


SPECIAL = [
    ("unregistered-layers", Hidden, (basic, bottleneck, conv_block)),
    ("unregistered-layers", MadeInForward, (basic, bottleneck, conv_block, identity_block)),
    ("unused-parameters", Spare, KINDS),
    ("bn-shared", OneNorm, KINDS),
    ("parameters-shared", SharedByAll, KINDS),
    ("bn-in-eval", InEval, KINDS),
    ("eval-mode", AlwaysTrains, KINDS),
    ("frozen-parameters", Frozen, KINDS),
    ("backward-fails", OverwritesAndRaises, KINDS),
    ("wrong-type", Tuple, KINDS),
    ("nothing-returned", Nothing, KINDS),
    ("input-modified", AddsToX, (basic, bottleneck, identity_block)),
    ("wrong-tensor-added", LosesX, (basic,)),
    ("extra-parameters", Scale, KINDS),
    ("state-not-saved", Forgets, KINDS),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "base", "kind"), [(code, base, kind) for code, base, kinds in SPECIAL for kind in kinds]
)
def test_a_special_fault_is_named(code, base, kind):
    SharedByAll.norm.clear()
    judge, block = kind(base)
    assert codes(judge(block))[:1] == [code]


def test_a_batch_size_written_into_the_block_is_found():
    judge, block = basic(HardBatch)
    assert codes(judge(block))


class Lazy(Written):
    def __init__(self, channels, stride, sizes, downsample=None, always=False, **how):
        super().__init__(channels, stride, sizes, downsample, always, **how)
        for place, conv in enumerate(self.convs):
            self.convs[place] = nn.LazyConv2d(
                conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False
            )
            self.norms[place] = nn.LazyBatchNorm2d()


class Matrices(Written):
    """1x1 convolutions as matrices (in, out), the other way round than nn.Linear's."""

    def __init__(self, channels, stride, sizes, downsample=None, always=False, **how):
        super().__init__(channels, stride, sizes, downsample, always, **how)
        for place, conv in enumerate(self.convs):
            if conv.kernel_size == (1, 1):
                self.convs[place] = Matrix(conv.in_channels, conv.out_channels)


class Matrix(nn.Module):
    def __init__(self, c, d):
        super().__init__()
        self.w = nn.Parameter(torch.randn(c, d) / c**0.5)

    def forward(self, x):
        return torch.einsum("nchw,cd->ndhw", x, self.w)


class Backwards(Written):
    """Everything is registered in reverse order, and the shortcut runs first."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        convs, norms, shortcut = list(self.convs), list(self.norms), self.shortcut
        del self.convs, self.norms, self.shortcut
        self.shortcut = shortcut
        self.norms, self.convs = nn.ModuleList(norms[::-1]), nn.ModuleList(convs[::-1])

    def branch(self, x):
        for place in range(len(self.convs) - 1, -1, -1):
            x = self.norms[place](self.convs[place](x))
            x = F.relu(x) if place else x
        return x

    def forward(self, x):
        s = self.shortcut(x)
        return F.relu(s + self.branch(x))


class InPlaceWhereItMay(Written):
    def forward(self, x):
        s = self.shortcut(x)
        out = self.branch(x)
        out += s
        return F.relu_(out)


class Checkpointed(Written):
    def branch(self, x):
        return torch.utils.checkpoint.checkpoint(super().branch, x, use_reentrant=False, preserve_rng_state=False)


RIGHT = [
    {"base": Backwards}, {"base": Lazy}, {"base": Matrices}, {"base": InPlaceWhereItMay},
    {"norm": RegisteredNorm}, {"last": lambda y: F.relu(F.relu(y))}, {"last": lambda y: y.clamp(min=0)},
    {"last": lambda y: torch.where(y > 0, y, torch.zeros_like(y))}, {"act": nn.ReLU(inplace=True)},
    {"act": lambda y: y * (y > 0)}, {"join": lambda f, s, x: torch.stack([f, s]).sum(0)},
    {"join": lambda f, s, x: torch.add(s, f)}, {"end": lambda f: f * 1.0},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", RIGHT, ids=range(len(RIGHT)))
def test_a_right_block_in_another_style_passes(kind, how):
    judge, block = kind(**how)
    report = judge(block)
    assert report.passed, report


class InPlaceShortcut(Written):
    """What a shortcut layer gives is the block's own, and may be written into."""

    def forward(self, x):
        s = x.clone() if isinstance(self.shortcut, nn.Identity) else self.shortcut(x)
        s += self.branch(x)
        return F.relu_(s)


class Unfolded(Written):
    """Each 3x3 as F.unfold and a linear layer."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        for place, conv in enumerate(self.convs):
            if conv.kernel_size == (3, 3):
                self.convs[place] = Unfold(conv.in_channels, conv.out_channels, conv.stride)


class Unfold(nn.Module):
    def __init__(self, c, d, stride):
        super().__init__()
        self.linear, self.stride = nn.Linear(9 * c, d, bias=False), stride

    def forward(self, x):
        size = [-(-n // self.stride[0]) for n in x.shape[2:]]
        columns = F.unfold(x, 3, padding=1, stride=self.stride)
        return self.linear(columns.transpose(1, 2)).transpose(1, 2).reshape(len(x), -1, *size)


class KernelsOfKeras(Written):
    """Kernels as (height, width, in, out)."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.kernels = nn.ParameterList([conv.weight.detach().permute(2, 3, 1, 0).clone() for conv in self.convs])
        self.strides = [conv.stride for conv in self.convs]
        del self.convs

    def branch(self, x):
        last = len(self.strides) - 1
        for place, (kernel, norm) in enumerate(zip(self.kernels, self.norms, strict=True)):
            x = norm(F.conv2d(x, kernel.permute(3, 2, 0, 1), None, self.strides[place], kernel.shape[0] // 2))
            x = F.relu(x) if place < last else x
        return x


class AllKernelsOfKeras(KernelsOfKeras):
    """The projection's too, whose shape (1, 1, 8, 8) does not say which way round it stands."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.projection = None
        if isinstance(self.shortcut, nn.Sequential):
            conv = self.shortcut[0]
            self.projection = nn.Parameter(conv.weight.detach().permute(2, 3, 1, 0).clone())
            self.short_stride, self.short_norm = conv.stride, self.shortcut[1]
            del self.shortcut

    def forward(self, x):
        if self.projection is None:
            return F.relu(self.branch(x) + self.shortcut(x))
        kernel = self.projection.permute(3, 2, 0, 1)
        return F.relu(self.branch(x) + self.short_norm(F.conv2d(x, kernel, None, self.short_stride)))


class MatrixOnTheShortcut(Written):
    """The projection is a matrix (in, out), square where the channels stay."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        if isinstance(self.shortcut, nn.Sequential) and isinstance(self.shortcut[0], nn.Conv2d):
            conv = self.shortcut[0]
            thin = nn.MaxPool2d(1, conv.stride)  # takes every stride-th pixel
            self.shortcut = nn.Sequential(thin, Matrix(conv.in_channels, conv.out_channels), self.shortcut[1])


class StatisticsAsParameters(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.mean = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.var = nn.Parameter(torch.ones(channels), requires_grad=False)

    def forward(self, x):
        return F.batch_norm(x, self.mean, self.var, self.weight, self.bias, self.training)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "how",
    [{"base": InPlaceShortcut}, {"base": Unfolded}, {"base": KernelsOfKeras}, {"base": AllKernelsOfKeras},
     {"base": MatrixOnTheShortcut}, {"norm": StatisticsAsParameters}],
    ids=["in-place", "unfold", "keras", "all keras", "matrix", "statistics"],
)
def test_a_right_block_stored_in_another_way_passes(kind, how):
    judge, block = kind(**how)
    report = judge(block)
    assert report.passed, report


class ReZero(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.alpha = nn.Parameter(torch.zeros(1))

    def branch(self, x):
        return self.alpha * super().branch(x)


class LayerScale(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.scale = nn.Parameter(torch.ones(self.norms[-1].num_features, 1, 1))

    def branch(self, x):
        return self.scale * super().branch(x)


class Squeezes(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        c = self.norms[-1].num_features
        self.down, self.up = nn.Linear(c, c // 4), nn.Linear(c // 4, c)

    def branch(self, x):
        x = super().branch(x)
        gate = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class BiasBefore(Written):
    """A vector of its own, added before a batch norm."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.move = nn.Parameter(torch.zeros(self.norms[0].num_features, 1, 1))
        first = self.convs[0]
        first.register_forward_hook(lambda module, args, y: y + self.move)


class OneMore(Written):
    """One 3x3 too many in the branch."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        c = self.norms[-1].num_features
        self.more = nn.Conv2d(c, c, 3, padding=1, bias=False)

    def branch(self, x):
        return self.more(super().branch(x))


class NeverUsed(Written):
    """The projection is made always, and used where it is needed."""

    def __init__(self, channels, stride, sizes, downsample=None, always=False, **how):
        super().__init__(channels, stride, sizes, downsample, always, **how)
        self.spare = nn.Sequential(nn.Conv2d(channels[0], channels[-1], 1, bias=False), nn.BatchNorm2d(channels[-1]))


class DropsThePath(Written):
    def branch(self, x):
        keep = not self.training or torch.rand(()) > 0.2
        return super().branch(x) * float(keep)


class ToFloat(Written):
    def forward(self, x):
        return super().forward(x).float()


class Squeezed(Written):
    def forward(self, x):
        return super().forward(x).squeeze()


class NoReluInEval(Written):
    def forward(self, x):
        y = self.branch(x) + self.shortcut(x)
        return F.relu(y) if self.training else y


class NoGradInEval(Written):
    def forward(self, x):
        with torch.set_grad_enabled(self.training):
            return super().forward(x)


class WritesInEval(Written):
    def forward(self, x):
        if self.training or not isinstance(self.shortcut, nn.Identity):
            return super().forward(x)
        x += self.branch(x)
        return x.relu_()


class Views(Written):
    def forward(self, x):
        return super().forward(x.view(len(x), -1).view(x.shape))


class SameBuffers(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.norms[1].running_mean, self.norms[1].running_var = self.norms[0].running_mean, self.norms[0].running_var


class Uninitialised(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        nn.init.zeros_(self.convs[0].weight)


class NoForward(Written):
    forward = nn.Module.forward


class AllBeginAtZero(Written):
    """Every batch norm's weight is zero, not only the last one's: no gradient gets anywhere."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.weight)


class NeverOpens(Written):
    """A ReLU that lets nothing through at first, and so never will."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        nn.init.constant_(self.norms[0].bias, -50.0)


class NormRunsTwice(Written):
    """A look at a shape on the way moves the running statistics once more."""

    def branch(self, x):
        self.norms[0](self.convs[0](x))
        return super().branch(x)


class OneImageAlone(Written):
    def forward(self, x):
        self.norms[-1].train(self.training and len(x) > 1)
        return super().forward(x)


class OneKernelForTwo(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        if self.convs[1].weight.shape == self.convs[0].weight.shape:
            self.convs[1].weight = self.convs[0].weight


class CopiesAtOneBorder(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.convs[1].padding_mode = "replicate"


class PoolsFirst(Written):
    """The 3x3 convolution has no stride; max pooling before it halves the map."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.step, self.convs[1].stride = self.convs[1].stride[0], (1, 1)

    def branch(self, x):
        x = F.relu(self.norms[0](self.convs[0](x)))
        x = F.relu(self.norms[1](self.convs[1](F.max_pool2d(x, self.step, ceil_mode=True))))
        return self.norms[2](self.convs[2](x))


class EpsilonOfTheShortcut(Written):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        if isinstance(self.shortcut, nn.Sequential):
            self.shortcut[1].eps = 1e-3


def mish_and_no_norm(kind):
    return kind(act=F.gelu, last=F.gelu, short_norm=lambda n: nn.Identity())


MORE = [
    ("extra-parameters", ReZero, KINDS), ("extra-parameters", LayerScale, KINDS),
    ("extra-parameters", Squeezes, KINDS), ("bias-before-bn", BiasBefore, KINDS),
    ("extra-parameters", OneMore, KINDS), ("unused-parameters", NeverUsed, (basic, bottleneck)),
    ("random-output", DropsThePath, KINDS), ("dtype-changed", ToFloat, KINDS), ("wrong-shape", Squeezed, KINDS),
    ("eval-mode", NoReluInEval, KINDS), ("gradient-cut", NoGradInEval, KINDS),
    ("input-modified", WritesInEval, (basic, bottleneck, identity_block)), ("size-written-in", Views, KINDS),
    ("bn-shared", SameBuffers, KINDS), ("not-initialised", Uninitialised, KINDS), ("no-forward", NoForward, KINDS),
    ("dead-at-start", AllBeginAtZero, KINDS), ("dead-at-start", NeverOpens, KINDS),
    ("bn-called-twice", NormRunsTwice, KINDS), ("wrong-value", OneImageAlone, KINDS),
    ("missing-layer", OneKernelForTwo, (basic,)), ("wrong-padding", CopiesAtOneBorder, KINDS),
    ("pooled-stride", PoolsFirst, (bottleneck, conv_block)), ("wrong-eps", EpsilonOfTheShortcut, (basic, bottleneck)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "base", "kind"), [(code, base, kind) for code, base, kinds in MORE for kind in kinds]
)
def test_another_special_fault_is_named(code, base, kind):
    judge, block = kind(base)
    report = judge(block)
    assert codes(report)[:1] == [code], report


@pytest.mark.parametrize("kind", (basic, bottleneck))
def test_two_unusual_faults_end_in_time(kind):
    judge, block = mish_and_no_norm(kind)
    assert "timeout" not in codes(judge(block))


def test_what_is_no_class_is_refused_in_words():
    assert codes(check.bottleneck([1, 2])) == ["not-a-class"]
    assert codes(check.bottleneck("Bottleneck")) == ["not-a-class"]


def test_findings_carry_the_numbers_seen():
    judge, block = bottleneck(end=F.relu)
    assert "of the 4032 outputs is smaller" in str(judge(block))
    judge, block = bottleneck(short_stride=1)
    text = str(judge(block))
    assert "4 x 4" not in text and "3 x 32 x 5 x 4" in text and "3 x 32 x 9 x 8" in text


def test_the_check_is_quick_on_a_block_that_it_cannot_explain():
    import time

    judge, block = bottleneck(join=lambda f, s, x: 0.83 * f + s)
    judge(block)
    start = time.perf_counter()
    judge(block)
    assert time.perf_counter() - start < 10


# --- ResNeXt's block: one function, many ways to store it


class PathsOf(nn.Module):
    """ResNeXt's block from paths; ``form`` says what of it is stored path by path."""

    expansion = 4

    def __init__(
        self, in_channels, planes, stride=1, downsample=None, groups=1, base_width=64, version="v1.5", form="early"
    ):  # fmt: skip
        super().__init__()
        one, out, self.groups, self.form = int(planes * base_width / 64), 4 * planes, groups, form
        width = one * groups
        first, second = (stride, 1) if version == "v1" else (1, stride)

        def conv(c, d, k, s, g=1):
            return nn.Conv2d(c, d, k, s, k // 2, groups=g, bias=False)

        split = form in ("early", "all", "norms outside")
        self.one = nn.ModuleList([conv(in_channels, one, 1, first) for _ in range(groups)]) if split else conv(
            in_channels, width, 1, first)
        whole = form == "norm parts"
        self.two = conv(width, width, 3, second, groups) if whole else nn.ModuleList(
            [conv(one, one, 3, second) for _ in range(groups)])
        last = form in ("all", "norms outside")
        self.three = nn.ModuleList([conv(one, out, 1, 1) for _ in range(groups)]) if last else conv(width, out, 1, 1)
        inside = form in ("early", "all")
        self.n1 = nn.ModuleList([nn.BatchNorm2d(one) for _ in range(groups)]) if inside else nn.BatchNorm2d(width)
        apart = inside or whole
        self.n2 = nn.ModuleList([nn.BatchNorm2d(one) for _ in range(groups)]) if apart else nn.BatchNorm2d(width)
        self.n3 = nn.BatchNorm2d(out)
        if downsample is None and (stride != 1 or in_channels != out):
            downsample = nn.Sequential(nn.Conv2d(in_channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.downsample = downsample

    def each(self, layers, pieces):
        if isinstance(layers, nn.ModuleList):
            return [layer(piece) for layer, piece in zip(layers, pieces, strict=True)]
        return list(layers(torch.cat(pieces, 1)).chunk(self.groups, 1))

    def forward(self, x):
        g = self.groups
        if isinstance(self.one, nn.ModuleList):
            pieces = [layer(x) for layer in self.one]
        else:
            pieces = list(self.one(x).chunk(g, 1))
        pieces = [F.relu(piece) for piece in self.each(self.n1, pieces)]
        pieces = [F.relu(piece) for piece in self.each(self.n2, self.each(self.two, pieces))]
        if isinstance(self.three, nn.ModuleList):
            out = sum(layer(piece) for layer, piece in zip(self.three, pieces, strict=True))
        else:
            out = self.three(torch.cat(pieces, 1))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.n3(out) + shortcut)


@pytest.mark.parametrize("form", ["early", "all", "norms outside", "norm parts", "second"])
def test_every_form_of_resnexts_block_passes(form):
    class OfThisForm(PathsOf):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, form=form, **options)

    report = check.resnext_block(OfThisForm)
    assert report.passed, report


class Defaults(PathsOf):
    def __init__(self, in_channels, planes, stride=1, downsample=None, groups=1, base_width=64, version="v1"):
        super().__init__(in_channels, planes, stride, downsample, groups, base_width, version)


class TwoAtMost(PathsOf):
    def __init__(self, in_channels, planes, stride=1, *args, **options):
        super().__init__(in_channels, planes, min(stride, 2), *args, **options)


class KeepsItHidden(PathsOf):
    def __init__(self, in_channels, planes, stride=1, downsample=None, *args, **options):
        super().__init__(in_channels, planes, stride, downsample, *args, **options)
        if downsample is not None:
            self.kept = [self.downsample]
            self.downsample = None

    def forward(self, x):
        if hasattr(self, "kept"):
            self.__dict__["downsample"] = self.kept[0].to(x.dtype)
        return super().forward(x)


@pytest.mark.parametrize(
    ("block", "code"), [(Defaults, "wrong-default"), (TwoAtMost, None), (KeepsItHidden, "unregistered-layers")]
)
def test_wrong_blocks_of_resnext_do_not_pass(block, code):
    found = codes(check.resnext_block(block))
    assert found and (code is None or found[0] == code)


# --- where in the learner's code ---


class ReluTooEarly(BasicBlock):
    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out) + shortcut  # here


class ReluBeforeNorm(Bottleneck):
    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(F.relu(self.conv2(out)))  # here
        return F.relu(self.bn3(self.conv3(out)) + shortcut)


class NoStrideOnTheShortcut(BasicBlock):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        if stride > 1 and downsample is None:
            self.downsample[0].stride = (1, 1)


@pytest.mark.parametrize(("check_it", "block"), [(check.basic_block, ReluTooEarly), (check.bottleneck, ReluBeforeNorm)])
def test_the_report_says_in_which_line(check_it, block):
    source, first = inspect.getsourcelines(block)
    (number,) = [first + n for n, line in enumerate(source) if "# here" in line]
    message = next(finding.message for finding in check_it(block).findings if not finding.ok)
    assert f"line {number}: {source[number - first].strip()}" in message


def test_where_two_shapes_do_not_fit_their_line_is_named():
    report = check.basic_block(NoStrideOnTheShortcut)
    message = next(finding.message for finding in report.findings if not finding.ok)
    assert "Branch and shortcut meet as" in message and ", in line" not in message  # the package's own line is nobody's
