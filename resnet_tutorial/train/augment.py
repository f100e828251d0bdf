"""Random crops, random flips and normalisation for a whole batch at a time.

The images stay on the device as one uint8 tensor. Cutting a shifted, mirrored window out of an
image only picks other rows and columns, so a batch is one look-up with computed indices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_tutorial.train.recipes import Recipe


@dataclass(frozen=True)
class Pixels:
    """Images as they lie on the device, and the two numbers that normalise a pixel.

    Attributes:
        images: uint8, (N, height, width, 3).
        mean: float32, on the scale 0 to 255: (3,), or (height, width, 3) for a mean of each pixel.
        std: float32, (3,), on the scale 0 to 255.
    """

    images: Tensor
    mean: Tensor
    std: Tensor

    @property
    def side(self) -> int:
        """Return the images' height, which is their width too."""
        return self.images.shape[1]

    def with_images(self, images: Tensor) -> Pixels:
        """Return other images that are normalised by the same two numbers."""
        return Pixels(images, self.mean, self.std)


def measure_pixels(images: Tensor, recipe: Recipe) -> Pixels:
    """Return `images` with their own mean and standard deviation, as the recipe wants them."""
    # Sums of integers are exact, so the mean is the same on every device and in every order.
    total = sum(chunk.sum(dim=0, dtype=torch.int64) for chunk in images.split(5000))  # in parts: small memory
    mean = total.cpu().double() / len(images)
    channel_mean = mean.mean(dim=(0, 1))
    std = torch.full((3,), 255.0, dtype=torch.float64)
    if recipe.divide_by_std:
        squares = sum((chunk.long() ** 2).sum(dim=(0, 1, 2)) for chunk in images.split(5000))
        mean_square = squares.cpu().double() / images[..., 0].numel()
        std = (mean_square - channel_mean**2).sqrt().clamp(min=1.0)
    if recipe.mean == "channel":
        mean = channel_mean
    return Pixels(images, mean.float().to(images.device), std.float().to(images.device))


@dataclass(frozen=True)
class Draws:
    """An epoch's chance: which image comes when, and how each one is shifted and mirrored.

    Attributes:
        order: int64, (n,), a permutation of the training images.
        top, left: int64, (n,), where the crop starts; below zero it begins outside of the image.
        flip: bool, (n,).
        side: pixels along each side of the crops.
    """

    order: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor
    side: int

    def batch(self, start: int, stop: int) -> Draws:
        """Return the draws number `start` to `stop` of the epoch."""
        part = slice(start, stop)
        return Draws(self.order[part], self.top[part], self.left[part], self.flip[part], self.side)


def draw_epoch(count: int, recipe: Recipe, seed: int, epoch: int, side: int = 32,
               crop: int | None = None, device: torch.device | str = "cpu") -> Draws:
    """Draw the chance of one epoch over `count` images of `side` pixels, cut to `crop` pixels.

    The result depends on the seed and the epoch's number alone. So a run that resumes in the middle
    of an epoch draws the same again, and no generator's state has to be saved.
    """
    crop = side if crop is None else crop
    pad = recipe.pad if crop == side else 0  # a smaller window has room to move inside the image
    # Drawn on the CPU, so that every device trains on the same crops.
    chance = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(count, generator=chance)
    shifts = torch.randint(-pad, side - crop + pad + 1, (2, count), generator=chance)
    flip = torch.rand(count, generator=chance) < 0.5
    if not recipe.flip:
        flip = torch.zeros_like(flip)
    top, left = shifts.to(device)
    return Draws(order.to(device), top, left, flip.to(device), crop)


def crop_and_flip(pixels: Pixels, draws: Draws, padding: str) -> Tensor:
    """Return the drawn images, shifted, mirrored and normalised.

    Returns:
        float32, (B, 3, draws.side, draws.side), contiguous in channels_last order.
    """
    height, width = pixels.images.shape[1:3]
    along = torch.arange(draws.side, device=draws.top.device)
    rows = along + draws.top[:, None]  # (B, side)
    across = torch.where(draws.flip[:, None], draws.side - 1 - along, along)
    columns = across + draws.left[:, None]  # (B, side)
    if padding == "reflect":
        rows, columns = _reflect(rows, height), _reflect(columns, width)
        return _look_up(pixels, draws.order, rows, columns)
    inside = _inside(rows, height)[:, :, None] & _inside(columns, width)[:, None, :]
    batch = _look_up(pixels, draws.order, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    return batch * inside[:, None]  # zero after normalisation is the mean colour


def normalise(pixels: Pixels, start: int, stop: int) -> Tensor:
    """Return images number `start` to `stop` unshifted: float32, (B, 3, height, width)."""
    batch = (pixels.images[start:stop] - pixels.mean) / pixels.std
    return batch.permute(0, 3, 1, 2)


def _look_up(pixels: Pixels, order: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the normalised pixels at those images, rows and columns: (B, 3, height, width)."""
    height, width = pixels.images.shape[1:3]
    rows, columns = rows[:, :, None], columns[:, None, :]
    # One number for each pixel in place of three: the look-up itself is several times as fast.
    places = (order[:, None, None] * height + rows) * width + columns  # (B, height, width)
    batch = pixels.images.flatten(0, 2).index_select(0, places.flatten()).unflatten(0, places.shape)
    mean = pixels.mean if pixels.mean.ndim == 1 else pixels.mean[rows, columns]
    batch = (batch - mean) / pixels.std
    return batch.permute(0, 3, 1, 2)  # colours last in memory, first in the shape


def _reflect(index: Tensor, size: int) -> Tensor:
    """Return indices beyond an edge mirrored back, without repeating the edge itself."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def _inside(index: Tensor, size: int) -> Tensor:
    """Return which indices lie within the image."""
    return (index >= 0) & (index < size)
