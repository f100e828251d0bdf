"""Chapter 4's checks: right code passes in any style, wrong code is told what is wrong with it."""

from __future__ import annotations

import linecache
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import blocks, check, shapes
from resnet_tutorial.solutions import chapter04

IDS = ["pointwise_conv", "bottleneck", "bottleneck_cost", "stride_placements", "unseen_pixels"]


def first_code(report) -> str:
    assert report.attempted, report
    failed = [finding for finding in report.findings if not finding.ok]
    return failed[0].code if failed else "passed"


def make(source: str, *edits: str):
    """Execute a submission, with the edits (old, new, old, new, ...) made, and return it."""
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in source, f"{old!r} does not occur"
        source = source.replace(old, new)
    names = {"torch": torch, "F": F, "nn": nn, "shapes": shapes, "blocks": blocks}
    exec(textwrap.dedent(source), names)
    return list(names.values())[-1]


@pytest.mark.parametrize("name", IDS)
def test_the_solution_passes(name):
    exercise = getattr(check, name)
    report = exercise(exercise.load_solution())
    assert report.passed, report
    assert exercise.chapter == 4


@pytest.mark.parametrize("name", IDS)
def test_the_stub_is_not_attempted(name):
    stub = """
        class Stub(nn.Module):
            def __init__(self, *sizes, **options):
                super().__init__()
                raise NotImplementedError()
    """
    function = """
        def stub(*arguments, **options):
            raise NotImplementedError()
    """
    source = textwrap.dedent(stub if name == "bottleneck" else function)
    path = f"<stub of {name}>"
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    names = {"nn": nn}
    exec(compile(source, path, "exec"), names)
    report = getattr(check, name)(list(names.values())[-1])
    assert not report.attempted
    assert not report.passed


# --- 4.1 ---

POINTWISE = """
    def pointwise_conv(x, weight, stride=1):
        x = x[:, :, ::stride, ::stride]
        y = x.permute(0, 2, 3, 1) @ weight.T
        return y.permute(0, 3, 1, 2)
"""


@pytest.mark.parametrize(
    "edits",
    [
        (),
        ("x.permute(0, 2, 3, 1) @ weight.T", "F.linear(x.movedim(1, -1), weight)"),
        ("x.permute(0, 2, 3, 1) @ weight.T", "torch.einsum('nchw,dc->nhwd', x, weight)"),
        ("x = x[:, :, ::stride, ::stride]", "full = x", "y.permute(0, 3, 1, 2)",
         "y.permute(0, 3, 1, 2)[..., ::stride, ::stride]", "x.permute", "full.permute"),
    ],
)  # fmt: skip
def test_pointwise_conv_passes_in_other_styles(edits):
    assert first_code(check.pointwise_conv(make(POINTWISE, *edits))) == "passed"


