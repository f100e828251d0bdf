"""The judge of whole networks: right ones in other styles, and every fault by its name."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import blocks, check, make_layer
from resnet_tutorial.cifar import CifarResNet
from resnet_tutorial.solutions.chapter06 import SmallResNet, classifier_head, imagenet_stem
from resnet_tutorial.solutions.chapter07 import ResNeXt


def codes(report):
    return [finding.code for finding in report.findings if not finding.ok]


def small(*, counts=None, strides=(1, 2, 2), size=3, behind=None, first=16, head=None, tail=None, bias=False):
    class Small(nn.Module):
        def __init__(self, block, depth, num_classes=10):
            super().__init__()
            n = (depth - 2) // 6 if counts is None else counts(depth)
            conv = nn.Conv2d(3, first, size, 1 if size == 3 else 2, size // 2, bias=bias)
            self.stem = nn.Sequential(conv, nn.BatchNorm2d(first), *(behind or [nn.ReLU(inplace=True)]))
            layers, channels = [], first
            for planes, stride in zip((first, 2 * first, 4 * first), strides, strict=True):
                layers.append(make_layer(block, channels, planes, n, stride))
                channels = planes
            self.body = nn.ModuleList(layers)
            self.last = nn.Linear(channels, head or num_classes)

        def forward(self, x):
            x = self.stem(x)
            for stage in self.body:
                x = stage(x)
            return tail(self, x) if tail else self.last(x.mean((-1, -2)))

    return Small


class ByHand(nn.Module):
    """No make_layer: blocks one by one, the head registered first."""

    def __init__(self, block, depth, num_classes=10):
        super().__init__()
        n = (depth - 2) // 6
        self.fc = nn.Linear(64, num_classes)
        made, channels = [], 16
        for stage in range(3):
            for index in range(n):
                made.append(block(channels, 16 << stage, 2 if stage and not index else 1))
                channels = 16 << stage
        self.blocks = nn.Sequential(*made)
        self.bn, self.conv = nn.BatchNorm2d(16), nn.Conv2d(3, 16, 3, padding=1, bias=False)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn(self.conv(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Lazy(ByHand):
    def __init__(self, block, depth, num_classes=10):
        super().__init__(block, depth, num_classes)
        self.fc = nn.LazyLinear(num_classes)


def rests(net):
    """Let the last batch norm of each branch begin at zero, and the head."""
    for module in net.modules():
        if isinstance(module, blocks.BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    nn.init.zeros_(net.fc.weight)


class BeginsAsIdentity(ByHand):
    def __init__(self, *args):
        super().__init__(*args)
        rests(self)


@pytest.mark.parametrize("network", [SmallResNet, CifarResNet, small(), ByHand, Lazy, BeginsAsIdentity])
def test_right_small_networks_pass(network):
    attempt = network
    if network is CifarResNet:
        def attempt(block, depth, classes=10):
            return CifarResNet(block, depth, num_classes=classes)
    report = check.small_resnet(attempt)
    assert report.passed, report


class InAList(ByHand):
    def __init__(self, *args):
        super().__init__(*args)
        kept = list(self.blocks)
        del self.blocks
        self.kept = kept

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        for block in self.kept:
            x = block.to(x.dtype)(x)
        return self.fc(x.mean((2, 3)))


class OneBlock(ByHand):
    """[block] * n behind the first block of each stage."""

    def __init__(self, block, depth, num_classes=10):
        super().__init__(block, depth, num_classes)
        n, made, channels = (depth - 2) // 6, [], 16
        for stage in range(3):
            planes = 16 << stage
            made += [block(channels, planes, 2 if stage else 1), *[block(planes, planes)] * (n - 1)]
            channels = planes
        self.blocks = nn.Sequential(*made)


class EachStrides(ByHand):
    def __init__(self, block, depth, num_classes=10):
        super().__init__(block, depth, num_classes)
        n, made, channels = (depth - 2) // 6, [], 16
        for stage in range(3):
            for _ in range(n):
                made.append(block(channels, 16 << stage, 2 if stage else 1))
                channels = 16 << stage
        self.blocks = nn.Sequential(*made)


class Frozen(ByHand):
    def __init__(self, *args):
        super().__init__(*args)
        self.conv.requires_grad_(False)


class Drops(ByHand):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.1, self.training)


class EvalInside(ByHand):
    def forward(self, x):
        self.bn.eval()
        return super().forward(x)


def dead(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    return net


class Dead(ByHand):
    def __init__(self, *args):
        super().__init__(*args)
        dead(self)


class OneStem(ByHand):
    """The first convolution stands in the class body."""

    first = nn.Conv2d(3, 16, 3, padding=1, bias=False)

    def __init__(self, *args):
        super().__init__(*args)
        self.conv = self.first


class OneKernel(ByHand):
    """The first stage's blocks have one kernel between them, and batch norms of their own."""

    def __init__(self, block, depth, num_classes=10):
        super().__init__(block, depth, num_classes)
        if depth == 20:
            self.blocks[1].conv2.weight = self.blocks[0].conv2.weight


