"""Exercise 8.1: one crop for each image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..common import described
from ..core import Expectations, exercise
from .shared import shape_of


def _map_images(count: int, channels: int, height: int, width: int) -> Tensor:
    """Return images whose every pixel has a number of its own, which says where it comes from."""
    return torch.arange(count * channels * height * width).reshape(count, channels, height, width)


@exercise(
    "random_crops", chapter=8, number=1, title="Crop every image somewhere else",
    difficulty=3, importance=4, minutes=20, points=3,
    solution="resnet_tutorial.solutions.chapter08:random_crops",
)
def check_random_crops(crop: Any, expect: Expectations) -> None:
    """Images whose pixels say where they come from: each result is a window, at its own place."""
    count, height, width, size = 240, 12, 14, 8
    padded = _map_images(count, 3, height, width)
    before = padded.clone()
    crops = crop(padded, size)
    if not expect(
        isinstance(crops, Tensor) and tuple(crops.shape) == (count, 3, size, size), "wrong-shape",
        f"{shape_of(padded)} became {shape_of(crops) if isinstance(crops, Tensor) else described(crops)}, "
        f"not {count} x 3 x {size} x {size}.",
        hint="One window for each image, all channels, rows and columns in the last two places.",
    ):
        return
    if not expect(
        torch.equal(padded, before), "input-modified", "The images handed in have been changed.",
        hint="Index into them; assign nothing to them.",
    ):
        return
    if not expect(
        crops.dtype == padded.dtype, "wrong-dtype",
        f"Images of type {padded.dtype} came back as {crops.dtype}.",
        hint="Picking pixels needs no arithmetic on them: the type stays.",
    ):
        return
    columns, rows = crops % width, crops // width % height
    channels, number_ = crops // (width * height) % 3, crops // (3 * width * height)
    if not expect(
        bool((number_ == torch.arange(count)[:, None, None, None]).all()), "images-mixed",
        "A window holds pixels of another image than the one at its place.",
        hint="Index the images with arange(N), shaped so that it broadcasts against rows and columns.",
    ):
        return
    if not expect(
        bool((channels == torch.arange(3)[:, None, None]).all()), "channels-mixed",
        "A channel of a window holds pixels of another channel.",
        hint="Keep all channels in their order: index them with arange(C), or leave their axis alone.",
    ):
        return
    corners = rows[:, :, 0, 0], columns[:, :, 0, 0]  # (N, 3)
    steps = torch.arange(size)
    windows = (rows == corners[0][:, :, None, None] + steps[:, None]).all() and (
        columns == corners[1][:, :, None, None] + steps
    ).all()
    if not expect(
        bool(windows), "not-a-window",
        f"A result is no window of its image: its first row comes from rows "
        f"{rows[0, 0, 0].tolist()} and columns {columns[0, 0, 0].tolist()}.",
        hint="Rows run down and columns across: rows get shape (N, 1, size, 1), columns (N, 1, 1, size).",
    ):
        return
    apart = [(c != c[:, :1]).any(1) for c in corners]
    if not expect(
        not (apart[0] | apart[1]).any(), "crop-per-channel",
        f"In {int((apart[0] | apart[1]).sum())} of {count} images the three channels are cut at different places.",
        hint="One offset for each image, the same for all its channels: draw (N, 1), not (N, C).",
    ):
        return
    tops, lefts = corners[0][:, 0], corners[1][:, 0]
    # One window for the whole batch falls on the same place twice in a row once in 35 calls.
    # Six calls in a row that agree are no chance.
    if not expect(
        any(not torch.equal(crop(padded, size), crops) for _ in range(5)),
        "not-random", "Six calls gave the same windows.",
        hint="Draw the offsets anew in each call, and set no seed in the function.",
    ):
        return
    if not expect(
        len(tops.unique()) > 1 or len(lefts.unique()) > 1, "same-crop-for-all",
        f"All {count} windows begin at row {tops[0].item()} and column {lefts[0].item()}.",
        hint="Draw N offsets, torch.randint(..., (N, 1)), where one was drawn.",
    ):
        return
    if not expect(
        len((tops - lefts).unique()) > 1, "same-shift-both-ways",
        "Every window is shifted by the same number of rows and columns.",
        hint="Draw rows and columns separately.",
    ):
        return
    for starts, places, word in ((tops, height - size + 1, "rows"), (lefts, width - size + 1, "columns")):
        seen = starts.unique().tolist()
        if not expect(
            seen == list(range(places)), "offset-range",
            f"Windows of {size} can begin at {places} {word}, 0 to {places - 1}; yours begin at {seen}.",
            hint="There are H - size + 1 places, and torch.randint leaves its upper bound out.",
        ):
            return
    if not _places_are_equally_likely(crop, expect):
        return
    whole = torch.randint(256, (5, 2, size, size), dtype=torch.uint8)
    same = crop(whole, size)
    if not expect(
        isinstance(same, Tensor) and torch.equal(same, whole), "wrong-value",
        "A window as large as the image should be the image.", hint="The only offset is 0.",
    ):
        return
    expect(
        same.dtype == whole.dtype, "wrong-dtype", f"Images of type {whole.dtype} came back as {same.dtype}.",
        hint="Picking pixels needs no arithmetic on them: the type stays.",
    )


def _places_are_equally_likely(crop: Callable[..., Any], expect: Expectations) -> bool:
    """Count the places of 6000 windows. A right function errs by 6.5 standard deviations once in 10 million checks."""
    count, height, width, size = 6000, 8, 10, 4
    crops = crop(_map_images(count, 1, height, width), size)
    if not expect(
        isinstance(crops, Tensor) and tuple(crops.shape) == (count, 1, size, size), "wrong-shape",
        f"{count} x 1 x {height} x {width} became "
        f"{shape_of(crops) if isinstance(crops, Tensor) else described(crops)}, "
        f"not {count} x 1 x {size} x {size}.", hint="The number of channels may be any.",
    ):
        return False
    corners = crops[:, 0, 0, 0].long() % (height * width)
    high, wide = height - size + 1, width - size + 1
    tops, lefts = corners // width, corners % width
    if not expect(
        int(tops.max()) < high and int(lefts.max()) < wide, "not-a-window",
        f"Windows of {size} of {height} x {width} begin at row {int(tops.max())} or column {int(lefts.max())}.",
        hint=f"The last places are row {high - 1} and column {wide - 1}.",
    ):
        return False
    place = tops * wide + lefts
    counts = torch.bincount(place, minlength=high * wide).view(high, wide).double()

    def far_off(seen: Tensor, drawn: int = count) -> bool:
        share = 1 / seen.numel()
        return bool(((seen - drawn * share).abs() > 6.5 * (drawn * share * (1 - share)) ** 0.5).any())

    for seen, word in ((counts.sum(1), "row"), (counts.sum(0), "column")):
        if not expect(
            not far_off(seen), "not-uniform",
            f"Of {count} windows {', '.join(f'{n:.0f}' for n in seen.tolist())} begin at {word} "
            f"{', '.join(map(str, range(len(seen))))}; all places should be equally likely.",
            hint="torch.randint draws whole numbers evenly; round() gives the first and the last place half as often.",
        ):
            return False
    if not expect(
        not far_off(counts), "rows-and-columns-tied",
        f"Every row and every column is drawn as often as it should be, but of their {counts.numel()} pairs "
        f"{int((counts == 0).sum())} never come in {count} windows and one comes {int(counts.max())} times.",
        hint="Draw rows and columns separately: one random number for both ties them together.",
    ):
        return False
    for starts, places, word in ((tops, high, "row"), (lefts, wide, "column")):
        pairs = torch.bincount(starts[::2] * places + starts[1::2], minlength=places**2).double()
        most = int(pairs.argmax())
        if not expect(
            not far_off(pairs, count // 2), "tied-to-the-neighbour",
            f"Every {word} is drawn as often as it should be, but an image's tells that of the next: of {count // 2} "
            f"pairs of neighbours {int(pairs[most])} begin at the {word}s {most // places} and {most % places}, where "
            f"about {count // 2 // places**2} would.",
            hint="Use the numbers as torch.randint draws them: not sorted, not counted up through the batch.",
        ):
            return False
    return True