@pytest.mark.parametrize(
    ("code", "edits"),
    [
        ("used-convolution", ("y = x.permute(0, 2, 3, 1) @ weight.T",
                              "return F.conv2d(x, weight[:, :, None, None])")),
        ("used-convolution", ("y = x.permute(0, 2, 3, 1) @ weight.T",
                              "return F.conv1d(x.flatten(2), weight[..., None]).unflatten(2, x.shape[2:])")),
        ("positions-mixed", ("x.permute(0, 2, 3, 1)", "x.reshape(-1, x.shape[1])",
                             "y.permute(0, 3, 1, 2)", "y.reshape(x.shape[0], -1, *x.shape[2:])")),
        ("wrong-shape", ("y.permute(0, 3, 1, 2)", "y")),
        ("wrong-shape", ("y.permute(0, 3, 1, 2)", "y.permute(0, 3, 1, 2).squeeze()")),
        ("weight-transposed", ("weight.T", "weight")),
        ("wrong-value", ("weight.T", "weight.T * 2")),
        ("stride-ignored", ("x = x[:, :, ::stride, ::stride]", "")),
        ("wrong-shape", ("::stride, ::stride", "stride - 1::stride, stride - 1::stride")),
        ("wrong-shape", ("::stride, ::stride", ":x.shape[2] // stride, :x.shape[3] // stride")),
        ("wrong-stride", ("x[:, :, ::stride, ::stride]",
                          "x.flip(2)[:, :, ::stride, ::stride] if stride > 1 else x")),
        ("no-gradient", ("weight.T", "weight.T.detach()", "x.permute", "x.detach().permute")),
        ("no-gradient", ("weight.T", "weight.T.detach()")),
        ("wrong-type", ("y = ", "y = None if stride > 1 else ", "return y.permute(0, 3, 1, 2)",
                        "return y if y is None else y.permute(0, 3, 1, 2)")),
        ("input-modified", ("y = ", "x.mul_(2); y = ")),
        ("wrong-type", ("return", "result =")),
        ("raised", ("weight.T", "weights.T")),
    ],
)  # fmt: skip
def test_pointwise_conv_names_the_fault(code, edits):
    report = check.pointwise_conv(make(POINTWISE, *edits))
    failed = [finding.code for finding in report.findings if not finding.ok]
    assert failed[0] == code and len(failed) == len(set(failed)), report


def test_pointwise_conv_does_not_blame_the_stride_for_a_lost_axis():
    edits = ("y.permute(0, 3, 1, 2)", "y.permute(0, 3, 1, 2).squeeze()")
    report = check.pointwise_conv(make(POINTWISE, *edits))
    assert "squeeze" in str(report) and "stride-th" not in str(report), report


# --- 4.2 ---

PLAIN = """
    class Bottleneck(nn.Module):
        def __init__(self, in_channels, planes, stride=1):
            super().__init__()
            out_channels = 4 * planes
            self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out_channels)
            self.shortcut = nn.Sequential()
            if stride != 1 or in_channels != out_channels:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                    nn.BatchNorm2d(out_channels),
                )

        def forward(self, x):
            out = F.relu(self.bn1(self.conv1(x)))
            out = F.relu(self.bn2(self.conv2(out)))
            out = self.bn3(self.conv3(out))
            out += self.shortcut(x)
            return F.relu(out)
"""

SEQUENTIAL = """
    def layer(c, d, k, s=1):
        return nn.Sequential(nn.ZeroPad2d(k // 2), nn.Conv2d(c, d, k, s, bias=False), nn.BatchNorm2d(d))

    class Block(nn.Module):
        def __init__(self, c, planes, s=1, **ignored):
            super().__init__()
            if s > 1 or c != 4 * planes:
                self.way = layer(c, 4 * planes, 1, s)
            relu = nn.ReLU(inplace=True)
            self.parts = nn.ModuleList(
                [layer(c, planes, 1), relu, layer(planes, planes, 3, s), relu, layer(planes, 4 * planes, 1)]
            )
            nn.init.zeros_(self.parts[-1][2].weight)

        def forward(self, x):
            y = x
            for part in self.parts:
                y = part(y)
            return (y + self.way(x) if hasattr(self, "way") else y + x).clamp(min=0)
"""

FUNCTIONAL = """
    class Block(nn.Module):
        def __init__(self, c, p, s=1):
            super().__init__()
            shapes = [(p, c, 1, 1), (p, p, 3, 3), (4 * p, p, 1, 1)]
            if (c, s) != (4 * p, 1):
                shapes.append((4 * p, c, 1, 1))
            self.w = nn.ParameterList([nn.init.kaiming_normal_(torch.empty(shape)) for shape in shapes])
            self.g = nn.ParameterList([torch.ones(w.shape[0]) for w in self.w])
            self.b = nn.ParameterList([torch.zeros(w.shape[0]) for w in self.w])
            for n, w in enumerate(self.w):
                self.register_buffer(f"mean{n}", torch.zeros(w.shape[0]))
                self.register_buffer(f"var{n}", torch.ones(w.shape[0]))
            self.s = s

        def step(self, x, n, stride=1):
            x = F.conv2d(x, self.w[n], None, stride, self.w[n].shape[-1] // 2)
            mean, var = self.get_buffer(f"mean{n}"), self.get_buffer(f"var{n}")
            return F.batch_norm(x, mean, var, self.g[n], self.b[n], self.training)

        def forward(self, x):
            out = torch.relu(self.step(x, 0))
            out = torch.relu(self.step(out, 1, self.s))
            out = self.step(out, 2)
            return torch.relu(out + (self.step(x, 3, self.s) if len(self.w) > 3 else x))
"""

