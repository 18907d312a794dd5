"""ImageNet's validation folder as distributed: the development kit's labels, or Kaggle's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from noctule.data import devkit, imagenet, open_dataset
from noctule.errors import InputError
from photos import write

# The ground truth begins with these numbers, which are these indices of the sorted WordNet ids.
NUMBERS = (490, 361, 171, 822, 297, 482, 13, 704, 599, 164)
INDICES = (65, 970, 230, 809, 516, 57, 334, 415, 674, 332)


@pytest.fixture(scope="module")
def wnids() -> list[str]:
    info = pytest.importorskip("timm.data").ImageNetInfo("imagenet-1k")
    return sorted(info.label_names())


def kit(folder: Path, wnids: list[str], truth: str = "490\n361\n171\n822\n297\n") -> Path:
    """A kit of the real form: 1000 leaves in an order of their own, and inner nodes after."""
    others = [index for index in range(1000) if index not in INDICES]
    order = dict(zip(NUMBERS, INDICES, strict=True))
    rest = iter(others[::-1])
    by_number = [order.get(number) for number in range(1, 1001)]
    ids = [wnids[next(rest) if index is None else index] for index in by_number]
    kind = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.zeros(len(ids) + 2, dtype=[*kind, ("num_children", object)])
    for row, wnid in enumerate([*ids, "n00001740", "n00002137"]):
        synsets[row] = (row + 1, wnid, "some words", 0 if row < 1000 else 2)
    write(folder / "data" / devkit.TRUTH_FILE, truth.encode())
    savemat(folder / "data" / devkit.META_FILE, {"synsets": synsets})
    return folder


def images(folder: Path, *numbers: int) -> Path:
    for number in numbers:
        write(folder / imagenet.validation_name(number))
    return folder


@pytest.mark.parametrize("inside", ["", "data", f"data/{devkit.TRUTH_FILE}"])
def test_the_kits_labels(tmp_path, wnids, inside):
    labels = kit(tmp_path / "kit", wnids) / inside
    dataset = open_dataset(images(tmp_path / "val", 1, 2, 3, 4, 5), labels_file=labels)
    assert dataset.labels.tolist() != list(
        INDICES[:5]
    )  # only five classes are in this kit's truth
    names = [dataset.class_names[label] for label in dataset.labels]
    assert names == [wnids[index] for index in INDICES[:5]]


def test_a_whole_kit_gives_the_domain_and_the_sorted_order(tmp_path, wnids):
    rest = [number for number in range(1, 1001) if number not in NUMBERS]
    truth = "\n".join(map(str, [*NUMBERS, *rest]))
    labels = kit(tmp_path / "kit", wnids, truth)
    # Part of the images, joined by number and not by position.
    dataset = open_dataset(images(tmp_path / "val", 5, 2, 3), labels_file=labels)
    assert dataset.ids == tuple(map(imagenet.validation_name, (2, 3, 5)))
    assert dataset.labels.tolist() == [970, 230, 516]
    assert list(dataset.class_names) == wnids
    assert dataset.domain == "imagenet-1k-val"
    again = open_dataset(dataset.source["spec"], labels_file=dataset.source["labels_file"])
    assert again.fingerprint() == dataset.fingerprint()


def test_kaggles_solution_gives_the_same(tmp_path, wnids):
    """Its lines are in no order, and some images have several boxes."""
    lines = [f"ILSVRC2012_val_{n:08d},{wnids[n % 1000]} 1 2 3 4 " for n in range(1000, 10, -1)]
    known = zip(range(1, 11), INDICES, strict=True)
    lines += [f"ILSVRC2012_val_{n:08d},{wnids[k]} 1 2 3 4 {wnids[k]} 5 6 7 8" for n, k in known]
    rest = [f"ILSVRC2012_val_{2000 + k:08d},{wnids[k]} 1 2 3 4 " for k in range(1, 11)]
    text = "\n".join(["ImageId,PredictionString", *lines, *rest])
    labels = write(tmp_path / "LOC_val_solution.csv", text.encode())
    dataset = open_dataset(images(tmp_path / "val", 1, 2, 3, 4, 5), labels_file=labels)
    assert dataset.labels.tolist() == list(INDICES[:5])
    assert list(dataset.class_names) == wnids
    assert dataset.domain == "imagenet-1k-val"


def test_truth_without_the_kits_order_is_refused(tmp_path, wnids):
    folder = kit(tmp_path / "kit", wnids) / "data"
    (folder / devkit.META_FILE).unlink()
    with pytest.raises(InputError, match=r"labelled 490, but its class is 65.*devkit_t12"):
        open_dataset(
            images(tmp_path / "val", 1, 2, 3, 4, 5), labels_file=folder / devkit.TRUTH_FILE
        )
    with pytest.raises(InputError, match=r"data: is a folder without meta.mat"):
        open_dataset(tmp_path / "val", labels_file=tmp_path / "kit")


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ("490\n1001\n", "line 2: '1001' is not one of the 1000 classes"),
        ("490\ncat\n", "line 2: 'cat' is not"),
        ("490\n171\n", "00000002.JPEG' has class 230 .* but its class is 970"),
        ("490\n", "4 of 5 images have no label"),
    ],
)
def test_damaged_truth(tmp_path, wnids, truth, message):
    labels = kit(tmp_path / "kit", wnids, truth)
    with pytest.raises(InputError, match=message):
        open_dataset(images(tmp_path / "val", 1, 2, 3, 4, 5), labels_file=labels)


def test_damaged_or_other_meta(tmp_path, wnids):
    labels = kit(tmp_path / "kit", wnids)
    meta = labels / "data" / devkit.META_FILE
    images(tmp_path / "val", 1)
    whole = meta.read_bytes()
    for content in (b"", b"not a matrix", whole[: len(whole) // 2]):
        meta.write_bytes(content)
        with pytest.raises(InputError, match=r"meta.mat: is not the meta.mat of ImageNet's"):
            open_dataset(tmp_path / "val", labels_file=labels)
    kit(tmp_path / "kit", [*wnids[:-1], "n99999999"])
    with pytest.raises(InputError, match=r"describes 1000 classes, which are not the 1000"):
        open_dataset(tmp_path / "val", labels_file=labels)
