"""The exercises of chapter 6: the book's solutions and other right ones pass, wrong ones are told what is wrong."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import Bottleneck, ResNet, check, figures, make_layer
from resnet_tutorial.solutions.chapter06 import (
    ResNet50,
    classifier_head,
    imagenet_stem,
    last_feature_map,
)

EXERCISES = [e for e in check.catalog().values() if e.chapter == 6]


def first_failure(report):
    assert report.attempted and not report.passed, str(report)
    finding = next(f for f in report.findings if not f.ok)
    assert finding.message and (finding.hint or finding.code in ("raised", "input-modified"))
    return finding.code


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
def test_the_books_solution_passes(exercise):
    report = exercise(exercise.load_solution())
    assert report.passed, str(report)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
def test_a_blank_stub_is_not_attempted(exercise):
    def blank(*args, **kwargs):
        raise NotImplementedError()

    class Blank(nn.Module):
        def __init__(self, *args, **kwargs):
            super().__init__()
            raise NotImplementedError()

    assert not exercise(Blank if isinstance(exercise.load_solution(), type) else blank).attempted


def right(exercise):
    return lambda attempt: RIGHT.append((exercise, attempt)) or attempt


def wrong(exercise, code):
    return lambda attempt: WRONG.append((exercise, code, attempt)) or attempt


RIGHT, WRONG = [], []


# --- 6.1 ---


@right("imagenet_stem")
class StemByHand(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.norm = nn.BatchNorm2d(o)
        self.kernel = nn.Parameter(torch.randn(o, i, 7, 7))

    def forward(self, x):
        x = F.conv2d(F.pad(x, (3, 3, 3, 3)), self.kernel, stride=2)
        return F.max_pool2d(F.relu(self.norm(x)), 3, 2, 1)


@right("imagenet_stem")
def stem_that_pools_before_its_relu(in_channels=3, out_channels=64):
    # The largest of nine values and the ReLU of it: the order does not matter.
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 7, 2, 3, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.MaxPool2d(3, 2, 1),
        nn.ReLU(inplace=True),
    )


@right("imagenet_stem")
def stem_of_lazy_layers(in_channels=3, out_channels=64):
    return nn.Sequential(
        nn.LazyConv2d(out_channels, 7, 2, 3, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    )


@right("imagenet_stem")
class StemOfAKernelInAnotherOrder(StemByHand):
    """The kernel is stored as (height, width, in, out)."""

    def __init__(self, i, o):
        super().__init__(i, o)
        self.kernel = nn.Parameter(torch.randn(7, 7, i, o))

    def forward(self, x):
        x = F.conv2d(x, self.kernel.permute(3, 2, 0, 1), stride=2, padding=3)
        return F.max_pool2d(F.relu(self.norm(x)), 3, 2, 1)


@wrong("imagenet_stem", "dead-at-start")
def stem_that_begins_at_zero(i, o):
    made = imagenet_stem(i, o)
    nn.init.zeros_(made[1].weight)
    return made


@wrong("imagenet_stem", "gradient-cut")
class DetachedStem(StemByHand):
    def forward(self, x):
        return super().forward(x.detach())


@wrong("imagenet_stem", "gradient-cut")
class StemWithoutGradients(StemByHand):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


@wrong("imagenet_stem", "wrong-statistics")
class StemThatCountsTwice(StemByHand):
    def forward(self, x):
        super().forward(x + 1)
        return super().forward(x)


@wrong("imagenet_stem", "frozen")
def frozen_stem(i, o):
    return imagenet_stem(i, o).requires_grad_(False)


@wrong("imagenet_stem", "wrong-type")
class StemThatForgetsToReturn(StemByHand):
    def forward(self, x):
        super().forward(x)


def stem(conv=None, order="bn relu pool", norm=None, **parts):
    def build(i, o):
        layers = {
            "bn": nn.BatchNorm2d(o, **(norm or {})),
            "relu": nn.ReLU(),
            "pool": nn.MaxPool2d(3, 2, 1),
        } | {name: part() for name, part in parts.items()}
        first = nn.Conv2d(i, o, **({"kernel_size": 7, "stride": 2, "padding": 3, "bias": False} | (conv or {})))
        return nn.Sequential(first, *(layers[name] for name in order.split()))

    return build


class ListStem(nn.Sequential):
    """Changes the image that it is handed."""

    def __init__(self, i, o):
        super().__init__(*imagenet_stem(i, o))

    def forward(self, x):
        return super().forward(x.mul_(1.0).add_(1e-3))


WRONG += [
    ("imagenet_stem", "not-a-module", lambda i, o: [nn.Conv2d(i, o, 7, 2, 3, bias=False)]),
    ("imagenet_stem", "not-callable", lambda i, o: nn.ModuleList(imagenet_stem(i, o))),
    ("imagenet_stem", "wrong-shape", stem({"padding": 0})),
    ("imagenet_stem", "wrong-shape", stem({"stride": 1})),
    ("imagenet_stem", "wrong-shape", stem(order="bn relu")),
    ("imagenet_stem", "wrong-shape", stem(pool=lambda: nn.MaxPool2d(3, 2))),
    ("imagenet_stem", "input-modified", ListStem),
    ("imagenet_stem", "bias-before-bn", stem({"bias": True})),
    ("imagenet_stem", "missing-bn", stem(order="relu pool")),
    ("imagenet_stem", "wrong-parameter-count", stem({"kernel_size": 5, "padding": 2})),
    ("imagenet_stem", "wrong-parameter-count", stem(relu=nn.PReLU)),
    ("imagenet_stem", "missing-relu", stem(order="bn pool")),
    ("imagenet_stem", "average-pooling", stem(pool=lambda: nn.AvgPool2d(3, 2, 1))),
    ("imagenet_stem", "relu-before-bn", stem(order="relu bn pool")),
    ("imagenet_stem", "pool-before-bn", stem(order="pool bn relu")),
    ("imagenet_stem", "small-pooling", stem(pool=lambda: nn.MaxPool2d(2, 2, ceil_mode=True))),
    ("imagenet_stem", "wrong-value", stem(relu=nn.LeakyReLU)),
    ("imagenet_stem", "relu-capped", stem(relu=nn.ReLU6)),
    ("imagenet_stem", "wrong-momentum", stem(norm={"momentum": 0.01})),
    ("imagenet_stem", "wrong-momentum", stem(norm={"momentum": 0.9})),
    ("imagenet_stem", "wrong-momentum", stem(norm={"momentum": None})),
    ("imagenet_stem", "wrong-statistics", stem(norm={"momentum": 0.3})),
    ("imagenet_stem", "wrong-eps", stem(norm={"eps": 1e-3})),
    ("imagenet_stem", "random", stem(relu=lambda: nn.Sequential(nn.ReLU(), nn.Dropout(0.1)))),
    ("imagenet_stem", "wrong-padding", stem({"padding_mode": "circular"})),
    ("imagenet_stem", "wrong-padding", stem({"padding_mode": "reflect"})),
    ("imagenet_stem", "wrong-padding", stem({"padding_mode": "replicate"})),
    ("imagenet_stem", "wrong-channels", lambda i, o: imagenet_stem(3, 64)),
    ("imagenet_stem", "parameters-shared", cache(imagenet_stem)),
    ("imagenet_stem", "left-in-eval", lambda i, o: imagenet_stem(i, o).eval()),
    ("imagenet_stem", "wrong-signature", lambda i: imagenet_stem(i)),
]


# --- 6.2 ---


@right("make_layer")
def layer_in_a_loop(block, in_channels, planes, blocks, stride=1, **options):
    stage = nn.Sequential()
    for index in range(blocks):
        stage.add_module(
            f"block{index}", block(in_channels, planes, stride=1 if index else stride, **options)
        )
        in_channels = planes * block.expansion
    return stage


@right("make_layer")
class LayerAsAClass(nn.Module):
    def __init__(self, block, in_channels, planes, blocks, stride=1, **options):
        super().__init__()
        width = planes * block.expansion
        self.rest = nn.ModuleList(block(width, planes, **options) for _ in range(blocks - 1))
        self.first = block(in_channels, planes, stride, downsample=None, **options)

    def forward(self, x):
        x = self.first(x)
        for block in self.rest:
            x = block(x)
        return x


@wrong("make_layer", "shared-weights")
def layer_of_one_block(block, in_channels, planes, blocks, stride=1, **options):
    first = block(in_channels, planes, stride, **options)
    return nn.Sequential(
        first, *[block(planes * block.expansion, planes, **options)] * (blocks - 1)
    )


@wrong("make_layer", "not-registered")
class LayerInAList(nn.Module):
    def __init__(self, *args, **options):
        super().__init__()
        self.blocks = list(make_layer(*args, **options))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@wrong("make_layer", "stride-in-every-block")
def layer_that_strides(block, in_channels, planes, blocks, stride=1, **options):
    width = planes * block.expansion
    sizes = [in_channels] + [width] * (blocks - 1)
    return nn.Sequential(*(block(size, planes, stride, **options) for size in sizes))


@wrong("make_layer", "stride-lost")
def layer_without_stride(block, in_channels, planes, blocks, stride=1, **options):
    return make_layer(block, in_channels, planes, blocks, **options)


@wrong("make_layer", "stride-misplaced")
def layer_with_a_late_stride(block, in_channels, planes, blocks, stride=1, **options):
    width = planes * block.expansion
    return nn.Sequential(
        block(in_channels, planes, **options),
        *(block(width, planes, stride if i == blocks - 2 else 1, **options) for i in range(blocks - 1)),
    )


@wrong("make_layer", "wrong-in-channels")
def layer_without_expansion(block, in_channels, planes, blocks, stride=1, **options):
    return nn.Sequential(
        block(in_channels, planes, stride, **options),
        *(block(planes, planes, **options) for _ in range(blocks - 1)),
    )


@wrong("make_layer", "wrong-in-channels")
def layer_with_expansion_four(block, in_channels, planes, blocks, stride=1, **options):
    return nn.Sequential(
        block(in_channels, planes, stride, **options),
        *(block(4 * planes, planes, **options) for _ in range(blocks - 1)),
    )


@wrong("make_layer", "options-lost")
def layer_without_options(block, in_channels, planes, blocks, stride=1, **options):
    first = block(in_channels, planes, stride, **options)
    width = planes * block.expansion
    return nn.Sequential(first, *(block(width, planes) for _ in range(blocks - 1)))


@wrong("make_layer", "wrong-block-count")
def layer_with_one_more(block, in_channels, planes, blocks, stride=1, **options):
    return make_layer(block, in_channels, planes, blocks + 1, stride, **options)


@wrong("make_layer", "wrong-planes")
def layer_that_widens(block, in_channels, planes, blocks, stride=1, **options):
    first = block(in_channels, planes, stride, **options)
    width = planes * block.expansion
    return nn.Sequential(first, *(block(width, 2 * planes, **options) for _ in range(blocks - 1)))


@right("make_layer")
def layer_of_strides(block, in_channels, planes, blocks, stride=1, **options):
    made = []
    for step in (stride, *[1] * (blocks - 1)):
        made.append(block(in_channels, planes, step, **options))
        in_channels = planes * block.expansion
    return nn.Sequential(*made)


def layer_with_stride(choose):
    def build(block, in_channels, planes, blocks, stride=1, **options):
        stride = choose(stride, in_channels, planes * block.expansion)
        return make_layer(block, in_channels, planes, blocks, stride, **options)

    return build


@wrong("make_layer", "downsample-handed")
def layer_with_a_shortcut(block, in_channels, planes, blocks, stride=1, **options):
    width, shortcut = planes * block.expansion, None
    if stride != 1 or in_channels != width:
        shortcut = nn.Sequential(nn.Conv2d(in_channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    first = block(in_channels, planes, stride, shortcut, **options)
    return nn.Sequential(first, *(block(width, planes, **options) for _ in range(blocks - 1)))


@wrong("make_layer", "wrong-in-channels")
def layer_of_outer_channels(block, in_channels, planes, blocks, stride=1, **options):
    first = block(in_channels, planes, stride, **options)
    return nn.Sequential(first, *(block(in_channels, planes, **options) for _ in range(blocks - 1)))


@wrong("make_layer", "shared-weights")
def layer_that_shares_where_it_is_long(block, in_channels, planes, blocks, stride=1, **options):
    made = list(make_layer(block, in_channels, planes, blocks, stride, **options))
    return nn.Sequential(*made[:4], *made[3:4] * (blocks - 4))


@wrong("make_layer", "wrong-default")
def layer_with_another_default(block, in_channels, planes, blocks, stride=2, **options):
    return make_layer(block, in_channels, planes, blocks, stride, **options)


@cache
def made_before(*sizes):
    return make_layer(*sizes[:-1], **dict(sizes[-1]))


@wrong("make_layer", "parameters-shared")
def layer_from_a_cache(block, in_channels, planes, blocks, stride=1, **options):
    return made_before(block, in_channels, planes, blocks, stride, tuple(options.items()))


@wrong("make_layer", "gradient-cut")
class LayerThatDetaches(LayerAsAClass):
    def forward(self, x):
        return super().forward(x.detach())


@wrong("make_layer", "wrong-type")
class LayerWithoutReturn(LayerAsAClass):
    def forward(self, x):
        super().forward(x)


WRONG += [
    ("make_layer", "stride-changed", layer_with_stride(lambda stride, i, o: min(stride, 2))),
    ("make_layer", "stride-lost", layer_with_stride(lambda stride, i, o: 2 if stride == 2 else 1)),
    ("make_layer", "stride-lost", layer_with_stride(lambda stride, i, o: stride if i < o else 1)),
    ("make_layer", "stride-lost", layer_with_stride(lambda stride, i, o: stride if i != o else 1)),
    ("make_layer", "stride-changed", layer_with_stride(lambda stride, i, o: 2)),
    ("make_layer", "options-changed", lambda *a, **k: make_layer(*a, **k, groups=1)),
    ("make_layer", "frozen", lambda *a, **k: make_layer(*a, **k).requires_grad_(False)),
    ("make_layer", "left-in-eval", lambda *a, **k: make_layer(*a, **k).eval()),
    ("make_layer", "random", lambda *a, **k: nn.Sequential(make_layer(*a, **k), nn.Dropout(0.2))),
]


@wrong("make_layer", "not-a-module")
def layer_as_a_list(*args, **options):
    return list(make_layer(*args, **options))


@wrong("make_layer", "wrong-parameter-count")
def layer_with_a_batch_norm(block, in_channels, planes, blocks, stride=1, **options):
    stage = make_layer(block, in_channels, planes, blocks, stride, **options)
    return nn.Sequential(stage, nn.BatchNorm2d(planes * block.expansion))


@wrong("make_layer", "wrong-value")
def layer_with_a_dropout(*args, **options):
    return nn.Sequential(make_layer(*args, **options), nn.Tanh())


# --- 6.3 ---


@right("last_feature_map")
def rounded_up(height, width):
    return [2048, (height + 31) // 32, (width + 31) // 32]


@right("last_feature_map")
def by_running_a_network(height, width):
    for _ in range(5):
        height, width = (height - 1) // 2 + 1, (width - 1) // 2 + 1
    return 2048, height, width


WRONG += [
    ("last_feature_map", "wrong-type", lambda h, w: h // 32),
    ("last_feature_map", "wrong-type", lambda h, w: None),
    ("last_feature_map", "wrong-type", lambda h, w: "777"),
    ("last_feature_map", "not-integers", lambda h, w: [str(n) for n in last_feature_map(h, w)]),
    ("last_feature_map", "wrong-order", lambda h, w: (*last_feature_map(h, w)[1:], 2048)),
    ("last_feature_map", "not-integers", lambda h, w: (2048, h / 32, w / 32)),
    ("last_feature_map", "wrong-channels", lambda h, w: (512, *last_feature_map(h, w)[1:])),
    ("last_feature_map", "floor-not-ceil", lambda h, w: (2048, h // 32, w // 32)),
    ("last_feature_map", "halving-forgotten", lambda h, w: (2048, -(-h // 16), -(-w // 16))),
    ("last_feature_map", "one-halving-too-many", lambda h, w: (2048, -(-h // 64), -(-w // 64))),
    ("last_feature_map", "height-width-swapped", lambda h, w: last_feature_map(w, h)),
    ("last_feature_map", "wrong-size", lambda h, w: (2048, 7, 7)),
]


# --- 6.4 ---


@right("classifier_head")
class HeadByHand(nn.Module):
    def __init__(self, channels, num_classes):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.weight = nn.Parameter(torch.randn(num_classes, channels))

    def forward(self, x):
        return x.flatten(2).mean(2) @ self.weight.T + self.bias


@right("classifier_head")
def head_that_classifies_first(channels, num_classes):
    # A linear map of the mean is the mean of the linear maps.
    class Head(nn.Linear):
        def forward(self, x):
            return super().forward(x.movedim(1, -1)).mean((1, 2))

    return Head(channels, num_classes)


def head(pool=None, *more):
    return lambda c, k: nn.Sequential(
        (pool or nn.AdaptiveAvgPool2d)(1), nn.Flatten(), nn.Linear(c, k), *more
    )


@right("classifier_head")
def head_of_lazy_layers(channels, num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(num_classes))


@right("classifier_head")
def head_of_a_1x1_convolution(channels, num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, num_classes, 1), nn.Flatten())


@right("classifier_head")
def head_that_convolves_first(channels, num_classes):
    return nn.Sequential(nn.Conv2d(channels, num_classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@right("classifier_head")
class HeadTheOtherWayRound(HeadByHand):
    def __init__(self, channels, num_classes):
        super().__init__(channels, num_classes)
        self.weight = nn.Parameter(torch.randn(channels, num_classes))

    def forward(self, x):
        return x.flatten(2).mean(2) @ self.weight + self.bias


@wrong("classifier_head", "batch-of-one")
class HeadThatSqueezes(HeadByHand):
    def forward(self, x):
        return x.mean((2, 3), keepdim=True).squeeze() @ self.weight.T + self.bias


@wrong("classifier_head", "gradient-cut")
class DetachedHead(HeadByHand):
    def forward(self, x):
        return super().forward(x.detach())


@wrong("classifier_head", "gradient-cut")
class HeadWithADetachedWeight(HeadByHand):
    def forward(self, x):
        return x.mean((2, 3)) @ self.weight.data.T + self.bias


@wrong("classifier_head", "sum-not-mean")
class HeadOfSums(HeadByHand):
    def forward(self, x):
        return x.flatten(2).sum(2) @ self.weight.T + self.bias


@wrong("classifier_head", "wrong-value")
class HeadOfOnePosition(HeadByHand):
    def forward(self, x):
        return x[:, :, 0, 0] @ self.weight.T + self.bias


WRONG += [
    (
        "classifier_head",
        "edge-dropped",
        lambda c, k: nn.Sequential(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(c, k)),
    ),
    (
        "classifier_head",
        "wrong-parameter-count",
        lambda c, k: nn.Sequential(nn.Flatten(), nn.Linear(c * 7 * 7, k)),
    ),
    (
        "classifier_head",
        "wrong-parameter-count",
        lambda c, k: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 1000)),
    ),
    (
        "classifier_head",
        "wrong-shape",
        lambda c, k: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, k, 1)),
    ),
    ("classifier_head", "parameters-shared", cache(head())),
    ("classifier_head", "maximum-not-mean", head(nn.AdaptiveMaxPool2d)),
    ("classifier_head", "softmax-in-head", head(None, nn.Softmax(1))),
    ("classifier_head", "softmax-in-head", head(None, nn.LogSoftmax(1))),
    ("classifier_head", "relu-in-head", head(None, nn.ReLU())),
    (
        "classifier_head",
        "layers-do-not-fit",
        lambda c, k: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Linear(c, k)),
    ),
    ("classifier_head", "random", head(None, nn.Dropout(0.2))),
    ("classifier_head", "frozen", lambda c, k: head()(c, k).requires_grad_(False)),
    ("classifier_head", "not-a-module", lambda c, k: lambda x: x.mean((2, 3))),
]


# --- 6.5 ---


@right("resnet50_whole")
class TheBooksOwn(ResNet):
    def __init__(self, num_classes=1000, in_channels=3):
        super().__init__(Bottleneck, (3, 4, 6, 3), num_classes=num_classes, in_channels=in_channels)


@right("resnet50_whole")
class BackToFront(nn.Module):
    """Defined in another order, in one loop, with functions in place of modules."""

    def __init__(self, num_classes=1000, in_channels=3):
        super().__init__()
        self.out = nn.Linear(2048, num_classes)
        self.stages = nn.ModuleList()
        channels = 64
        for planes, blocks in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True):
            stride = 1 if planes == 64 else 2
            self.stages.append(make_layer(Bottleneck, channels, planes, blocks, stride))
            channels = 4 * planes
        self.norm = nn.BatchNorm2d(64)
        self.conv = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
        return self.out(x.mean((2, 3)))


def changed(change):
    """The book's network with one change, as a class."""

    class Changed(ResNet50):
        def __init__(self, num_classes=1000, in_channels=3):
            super().__init__(num_classes, in_channels)
            change(self)

    return Changed


