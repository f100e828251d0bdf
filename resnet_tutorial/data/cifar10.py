"""CIFAR-10 as four arrays in one file, `cifar10.npz`, made once from the official archive."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from resnet_tutorial.data.errors import DataError
from resnet_tutorial.data.image_set import ImageSet
from resnet_tutorial.data.where import data_directory, from_home

FILE = "cifar10.npz"
ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
           "dog", "frog", "horse", "ship", "truck")
SHAPES = {
    "train_images": (50000, 32, 32, 3),
    "train_labels": (50000,),
    "test_images": (10000, 32, 32, 3),
    "test_labels": (10000,),
}
PROBE_SECONDS = 8.0  # an absent network is noticed after this long
STALL_SECONDS = 30.0  # a download that stands still this long has failed


def load(download: str = "auto") -> ImageSet:
    """Return CIFAR-10 from `cifar10.npz`, which is made first where it is missing or damaged.

    Raises:
        DataError: there is no usable file and none could be made.
    """
    path = data_directory() / FILE
    try:
        return read(path)
    except DataError as problem:
        if download == "never" or os.environ.get("RESNET_TUTORIAL_DOWNLOAD") == "never":
            raise
        if path.exists():
            print(f"{problem} Fetching the images again.")
        try:
            make(path)
        except DataError as failure:
            raise DataError(f"{problem} {failure}") from None
    return read(path)


def read(path: Path) -> ImageSet:
    """Return the images in the file at `path`, having checked every byte of it.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    if not path.exists():
        raise DataError(f"There is no {FILE} in {from_home(path.parent)}.")
    try:
        # Reading an array to its end also checks the checksum that the archive keeps for it.
        with np.load(path, allow_pickle=False) as archive:
            if missing := [name for name in SHAPES if name not in archive.files]:
                raise DataError(f"{path} is not CIFAR-10: it has no {missing[0]}.")
            arrays = {name: archive[name] for name in SHAPES}
    except (OSError, ValueError, EOFError, TypeError, AttributeError,
            zipfile.BadZipFile, NotImplementedError, MemoryError) as problem:
        raise DataError(f"{path} is damaged or not an .npz file ({problem}).") from None
    _refuse_wrong_content(arrays, path)
    return ImageSet("cifar10", **arrays, classes=CLASSES)


def _refuse_wrong_content(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Raise DataError unless the arrays have CIFAR-10's shapes, type and labels."""
    for name, shape in SHAPES.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.uint8:
            raise DataError(f"{path} is not CIFAR-10: {name} is {array.dtype} of shape "
                            f"{array.shape} where uint8 of shape {shape} belongs.")
    for name in ("train_labels", "test_labels"):
        if not (np.bincount(arrays[name], minlength=10) == len(arrays[name]) // 10).all():
            raise DataError(f"{path} is not CIFAR-10: {name} does not hold "
                            f"{len(arrays[name]) // 10:,} images of each of ten classes.")


def make(path: Path) -> None:
    """Fetch the official archive through torchvision, and write its images to `path`.

    Raises:
        DataError: no network, a broken download, or no room for the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The archive and its unpacked batches (350 MB) are needed no longer than the decoding.
        with tempfile.TemporaryDirectory(prefix="cifar10-", dir=path.parent) as workshop:
            write_atomically(path, fetch(Path(workshop)))
    except OSError as problem:
        raise DataError(f"{path} could not be written: {problem.strerror or problem}.") from None


def fetch(folder: Path) -> dict[str, np.ndarray]:
    """Download the official archive into `folder`, check its checksum, and return the arrays.

    Raises:
        DataError: the network or the archive's server failed, or the checksum is wrong.
    """
    server = ARCHIVE.split("/")[2]
    reason = _unreachable(ARCHIVE)
    if reason:
        raise DataError(f"CIFAR-10 could not be fetched: {server} did not answer ({reason}).")
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError) as problem:
        raise DataError(f"CIFAR-10 is fetched through torchvision, which does not load here "
                        f"({problem}).") from None
    try:
        with _stall_limit():
            parts = [CIFAR10(str(folder), train=train, download=True) for train in (True, False)]
    except Exception as problem:  # torchvision lets anything through, from URLError to KeyError
        raise DataError(f"CIFAR-10 could not be fetched from {server}: {problem}.") from None
    names = iter(SHAPES)
    return {next(names): np.asarray(array, dtype=np.uint8)
            for part in parts for array in (part.data, part.targets)}


def write_atomically(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write `arrays` so that `path` is, at every moment, absent, the old file or the whole new one."""
    handle, temporary = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **cast(dict[str, Any], arrays))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes a file that nobody else may read
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _unreachable(url: str) -> str:
    """Return why nothing answers at `url`, or "" when something does."""
    answer = [f"no answer within {PROBE_SECONDS:.0f} s"]

    def knock() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"),
                                        timeout=PROBE_SECONDS):
                answer[0] = ""
        except Exception as problem:
            answer[0] = str(getattr(problem, "reason", problem))

    # Looking up a name has no timeout of its own, hence a thread that can be left behind.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answer[0]


@contextlib.contextmanager
def _stall_limit() -> Iterator[None]:
    """Give every connection opened inside the block a limit, which urllib lacks."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