LINEAR = """
    class Pointwise(nn.Linear):
        def forward(self, x):
            return super().forward(x.movedim(1, -1)).movedim(-1, 1)

    class Block(nn.Module):
        def __init__(self, c, p, s=1):
            super().__init__()
            self.s = s
            self.reduce = Pointwise(c, p, bias=False)
            self.norms = nn.ModuleList([nn.BatchNorm2d(n) for n in (p, p, 4 * p)])
            self.conv = nn.Conv2d(p, p, 3, s, 1, bias=False)
            self.expand = Pointwise(p, 4 * p, bias=False)
            if s != 1 or c != 4 * p:
                self.short, self.short_norm = Pointwise(c, 4 * p, bias=False), nn.BatchNorm2d(4 * p)

        def forward(self, x):
            y = self.norms[0](self.reduce(x)).relu()
            y = self.norms[1](self.conv(y)).relu()
            y = self.norms[2](self.expand(y))
            if hasattr(self, "short"):
                x = self.short_norm(self.short(x[..., :: self.s, :: self.s]))
            return (y + x).relu()
"""

LAZY = """
    class Block(nn.Module):
        def __init__(self, c, p, s=1):
            super().__init__()
            self.branch = nn.Sequential(
                nn.LazyConv2d(p, 1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(),
                nn.LazyConv2d(p, 3, s, 1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(),
                nn.LazyConv2d(4 * p, 1, bias=False), nn.LazyBatchNorm2d(),
            )
            self.shortcut = nn.Identity()
            if s != 1 or c != 4 * p:
                self.shortcut = nn.Sequential(nn.LazyConv2d(4 * p, 1, s, bias=False), nn.LazyBatchNorm2d())

        def forward(self, x):
            return F.relu(self.branch(x) + self.shortcut(x))
"""

FACTORY = """
    def make_block(in_channels, planes, stride=1):
        same = stride == 1 and in_channels == 4 * planes
        kind = blocks.IdentityBlock if same else blocks.ConvBlock
        return kind(in_channels, planes) if same else kind(in_channels, planes, stride)
"""


@pytest.mark.parametrize("source", [PLAIN, SEQUENTIAL, FUNCTIONAL, LINEAR, LAZY, FACTORY])
def test_bottleneck_passes_in_other_styles(source):
    for _ in range(5):
        report = check.bottleneck(make(source))
        assert report.passed, report


PROJECTS = "if stride != 1 or in_channels != out_channels:"
CONV1 = "nn.Conv2d(in_channels, planes, 1, bias=False)"
CONV2 = "nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)"
CONV3 = "nn.Conv2d(planes, out_channels, 1, bias=False)"
POPULAR = ("out = self.bn3(self.conv3(out))", "out = F.relu(self.bn3(self.conv3(out)))")

V1 = (
    CONV1, "nn.Conv2d(in_channels, planes, 1, stride, bias=False)",
    "stride=stride, padding=1", "padding=1",
)  # fmt: skip
LAST = (
    CONV3, "nn.Conv2d(planes, out_channels, 1, stride, bias=False)",
    "stride=stride, padding=1", "padding=1",
)  # fmt: skip