class Cut(ByHand):
    def forward(self, x):
        return super().forward(x.detach())


@pytest.mark.parametrize(
    ("network", "code"),
    [
        (small(counts=lambda depth: depth // 6 + 1), "wrong-depth"),
        (small(counts=lambda depth: 2 * ((depth - 2) // 6)), "wrong-depth"),
        (small(strides=(1, 1, 1)), "wrong-stride"),
        (small(strides=(2, 2, 2)), "wrong-stride"),
        (small(size=7), "imagenet-stem"),
        (small(behind=[nn.ReLU(), nn.MaxPool2d(3, 2, 1)]), "stem-pooling"),
        (small(behind=[nn.Identity()]), "stem-relu-missing"),
        (small(first=64), "wrong-widths"),
        (small(bias=True), "bias-before-bn"),
        (small(head=1000), "wrong-classes"),
        (small(tail=lambda net, x: F.softmax(net.last(x.mean((2, 3))), dim=1)), "softmax-at-the-end"),
        (small(tail=lambda net, x: F.log_softmax(net.last(x.mean((2, 3))), dim=1)), "softmax-at-the-end"),
        (small(tail=lambda net, x: net.last(x.mean((2, 3))).relu()), "relu-at-the-end"),
        (small(tail=lambda net, x: net.last(x.amax((2, 3)))), "max-pooling"),
        (small(tail=lambda net, x: net.last(F.avg_pool2d(x, 8).flatten(1))), "fixed-size"),
        (small(tail=lambda net, x: net.last(x.mean((2, 3)).reshape(2, -1))), "fixed-batch"),
        (small(tail=lambda net, x: net.last(x.mean((2, 3)).squeeze())), "wrong-shape"),
        (small(tail=lambda net, x: (net.last(x.mean((2, 3))), x)), "wrong-type"),
        (small(tail=lambda net, x: None), "wrong-type"),
        (lambda block, depth, classes=10: small()(block, depth), "wrong-classes"),
        (InAList, "unregistered-layers"),
        (OneBlock, "shared-block"),
        (EachStrides, "stride-in-every-block"),
        (Frozen, "not-trained"),
        (Drops, "random-output"),
        (EvalInside, "wrong-value"),
        (Cut, "gradient-cut"),
        (Dead, "dead-at-start"),
        (OneStem, "parameters-shared"),
        (OneKernel, "shared-weights"),
        (small(counts=lambda depth: min((depth - 2) // 6, 9)), "wrong-depth"),
        (lambda block, depth, classes=10: [1], "not-a-module"),
        (lambda block, depth, classes: small()(block, depth, classes), "wrong-signature"),
        (lambda block, depth, classes=7: small()(block, depth, classes), "wrong-default"),
    ],
)
def test_wrong_small_networks_are_named(network, code):
    assert codes(check.small_resnet(network))[:1] == [code]


def resnext(*, options=None, planes=(64, 128, 256, 512), strides=(1, 2, 2, 2), stem=imagenet_stem, tail=None,
            layers=None, classes=None, grow=False):  # fmt: skip
    class Network(nn.Module):
        def __init__(self, counts, groups, base_width, num_classes=1000):
            super().__init__()
            how = options(groups, base_width) if options else {"groups": groups, "base_width": base_width}
            stages, channels = [], 64
            for width, count, stride in zip(planes, layers or counts, strides, strict=True):
                stages.append(make_layer(blocks.Bottleneck, channels, width, count, stride, **how))
                channels = 4 * width
                if grow:
                    how["base_width"] *= 2
            self.parts = nn.Sequential(stem(), *stages)
            self.head = classifier_head(channels, classes or num_classes)

        def forward(self, x):
            y = self.head(self.parts(x))
            return tail(y) if tail else y

    return Network


@pytest.mark.parametrize("network", [ResNeXt, resnext()])
def test_right_resnexts_pass(network):
    report = check.resnext_whole(network)
    assert report.passed, report


def bare_stem():
    return nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU())


def cifar_stem():
    return nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())


@pytest.mark.parametrize(
    ("network", "code"),
    [
        (resnext(options=lambda g, b: {}), "groups-ignored"),
        (resnext(options=lambda g, b: {"groups": g}), "base-width-ignored"),
        (resnext(options=lambda g, b: {"groups": b, "base_width": g}), "groups-and-width-swapped"),
        (resnext(options=lambda g, b: {"groups": 32, "base_width": 4}), "groups-fixed"),
        (resnext(layers=(3, 4, 6, 3)), "layers-ignored"),
        (resnext(strides=(2, 2, 2, 2)), "wrong-stride"),
        (resnext(strides=(1, 1, 1, 1)), "wrong-stride"),
        (resnext(stem=bare_stem), "stem-pooling-missing"),
        (resnext(stem=cifar_stem), "cifar-stem"),
        (resnext(planes=(64, 64, 64, 64)), "wrong-widths"),
        (resnext(tail=lambda y: F.softmax(y, dim=1)), "softmax-at-the-end"),
        (resnext(classes=1000), "wrong-classes"),
        (resnext(grow=True), "base-width-grows"),
        (lambda layers, groups, base_width, classes=10: ResNeXt(layers, groups, base_width, classes), "wrong-default"),
        (lambda *args: dead(ResNeXt(*args)), "dead-at-start"),
        (lambda *args: F.relu, "not-a-module"),
    ],
)
def test_wrong_resnexts_are_named(network, code):
    assert codes(check.resnext_whole(network))[:1] == [code]


def stage(arrange, kept=None):
    """A maker of stages: ``arrange`` puts their blocks in order, ``kept`` holds those made before."""

    def make(in_channels, mid, count, stride=2):
        def build():
            front = blocks.ConvBlock(in_channels, mid, stride)
            return nn.Sequential(*arrange(front, [blocks.IdentityBlock(4 * mid, mid) for _ in range(count - 1)]))

        return build() if kept is None else kept.setdefault((in_channels, mid, count, stride), build())

    return make


def conv_block_last(in_channels, mid, count, stride=2):
    rest = [blocks.IdentityBlock(in_channels, mid) for _ in range(count - 1)]
    return nn.Sequential(*rest, blocks.ConvBlock(in_channels, mid, stride))


def conv_block_where_needed(in_channels, mid, count, stride=2):
    made = stage(lambda front, rest: [front, *rest])(in_channels, mid, count, stride)
    if stride == 1 and in_channels == 4 * mid:
        made[0] = blocks.IdentityBlock(in_channels, mid)
    return made


def same_kernel(front, rest):
    for block in rest[1:]:
        block.branch[3].weight = rest[0].branch[3].weight
    return [front, *rest]


def begins_at_zero(front, rest):
    for block in (front, *rest):
        nn.init.zeros_([m for m in block.branch if isinstance(m, nn.BatchNorm2d)][-1].weight)
    return [front, *rest]


def test_a_stage_whose_branches_begin_at_zero_passes():
    report = check.make_stage(stage(begins_at_zero))
    assert report.passed, report


@pytest.mark.parametrize(
    ("maker", "code"),
    [
        (stage(lambda front, rest: dead(nn.Sequential(front, *rest))), "dead-at-start"),
        (stage(lambda front, rest: [front, *rest], {}), "parameters-shared"),
        (stage(same_kernel), "shared-weights"),
        (stage(lambda front, rest: [front, *rest[:4], *rest[: len(rest) - 4]] if len(rest) > 4 else [front, *rest]),
         "shared-weights"),
        (conv_block_last, "conv-block-last"),
        (conv_block_where_needed, "identity-block-first"),
    ],
)  # fmt: skip
def test_wrong_stages_are_named(maker, code):
    assert codes(check.make_stage(maker))[:1] == [code]


@pytest.mark.parametrize("name", ["small_resnet", "resnext_whole", "checkpoint"])
def test_the_books_solution_passes(name):
    exercise = getattr(check, name)
    solution = exercise.load_solution()

    class Handed(solution):
        pass

    assert exercise(Handed).passed


def test_a_blank_is_not_attempted():
    class Blank(nn.Module):
        def __init__(self, *args):
            super().__init__()
            raise NotImplementedError()

    assert not check.small_resnet(Blank).attempted
    assert not check.resnext_whole(Blank).attempted
    assert torch.is_grad_enabled()