@wrong("resnet50_whole", "ignored-arguments")
class AlwaysAThousand(ResNet50):
    def __init__(self, num_classes=1000, in_channels=3):
        super().__init__()


@wrong("resnet50_whole", "wrong-parameter-count")
class StagesInAList(ResNet50):
    def __init__(self, num_classes=1000, in_channels=3):
        super().__init__(num_classes, in_channels)
        self.stages = [self.layer1, self.layer2, self.layer3, self.layer4]
        del self.layer1, self.layer2, self.layer3, self.layer4


@wrong("resnet50_whole", "wrong-default")
class TenByDefault(ResNet50):
    def __init__(self, num_classes=10, in_channels=3):
        super().__init__(num_classes, in_channels)


ONE_HEAD = nn.Linear(2048, 1000)


@wrong("resnet50_whole", "parameters-shared")
class WithOneHeadForAll(ResNet50):
    def __init__(self, num_classes=1000, in_channels=3):
        super().__init__(num_classes, in_channels)
        if num_classes == 1000:
            self.head[2] = ONE_HEAD


def zeroed(*last):
    """Let batch norms begin at zero: those of these names, or all."""

    def change(model):
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d) and name.endswith(last or ""):
                nn.init.zeros_(module.weight)

    return change


@wrong("resnet50_whole", "wrong-gradient")
class Detached(ResNet50):
    def forward(self, x):
        return super().forward(x.detach() + 0 * x)


