"""The checks of chapter 3: right answers in several styles pass, each wrong one is named."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import check
from resnet_tutorial.blocks import conv1x1, conv3x3, needs_projection, projection


def first_failure(report) -> str | None:
    return next((finding.code for finding in report.findings if not finding.ok), None)


def codes(report) -> list[str]:
    return [finding.code for finding in report.findings if not finding.ok]


IDS = ["needs_projection", "zero_pad_shortcut", "basic_block", "count_layers", "find_block_fault"]


@pytest.mark.parametrize("id", IDS)
def test_the_books_solution_passes_quickly(id):
    entry = getattr(check, id)
    report = entry(entry.load_solution())
    assert report.passed, report
    start = time.process_time()
    entry(entry.load_solution())
    assert time.process_time() - start < 0.3


@pytest.mark.parametrize("id", IDS)
def test_the_untouched_stub_counts_as_not_attempted(id):
    class Stub(nn.Module):
        def __init__(self, *arguments) -> None:
            super().__init__()
            raise NotImplementedError()

    def stub(*arguments):
        raise NotImplementedError()

    attempt = Stub if id in ("zero_pad_shortcut", "basic_block") else stub
    assert not getattr(check, id)(attempt).attempted


# --- needs_projection ---


@pytest.mark.parametrize(
    "right",
    [
        lambda i, o, s: not (s == 1 and i == o),
        lambda i, o, s: (i, 1) != (o, s),
        lambda i, o, s: True if s > 1 else i != o,
        lambda i, o, s: int(s > 1 or i != o),
        lambda i, o, s: torch.tensor(s > 1 or i != o),
    ],
)
def test_needs_projection_in_other_words(right):
    assert check.needs_projection(right).passed


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (lambda i, o, s: s != 1, "channels-ignored"),
        (lambda i, o, s: i != o, "stride-ignored"),
        (lambda i, o, s: s == 2 or i != o, "stride-ignored"),
        (lambda i, o, s: s != 1 and i != o, "and-instead-of-or"),
        (lambda i, o, s: True, "projects-always"),
        (lambda i, o, s: False, "changed-shape-not-seen"),
        (lambda i, o, s: s != 1 or i < o, "only-growing-channels"),
        (lambda i, o, s: None, "no-answer"),
        (lambda i, o, s: "yes", "no-answer"),
        (lambda i, o, s: torch.tensor([s > 1, i != o]), "no-answer"),
        (lambda i, o, s: s == 1 and i == o, "inverted"),
    ],
)
def test_needs_projection_gone_wrong(wrong, code):
    assert first_failure(check.needs_projection(wrong)) == code


# --- zero_pad_shortcut ---


def shortcut_class(forward):
    class Shortcut(nn.Module):
        def __init__(self, in_channels, out_channels, stride=1):
            super().__init__()
            self.extra, self.stride = out_channels - in_channels, stride

        def forward(self, x):
            return forward(x, self.extra, self.stride)

    return Shortcut


def with_cat(x, extra, stride):
    x = x[..., ::stride, ::stride]
    n, _, h, w = x.shape
    return torch.cat([x, x.new_zeros(n, extra, h, w)], dim=1)


def with_pool(x, extra, stride):
    x = F.avg_pool2d(x, kernel_size=1, stride=stride)
    return F.pad(x, [0, 0, 0, 0, 0, extra, 0, 0])


def written_into(x, extra, stride):
    x = x[:, :, ::stride, ::stride]
    out = x.new_zeros(x.shape[0], x.shape[1] + extra, *x.shape[2:])
    out[:, : x.shape[1]] = x
    return out


@pytest.mark.parametrize("forward", [with_cat, with_pool, written_into])
def test_zero_pad_shortcut_in_other_styles(forward):
    report = check.zero_pad_shortcut(shortcut_class(forward))
    assert report.passed, report


def sliced(x, stride):
    return x[:, :, ::stride, ::stride]


def changes_x(x, extra, stride):
    out = with_cat(x, extra, stride)
    x.data.mul_(0.5)
    return out


def float_zeros(x, extra, stride):
    x = sliced(x, stride)
    return torch.cat([x, torch.zeros(x.shape[0], extra, *x.shape[2:])], dim=1)


@pytest.mark.parametrize(
    ("forward", "code"),
    [
        (lambda x, e, s: F.pad(sliced(x, s), (0, 0, 0, 0, e, 0)), "zeros-not-last"),
        (lambda x, e, s: F.pad(sliced(x, s), (0, 0, 0, 0, e // 2, e - e // 2)), "zeros-not-last"),
        (lambda x, e, s: F.pad(sliced(x, s), (0, e)), "wrong-shape"),
        (lambda x, e, s: F.pad(x, (0, 0, 0, 0, 0, e)), "wrong-shape"),
        (lambda x, e, s: sliced(x, s), "wrong-shape"),
        (
            lambda x, e, s: F.pad(F.avg_pool2d(x, s, ceil_mode=True), (0, 0, 0, 0, 0, e)),
            "pixels-averaged",
        ),
        (
            lambda x, e, s: F.pad(F.max_pool2d(x, s, ceil_mode=True), (0, 0, 0, 0, 0, e)),
            "pixels-pooled",
        ),
        (
            lambda x, e, s: torch.cat([sliced(x, s)] * 4, 1)[:, : x.shape[1] + e],
            "channels-repeated",
        ),
        (lambda x, e, s: F.relu(with_cat(x, e, s)), "wrong-value"),
        (lambda x, e, s: with_cat(x, e, s).detach(), "gradient-cut"),
        (lambda x, e, s: with_cat(x.detach(), e, s) + 0 * x.sum(), "gradient-wrong"),
        (changes_x, "input-modified"),
        (float_zeros, "dtype-changed"),
        (lambda x, e, s: with_cat(x, e, s).float(), "dtype-changed"),
        (lambda x, e, s: with_cat(x, e, 2 if s > 1 else 1), "wrong-shape"),
        (lambda x, e, s: None, "wrong-shape"),
        (lambda x, e, s: x.undefined, "raised"),
    ],
)
def test_zero_pad_shortcut_gone_wrong(forward, code):
    assert first_failure(check.zero_pad_shortcut(shortcut_class(forward))) == code


@pytest.mark.parametrize(
    ("forward", "hint"),
    [
        (lambda x, e, s: with_cat(x, e, 2 if s > 1 else 1), "::stride"),
        (lambda x, e, s: F.pad(x[:, :, ::s], (0, 0, 0, 0, 0, e)), "::stride"),
        (lambda x, e, s: with_cat(x[:, :, : x.shape[2] // s * s, : x.shape[3] // s * s], e, s), "ceil"),
        (lambda x, e, s: torch.cat([sliced(x, s), torch.zeros_like(sliced(x, s))], 1), "however many"),
        (lambda x, e, s: F.pad(sliced(x, s), (0, e)), "F.pad counts"),
    ],
)
def test_a_wrong_shape_gets_the_hint_that_helps(forward, hint):
    fault = next(f for f in check.zero_pad_shortcut(shortcut_class(forward)).findings if not f.ok)
    assert fault.code == "wrong-shape" and hint in fault.hint


def test_a_convolution_is_no_option_a():
    assert first_failure(check.zero_pad_shortcut(projection)) == "has-parameters"


def test_a_function_is_no_module():
    assert first_failure(check.zero_pad_shortcut(lambda i, o, s: lambda x: x)) == "not-a-module"


# --- basic_block: right ones ---


class Base(nn.Module):
    """The layers of a right block; each wrong one below changes a line of it."""

    expansion = 1
    conv_bias = False

    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__()
        b = self.conv_bias
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=b)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=b)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        if downsample is None and (stride != 1 or in_channels != planes):
            downsample = nn.Sequential(
                nn.Conv2d(in_channels, planes, 1, stride, bias=b), nn.BatchNorm2d(planes)
            )
        self.shortcut = downsample if downsample is not None else nn.Identity()

    def branch(self, x):
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    def forward(self, x):
        return F.relu(self.branch(x) + self.shortcut(x))


class InPlaceWhereAllowed(Base):
    def forward(self, x):
        identity = self.shortcut(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Sequential(nn.Module):
    expansion = 1

    def __init__(self, inp, out, stride=1, downsample=None):
        super().__init__()
        self.last = nn.ReLU()
        self.short = nn.Sequential() if (inp, 1) == (out, stride) else projection(inp, out, stride)
        self.short = downsample if downsample is not None else self.short
        self.body = nn.Sequential(
            conv3x3(inp, out, stride), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
            conv3x3(out, out), nn.BatchNorm2d(out),
        )  # fmt: skip

    def forward(self, x):
        return self.last(self.short(x) + self.body(x))


class OtherOrder(Base):
    """The second convolution is registered first, and the batch norms before both."""

    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        conv1, conv2 = self.conv1, self.conv2
        del self.conv1, self.conv2
        self.b, self.a = conv2, conv1

    def branch(self, x):
        return self.bn2(self.b(torch.relu(self.bn1(self.a(x)))))


class ZeroGamma(Base):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        nn.init.zeros_(self.bn2.weight)


class SlicedShortcut(Base):
    """The 1x1 has no stride; a slice takes its place."""

    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.given = downsample is not None
        self.stride = stride
        if needs_projection(in_channels, planes, stride) and not self.given:
            self.shortcut = projection(in_channels, planes, 1)

    def forward(self, x):
        s = 1 if self.given else self.stride
        return F.relu(self.branch(x) + self.shortcut(x[:, :, ::s, ::s]))


class Functional(nn.Module):
    """No layer objects at all."""

    expansion = 1

    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__()
        self.stride, self.given = stride, downsample
        self.w1 = nn.Parameter(torch.randn(planes, in_channels, 3, 3) / 10)
        self.w2 = nn.Parameter(torch.randn(planes, planes, 3, 3) / 10)
        self.norms = nn.ModuleList([nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)])
        self.wp = None
        if downsample is None and needs_projection(in_channels, planes, stride):
            self.wp = nn.Parameter(torch.randn(planes, in_channels, 1, 1))
            self.norms.append(nn.BatchNorm2d(planes))

    def forward(self, x):
        out = self.norms[0](F.conv2d(x, self.w1, stride=self.stride, padding=1)).relu()
        out = self.norms[1](F.conv2d(out, self.w2, padding=1))
        if self.given is not None:
            x = self.given(x)
        elif self.wp is not None:
            x = self.norms[2](F.conv2d(x, self.wp, stride=self.stride))
        return out.add(x).clamp(min=0)


RIGHT = [
    Base, InPlaceWhereAllowed, Sequential, OtherOrder, ZeroGamma, SlicedShortcut, Functional,
]  # fmt: skip


@pytest.mark.parametrize("block", RIGHT)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_right_block_in_another_style_passes(block, seed):
    torch.manual_seed(seed)
    report = check.basic_block(block)
    assert report.passed, report


# --- basic_block: wrong ones ---


def wrong(code, *, also=()):
    """Register a wrong block with the code of its first finding, and those that must follow."""

    def register(block):
        WRONG.append(pytest.param(block, code, also, id=block.__name__))
        return block

    return register


WRONG: list = []


@wrong("relu-before-add")
class ReluBeforeAdd(Base):
    def branch(self, x):
        return F.relu(super().branch(x))


@wrong("relu-before-add")
class AsPopularlyPrinted(Base):
    """Runs forward; backward raises, for the in-place addition overwrites what the ReLU saved."""

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out += self.shortcut(x)
        return F.relu(out)


@wrong("relu-before-add")
class ReluOnlyBefore(Base):
    def forward(self, x):
        return F.relu(self.branch(x)) + self.shortcut(x)


@wrong("missing-final-relu")
class NoFinalRelu(Base):
    def forward(self, x):
        return self.branch(x) + self.shortcut(x)


@wrong("no-shortcut")
class NoShortcut(Base):
    def forward(self, x):
        return F.relu(self.branch(x))


@wrong("no-shortcut")
class Plain(nn.Module):
    def __init__(self, i, o, stride=1, downsample=None):
        super().__init__()
        self.layers = nn.Sequential(
            conv3x3(i, o, stride),
            nn.BatchNorm2d(o),
            nn.ReLU(),
            conv3x3(o, o),
            nn.BatchNorm2d(o),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.layers(x)


@wrong("shortcut-twice")
class ShortcutTwice(Base):
    def forward(self, x):
        out = self.branch(x)
        out += self.shortcut(x)
        return F.relu(out + self.shortcut(x))


@wrong("bias-before-bn")
class Biases(Base):
    conv_bias = True


@wrong("bias-before-bn", also=["relu-before-add"])
class BiasesAndRelu(ReluBeforeAdd):
    conv_bias = True


@wrong("bias-before-bn")
class BiasOnTheProjection(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        if isinstance(self.shortcut, nn.Sequential):
            self.shortcut[0] = nn.Conv2d(in_channels, planes, 1, stride)


class OwnShortcut(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.shortcut = nn.Identity() if downsample is None else downsample
        if downsample is None and self.wants(in_channels, planes, stride):
            self.shortcut = self.make(in_channels, planes, stride)

    def wants(self, in_channels, planes, stride):
        return needs_projection(in_channels, planes, stride)

    def make(self, in_channels, planes, stride):
        return projection(in_channels, planes, stride)


@wrong("missing-projection")
class NoProjection(OwnShortcut):
    def wants(self, in_channels, planes, stride):
        return False


@wrong("projection-only-on-stride")
class ProjectionOnStrideOnly(OwnShortcut):
    def wants(self, in_channels, planes, stride):
        return stride != 1


@wrong("projection-only-on-channels")
class ProjectionOnChannelsOnly(OwnShortcut):
    def wants(self, in_channels, planes, stride):
        return in_channels != planes


@wrong("needless-projection")
class ProjectionEverywhere(OwnShortcut):
    def wants(self, in_channels, planes, stride):
        return True


@wrong("projection-stride")
class ProjectionWithoutStride(OwnShortcut):
    def make(self, in_channels, planes, stride):
        return projection(in_channels, planes, 1)


@wrong("projection-stride")
class ProjectionAlwaysStrided(OwnShortcut):
    def make(self, in_channels, planes, stride):
        return projection(in_channels, planes, 2)


@wrong("bn-missing")
class ProjectionWithoutNorm(OwnShortcut):
    def make(self, in_channels, planes, stride):
        return conv1x1(in_channels, planes, stride)


@wrong("relu-on-shortcut")
class ReluOnProjection(OwnShortcut):
    def make(self, in_channels, planes, stride):
        return nn.Sequential(*projection(in_channels, planes, stride), nn.ReLU())


@wrong("stride-wrong-conv")
class StrideOnTheSecond(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.conv1, self.conv2 = conv3x3(in_channels, planes), conv3x3(planes, planes, stride)


@wrong("relu-before-add", also=["stride-wrong-conv"])
class StrideOnTheSecondAndRelu(StrideOnTheSecond):
    def branch(self, x):
        return F.relu(super().branch(x))


@wrong("stride-twice")
class StrideOnBoth(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.conv2 = conv3x3(planes, planes, stride)


@wrong("stride-missing")
class StrideForgotten(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.conv1 = conv3x3(in_channels, planes)


@wrong("wrong-padding")
class NoPadding(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, bias=False)


@wrong("bn-missing")
class NoNorms(Base):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.bn1 = self.bn2 = nn.Identity()


@wrong("bn-missing")
class BiasesInsteadOfNorms(NoNorms):
    conv_bias = True


@wrong("bn-missing")
class NoSecondNorm(Base):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.bn2 = nn.Identity()


@wrong("bn-missing")
class NormMadeButNotUsed(Base):
    def branch(self, x):
        return self.bn2(self.conv2(F.relu(self.conv1(x))))


@wrong("wrong-norm")
class GroupNorms(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.bn1, self.bn2 = nn.GroupNorm(1, planes), nn.GroupNorm(1, planes)


@wrong("bn-shared")
class FirstNormTwice(Base):
    def branch(self, x):
        return self.bn1(self.conv2(F.relu(self.bn1(self.conv1(x)))))


@wrong("bn-shared")
class OneNormForAll(Base):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.bn2 = self.bn1


@wrong("bn-after-add")
class NormAfterAddition(Base):
    def forward(self, x):
        out = self.conv2(F.relu(self.bn1(self.conv1(x))))
        return F.relu(self.bn2(out + self.shortcut(x)))


@wrong("relu-before-bn")
class ReluBeforeNorm(Base):
    def branch(self, x):
        return self.bn2(self.conv2(self.bn1(F.relu(self.conv1(x)))))


@wrong("missing-inner-relu")
class NoInnerRelu(Base):
    def branch(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x))))


@wrong("pre-activation")
class PreActivated(nn.Module):
    def __init__(self, i, o, stride=1, downsample=None):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(i), nn.BatchNorm2d(o)
        self.conv1, self.conv2 = conv3x3(i, o, stride), conv3x3(o, o)
        self.shortcut = conv1x1(i, o, stride) if needs_projection(i, o, stride) else nn.Identity()

    def forward(self, x):
        return self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x)))))) + self.shortcut(x)


@wrong("input-modified")
class AddsIntoItsInput(Base):
    def forward(self, x):
        out = self.branch(x)
        x = self.shortcut(x)
        x += out
        return F.relu(x)


@wrong("input-modified", also=["relu-on-shortcut"])
class ReluInPlaceOnTheInput(Base):
    def forward(self, x):
        out = self.branch(x)
        return F.relu(out + self.shortcut(F.relu_(x)))


@wrong("input-modified", also=["sizes-differ"])
class AddsInPlaceThenRelu(Base):
    def forward(self, x):
        x += self.branch(x)
        return self.relu(x)


@wrong("subtracted")
class Subtracts(Base):
    def forward(self, x):
        return F.relu(self.branch(x) - self.shortcut(x))


@wrong("gradient-cut")
class DetachedShortcut(Base):
    def forward(self, x):
        return F.relu(self.branch(x) + self.shortcut(x).detach())


@wrong("unused-parameters")
class SpareLayer(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.spare = nn.Linear(3, 3, bias=False)


@wrong("wrong-kernels")
class FiveByFive(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.conv2 = nn.Conv2d(planes, planes, 5, padding=2, bias=False)


@wrong("wrong-kernels")
class ChangesChannelsLate(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride, downsample)
        self.conv1, self.bn1 = (
            conv3x3(in_channels, in_channels, stride),
            nn.BatchNorm2d(in_channels),
        )
        self.conv2 = conv3x3(in_channels, planes)


@wrong("no-parameters")
class HiddenInAList(nn.Module):
    def __init__(self, i, o, stride=1, downsample=None):
        super().__init__()
        self.layers = [conv3x3(i, o, stride), nn.BatchNorm2d(o), conv3x3(o, o), nn.BatchNorm2d(o)]

    def forward(self, x):
        a, b, c, d = self.layers
        return F.relu(d(c(F.relu(b(a(x))))) + x)


@wrong("nothing-returned")
class ForgetsToReturn(Base):
    def forward(self, x):
        F.relu(self.branch(x) + self.shortcut(x))


@wrong("eval-mode")
class AlwaysTraining(Base):
    def forward(self, x):
        self.train()
        return super().forward(x)


@wrong("downsample-ignored")
class IgnoresDownsample(Base):
    def __init__(self, in_channels, planes, stride=1, downsample=None):
        super().__init__(in_channels, planes, stride)


@wrong("scaled")
class Halved(Base):
    def forward(self, x):
        return F.relu(0.5 * self.branch(x) + self.shortcut(x))


@wrong("expansion-missing")
class NoExpansion(Base):
    expansion = None


@wrong("raised")
class Raises(Base):
    def forward(self, x):
        return F.relu(self.branch(x) + self.shortcut(x)).reshape(7, -1, 1000)


@pytest.mark.parametrize(("block", "code", "also"), WRONG)
def test_a_wrong_block_is_named(block, code, also):
    torch.manual_seed(0)
    report = check.basic_block(block)
    assert first_failure(report) == code, report
    assert codes(report) == [code, *also], report


def test_a_report_on_a_wrong_block_is_quick_too():
    check.basic_block(Halved)
    start = time.process_time()
    check.basic_block(Halved)
    assert time.process_time() - start < 1.0


def test_messages_name_the_case_and_the_numbers():
    text = str(check.basic_block(ReluBeforeAdd))
    assert "BasicBlock(8, 8)" in text and "of the 1512 outputs" in text
    text = str(check.basic_block(ProjectionOnStrideOnly))
    assert "8 channels become 16 at stride 1" in text


def test_an_instance_or_a_function_is_refused_in_words():
    assert first_failure(check.basic_block(Base(8, 8))) == "not-a-class"
    assert first_failure(check.basic_block(lambda i, o, s=1: lambda x: x)) == "not-a-module"


# --- count_layers ---


@pytest.mark.parametrize("answer", [(102, 104), [102, 104], torch.tensor([102, 104]), (torch.tensor(102), 104)])
def test_count_layers_as_tuple_or_list(answer):
    assert check.count_layers(lambda: answer).passed


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((100, 104), "ends-forgotten"),
        ((101, 104), "one-end-forgotten"),
        ((105, 104), "projections-counted"),
        ((152, 104), "bottleneck-counted"),
        ((50, 104), "blocks-counted"),
        ((90, 104), "wrong-layers"),
        ((102, 101), "projections-forgotten"),
        ((102, 105), "one-too-many"),
        ((102, 103), "stem-forgotten"),
        ((102, 100), "ends-forgotten"),
        ((102, 7), "wrong-convolutions"),
        (102, "wrong-type"),
        (None, "wrong-type"),
        (("102", "104"), "wrong-type"),
    ],
)
def test_count_layers_gone_wrong(answer, code):
    assert first_failure(check.count_layers(lambda: answer)) == code


# --- find_block_fault ---


def by_backward(block, x):
    copy = x.detach().clone()
    y = block(x)
    if (x != copy).any():
        return "input changed"
    if y.min() < 0:
        return "no final ReLU"
    if not (y < copy).any():
        return "ReLU on the branch"
    y.sum().backward()
    unused = [p for p in block.parameters() if p.grad is None]
    return "unused parameters" if unused else "none found"


def on_a_copy(block, x):
    given = x + 0
    y = block(given)
    verdicts = {
        "input changed": (given.detach() - x).abs().sum() > 0,
        "no final ReLU": bool((y < 0).any()),
        "ReLU on the branch": bool((y - x).min() >= 0),
    }
    for verdict, holds in verdicts.items():
        if holds:
            return verdict
    y.mean().backward()
    return ["none found", "unused parameters"][any(p.grad is None for p in block.parameters())]


@pytest.mark.parametrize("finder", [by_backward, on_a_copy])
def test_find_fault_in_another_style(finder):
    report = check.find_block_fault(finder)
    assert report.passed, report


def zero_taken_for_unused(block, x):
    verdict = by_backward(block, x)
    faint = [p for p in block.parameters() if p.grad is not None and p.grad.abs().sum() < 1e-3]
    return "unused parameters" if verdict == "none found" and faint else verdict


def one_parameter(place):
    def finder(block, x):
        verdict = without("unused parameters")(block, x)
        if verdict != "none found":
            return verdict
        (gradient,) = torch.autograd.grad(block(x).sum(), list(block.parameters())[place], allow_unused=True)
        return "unused parameters" if gradient is None else verdict

    return finder


def input_asked_last(block, x):
    copy = x.clone()
    y = block(x)
    gradients = torch.autograd.grad(y.sum(), list(block.parameters()), allow_unused=True)
    if not torch.equal(x, copy):
        return "input changed"
    return "unused parameters" if None in gradients else by_backward(block, x)


def without(verdict):
    return lambda block, x: "none found" if (v := by_backward(block, x)) == verdict else v


@pytest.mark.parametrize(
    ("finder", "code"),
    [
        (without("input changed"), "missed-input-changed"),
        (without("no final ReLU"), "missed-no-final-relu"),
        (without("ReLU on the branch"), "missed-relu-on-the-branch"),
        (without("unused parameters"), "missed-unused-parameters"),
        (lambda block, x: "no final ReLU", "false-alarm"),
        (lambda block, x: "broken", "unknown-verdict"),
        (lambda block, x: None, "unknown-verdict"),
        (lambda block, x: torch.zeros(2), "unknown-verdict"),
        (zero_taken_for_unused, "false-alarm"),
        (one_parameter(0), "missed-unused-parameters"),
        (one_parameter(-1), "missed-unused-parameters"),
        (input_asked_last, "missed-input-changed"),
        (lambda block, x: block.undefined, "raised"),
        (
            lambda block, x: "ReLU on the branch" if (block(x) >= 0).all() else "none found",
            "false-alarm",
        ),
    ],
)
def test_find_fault_gone_wrong(finder, code):
    assert first_failure(check.find_block_fault(finder)) == code


def test_find_fault_tells_each_fault_once():
    assert codes(check.find_block_fault(lambda block, x: "no final ReLU")).count("false-alarm") == 1
    assert "was shown a right block" in str(check.find_block_fault(lambda block, x: block.undefined))
