"""Chapter 5's checks: right answers in several styles pass, wrong ones are named."""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import ConvBlock, IdentityBlock, check
from resnet_tutorial.blocks import conv1x1, projection


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def identity(*, last=(), bias=False, forward=None, padding=1, middle=nn.ReLU):
    class Block(nn.Module):
        def __init__(self, channels, mid):
            super().__init__()
            self.f = nn.Sequential(
                nn.Conv2d(channels, mid, 1, bias=bias), nn.BatchNorm2d(mid), nn.ReLU(),
                nn.Conv2d(mid, mid, 3, padding=padding, bias=bias), nn.BatchNorm2d(mid), middle(),
                nn.Conv2d(mid, channels, 1, bias=bias), nn.BatchNorm2d(channels), *last,
            )  # fmt: skip

        def forward(self, x):
            return forward(self.f, x) if forward else F.relu(self.f(x) + x)

    return Block


class RenamedIdentity(nn.Module):
    """Another style: reversed registration, nn.Identity shortcut, functional ReLU, zero gamma."""

    def __init__(self, c, m):
        super().__init__()
        self.skip = nn.Identity()
        self.n3, self.c3 = nn.BatchNorm2d(c), nn.Conv2d(m, c, 1, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(m), nn.Conv2d(m, m, 3, padding=1, bias=False)
        self.n1, self.c1 = nn.BatchNorm2d(m), nn.Conv2d(c, m, 1, bias=False)
        nn.init.zeros_(self.n3.weight)

    def forward(self, x):
        y = torch.relu(self.n1(self.c1(x)))
        y = torch.relu(self.n2(self.c2(y)))
        return torch.clamp(self.n3(self.c3(y)) + self.skip(x), min=0)


def overwrite(f, x):
    y = f(x)
    x += y
    return F.relu(x)


@pytest.mark.parametrize("block", [IdentityBlock, RenamedIdentity, identity()])
def test_right_identity_blocks_pass(block):
    report = check.identity_block(block)
    assert report.passed, report


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (identity(forward=lambda f, x: F.relu(f(x))), "no-shortcut"),
        (identity(forward=lambda f, x: F.relu(f(x) + 2 * x)), "shortcut-twice"),
        (identity(last=(nn.ReLU(),)), "relu-before-add"),
        (identity(forward=lambda f, x: f(x) + x), "missing-final-relu"),
        (identity(bias=True), "bias-before-bn"),
        (identity(padding=0), "wrong-padding"),
        (identity(middle=nn.Identity), "missing-inner-relu"),
        (identity(forward=overwrite), "input-modified"),
        (identity(forward=lambda f, x: F.relu(f(x) + x.detach())), "gradient-cut"),
        (lambda c, m: 3, "not-a-module"),
    ],
)
def test_wrong_identity_blocks_are_named(block, code):
    report = check.identity_block(block)
    assert not report.passed and first_fault(report) == code, report


def conv(*, stride_at=3, shortcut=None, bias=False, last=(), forward=None, default=2):
    class Block(nn.Module):
        def __init__(self, c, m, stride=default):
            super().__init__()
            s = [stride if place == stride_at else 1 for place in (1, 3, 0)]
            self.f = nn.Sequential(
                nn.Conv2d(c, m, 1, s[0], bias=bias), nn.BatchNorm2d(m), nn.ReLU(),
                nn.Conv2d(m, m, 3, s[1], 1, bias=bias), nn.BatchNorm2d(m), nn.ReLU(),
                nn.Conv2d(m, 4 * m, 1, bias=bias), nn.BatchNorm2d(4 * m), *last,
            )  # fmt: skip
            self.s = (shortcut or projection)(c, 4 * m, stride)

        def forward(self, x):
            return forward(self, x) if forward else F.relu(self.f(x) + self.s(x))

    return Block


def only_where_needed(c, out, stride):
    return nn.Identity() if c == out and stride == 1 else projection(c, out, stride)