@right("resnet50_whole")
class WithALazyHead(ResNet50):
    def __init__(self, num_classes=1000, in_channels=3):
        super().__init__(num_classes, in_channels)
        self.head[2] = nn.LazyLinear(num_classes)


@wrong("resnet50_whole", "input-modified")
class ChangesItsInput(ResNet50):
    def forward(self, x):
        x -= 0.5
        return super().forward(x)


@wrong("resnet50_whole", "wrong-gradient")
class DetachedHeadWhole(ResNet50):
    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.head(self.layer4(x).detach())


class ProbabilitiesInEvaluation(ResNet50):
    def forward(self, x):
        y = super().forward(x)
        return y if self.training else y.softmax(1)


def test_a_fault_of_evaluation_mode_alone_is_told_as_one():
    report = check.resnet50_whole(ProbabilitiesInEvaluation)
    assert first_failure(report) == "softmax-in-head"
    assert next(f for f in report.findings if not f.ok).message.startswith("In evaluation mode: the values")


@wrong("resnet50_whole", "wrong-type")
class WithoutReturn(ResNet50):
    def forward(self, x):
        super().forward(x)


@wrong("resnet50_whole", "raised")
class TiedToSize(ResNet50):
    def __init__(self, num_classes=1000, in_channels=3):
        super().__init__(num_classes, in_channels)
        self.head[0] = nn.AvgPool2d(7)


