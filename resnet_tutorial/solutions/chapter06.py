"""Solutions of chapter 6, ResNet-50 whole."""

from __future__ import annotations

from torch import Tensor, nn

from ..blocks import Bottleneck
from ..models import make_layer
from ..shapes import conv_output_size


def imagenet_stem(in_channels: int = 3, out_channels: int = 64) -> nn.Sequential:
    """Return the stem, which makes a feature map of an image.

    Shapes: ``(N, in_channels, H, W)`` to ``(N, out_channels, H / 4, W / 4)``.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )


def last_feature_map(height: int, width: int) -> tuple[int, int, int]:
    """Return channels, height and width of ResNet-50's last map for one image."""

    def side(pixels: int) -> int:
        # stem convolution, max-pooling, and the first 3x3 of the stages 2, 3 and 4
        for kernel_size, padding in ((7, 3), (3, 1), (3, 1), (3, 1), (3, 1)):
            pixels = conv_output_size(pixels, kernel_size, stride=2, padding=padding)
        return pixels

    return 2048, side(height), side(width)


def classifier_head(channels: int, num_classes: int) -> nn.Module:
    """Return the head, which makes logits of a feature map of any height and width.

    Shapes: ``(N, channels, H, W)`` to ``(N, num_classes)``.
    """
    classifier = nn.Linear(channels, num_classes)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)


class ResNet50(nn.Module):
    """A stem, four stages of bottlenecks and a head.

    Shapes: ``(N, in_channels, H, W)`` to ``(N, num_classes)``.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = imagenet_stem(in_channels, 64)
        self.layer1 = make_layer(Bottleneck, 64, 64, blocks=3)
        self.layer2 = make_layer(Bottleneck, 256, 128, blocks=4, stride=2)
        self.layer3 = make_layer(Bottleneck, 512, 256, blocks=6, stride=2)
        self.layer4 = make_layer(Bottleneck, 1024, 512, blocks=3, stride=2)
        self.head = classifier_head(2048, num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.stem(x)  # (N, 64, 56, 56)
        x = self.layer1(x)  # (N, 256, 56, 56)
        x = self.layer2(x)  # (N, 512, 28, 28)
        x = self.layer3(x)  # (N, 1024, 14, 14)
        x = self.layer4(x)  # (N, 2048, 7, 7)
        return self.head(x)  # (N, num_classes)


def depth_of_checkpoint(state: dict[str, Tensor]) -> int:
    """Return the number in the name of the ResNet whose state dict this is."""
    weighted = [key for key, tensor in state.items() if tensor.ndim >= 2]
    return sum("downsample" not in key for key in weighted)


class SmallResNet(nn.Module):
    """The paper's network for small images: a 3x3 stem, three stages, a head.

    Shapes: ``(N, 3, H, W)`` to ``(N, num_classes)``.

    Args:
        block: a class of two convolutions, called as
            ``block(in_channels, planes, stride)``.
        depth: layers with weights, 6n + 2.
        num_classes: of the head.
    """

    def __init__(
        self, block: type[nn.Module], depth: int, num_classes: int = 10
    ) -> None:
        super().__init__()
        n = (depth - 2) // 6  # three stages of n blocks of two layers
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )
        self.layer1 = make_layer(block, 16, 16, n)
        self.layer2 = make_layer(block, 16, 32, n, stride=2)
        self.layer3 = make_layer(block, 32, 64, n, stride=2)
        self.head = classifier_head(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 32, 32)
        x = self.stem(x)  # (N, 16, 32, 32)
        x = self.layer1(x)  # (N, 16, 32, 32)
        x = self.layer2(x)  # (N, 32, 16, 16)
        x = self.layer3(x)  # (N, 64, 8, 8)
        return self.head(x)  # (N, num_classes)