WRONG = [
    ("relu-before-add", POPULAR),  # backward() raises too, as in the popular post
    ("relu-before-add", (*POPULAR, "out += self.shortcut(x)", "out = out + self.shortcut(x)")),
    ("missing-final-relu", ("return F.relu(out)", "return out")),
    ("relu-before-add", (*POPULAR, "return F.relu(out)", "return out")),
    ("missing-projection", (PROJECTS, "if False:")),
    ("projection-only-on-stride", (PROJECTS, "if stride != 1 and in_channels != out_channels:")),
    ("projection-only-on-stride", (PROJECTS, "if stride != 1:")),
    ("projection-only-on-channels", (PROJECTS, "if in_channels != out_channels:")),
    ("needless-projection", (PROJECTS, "if True:")),
    ("stride-wrong-conv", V1),
    ("stride-wrong-conv", LAST),
    ("stride-missing", ("stride=stride, padding=1", "padding=1")),
    ("projection-stride", ("1, stride=stride, bias=False", "1, bias=False")),
    ("stride-twice", (CONV1, "nn.Conv2d(in_channels, planes, 1, stride, bias=False)")),
    ("bias-before-bn", ("bias=False", "bias=True")),
    ("bias-before-bn", (CONV2, CONV2.replace(", bias=False", ""))),
    ("wrong-expansion", ("out_channels = 4 * planes", "out_channels = 2 * planes")),
    ("wrong-expansion", ("super().__init__()", "super().__init__(); planes = planes // 4")),
    ("bn-missing", ("self.bn2(self.conv2(out))", "self.conv2(out)")),
    ("bn-missing", ("self.bn3(self.conv3(out))", "self.conv3(out)")),
    ("bn-missing", ("nn.BatchNorm2d(out_channels),", "")),
    ("bn-missing", ("nn.BatchNorm2d(", "nn.Identity(", "bias=False", "bias=True")),
    ("no-shortcut", ("out += self.shortcut(x)", "")),
    ("no-shortcut", ("out += self.shortcut(x)", "", PROJECTS, "if False:")),
    ("wrong-padding", ("padding=1", "padding=0")),
    ("wrong-padding", ("padding=1", "padding=2")),
    ("wrong-padding", ("padding=1", "padding=0", CONV1, CONV1.replace("1,", "1, padding=1,"))),
    ("missing-inner-relu", ("F.relu(self.bn1(self.conv1(x)))", "self.bn1(self.conv1(x))")),
    ("missing-inner-relu", ("F.relu(self.bn2(self.conv2(out)))", "self.bn2(self.conv2(out))")),
    ("relu-before-bn", ("F.relu(self.bn1(self.conv1(x)))", "self.bn1(F.relu(self.conv1(x)))",
                        "F.relu(self.bn2(self.conv2(out)))", "self.bn2(F.relu(self.conv2(out)))")),
    ("relu-on-shortcut", ("nn.BatchNorm2d(out_channels),", "nn.BatchNorm2d(out_channels), nn.ReLU()")),
    ("scaled", ("out += self.shortcut(x)", "out += 0.5 * self.shortcut(x)")),
    ("wrong-norm", ("nn.BatchNorm2d(planes)", "nn.InstanceNorm2d(planes, affine=True)")),
    ("wrong-norm", ("nn.BatchNorm2d(planes)", "nn.GroupNorm(1, planes)")),
    ("eval-mode", ("nn.BatchNorm2d(planes)",
                             "nn.BatchNorm2d(planes, track_running_stats=False)")),
    ("bn-shared", ("self.bn2(", "self.bn1(", "self.bn2 =", "self.unused =",
                          "self.unused = nn.BatchNorm2d(planes)", "")),
    ("bn-shared", ("self.bn2(", "self.bn1(")),
    ("unused-parameters", ("self.shortcut = nn.Sequential()", "self.extra = nn.Linear(3, 3); "
                           "self.shortcut = nn.Sequential()")),
    ("input-modified", ("out += self.shortcut(x)", "y = self.shortcut(x); y += out; out = y")),
    ("not-a-module", ("(nn.Module)", "", "super().__init__()", "pass")),
    ("gradient-cut", ("self.conv1(x)", "self.conv1(x.detach())",
                     "self.shortcut(x)", "self.shortcut(x.detach())")),
    ("raised", ("self.bn3(", "self.bn4(")),
]  # fmt: skip


