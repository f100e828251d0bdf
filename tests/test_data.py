"""The images: what the loader returns, and how it meets files that are not what they should be."""

import http.server
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from resnet_tutorial.data import DataError, cifar10, data_directory, load, load_or_shapes
from resnet_tutorial.data.shapes_set import FORMS, draw
from resnet_tutorial.data.where import from_home

TRAIN, TEST = 300, 60


@pytest.fixture(autouse=True)
def small(request, monkeypatch):
    """Let CIFAR-10 have 360 images, except where the real file is looked at."""
    if "real" not in request.node.name:
        small_shapes = {
            name: (TRAIN if "train" in name else TEST, *shape[1:])
            for name, shape in cifar10.SHAPES.items()
        }
        monkeypatch.setattr(cifar10, "SHAPES", small_shapes)


def small_cifar(**changes):
    """Arrays of the shapes that are expected."""
    arrays = {name: np.zeros(shape, np.uint8) for name, shape in cifar10.SHAPES.items()}
    for name in ("train_labels", "test_labels"):
        arrays[name] = (np.arange(len(arrays[name])) % 10).astype(np.uint8)
    return arrays | changes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_TUTORIAL_DATA", str(tmp_path))
    monkeypatch.delenv("RESNET_TUTORIAL_DOWNLOAD", raising=False)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(cifar10, "_unreachable", lambda url: "no network in this test")


@pytest.fixture
def whole_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("cifar") / cifar10.FILE
    cifar10.write_atomically(path, small_cifar())
    return path


def test_the_real_images_are_the_files(monkeypatch):
    path = data_directory() / cifar10.FILE
    if not path.exists():
        pytest.skip("CIFAR-10 is not in the data directory")
    data = load("cifar10", download="never")
    with np.load(path) as file:
        for name in cifar10.SHAPES:
            assert np.array_equal(getattr(data, name), file[name])
    assert np.allclose(data.mean, [0.4914, 0.4822, 0.4465], atol=1e-4)
    assert np.allclose(data.std, [0.2470, 0.2435, 0.2616], atol=1e-4)
    assert np.allclose(data.mean_image.mean(axis=(0, 1)), data.mean, atol=1e-5)
    assert len(data.classes) == 10


def test_a_written_file_is_read_back(folder, whole_file):
    os.link(whole_file, folder / cifar10.FILE)
    data = load("cifar10")
    assert data.train_images.shape == (TRAIN, 32, 32, 3)
    assert data.test_labels.tolist() == [n % 10 for n in range(TEST)]


def test_missing_without_network_is_a_sentence(folder, no_network):
    with pytest.raises(DataError, match="There is no cifar10.npz.*did not answer"):
        load("cifar10")
    with pytest.raises(DataError, match="There is no cifar10.npz"):
        load("cifar10", download="never")


def test_a_folder_is_told_without_the_name_of_its_owner():
    assert from_home(Path.home() / ".cache" / "resnet_tutorial") == "~/.cache/resnet_tutorial"
    elsewhere = Path(Path.home().anchor) / "images"
    assert from_home(elsewhere) == str(elsewhere)


def test_shapes_step_in_and_say_so(folder, no_network, capsys):
    data = load_or_shapes()
    assert data.name == "shapes"
    said = capsys.readouterr().out
    assert "could not be fetched" in said and "`shapes`" in said and "not CIFAR-10's" in said


def test_download_can_be_forbidden_by_the_environment(folder, monkeypatch):
    monkeypatch.setenv("RESNET_TUTORIAL_DOWNLOAD", "never")
    monkeypatch.setattr(cifar10, "make", lambda path: pytest.fail("the network was used"))
    with pytest.raises(DataError):
        load("cifar10")


def truncated(whole):
    return whole[: len(whole) // 2]


def flipped(whole):
    middle = len(whole) // 3
    return whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda whole: b"", lambda whole: b"no zip"])
def test_damage_is_noticed(folder, no_network, whole_file, damage):
    (folder / cifar10.FILE).write_bytes(damage(whole_file.read_bytes()))
    with pytest.raises(DataError, match="damaged or not an .npz file"):
        load("cifar10")
    assert load_or_shapes().name == "shapes"