@wrong("resnet50_whole", "not-a-module")
class NoModule:
    def __init__(self, num_classes=1000, in_channels=3):
        pass


def strides(model, *stages):
    for number in stages:
        planes = 32 << number
        channels = 64 if number == 1 else 4 * planes // 2
        blocks = (3, 4, 6, 3)[number - 1]
        stride = 2 if number == 1 else 1
        setattr(model, f"layer{number}", make_layer(Bottleneck, channels, planes, blocks, stride))


def fewer_blocks(model):
    model.layer3 = make_layer(Bottleneck, 512, 256, 4, 2)


def version_one(model):
    for number, blocks in ((2, 4), (3, 6), (4, 3)):
        planes = 32 << number
        stage = make_layer(Bottleneck, 2 * planes, planes, blocks, 2, version="v1")
        setattr(model, f"layer{number}", stage)


RIGHT.append(("resnet50_whole", changed(zeroed("bn3"))))
WRONG += [
    ("resnet50_whole", "dead-at-start", changed(zeroed())),
    ("resnet50_whole", "frozen", changed(lambda m: m.layer1.requires_grad_(False))),
    ("resnet50_whole", "left-in-eval", changed(lambda m: m.layer1.eval())),
    ("resnet50_whole", "random", changed(lambda m: m.head.insert(2, nn.Dropout(0.1)))),
    ("resnet50_whole", "random", changed(lambda m: m.layer2.append(nn.Dropout(0.2)))),
    ("resnet50_whole", "wrong-parameter-count", changed(fewer_blocks)),
    ("resnet50_whole", "missing-max-pool", changed(lambda m: m.stem.pop(3))),
    ("resnet50_whole", "missing-stem-relu", changed(lambda m: m.stem.pop(2))),
    ("resnet50_whole", "first-stage-strided", changed(lambda m: strides(m, 1))),
    ("resnet50_whole", "stride-forgotten", changed(lambda m: strides(m, 4))),
    ("resnet50_whole", "stride-forgotten", changed(lambda m: strides(m, 2, 3, 4))),
    ("resnet50_whole", "wrong-value", changed(lambda m: strides(m, 2, 3))),
    ("resnet50_whole", "stride-in-the-1x1", changed(version_one)),
    ("resnet50_whole", "maximum-not-mean", changed(lambda m: m.head.__setitem__(0, nn.AdaptiveMaxPool2d(1)))),
    ("resnet50_whole", "softmax-in-head", changed(lambda m: m.head.append(nn.Softmax(1)))),
    ("resnet50_whole", "wrong-shape", changed(lambda m: m.head.append(nn.Unflatten(1, (-1, 1))))),
]