@pytest.mark.parametrize(("code", "edits"), WRONG)
def test_bottleneck_names_the_fault(code, edits):
    for _ in range(3):
        report = check.bottleneck(make(PLAIN, *edits))
        assert first_code(report) == code, report


def test_bottleneck_names_layers_that_no_module_knows():
    hidden = """
        class Block(blocks.Bottleneck):
            def parameters(self, recurse=True):
                return iter(())
    """
    assert first_code(check.bottleneck(make(hidden))) == "no-parameters"


def test_bottleneck_names_two_faults_at_once():
    report = check.bottleneck(make(PLAIN, *POPULAR, *V1))
    codes = [finding.code for finding in report.findings if not finding.ok]
    assert codes[:2] == ["relu-before-add", "stride-wrong-conv"]
    assert codes.count("relu-before-add") == 1


def test_bottleneck_tells_v1_from_a_stride_in_the_last_convolution():
    first, last = (check.bottleneck(make(PLAIN, *edits)) for edits in (V1, LAST))
    assert "the paper's placement" in str(first)
    assert "last 1x1" in str(last)


# --- 4.3 ---

COST = """
    def bottleneck_cost(in_channels, planes, size, stride=1):
        out, small = 4 * planes, (size - 1) // stride + 1
        bias, first, rest, k = 0, size, small, 2
        params = in_channels * planes + 9 * planes**2 + planes * out + k * (2 * planes + out)
        macs = in_channels * planes * first**2 + (9 * planes**2 + planes * out) * rest**2
        if stride != 1 or in_channels != out:
            params += in_channels * out + k * out
            macs += in_channels * out * rest**2
        return params + bias, macs
"""


def test_bottleneck_cost_passes_in_other_styles():
    assert first_code(check.bottleneck_cost(make(COST))) == "passed"
    counted = """
        def bottleneck_cost(in_channels, planes, size, stride=1):
            with torch.device("meta"):
                block = blocks.Bottleneck(in_channels, planes, stride)
            macs = []
            for layer in block.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.register_forward_hook(
                        lambda m, x, y: macs.append(m.weight.numel() * y.shape[-1] ** 2)
                    )
            block(torch.empty(1, in_channels, size, size, device="meta"))
            return [sum(p.numel() for p in block.parameters()), sum(macs)]
    """
    assert first_code(check.bottleneck_cost(make(counted))) == "passed"
    edits = ("return params + bias, macs", "return torch.tensor([params, macs]).numpy()")
    assert first_code(check.bottleneck_cost(make(COST, *edits))) == "passed"


