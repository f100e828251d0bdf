"""The networks: equal to torchvision's, counted as the papers count, and clear about what they refuse."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import resnet_tutorial
from resnet_tutorial import (
    BasicBlock,
    Bottleneck,
    ConvBlock,
    EarlyConcatenation,
    IdentityBlock,
    ResNet,
    SplitTransformMerge,
    build_model,
    cifar_plain,
    cifar_preact_resnet,
    cifar_resnet,
    cifar_resnext29,
    conv_output_size,
    conv_params,
    load_imagenet_weights,
    model_names,
    resnet18,
    resnet34,
    resnet50,
)
from resnet_tutorial.cifar import ZeroPadShortcut, global_average

ROOT = Path(__file__).resolve().parents[1]

# name -> parameters, multiply-accumulates in units of 10^9 at 224 x 224 pixels
IMAGENET = {
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "resnet152": (60_192_808, 11.514),
    "resnext50_32x4d": (25_028_904, 4.230),
    "resnext101_32x8d": (88_791_336, 16.414),
    "resnext101_64x4d": (83_455_272, 15.460),
    "wide_resnet50_2": (68_883_240, 11.398),
    "wide_resnet101_2": (126_886_696, 22.753),
}
CIFAR = {
    "cifar_resnet20": 269_722,
    "cifar_resnet32": 464_154,
    "cifar_resnet44": 658_586,
    "cifar_resnet56": 853_018,
    "cifar_resnet110": 1_727_962,
    "cifar_resnet1202": 19_421_274,
    "cifar_resnext29_8x64d": 34_426_698,
    "cifar_resnext29_16x64d": 68_155_210,
}


def on_meta(name, **options):
    """A network with shapes and no numbers: counting costs neither time nor memory."""
    with torch.device("meta"):
        return build_model(name, **options)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def macs(model, shape=(1, 3, 224, 224)):
    """Multiply-accumulates of the convolutions and linear layers, by running the network."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        total += module.weight.numel() * output.shape[2:].numel()

    hooks = [
        m.register_forward_hook(count)
        for m in model.modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    try:
        model(torch.empty(shape, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def empty(name, **options):
    """A network on the CPU whose numbers are still to be loaded."""
    return on_meta(name, **options).to_empty(device="cpu")


# --- the same as torchvision's ---


def gradients_of(model, images):
    images = images.clone().requires_grad_()
    logits = model(images)
    model.zero_grad()
    F.cross_entropy(logits, torch.arange(len(images))).backward()
    return {"logits": logits.detach(), "images": images.grad} | {
        name: p.grad for name, p in model.named_parameters()
    }


def assert_same(ours, theirs, what):
    assert ours.keys() == theirs.keys(), what
    for key, value in theirs.items():
        torch.testing.assert_close(
            ours[key],
            value,
            rtol=1e-5,
            atol=1e-5,
            msg=lambda text, key=key: f"{what}, {key}: {text}",
        )


@pytest.mark.parametrize("name", IMAGENET)
def test_the_network_is_torchvisions(name):
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None)
    with torch.no_grad():  # fresh batch norms are all alike: give each its own weight and bias
        for p in theirs.parameters():
            if p.ndim == 1:
                p.uniform_(0.5, 1.0)
    ours = empty(name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)

    images = torch.randn(2, 3, 64, 64)
    ours.train(), theirs.train()
    assert_same(gradients_of(ours, images), gradients_of(theirs, images), "train mode")
    # One training step has moved the running statistics, on which eval mode stands.
    assert_same(dict(ours.named_buffers()), dict(theirs.named_buffers()), "running statistics")
    ours.eval(), theirs.eval()
    assert_same(gradients_of(ours, images), gradients_of(theirs, images), "eval mode")


@pytest.mark.parametrize("zero_init_residual", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_one_seed_gives_torchvisions_weights(name, zero_init_residual):
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, zero_init_residual=zero_init_residual)
    torch.manual_seed(0)
    ours = build_model(name, zero_init_residual=zero_init_residual)
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key


def test_published_weights_are_one_call(monkeypatch):
    """The download is replaced by random weights; what is tested is the way from there."""
    state = torchvision.models.resnet18(weights=None).state_dict()
    asked = []

    def get_state_dict(self, **options):
        asked.append((self.name, options))
        return state

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", get_state_dict)
    model = load_imagenet_weights("resnet18", progress=False)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert asked == [("IMAGENET1K_V1", {"progress": False, "check_hash": True})]


def test_weights_out_of_reach_are_a_clear_error(monkeypatch, capsys):
    def get_state_dict(self, **options):
        print("Downloading to /a/folder/of/this/machine")
        raise URLError("no route")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", get_state_dict)
    with pytest.raises(ConnectionError, match=r"resnet18.*\(no route\).*network connection"):
        load_imagenet_weights("resnet18", progress=False)
    assert capsys.readouterr() == ("", "")


# --- counts ---


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_networks_count_as_published(name):
    model = on_meta(name)
    assert (parameters(model), round(macs(model) / 1e9, 3)) == IMAGENET[name]


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_networks_count_as_published(name):
    assert parameters(on_meta(name)) == CIFAR[name]


def test_every_name_builds():
    names = model_names()
    assert set(IMAGENET) < set(names) and len(names) == len(set(names))
    for name in names:
        assert parameters(on_meta(name)) > 0


def test_v1_and_v15_differ_in_arithmetic_alone():
    v1, v15 = on_meta("resnet50", version="v1"), on_meta("resnet50")
    assert {k: v.shape for k, v in v1.state_dict().items()} == {
        k: v.shape for k, v in v15.state_dict().items()
    }
    assert (round(macs(v1) / 1e9, 3), round(macs(v15) / 1e9, 3)) == (3.858, 4.089)
    torch.manual_seed(0)
    v1, v15 = resnet50(version="v1").eval(), empty("resnet50").eval()
    v15.load_state_dict(v1.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert v1.forward_features(images).shape == v15.forward_features(images).shape
        assert not torch.allclose(v1(images), v15(images), rtol=1e-3, atol=1e-3)


# --- sizes, stems, channels, initialisation ---


@pytest.mark.parametrize("version", ["v1", "v1.5"])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (31, 33), (32, 97), (224, 224), (225, 417)])
def test_any_size_goes_through(size, version):
    model = on_meta("resnet50", num_classes=7, version=version)
    images = torch.empty(2, 3, *size, device="meta")
    assert model.forward_features(images).shape == (2, 2048, *(-(-side // 32) for side in size))
    assert model(images).shape == (2, 7)


def test_one_pixel_gives_finite_logits():
    with torch.no_grad():
        assert resnet18().eval()(torch.randn(1, 3, 1, 1)).isfinite().all()


@pytest.mark.parametrize("stem, side, first", [("imagenet", 2, 7), ("cifar", 8, 3)])
def test_stems(stem, side, first):
    model = on_meta("resnet18", stem=stem, in_channels=4, num_classes=10)
    assert model.conv1.weight.shape == (64, 4, first, first)
    images = torch.empty(2, 4, 64, 64, device="meta")
    assert model.forward_features(images).shape == (2, 512, side, side)
    assert model(images).shape == (2, 10)


def test_zero_initialised_gamma_makes_every_block_the_identity():
    for model in (resnet18(zero_init_residual=True), resnet50(zero_init_residual=True)):
        for stage in (model.layer1, model.layer4):
            block = stage[1]
            x = torch.rand(
                2, stage[0].downsample[1].num_features if stage[0].downsample else 64, 5, 5
            )
            assert torch.equal(block(x), x)
    assert all(b.bn3.weight.eq(1).all() for b in resnet50().modules() if isinstance(b, Bottleneck))


def test_convolutions_are_he_normal_over_fan_out():
    torch.manual_seed(0)
    for module in resnet50().modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 30_000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)


# --- the two blocks that tutorials teach ---


@pytest.mark.parametrize("stride", [1, 2])
def test_conv_and_identity_block_are_the_bottlenecks_two_cases(stride):
    torch.manual_seed(0)
    pairs = [
        (Bottleneck(24, 8, stride), ConvBlock(24, 8, stride)),
        (Bottleneck(32, 8), IdentityBlock(32, 8)),
    ]
    for bottleneck, special in pairs:
        # Both list their parameters from the branch's first layer to the shortcut's last.
        special.load_state_dict(
            dict(zip(special.state_dict(), bottleneck.state_dict().values(), strict=True))
        )
        x = torch.randn(2, bottleneck.conv1.in_channels, 9, 7)
        torch.testing.assert_close(special(x), bottleneck(x))


# --- the CIFAR family ---


def test_options_a_b_c_cost_nothing_a_little_and_more():
    a, b, c = (cifar_resnet(20, shortcut) for shortcut in "ABC")
    # B: two projections, 16 to 32 and 32 to 64 channels, each with a batch norm.
    assert parameters(b) - parameters(a) == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    # C: seven more, for every block that keeps its shape.
    extra = sum(n * (w * w + 2 * w) for n, w in ((3, 16), (2, 32), (2, 64)))
    assert parameters(c) - parameters(b) == extra
    for model in (a, b, c):
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
        assert model.forward_features(torch.randn(2, 3, 33, 9)).shape == (2, 64, 9, 3)


def test_option_a_keeps_every_second_pixel_and_appends_zeros():
    block = cifar_resnet(20).layer2[0]
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 16, 9, 9)
    y = block(x)
    assert torch.equal(y[:, :16], x[:, :, ::2, ::2])
    assert y[:, 16:].eq(0).all()


@pytest.mark.parametrize("shape", [(2, 5, 8, 8), (2, 5, 7, 5), (3, 4, 1, 9), (2, 4, 1, 1), (0, 4, 3, 3)])
def test_the_global_average_is_the_mean_of_each_map(shape):
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(global_average(x), x.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    "operation", [global_average, ZeroPadShortcut(4, 6, 2), ZeroPadShortcut(4, 6, 1), ZeroPadShortcut(4, 4, 2)]
)
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_gradients_keep_the_order_in_memory(operation, order):
    x = torch.randn(2, 4, 6, 6).to(memory_format=order).requires_grad_()
    y = operation(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.is_contiguous(memory_format=order)
    assert y.dim() == 2 or y.is_contiguous(memory_format=order)


def test_a_plain_network_is_a_residual_one_without_shortcuts():
    assert parameters(cifar_plain(20)) == parameters(cifar_resnet(20, "A"))
    plain = cifar_plain(20, num_classes=7, in_channels=1)
    assert plain(torch.randn(2, 1, 32, 32)).shape == (2, 7)
    block = plain.layer1[1]
    nn.init.zeros_(block.bn2.weight)
    assert block(torch.rand(2, 16, 5, 5)).eq(0).all()  # nothing goes around the branch


def test_preactivated_blocks_leave_the_shortcut_alone():
    model = cifar_preact_resnet(20, num_classes=7, in_channels=1)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 7)
    block = model.layer1[1]
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 16, 5, 5)  # negative values too: no ReLU follows the addition
    assert torch.equal(block(x), x)
    assert parameters(cifar_preact_resnet(20, "B")) > parameters(cifar_preact_resnet(20, "A"))


@pytest.mark.parametrize("make", [cifar_resnet, cifar_plain, cifar_preact_resnet])
def test_cifar_networks_learn_in_every_parameter(make):
    torch.manual_seed(0)
    model = make(8)
    F.cross_entropy(model(torch.randn(4, 3, 16, 16)), torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_resnext29_ends_in_1024_channels():
    with torch.device("meta"):
        model = cifar_resnext29(8, 64, num_classes=100, in_channels=1)
        images = torch.empty(2, 1, 32, 32)
    assert model.forward_features(images).shape == (2, 1024, 8, 8)
    assert model(images).shape == (2, 100)


# --- the three forms of a ResNeXt block ---


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("in_channels, stride", [(64, 1), (64, 2), (32, 1)])
@pytest.mark.parametrize("form", [SplitTransformMerge, EarlyConcatenation])
def test_the_three_forms_are_one_function(form, in_channels, stride, mode):
    torch.manual_seed(0)
    grouped = Bottleneck(in_channels, 16, stride, groups=8, base_width=16).double()
    with torch.no_grad():
        for name, value in [*grouped.named_parameters(), *grouped.named_buffers()]:
            if value.ndim == 1 and "num_batches" not in name:
                value.uniform_(0.5, 1.5)
    other = form(in_channels, 16, stride, groups=8, base_width=16).double().load_grouped(grouped)
    results = []
    for block in (grouped, other):
        block.train(mode == "train")
        x = torch.randn(
            3, in_channels, 9, 7, dtype=torch.double, generator=torch.Generator().manual_seed(1)
        )
        x.requires_grad_()
        y = block(x)
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
        results.append((y.detach(), x.grad, dict(block.bn3.named_buffers())))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-10)


def test_forms_that_do_not_match_are_refused():
    grouped = Bottleneck(64, 16, groups=8, base_width=16)
    with pytest.raises(ValueError, match="build both with the same arguments"):
        SplitTransformMerge(64, 16, groups=4, base_width=16).load_grouped(grouped)
    with pytest.raises(ValueError, match="build both with the same arguments"):
        EarlyConcatenation(64, 16, stride=2, groups=8, base_width=16).load_grouped(grouped)


# --- what is refused, and in which words ---

REFUSED = {
    "classes": (lambda: resnet50(num_classes=0), ["num_classes", "1 or more", "not 0"]),
    "half a class": (lambda: resnet50(num_classes=2.5), ["num_classes", "whole number", "2.5"]),
    "truth": (lambda: resnet50(num_classes=True), ["num_classes", "whole number", "True"]),
    "channels": (lambda: resnet18(in_channels=-3), ["in_channels", "1 or more", "-3"]),
    "stem": (lambda: resnet50(stem="tiny"), ["'imagenet'", "'cifar'", "'tiny'"]),
    "version": (lambda: resnet50(version="v2"), ["'v1'", "'v1.5'", "'v2'"]),
    "version of basic": (lambda: resnet18(version="v2"), ["'v1'", "'v1.5'", "'v2'"]),
    "groups of basic": (
        lambda: ResNet(BasicBlock, (2, 2, 2, 2), groups=2),
        ["BasicBlock", "Bottleneck"],
    ),
    "group number": (
        lambda: ResNet(Bottleneck, (1, 1, 1, 1), groups=0),
        ["groups", "1 or more", "0"],
    ),
    "group width": (
        lambda: ResNet(Bottleneck, (1, 1, 1, 1), base_width=0),
        ["base_width", "1 or more"],
    ),
    "stages": (lambda: ResNet(Bottleneck, (3, 4, 6)), ["four stages", "3"]),
    "empty stage": (lambda: ResNet(Bottleneck, (3, 0, 6, 3)), ["stage 2", "1 or more", "0"]),
    "block planes": (lambda: BasicBlock(64, 0), ["planes", "1 or more", "0"]),
    "block stride": (lambda: Bottleneck(64, 16, 0), ["stride", "1 or more", "0"]),
    "block channels": (lambda: Bottleneck(0, 16), ["in_channels", "1 or more", "0"]),
    "block version": (lambda: Bottleneck(64, 16, version="1"), ["'v1'", "'v1.5'", "'1'"]),
    "thin group": (
        lambda: Bottleneck(64, 16, groups=32, base_width=2),
        ["less than one channel", "64"],
    ),
    "conv block": (lambda: ConvBlock(64, 16, stride=0), ["stride", "1 or more", "0"]),
    "identity block": (lambda: IdentityBlock(64, -1), ["mid_channels", "1 or more", "-1"]),
    "three forms": (lambda: SplitTransformMerge(64, 16, groups=0), ["groups", "1 or more", "0"]),
    "depth 21": (lambda: cifar_resnet(21), ["6n+2", "20", "21"]),
    "depth 2": (lambda: cifar_resnet(2), ["6n+2", "not 2"]),
    "plain depth": (lambda: cifar_plain(55), ["6n+2", "56", "55"]),
    "preact depth": (lambda: cifar_preact_resnet(18), ["6n+2", "20", "18"]),
    "depth in words": (lambda: cifar_resnet("20"), ["depth", "whole number", "'20'"]),
    "shortcut": (lambda: cifar_resnet(20, shortcut="D"), ["'A'", "'B'", "'C'", "'D'"]),
    "preact shortcut": (
        lambda: cifar_preact_resnet(20, shortcut="a"),
        ["'A'", "'B'", "'C'", "'a'"],
    ),
    "cifar classes": (lambda: cifar_resnet(20, num_classes=0), ["num_classes", "1 or more"]),
    "cardinality": (lambda: cifar_resnext29(0, 64), ["cardinality", "1 or more"]),
    "cifar width": (lambda: cifar_resnext29(8, -4), ["base_width", "1 or more", "-4"]),
    "name": (lambda: build_model("resnet51"), ["resnet51", "resnet50", "cifar_resnet20"]),
    "option": (lambda: build_model("cifar_plain20", shortcut="A"), ["cifar_plain20", "shortcut"]),
    "depth in the name": (lambda: build_model("cifar_resnet21"), ["6n+2", "21"]),
    "unpublished": (
        lambda: load_imagenet_weights("cifar_resnet20"),
        ["cifar_resnet20", "resnet50"],
    ),
    "unknown weights": (
        lambda: load_imagenet_weights("resnet18", "IMAGENET1K_V9"),
        ["IMAGENET1K_V9", "IMAGENET1K_V1", "DEFAULT"],
    ),
    "groups that do not divide": (lambda: conv_params(64, 96, 3, groups=40), ["groups=40", "64"]),
    "no size": (lambda: conv_output_size(0, 3), ["size", "1 or more", "0"]),
    "kernel too big": (lambda: conv_output_size(2, 7), ["7", "2 pixels", "enlarge"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_with_what_is_allowed(case):
    make, words = REFUSED[case]
    with torch.device("meta"), pytest.raises(ValueError) as error:
        make()
    for word in words:
        assert word in str(error.value)


def test_training_on_one_value_a_channel_is_refused():
    # One image of one pixel leaves one value a channel, which has no variance.
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        resnet34().train()(torch.randn(1, 3, 1, 1))


# --- imports ---

IMPORTS = """
import json, sys
loaded = {}
import resnet_tutorial
loaded["package"] = sorted(sys.modules)
from resnet_tutorial import conv_output_size, receptive_field, shapes
loaded["shapes"] = sorted(sys.modules)
from resnet_tutorial import Bottleneck, cifar_resnet, load_imagenet_weights, resnet50
loaded["networks"] = sorted(sys.modules)
print(json.dumps(loaded))
"""
ON_TOP = ("torchvision", "matplotlib", "ipywidgets", "anywidget", "torchinfo", "PIL", "IPython")


def test_importing_loads_nothing_that_is_not_needed():
    answer = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, check=True, capture_output=True, text=True
    )
    loaded = {step: set(names) for step, names in json.loads(answer.stdout).items()}
    for step in ("package", "shapes"):
        assert not loaded[step] & {"torch", "numpy", *ON_TOP}, step
    assert "torch" in loaded["networks"]
    assert not loaded["networks"] & set(ON_TOP)
    for part in ("check", "figures", "data", "train", "tracer"):
        assert f"resnet_tutorial.{part}" not in loaded["networks"]


@pytest.mark.parametrize("name", sorted(resnet_tutorial.__all__))
def test_public_names_resolve(name):
    assert getattr(resnet_tutorial, name) is not None
    assert name in dir(resnet_tutorial)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="resnet51"):
        _ = resnet_tutorial.resnet51