@pytest.mark.parametrize("block", [ConvBlock, conv(), conv(forward=lambda b, x: (b.s(x) + b.f(x)).clamp(0))])
def test_right_conv_blocks_pass(block):
    report = check.conv_block(block)
    assert report.passed, report


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (conv(shortcut=only_where_needed), "missing-projection"),
        (conv(stride_at=1), "stride-wrong-conv"),
        (conv(shortcut=lambda c, o, s: conv1x1(c, o, s)), "bn-missing"),
        (conv(shortcut=lambda c, o, s: nn.Sequential(*projection(c, o, s), nn.ReLU())), "relu-on-shortcut"),
        (conv(last=(nn.ReLU(),)), "relu-before-add"),
        (conv(default=1), "wrong-default"),
        (conv(forward=lambda b, x: b.f(x) + b.s(x)), "missing-final-relu"),
        (conv(shortcut=lambda c, o, s: projection(c, o, 1)), "projection-stride"),
        (conv(bias=True), "bias-before-bn"),
    ],
)
def test_wrong_conv_blocks_are_named(block, code):
    report = check.conv_block(block)
    assert not report.passed and first_fault(report) == code, report


def stage_loop(c, m, n, stride=2):
    blocks = []
    for i in range(n):
        blocks.append(IdentityBlock(4 * m, m) if i else ConvBlock(c, m, stride))
    return nn.Sequential(*blocks)


class ListStage(nn.Module):
    def __init__(self, c, m, n, stride=2):
        super().__init__()
        self.blocks = list(stage_loop(c, m, n, stride))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize(
    "maker", [stage_loop, lambda c, m, n, stride=2: nn.Sequential(nn.Sequential(*stage_loop(c, m, n, stride)))]
)
def test_right_stages_pass(maker):
    assert check.make_stage(maker).passed


@pytest.mark.parametrize(
    ("maker", "code"),
    [
        (ListStage, "no-parameters"),
        (lambda c, m, n, s=2: nn.Sequential(ConvBlock(c, m, s), *[IdentityBlock(4 * m, m)] * (n - 1)), "shared-block"),
        (lambda c, m, n, s=2: stage_loop(c, m, n + 1, s), "wrong-count"),
        (lambda c, m, n, s=2: nn.Sequential(ConvBlock(c, m, s), *[IdentityBlock(4 * m, m)] * n), "shared-block"),
        (lambda c, m, n, s=2: nn.Sequential(ConvBlock(c, m, s), *[IdentityBlock(m, m) for _ in range(n - 1)]),
         "does-not-run"),
        (lambda c, m, n, s=2: stage_loop(c, m, n, 1), "stride-missing"),
        (
            lambda c, m, n, s=2: nn.Sequential(ConvBlock(c, m, s), *[ConvBlock(4 * m, m, s) for _ in range(n - 1)]),
            "stride-in-every-block",
        ),
        (lambda c, m, n, s=2: nn.Sequential(*stage_loop(c, m, n, s), nn.Dropout(0.2)), "random-output"),
        (lambda c, m, n, s=2: stage_loop(c, m, n, s).eval(), "left-in-eval"),
        (lambda c, m, n, s=2: stage_loop(c, m, n, min(s, 2)), "stride-fixed"),
        (lambda c, m, n, s=1: stage_loop(c, m, n, s), "wrong-default"),
        (lambda c, m, n, s=2: stage_loop(c, m, n, s).requires_grad_(False), "not-trained"),
        (lambda c, m, n, s=2: nn.Sequential(ConvBlock(c, m, s), *[ConvBlock(4 * m, m, 1) for _ in range(n - 1)]),
         "conv-blocks-only"),
        (lambda c, m, n, s=2: nn.ModuleList(stage_loop(c, m, n, s)), "not-callable"),
        (lambda c, m, n, s=2: list(stage_loop(c, m, n, s)), "not-a-module"),
        (lambda c, m, n, s=2: nn.Sequential(*stage_loop(c, m, n, s), nn.Sigmoid()), "wrong-value"),
    ],
)
def test_wrong_stages_are_named(maker, code):
    report = check.make_stage(maker)
    assert not report.passed and first_fault(report) == code, report


def test_the_layer_at_which_a_stage_stops_is_named():
    def maker(c, m, n, s=2):
        return nn.Sequential(ConvBlock(c, m, s), *[IdentityBlock(m, m) for _ in range(n - 1)])

    told = str(check.make_stage(maker))
    assert "stops at 1.branch.0, a Conv2d that takes 8 channels and was given 2 x 32 x 6 x 7" in told