@pytest.mark.parametrize(
    ("code", "edits"),
    [
        ("projection-forgotten", ("if stride != 1 or in_channels != out:", "if False:")),
        ("projection-always", ("if stride != 1 or in_channels != out:", "if True:")),
        ("projection-only-on-stride", (" or in_channels != out", "")),
        ("projection-only-on-channels", ("stride != 1 or in_channels != out", "in_channels != out")),
        ("projection-by-planes", ("in_channels != out:", "in_channels != planes:")),
        ("bn-forgotten", ("k = 0, size, small, 2", "k = 0, size, small, 0")),
        ("bn-forgotten-on-projection", ("in_channels * out + k * out", "in_channels * out")),
        ("buffers-counted", ("k = 0, size, small, 2", "k = 0, size, small, 4")),
        ("bias-counted", ("+ k * (2 * planes + out)", "+ 3 * (2 * planes + out)", "+ k * out", "+ 3 * out")),
        ("stride-wrong-conv", ("first, rest, k = 0, size", "first, rest, k = 0, small")),
        ("size-not-halved", ("size, small, 2", "size, size, 2")),
        ("rounded-down", ("(size - 1) // stride + 1", "size // stride")),
        ("flops-not-macs", ("return params + bias, macs", "return params, 2 * macs")),
        ("wrong-params", ("9 * planes**2 + planes * out +", "3 * planes**2 + planes * out +")),
        ("wrong-macs", ("+ (9 * planes**2", "+ (3 * planes**2")),
        ("wrong-type", ("return params + bias, macs", "return params / 2, macs")),
        ("wrong-type", ("return params + bias, macs", "return str(params), str(macs)")),
        ("wrong-type", ("return params + bias, macs", "return None if stride > 1 else (params, macs)")),
        ("wrong-type", ("return params + bias, macs", "return params")),
        ("wrong-order", ("return params + bias, macs", "return macs, params")),
        ("wrong-default", ("stride=1", "stride=2")),
        ("wrong-signature", ("stride=1", "stride")),
    ],
)  # fmt: skip
def test_bottleneck_cost_names_the_fault(code, edits):
    report = check.bottleneck_cost(make(COST, *edits))
    failed = [finding.code for finding in report.findings if not finding.ok]
    assert first_code(report) == code and len(failed) == len(set(failed)), report


def test_bottleneck_cost_blames_the_default_only_where_it_is_wrong():
    report = check.bottleneck_cost(make(COST, "k = 0, size, small, 2", "k = 0, size, small, 0"))
    assert [finding.code for finding in report.findings if not finding.ok] == ["bn-forgotten"]


def test_bottleneck_cost_names_two_faults_at_once():
    edits = ("first, rest, k = 0, size", "first, rest, k = 0, small", " or in_channels != out", "")
    report = check.bottleneck_cost(make(COST, *edits))
    codes = {finding.code for finding in report.findings if not finding.ok}
    assert codes == {"stride-wrong-conv", "projection-only-on-stride"}


# --- 4.4 ---


def test_the_four_branches_are_what_the_answer_says():
    unseen = {name: int(mask.sum()) for name, mask in measured().items()}
    answer = chapter04.stride_placements()
    # A quarter of 8 x 8 pixels is read by v1; the stride of c stands in neither of the two.
    assert {name: "v1" if count == 48 else "seen" for name, count in unseen.items()} == {
        name: "v1" if version == "v1" else "seen" for name, version in answer.items()
    }
    strides = {
        name: [m.stride[0] for m in getattr(chapter04, f"branch_{name}")(8, 2) if isinstance(m, nn.Conv2d)]
        for name in "abcd"
    }
    assert strides == {"a": [2, 1, 1], "b": [1, 2, 1], "c": [1, 1, 2], "d": [1, 1, 1]}


def measured():
    return {
        name: chapter04.unseen_pixels(getattr(chapter04, f"branch_{name}")(8, 2), 8, 8)
        for name in "abcd"
    }


def test_branches_b_and_c_agree_in_evaluation_mode_only():
    b, c = chapter04.branch_b(8, 2), chapter04.branch_c(8, 2)
    c.load_state_dict(b.state_dict())
    x = torch.randn(2, 8, 9, 9)
    assert not torch.allclose(b(x), c(x), atol=1e-3)
    assert torch.allclose(b.eval()(x), c.load_state_dict(b.state_dict()) and c.eval()(x), atol=1e-5)


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("passed", {"a": "V1", "b": " v1.5", "c": "neither", "d": "v1"}),
        ("branch-a", {"a": "v1.5", "b": "v1.5", "c": "neither", "d": "v1"}),
        ("branch-b", {"a": "v1", "b": "v1", "c": "neither", "d": "v1"}),
        ("branch-c", {"a": "v1", "b": "v1.5", "c": "v1.5", "d": "v1"}),
        ("branch-d", {"a": "v1", "b": "v1.5", "c": "neither", "d": "neither"}),
        ("unknown-version-d", {"a": "v1", "b": "v1.5", "c": "neither", "d": 1}),
        ("wrong-type", {"a": "v1"}),
        ("wrong-type", ["v1", "v1.5", "neither", "v1"]),
    ],
)
def test_stride_placements(code, answer):
    assert first_code(check.stride_placements(lambda: answer)) == code