# --- 6.6 ---


@right("depth_of_checkpoint")
def by_kinds(state):
    convolutions = [k for k, t in state.items() if t.dim() == 4 and not k.endswith("downsample.0.weight")]
    return len(convolutions) + len([t for t in state.values() if t.dim() == 2])


@right("depth_of_checkpoint")
def by_names(state):
    return sum(
        key.rsplit(".", 2)[-2].startswith(("conv", "fc")) and key.endswith("weight") for key in state
    )


@wrong("depth_of_checkpoint", "state-modified")
def by_popping(state):
    for key in [key for key in state if "downsample" in key]:
        state.pop(key)
    return sum(t.ndim > 1 for t in state.values())


WRONG += [
    ("depth_of_checkpoint", "wrong-type", lambda s: None),
    ("depth_of_checkpoint", "wrong-type", lambda s: str(by_kinds(s))),
    ("depth_of_checkpoint", "end-forgotten", lambda s: by_kinds(s) - 2),
    ("depth_of_checkpoint", "projections-counted", lambda s: sum(t.ndim > 1 for t in s.values())),
    ("depth_of_checkpoint", "everything-counted", len),
    ("depth_of_checkpoint", "end-forgotten", lambda s: by_kinds(s) - 1),
    ("depth_of_checkpoint", "end-forgotten", lambda s: sum(t.ndim == 4 for t in s.values())),
    ("depth_of_checkpoint", "wrong-depth", lambda s: 50),
    ("depth_of_checkpoint", "wrong-depth", lambda s: sum(k.endswith("weight") for k in s)),
]