def test_a_damaged_file_is_replaced_when_it_can_be(folder, monkeypatch, capsys):
    (folder / cifar10.FILE).write_bytes(b"half")
    monkeypatch.setattr(cifar10, "fetch", lambda folder: small_cifar())
    assert load("cifar10").name == "cifar10"
    assert "Fetching the images again" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == [cifar10.FILE]


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"train_images": np.zeros((50, 32, 32, 3), np.uint8)}, "train_images is uint8 of shape"),
        ({"test_labels": np.zeros(TEST, np.int64)}, "test_labels is int64"),
        ({"test_labels": np.zeros(TEST, np.uint8)}, "each of ten classes"),
        ({"train_labels": np.full(TRAIN, 200, np.uint8)}, "each of ten classes"),
    ],
)
def test_other_content_is_refused(tmp_path, changes, sentence):
    path = tmp_path / cifar10.FILE
    np.savez(path, **small_cifar(**changes))
    with pytest.raises(DataError, match=sentence):
        cifar10.read(path)


def test_a_missing_array_is_named(tmp_path):
    path = tmp_path / cifar10.FILE
    np.savez(path, train_images=np.zeros(3))
    with pytest.raises(DataError, match="it has no train_labels"):
        cifar10.read(path)


def test_objects_in_the_file_are_not_unpickled(tmp_path):
    path = tmp_path / cifar10.FILE
    np.savez(path, **small_cifar(train_labels=np.array([print], dtype=object)))
    with pytest.raises(DataError):
        cifar10.read(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / cifar10.FILE
    path.write_bytes(b"old")

    def full_disk(file, **arrays):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cifar10.np, "savez", full_disk)
    monkeypatch.setattr(cifar10, "fetch", lambda folder: small_cifar())
    with pytest.raises(DataError, match="could not be written: No space left"):
        cifar10.make(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RESNET_TUTORIAL_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(DataError, match="could not be written"):
        load("cifar10")


def official_archive() -> bytes:
    """An archive laid out as the official one, with the row number as every pixel of an image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
            images = np.zeros((60, 3, 32, 32), np.uint8)
            images[:, 1] = number  # green says which batch it is
            batch = {"data": images.reshape(60, -1), "labels": [n % 10 for n in range(60)]}
            add(tar, name, batch)
        add(tar, "batches.meta", {"label_names": list(cifar10.CLASSES)})
    return buffer.getvalue()


def add(tar, name, content):
    content = pickle.dumps(content)
    info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def test_the_archive_is_fetched_checked_and_decoded(folder, monkeypatch):
    """The whole way through torchvision, from a server of our own."""
    import hashlib

    from torchvision.datasets import CIFAR10

    body = official_archive()

    class Server(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"
    monkeypatch.setattr(cifar10, "ARCHIVE", address)
    monkeypatch.setattr(CIFAR10, "url", address)
    try:
        with pytest.raises(DataError, match="could not be fetched from 127.0.0.1.*corrupted"):
            load("cifar10")  # the checksum is not the official one's
        assert list(folder.iterdir()) == []
        monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(body).hexdigest())
        for entry in ("train_list", "test_list"):
            monkeypatch.setattr(CIFAR10, entry, [[n, None] for n, _ in getattr(CIFAR10, entry)])
        monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": None})
        data = load("cifar10")
    finally:
        server.shutdown()
        server.server_close()
    assert data.train_images[::60, 0, 0].tolist() == [[0, n, 0] for n in range(5)]
    assert data.test_images[0, 31, 31].tolist() == [0, 5, 0]
    assert [path.name for path in folder.iterdir()] == [cifar10.FILE]


def test_no_network_is_noticed_quickly(folder, monkeypatch):
    monkeypatch.setattr(cifar10, "PROBE_SECONDS", 0.3)
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:
        monkeypatch.setattr(cifar10, "ARCHIVE", f"http://127.0.0.1:{silent.server_port}/x")
        with pytest.raises(DataError, match="did not answer"):
            load("cifar10")  # the server accepts and never answers


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="choose one of cifar10, shapes"):
        load("mnist")
    with pytest.raises(ValueError, match='"auto" or "never"'):
        load("cifar10", download="maybe")


def test_shapes_are_the_same_every_time():
    images, labels = draw(200, seed=7)
    again, _ = draw(200, seed=7)
    other, _ = draw(200, seed=8)
    assert np.array_equal(images, again) and not np.array_equal(images, other)
    assert images.dtype == np.uint8 and images.shape == (200, 32, 32, 3)
    assert np.bincount(labels).tolist() == [20] * len(FORMS)


def test_shapes_come_as_a_set():
    data = load("shapes")
    assert (len(data.train_images), len(data.test_images)) == (5000, 1000)
    assert data.classes == tuple(FORMS)
    flat = data.train_images.reshape(-1, 3) / 255
    assert np.allclose(data.mean, flat.mean(axis=0)) and np.allclose(data.std, flat.std(axis=0))
    assert "5,000 training" in repr(data)


def test_importing_the_data_loads_no_torch():
    code = "import sys, resnet_tutorial.data; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