def test_the_layer_is_named_too_where_the_blocks_are_the_learners_own():
    class Own(IdentityBlock):
        def forward(self, x):
            return F.relu(self.branch(x) + x)

    def maker(c, m, n, s=2):
        return nn.Sequential(ConvBlock(c, m, s), *[Own(m, m) for _ in range(n - 1)])

    report = check.make_stage(maker)
    assert first_fault(report) == "raised" and "stops at 1.branch.0" in str(report)


def plan(layers, *, first_stride=1, update=True, kind_first="conv"):
    entries, channels = [], 64
    for stage, blocks in enumerate(layers):
        mid = 64 << stage
        for i in range(blocks):
            stride = (2 if stage else first_stride) if i == 0 else 1
            entries.append([kind_first if i == 0 else "identity", channels, mid, stride])
            channels = 4 * mid if update else channels
    return entries


def test_right_plans_pass():
    assert check.plan_blocks(plan).passed


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"first_stride": 2}, "wrong-stride"),
        ({"update": False}, "channels-not-updated"),
        ({"kind_first": "identity"}, "wrong-kind"),
    ],
)
def test_wrong_plans_are_named(options, code):
    report = check.plan_blocks(lambda layers: plan(layers, **options))
    assert not report.passed and first_fault(report) == code, report


def test_a_plan_that_leaves_blocks_out_is_named():
    assert first_fault(check.plan_blocks(lambda layers: plan(layers)[1:])) == "wrong-count"


@pytest.mark.parametrize("entry", [tuple, list, np.array])
def test_plans_may_hold_any_sequence(entry):
    def planner(layers):
        return (entry(e) if entry is not np.array else np.array(e, dtype=object) for e in plan(layers))

    assert check.plan_blocks(planner).passed


@pytest.mark.parametrize(
    "planner",
    [
        lambda layers: [plan(layers)[:1] for _ in layers],
        lambda layers: None,
        lambda layers: 4,
        lambda layers: ["conv" for _ in plan(layers)],
        lambda layers: [entry[:3] for entry in plan(layers)],
    ],
)
def test_what_is_no_plan_is_named(planner):
    assert first_fault(check.plan_blocks(planner)) == "wrong-type"


def loaded(stage):
    """New blocks, into which the old ones' numbers are loaded."""
    places = [IdentityBlock(16, 4) for _ in stage]
    for new, old in zip(places, stage, strict=True):
        new.load_state_dict(old.state_dict())
    return nn.Sequential(*places)


def place_by_place(stage):
    repaired = deepcopy(stage)
    for place in range(len(stage)):
        repaired[place] = deepcopy(stage[place])
    return repaired


@pytest.mark.parametrize("repair", [lambda stage: nn.Sequential(*map(deepcopy, stage)), loaded, place_by_place])
def test_right_repairs_pass(repair):
    assert check.separate_blocks(repair).passed


def first_kept(stage):
    return nn.Sequential(stage[0], *[deepcopy(block) for block in list(stage)[1:]])


def in_place(stage):
    for place in range(len(stage)):
        stage[place] = deepcopy(stage[place])
    return stage


def each(change):
    """Copies that are right, but for what ``change`` does to each of their modules."""

    def repair(stage):
        copies = [deepcopy(block) for block in stage]
        for block in copies:
            block.apply(change)
        return nn.Sequential(*copies)

    return repair


def forget_statistics(module):
    if isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()


@pytest.mark.parametrize(
    ("repair", "code"),
    [
        (deepcopy, "still-shared"),
        (lambda stage: stage, "still-shared"),
        (lambda stage: nn.Sequential(*[IdentityBlock(16, 4) for _ in stage]), "values-changed"),
        (lambda stage: nn.Sequential(deepcopy(stage[0])), "wrong-count"),
        (first_kept, "still-shared"),
        (in_place, "input-modified"),
        (each(forget_statistics), "values-changed"),
        (each(lambda module: module.requires_grad_(False)), "frozen"),
        (lambda stage: nn.ModuleList(map(deepcopy, stage)), "wrong-type"),
        (lambda stage: [deepcopy(block) for block in stage], "wrong-type"),
        (lambda stage: None, "wrong-type"),
    ],
)
def test_wrong_repairs_are_named(repair, code):
    report = check.separate_blocks(repair)
    assert not report.passed and first_fault(report) == code, report


def blank(*args, **kwargs):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("name", ["identity_block", "conv_block", "make_stage", "plan_blocks", "separate_blocks"])
def test_blanks_are_not_attempted(name):
    assert not getattr(check, name)(blank).attempted