def name_of(value):
    return value if isinstance(value, str) else getattr(value, "__name__", None)


@pytest.mark.parametrize("exercise, attempt", RIGHT, ids=name_of)
def test_right_code_in_another_style_passes(exercise, attempt):
    report = getattr(check, exercise)(attempt)
    assert report.passed, str(report)


@pytest.mark.parametrize("exercise, code, attempt", WRONG, ids=name_of)
def test_a_fault_is_named(exercise, code, attempt):
    assert first_failure(getattr(check, exercise)(attempt)) == code


def test_the_solutions_fit_together():
    model = ResNet50(num_classes=5)
    assert isinstance(model.stem, type(imagenet_stem())) and model.layer4(
        model.layer3(model.layer2(model.layer1(model.stem(torch.randn(1, 3, 64, 96)))))
    ).shape == (1, *last_feature_map(64, 96))
    assert type(model.head) is type(classifier_head(2048, 5))


# --- the chapter's drawings ---


@pytest.mark.parametrize(
    "layers, expansion, size, said",
    [
        ((3, 4, 6, 3), 4, 224, ["ResNet-50", "2048 channels and 7 by 7"]),
        ((2, 2, 2, 2), 1, 225, ["ResNet-18", "512 channels and 8 by 8"]),
        ((3, 8, 36, 3), 4, 32, ["ResNet-152", "2048 channels and 1 by 1"]),
    ],
)
def test_the_overview_says_what_it_shows(layers, expansion, size, said):
    drawing = figures.network_overview(layers, expansion, size)
    assert all(words in drawing.alt for words in said)
    shortcuts = sum(layers)
    arcs = drawing.svg.count("stroke-dasharray") - 1  # one dashed line stands in the legend
    assert arcs == (4 if expansion == 4 else 3) and shortcuts > arcs


def test_the_overview_wants_four_stages():
    with pytest.raises(ValueError, match="four stages, not 3"):
        figures.network_overview((3, 4, 6))


def test_the_pooling_drawing_finds_the_limits_in_its_numbers():
    shares = {n: None if n < 20 or n > 40 else (1.0 if n <= 30 else 0.5) for n in range(10, 50)}
    alt = figures.pooling_coverage(shares).alt
    assert "From 20 to 30 pixels" in alt and "at 31 pixels its share falls to 50 %" in alt
