"""Crops, flips and normalisation, each against a reference that treats one image at a time."""

import numpy as np
import pytest
import torch
from training_help import tiny_data

from resnet_tutorial.train import get_recipe
from resnet_tutorial.train.augment import (
    Draws,
    crop_and_flip,
    draw_epoch,
    measure_pixels,
    normalise,
)

PAD = 4
DATA = tiny_data()
IMAGES = torch.from_numpy(DATA.train_images)


def recipe(**changes):
    return get_recipe("fast").but(pad=PAD, **changes)


def one_image(image, mean, std, top, left, flip, padding):
    """Normalise, pad, crop and flip one image with numpy: (3, height, width)."""
    height, width = image.shape[:2]
    image = (image.astype(np.float32) - mean) / std
    mode = {"zero": "constant", "reflect": "reflect"}[padding]
    image = np.pad(image, ((PAD, PAD), (PAD, PAD), (0, 0)), mode=mode)
    image = image[PAD + top : PAD + top + height, PAD + left : PAD + left + width]
    return (image[:, ::-1] if flip else image).transpose(2, 0, 1)


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("mean", ["channel", "pixel"])
def test_a_batch_is_what_one_image_at_a_time_gives(padding, mean):
    pixels = measure_pixels(IMAGES, recipe(mean=mean))
    draws = draw_epoch(len(IMAGES), recipe(), seed=3, epoch=1, side=16)
    batch = crop_and_flip(pixels, draws, padding)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    mean_image, std = pixels.mean.numpy(), pixels.std.numpy()
    for row, (image, top, left, flip) in enumerate(
        zip(draws.order, draws.top, draws.left, draws.flip, strict=True)
    ):
        expected = one_image(DATA.train_images[image], mean_image, std, top, left, flip, padding)
        np.testing.assert_allclose(batch[row].numpy(), expected, atol=1e-6)


def test_every_shift_and_both_flips_occur_and_differ_within_a_batch():
    draws = draw_epoch(2000, recipe(), seed=0, epoch=0)
    for shift in (draws.top, draws.left):
        assert sorted(set(shift.tolist())) == list(range(-PAD, PAD + 1))
    assert 0.45 < draws.flip.float().mean() < 0.55
    first = draws.batch(0, 64)
    assert len(set(first.top.tolist())) > 4 and len(set(first.flip.tolist())) == 2


def test_an_epoch_is_a_permutation_that_depends_on_seed_and_number_alone():
    one, same = (draw_epoch(500, recipe(), seed=1, epoch=2) for _ in range(2))
    assert torch.equal(one.order, same.order) and torch.equal(one.top, same.top)
    assert sorted(one.order.tolist()) == list(range(500))
    for other in (draw_epoch(500, recipe(), 1, 3), draw_epoch(500, recipe(), 2, 2)):
        assert not torch.equal(one.order, other.order)


def test_a_small_window_stays_inside_the_image_and_reaches_every_corner():
    pixels = measure_pixels(IMAGES, recipe())
    draws = draw_epoch(len(IMAGES), recipe(), seed=3, epoch=1, side=16, crop=12)
    assert sorted(set(draws.top.tolist())) == sorted(set(draws.left.tolist())) == list(range(5))
    plain = normalise(pixels, 0, len(IMAGES))[draws.order]
    batch = crop_and_flip(pixels, draws, "zero")
    for row, (top, left, flip) in enumerate(zip(draws.top, draws.left, draws.flip, strict=True)):
        window = plain[row, :, top : top + 12, left : left + 12]
        assert torch.equal(batch[row], window.flip(2) if flip else window)


def test_without_augmentation_the_images_stay_as_they_are():
    still = recipe().but(pad=0, flip=False)
    pixels = measure_pixels(IMAGES, still)
    draws = draw_epoch(len(IMAGES), still, seed=0, epoch=0, side=16)
    plain = normalise(pixels, 0, len(IMAGES))
    for padding in ("zero", "reflect"):
        assert torch.equal(crop_and_flip(pixels, draws, padding), plain[draws.order])


def test_normalised_pixels_have_mean_zero_and_deviation_one():
    plain = normalise(measure_pixels(IMAGES, recipe()), 0, len(IMAGES))
    assert torch.allclose(plain.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(plain.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3)


def test_the_paper_subtracts_the_mean_of_every_pixel_and_divides_by_nothing_else():
    pixels = measure_pixels(IMAGES, get_recipe("paper"))
    expected = (DATA.train_images.astype(np.float64) / 255 - DATA.mean_image).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(normalise(pixels, 0, 240).numpy(), expected, atol=1e-6)


def test_the_stripe_beyond_the_edge_is_the_mean_colour():
    pixels = measure_pixels(IMAGES, recipe())
    draws = Draws(*(torch.tensor([v]) for v in (5, 4, 0)), torch.tensor([False]), 16)
    batch = crop_and_flip(pixels, draws, "zero")
    assert (batch[0, :, -4:] == 0).all() and (batch[0, :, :-4] != 0).any()
