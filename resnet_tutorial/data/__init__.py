"""Images to train on: CIFAR-10, or `shapes`, a small set that is drawn on the spot.

::

    from resnet_tutorial.data import load, load_or_shapes

    data = load("cifar10")       # from the data directory, else fetched once
    data = load_or_shapes()      # CIFAR-10, or `shapes` where there is neither file nor network

Only numpy is imported here; torchvision is loaded when CIFAR-10 has to be fetched.
"""

from __future__ import annotations

from resnet_tutorial.data import cifar10, shapes_set
from resnet_tutorial.data.errors import DataError
from resnet_tutorial.data.image_set import ImageSet
from resnet_tutorial.data.where import data_directory

__all__ = ["DataError", "ImageSet", "NAMES", "data_directory", "load", "load_or_shapes"]

NAMES = ("cifar10", "shapes")


def load(name: str = "cifar10", download: str = "auto") -> ImageSet:
    """Return the image set called `name`.

    Args:
        name: ``"cifar10"`` (50,000 + 10,000 photographs) or ``"shapes"`` (5,000 + 1,000 drawings).
        download: ``"auto"`` fetches CIFAR-10 where its file is missing or damaged;
            ``"never"`` leaves the network alone. The environment variable
            ``RESNET_TUTORIAL_DOWNLOAD=never`` turns ``"auto"`` into ``"never"``.

    Raises:
        DataError: the images are not there, are damaged, or cannot be fetched; the message says
            which, and what to do.
        ValueError: there is no set of that name, or `download` is neither word.
    """
    if name not in NAMES:
        raise ValueError(f"There is no image set {name!r}; choose one of {', '.join(NAMES)}.")
    if download not in ("auto", "never"):
        raise ValueError(f'download is "auto" or "never", not {download!r}.')
    return shapes_set.load() if name == "shapes" else cifar10.load(download)


def load_or_shapes(download: str = "auto") -> ImageSet:
    """Return CIFAR-10 where it can be had, else `shapes`, and say so in a printed sentence."""
    try:
        return load("cifar10", download)
    except DataError as problem:
        print(f"{problem}\nGoing on with `shapes`, a small set of drawings that ships with the package: "
              "the code is the same, the numbers are not CIFAR-10's.")
        return load("shapes")