# --- 4.5 ---

UNSEEN = """
    def unseen_pixels(module, in_channels, size):
        x = torch.randn(3, in_channels, size, size, requires_grad=True)
        y = module(x)
        y.backward(torch.randn(y.shape))
        return x.grad.abs().sum(dim=(0, 1)) == 0
"""


def test_unseen_pixels_passes_in_other_styles():
    assert first_code(check.unseen_pixels(make(UNSEEN))) == "passed"
    perturbing = """
        def unseen_pixels(module, in_channels, size):
            module.eval()
            x = torch.randn(1, in_channels, size, size)
            mask = torch.zeros(size, size, dtype=torch.bool)
            with torch.no_grad():
                y = module(x)
                for i in range(size):
                    for j in range(size):
                        other = x.clone()
                        other[:, :, i, j] += 10 * torch.randn(in_channels)
                        mask[i, j] = torch.equal(module(other), y)
            return mask
    """
    assert first_code(check.unseen_pixels(make(perturbing))) == "passed"


@pytest.mark.parametrize(
    ("code", "edits"),
    [
        ("inverted", ("== 0", "!= 0")),
        ("wrong-type", (" == 0", "")),
        ("wrong-type", ("dim=(0, 1)", "dim=1")),
        ("wrong-type", ("return x.grad", "mask = x.grad")),
        ("channels-cancel", ("x.grad.abs().sum(dim=(0, 1))", "x.grad[0].sum(dim=0).abs()")),
        ("outputs-cancel", ("y.backward(torch.randn(y.shape))", "y.sum().backward()")),
        ("outputs-left-out", ("y = module(x)", "y = module(x)[:, 0]")),
        ("outputs-left-out", ("y = module(x)", "y = module(x)[:, -1:]")),
        ("channel-unread", ("x.grad.abs().sum(dim=(0, 1)) == 0", "(x.grad == 0).any(dim=1).all(dim=0)")),
        ("input-not-random", ("torch.randn(3,", "torch.ones(3,")),
        ("not-zero", ("x.grad.abs().sum(dim=(0, 1)) == 0", "(x.grad.abs() < 1e-2).all(1).all(0)")),
        ("one-image", ("torch.randn(3,", "torch.randn(1,")),
        ("one-image", ("x.grad.abs().sum(dim=(0, 1))", "x.grad[0].abs().sum(dim=0)")),
        ("one-image", ("x.grad.abs().sum(dim=(0, 1)) == 0", "(x.grad == 0).all(dim=1).any(dim=0)")),
        ("wrong-type", ("return x.grad", "return None if size == 8 else x.grad")),
        ("wrong-mask", ("y = module(x)", "y = module(x)[:, :, :1]")),
        ("transposed", ("return x.grad.abs().sum(dim=(0, 1)) == 0", "return (x.grad.abs().sum(dim=(0, 1)) == 0).T")),
        ("wrong-mask", ("x.grad.abs().sum(dim=(0, 1)) == 0", "torch.zeros(size, size).bool()")),
        ("raised", ("requires_grad=True", "requires_grad=False")),
    ],
)
def test_unseen_pixels_names_the_fault(code, edits):
    report = check.unseen_pixels(make(UNSEEN, *edits))
    failed = [finding.code for finding in report.findings if not finding.ok]
    assert failed[0] == code and len(failed) == len(set(failed)), report
