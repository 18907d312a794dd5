"""Datasets of PyTorch and the like, against what they themselves give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import FakeData, ImageFolder

from noctule.data import open_dataset
from noctule.errors import InputError, UnreadableImageError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing
from photos import noise_image, png_bytes, write


@pytest.fixture
def folder(tmp_path):
    for index, name in enumerate(("b/1.png", "a/1.png", "a/2.png", "c/1.png")):
        write(tmp_path / name, png_bytes(noise_image(seed=index)))
    return tmp_path


def test_an_image_folder_is_the_folder(folder):
    oracle = open_dataset(folder)
    for items in (
        ImageFolder(str(folder)),
        ImageFolder(str(folder), transform=transforms.ToTensor()),
        DataLoader(ImageFolder(str(folder)), batch_size=3, shuffle=True),
    ):
        dataset = open_dataset(items)
        assert (dataset.ids, dataset.class_names) == (oracle.ids, oracle.class_names)
        assert dataset.labels.tolist() == oracle.labels.tolist()
        for index in range(4):
            assert dataset.read(index).tobytes() == oracle.read(index).tobytes()
    assert dataset.name == "ImageFolder"


def test_a_subset_keeps_the_ids_and_classes_of_the_whole(folder):
    whole = ImageFolder(str(folder))
    dataset = open_dataset(Subset(Subset(whole, [3, 0, 2]), [2, 0]))
    assert dataset.ids == ("b/1.png", "c/1.png")
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.labels.tolist() == [1, 2]
    assert dataset.read(0).tobytes() == noise_image(seed=0).tobytes()
    assert dataset.fingerprint() != open_dataset(whole).fingerprint()


def test_tensors_arrays_mappings_and_names():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)
    first = torch.from_numpy(pixels).movedim(-1, 1)
    cases: list[Any] = [
        TensorDataset(first, torch.tensor([0, 1, 0, 2, 1])),
        TensorDataset(first.float() / 255, torch.tensor([0, 1, 0, 2, 1])),
        Items([{"image": p, "label": k} for p, k in zip(pixels, (0, 1, 0, 2, 1), strict=True)]),
        Items([(Image.fromarray(p), k) for p, k in zip(pixels, "ababc", strict=True)]),
    ]
    for items in cases:
        dataset = open_dataset(items)
        assert dataset.ids == ("000000", "000001", "000002", "000003", "000004")
        for index in range(5):
            assert np.array_equal(np.asarray(dataset.read(index)), pixels[index])
    assert open_dataset(cases[0]).labels.tolist() == [0, 1, 0, 2, 1]
    assert open_dataset(cases[3]).class_names == ("a", "b", "c")


class Items:
    """A dataset that is not PyTorch's."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_worker_processes_read_what_this_process_reads():
    dataset = open_dataset(FakeData(6, (3, 12, 10), num_classes=3))
    here, there = (
        [
            h
            for b in load_batches(dataset, Preprocessing(), in_order(dataset, 2), n)
            for h in b.hashes
        ]
        for n in (0, 2)
    )
    assert here == there
    assert len(set(here)) == 6


def test_the_fingerprint_follows_pixels_labels_and_order():
    items = [(noise_image(seed=k), k % 2) for k in range(600)]
    first = open_dataset(Items(items)).fingerprint()
    assert first == open_dataset(Items(list(items))).fingerprint()
    swapped = [(items[1][0], 0), (items[0][0], 1), *items[2:]]
    relabelled = [*items[:-1], (items[-1][0], 0)]
    shorter = items[:-2]
    found = {open_dataset(Items(one)).fingerprint() for one in (swapped, relabelled, shorter)}
    assert len({first, *found}) == 4


class Random(Items):
    def __getitem__(self, index: int) -> Any:
        return np.random.default_rng().integers(0, 256, (8, 8, 3), dtype=np.uint8), 0


class Stream(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self):
        yield noise_image(), 0


class Broken(Items):
    def __getitem__(self, index: int) -> Any:
        raise KeyError("no such file")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (Stream(), "a Stream can only be iterated"),
        (DataLoader(Stream()), "a Stream can only be iterated"),
        (Items([]), "this dataset has no images"),
        (
            Items([noise_image()]),
            r"Items\[0\]: is a Image, not a pair of image and label. Items",
        ),
        (Items([("x.png", 0)]), r"Items\[0\]: its image is a str"),
        (Items([{"x": 1}]), "has the keys x"),
        (Items([(torch.randn(3, 8, 8), 0)]), "already normalised.*Leave out Normalize"),
        (Items([(torch.zeros(5, 8, 8), 0)]), "shape .* is not a batch|could be"),
        (Items([(Image.new("F", (4, 4)), 0)]), "its pixels are 32-bit numbers"),
        (Random([0]), "gives another image each time it is read"),
        (Broken([0]), "cannot be read: KeyError: 'no such file'"),
        (Items([(noise_image(), 0), (noise_image(), "cat")]), "'cat' is not a class index"),
        (Items([(noise_image(), -1)]), "-1 is not a class index"),
        ([(noise_image(), 0)], "a list is not a dataset"),
        (torch.zeros(2, 3, 8, 8), "a Tensor is not a dataset"),
        (iter([]), "a list_iterator is not a dataset"),
    ],
)
def test_unsuitable(items, message):
    with pytest.raises(InputError, match=message):
        open_dataset(items)


def test_a_later_item_that_fails_is_unreadable():
    items = Items([(noise_image(), 0), (torch.full((3, 4, 4), 7.0), 0)])
    dataset = open_dataset(items)
    with pytest.raises(UnreadableImageError, match=r"000001: .*floats from 7 to 7"):
        dataset.read(1)
    assert dataset.fingerprint() != open_dataset(Items(items.items[:1] * 2)).fingerprint()
