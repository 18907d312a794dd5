"""torchvision's datasets from small files of their own formats, and their absence."""

from __future__ import annotations

import pickle
import struct
from urllib.parse import quote

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from noctule.data import open_dataset
from noctule.data.sources.torchvision import _SETS
from noctule.errors import InputError
from photos import noise_image, png_bytes, write

DIGITS = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)


@pytest.fixture
def mnist(tmp_path):
    raw = tmp_path / "my sets & 100%20" / "FashionMNIST" / "raw"
    for part in ("train", "t10k"):
        images = struct.pack(">IIII", 0x803, 4, 28, 28) + DIGITS.tobytes()
        labels = struct.pack(">II", 0x801, 4) + bytes([3, 9, 0, 3])
        write(raw / f"{part}-images-idx3-ubyte", images)
        write(raw / f"{part}-labels-idx1-ubyte", labels)
    return tmp_path / "my sets & 100%20"


def test_array_set(mnist):
    dataset = open_dataset(f"torchvision:FashionMNIST?root={quote(str(mnist))}")
    oracle = datasets.FashionMNIST(str(mnist), train=False)
    assert dataset.name == "torchvision:FashionMNIST/test"
    assert list(dataset.class_names) == oracle.classes
    assert dataset.ids == ("test/000000", "test/000001", "test/000002", "test/000003")
    for index, (image, label) in enumerate(oracle):
        assert dataset.read(index).tobytes() == image.tobytes()
        assert dataset.read(index).mode == image.mode == "L"
        assert dataset.labels[index] == label
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.fingerprint() == dataset.fingerprint()
    train = open_dataset(f"torchvision:FashionMNIST?split=train&root={quote(str(mnist))}")
    assert train.ids[0] == "train/000000"


def test_colour_set(tmp_path, monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    batch = {"data": pixels.reshape(3, -1), "labels": [1, 0, 9]}
    folder = tmp_path / "cifar-10-batches-py"
    write(folder / "test_batch", pickle.dumps(batch))
    names = [f"class {index}" for index in range(10)]
    write(folder / "batches.meta", pickle.dumps({"label_names": names}))
    # torchvision unpickles files of the right checksum only; these stand in for them.
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *args: True)
    dataset = open_dataset(f"torchvision:CIFAR10?root={tmp_path}")
    assert list(dataset.class_names) == names
    assert dataset.labels.tolist() == [1, 0, 9]
    for index, expected in enumerate(pixels.transpose(0, 2, 3, 1)):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), expected)


def test_channels_first_set(tmp_path, monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": pixels, "y": np.array([[1], [10], [2], [9]])})
    monkeypatch.setattr(datasets.svhn, "check_integrity", lambda *args: True)
    dataset = open_dataset(f"torchvision:SVHN?root={tmp_path}")
    assert dataset.labels.tolist() == [1, 0, 2, 9]  # the digit 0 is stored as 10
    assert dataset.class_names == tuple("0123456789")
    np.testing.assert_array_equal(np.asarray(dataset.read(3)), pixels[..., 3])


@pytest.fixture
def textures(tmp_path):
    lines = ["knitted/knitted_2.jpg", "banded/banded_1.jpg", "banded/banded_3.jpg"]
    for number, line in enumerate(lines):
        write(tmp_path / "dtd/dtd/images" / line, png_bytes(noise_image(seed=number)))
    write(tmp_path / "dtd/dtd/labels/test1.txt", "\n".join(lines).encode())
    return tmp_path


def test_file_set(textures):
    dataset = open_dataset(f"torchvision:DTD?root={textures}&split=test")
    oracle = datasets.DTD(str(textures), split="test")
    assert dataset.class_names == tuple(oracle.classes) == ("banded", "knitted")
    assert dataset.ids == ("test/000000", "test/000001", "test/000002")
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.fingerprint() == dataset.fingerprint()
    for index, (image, label) in enumerate(oracle):
        assert copy.read(index).tobytes() == image.tobytes()
        assert copy.labels[index] == label


def test_pairs_of_file_and_label(tmp_path):
    for name in ("Forest/a.jpg", "Forest/b.jpg", "River/a.jpg"):
        write(tmp_path / "eurosat/2750" / name)
    dataset = open_dataset(f"torchvision:EuroSAT?root={tmp_path}")
    assert dataset.class_names == ("Forest", "River")
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.ids[2] == "all/000002"
    assert dataset.read(2).size == (1, 1)


@pytest.mark.parametrize("name", _SETS)
def test_missing_data_says_how_to_get_it(tmp_path, name):
    """Also that torchvision takes every default split we name: else it says so instead."""
    for split in _SETS[name].splits:
        with pytest.raises(InputError) as caught:
            open_dataset(f"torchvision:{name}?root={tmp_path}&split={split}")
        text = str(caught.value)
        assert "not found" in text.lower() or "No such file" in text, text
        assert f"torchvision.datasets.{name}('{tmp_path}'" in text
        assert "download=True)" in text
        assert f"torchvision:{name}?root=FOLDER" in text
    assert list(tmp_path.iterdir()) == [], "nothing may be downloaded or made"


def test_damaged_data(mnist):
    file = mnist / "FashionMNIST/raw/t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot open FashionMNIST"):
        open_dataset(f"torchvision:FashionMNIST?root={quote(str(mnist))}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "torchvision:CIFAR_10",
            "unknown torchvision dataset 'CIFAR_10'. Did you mean 'CIFAR10'",
        ),
        ("torchvision:", "unknown torchvision dataset ''"),
        ("torchvision:CIFAR10?splt=test", "unknown option 'splt'. Did you mean 'split'"),
        ("torchvision:CIFAR10?split=tst", "unknown split 'tst'. Did you mean 'test'"),
        ("torchvision:STL10?split=unlabeled", "unknown split 'unlabeled'"),
    ],
)
def test_bad_specs(spec, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        open_dataset(spec)
