"""A flat folder and its labels file: joined by name, or refused."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from noctule.data import open_dataset
from noctule.data.dataset import Dataset
from noctule.errors import InputError
from photos import write

# The first ten validation images of ILSVRC 2012 and their classes, as Caffe's val.txt has them.
FIRST = (65, 970, 230, 809, 516, 57, 334, 415, 674, 332)


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def opened(folder: Path, text: str, names: list[str]) -> Dataset:
    for name in names:
        write(folder / "images" / name, b"")
    labels = write(folder / "labels.txt", text.encode())
    return open_dataset(folder / "images", labels_file=labels)


def label_of(dataset: Dataset) -> dict[str, str]:
    return {
        one: dataset.class_names[label]
        for one, label in zip(dataset.ids, dataset.labels, strict=True)
    }


def test_a_labels_file_may_be_given_as_text(tmp_path: Path) -> None:
    given = opened(tmp_path, "a.png 1\nb.png 0\n", ["a.png", "b.png"])
    as_text = open_dataset(tmp_path / "images", labels_file=str(tmp_path / "labels.txt"))
    assert label_of(as_text) == label_of(given)
    assert as_text.source == given.source
    with pytest.raises(InputError, match="labels_file: 3 is an int, not a path"):
        open_dataset(tmp_path / "images", labels_file=3)


THREE = ["b.png", "a.png", "c.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        "c.jpg 1\na.png 2\nb.png 0\n",
        "c.jpg,1\na.png,2\nb.png,0",
        "c.jpg\t1\r\n\r\na.png\t2\r\nb.png\t0\r\n",
        "\ufeffname,label\nc.jpg,1\na.png,2\nb.png,0\n",
        "filename label\nc 1\na 2\nb 0\n",
        "val/c.jpg 1\nval/deep/a.png 2\n.\\images\\b.png 0\n",
        '"c.jpg", "1"\n"a.png", "2"\n"b.png", "0"\n',
        "c.jpg;1\na.png;2\nb.png;0\n",
        '"c.jpg"\t1\n"a.png"\t2\n"b.png"\t0\n',
        '"c.jpg" 1\n"a.png" 2\n"b.png" 0\n',
        "c.jpg\t1\t0\t32\t44\t62\na.png\t2\t0\t0\t1\t1\nb.png\t0\t5\t5\t9\t9.5\n",
        "c.jpg 1\nnot-here.png 7\na.png 2\nb.png 0\n",
        "c.jpg,1.0\na.png,2.0\nb.png,0.0\n",
        "c.jpg,+1\na.png,02\nb.png,0.\n",
        "c.jpg 1.000000e+00\na.png 2.000000e+00\nb.png 0.000000e+00\n",
    ],
)
def test_forms_of_numbered_labels(tmp_path, text):
    dataset = opened(tmp_path, text, THREE)
    assert dataset.ids == ("a.png", "b.png", "c.jpg")
    assert dataset.labels.tolist() == [2, 0, 1]
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.domain is None


def test_numbers_in_two_notations_are_one_class(tmp_path):
    """As text, 10.0 and 2.0 would sort the other way around."""
    dataset = opened(tmp_path, "c.jpg,10.0\na.png,2.0\nb.png,10\n", THREE)
    assert (dataset.labels.tolist(), len(dataset.class_names)) == ([2, 10, 10], 11)


def test_a_fraction_among_numbers_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"line 2: '2\.5' is not a class index"):
        opened(tmp_path, "c.jpg,10\na.png,2.5\nb.png,1\n", THREE)


def test_named_classes_are_sorted(tmp_path):
    dataset = opened(tmp_path, "name,label\nc,emu\na,cat\nb,dog\nz,ant\n", THREE)
    # The class of an image that is not here counts all the same: a part keeps its numbers.
    assert dataset.class_names == ("ant", "cat", "dog", "emu")
    assert label_of(dataset) == {"a.png": "cat", "b.png": "dog", "c.jpg": "emu"}


def test_without_a_heading_the_first_line_counts(tmp_path):
    dataset = opened(tmp_path, "c emu\na cat\nb dog\n", THREE)
    assert label_of(dataset) == {"a.png": "cat", "b.png": "dog", "c.jpg": "emu"}


def test_a_first_line_with_a_lone_wordnet_id_is_no_heading(tmp_path):
    text = "x n00000001\na n00000003\nb n00000002\nc n00000003\n"
    dataset = opened(tmp_path, text, THREE)
    assert dataset.class_names == ("n00000001", "n00000002", "n00000003")
    assert dataset.labels.tolist() == [2, 1, 2]


def test_imagenets_csv_with_boxes(tmp_path):
    names = ["ILSVRC2012_val_00048981.JPEG", "ILSVRC2012_val_00037956.JPEG"]
    text = (
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00048981,n03995372 85 1 499 272 \n"
        "ILSVRC2012_val_00037956,n03481172 131 0 499 254 n03481172 1 2 3 4\n"
    )
    dataset = opened(tmp_path, text, names)
    assert label_of(dataset) == {names[0]: "n03995372", names[1]: "n03481172"}
    assert dataset.domain is None  # two classes are not the thousand


def test_the_order_of_lines_is_nothing(tmp_path):
    names = [f"{number}.png" for number in range(30)]
    lines = [f"{name} {index % 4}" for index, name in enumerate(names)]
    random.Random(0).shuffle(lines)
    dataset = opened(tmp_path, "\n".join(lines), names)
    expected = {f"{number}.png": str(number % 4) for number in range(30)}
    assert label_of(dataset) == expected


def test_imagenet_by_numbers(tmp_path):
    names = [val_name(number) for number in range(1, 6)]
    lines = [f"{name} {label}" for name, label in zip(names, FIRST, strict=False)]
    dataset = opened(tmp_path, "\n".join(lines[::-1]), names)
    assert dataset.labels.tolist() == list(FIRST[:5])
    assert len(dataset.class_names) == 1000
    assert dataset.domain == "imagenet-1k-val"


def test_imagenet_by_wordnet_ids(tmp_path):
    wnids = pytest.importorskip("timm.data").ImageNetInfo("imagenet-1k").label_names()
    names = [val_name(number) for number in range(1, 1001)]
    text = "\n".join(f"{name} {wnid}" for name, wnid in zip(names, wnids, strict=True))
    dataset = opened(tmp_path, text, names)
    assert dataset.domain == "imagenet-1k-val"
    assert dataset.class_names[65] == "n01751748"  # the first validation image's class
    write(tmp_path / "images" / "extra.png", b"")
    labels = write(tmp_path / "labels.txt", f"{text}\nextra {wnids[0]}".encode())
    assert open_dataset(tmp_path / "images", labels_file=labels).domain is None


@pytest.mark.parametrize(
    "labels",
    [
        [3, 970],  # a known image contradicts: another task on the same images
        [1, 7],  # no label as high as a thousand classes would give
        [0, 1000],  # a class too many
    ],
)
def test_imagenets_files_with_other_labels_are_not_imagenet(tmp_path, labels):
    names = [val_name(1 if labels[0] == 3 else 101), val_name(102)]
    text = "\n".join(f"{name} {label}" for name, label in zip(names, labels, strict=True))
    dataset = opened(tmp_path, text, names)
    assert dataset.domain is None
    assert len(dataset.class_names) == max(labels) + 1


def test_lone_labels_of_imagenet(tmp_path):
    names = [val_name(number) for number in range(1, 11)]
    dataset = opened(tmp_path, "\n".join(map(str, FIRST)), names)
    assert dataset.labels.tolist() == list(FIRST)
    assert dataset.domain == "imagenet-1k-val"


@pytest.mark.parametrize(
    ("names", "count"),
    [(THREE, 3), ([val_name(1), val_name(2)], 3), ([val_name(1), "a.png"], 2)],
)
def test_lone_labels_elsewhere_are_refused(tmp_path, names, count):
    with pytest.raises(
        InputError, match=rf"{count} lines have labels without file names.*'name"
    ):
        opened(tmp_path, "\n".join(map(str, FIRST[:count])), names)


def test_imagenets_own_ground_truth_is_refused(tmp_path):
    # ILSVRC2012_validation_ground_truth.txt begins 490, 361, 171, 822, 297.
    names = [val_name(number) for number in range(1, 6)]
    with pytest.raises(
        InputError, match=r"00000001.JPEG' is labelled 490, but its class is 65"
    ):
        opened(tmp_path, "490\n361\n171\n822\n297\n", names)


def test_labels_from_1_to_1000_are_refused(tmp_path):
    names = [val_name(number) for number in (101, 102, 103)]
    text = f"{names[0]} 1\n{names[1]} 1000\n{names[2]} 3\n"
    with pytest.raises(InputError, match="class indices run from 1 to 1000"):
        opened(tmp_path, text, names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 1\nb.png cat\nc.jpg 0\n", r"line 2: 'cat' is not a class index"),
        ("a.png 1\nb.png 2\n7\nc.jpg 0\n", r"line 3: only some of the lines have a name"),
        ("a.png,1\nb.png,2,3\nc.jpg,0\n", r"line 2: 'b.png,2,3' is not a name and a label"),
        ("a.png,1\nb.png,\nc.jpg,0\n", r"line 2: 'b.png,' is not a name and a label"),
        ("a.png 1\nb.png 2\nc.jpg 0\na 2\n", r"line 4: 'a' already has a label on line 1"),
        ("a.png 1\nb.png 2\n", r"1 of 3 images have no label here: c.jpg. .*'a.png'"),
        ("x.png 1\ny.png 2\n", r"3 of 3 images have no label here: a.png, b.png, c.jpg"),
        ("a.png 1\nb.png -2\nc.jpg 0\n", r"labels.txt: -2 is not a class index"),
        ("a.png 1\nb.png 123456789012\nc.jpg 0\n", r"123456789012 is not a class index"),
        ("", r"labels file is empty"),
        ("\n \n", r"labels file is empty"),
    ],
)
def test_bad_labels_files(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        opened(tmp_path, text, THREE)


def test_same_stem_twice_needs_the_ending(tmp_path):
    with pytest.raises(InputError, match="no label"):
        opened(tmp_path, "a 1\n", ["a.png", "a.jpg"])
    with pytest.raises(InputError, match=r"1 of 2 images have no label here: a\.png"):
        opened(tmp_path, "a.jpg 0\na 1\n", ["a.png", "a.jpg"])
    dataset = opened(tmp_path, "a.png 1\na.jpg 0\n", ["a.png", "a.jpg"])
    assert label_of(dataset) == {"a.png": "1", "a.jpg": "0"}


def test_not_text(tmp_path):
    write(tmp_path / "images/a.png")
    labels = write(tmp_path / "labels.bin", b"\x80\x04\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        open_dataset(tmp_path / "images", labels_file=labels)


def test_missing_or_odd_labels_file(tmp_path):
    write(tmp_path / "images/a.png")
    write(tmp_path / "labels.txt", b"a 1")
    with pytest.raises(InputError, match=r"no such labels file.*'labels\.txt'"):
        open_dataset(tmp_path / "images", labels_file=tmp_path / "label.txt")
    with pytest.raises(InputError, match="is a folder without ILSVRC2012_validation"):
        open_dataset(tmp_path / "images", labels_file=tmp_path)


def test_folder_without_images(tmp_path):
    write(tmp_path / "images/cat/a.png")
    labels = write(tmp_path / "labels.txt", b"a 1")
    with pytest.raises(InputError, match="no images for the labels"):
        open_dataset(tmp_path / "images", labels_file=labels)


def test_tiny_imagenets_own_file(tmp_path):
    lines = [f"val_{n}.JPEG\tn0344403{n % 2 + 4}\t0\t32\t44\t62" for n in range(4)]
    dataset = opened(tmp_path, "\n".join(lines), [f"val_{n}.JPEG" for n in range(3)])
    assert dataset.class_names == ("n03444034", "n03444035")
    assert dataset.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "text",
    [
        '"a, b.png",1\n"c;d.png",0\n',
        '"a, b.png";1\n"c;d.png";0\n',
        "a, b.png\t1\nc;d.png\t0\n",
        '"a, b.png" 1\n"c;d.png" 0\n',
        "a, b.png 1\nc;d.png 0\n",
        '"a, b",1\n"c;d",0\n',
    ],
)
def test_names_with_separators(tmp_path, text):
    dataset = opened(tmp_path, text, ["a, b.png", "c;d.png"])
    assert dataset.labels.tolist() == [1, 0]


def test_class_names_with_spaces_behind_a_tab(tmp_path):
    dataset = opened(tmp_path, "a.png\tgolden retriever\nb.png\ttabby\n", ["a.png", "b.png"])
    assert label_of(dataset) == {"a.png": "golden retriever", "b.png": "tabby"}


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_in_another_unicode_form(tmp_path, forms):
    on_disk, in_file = (unicodedata.normalize(form, "Käfer.png") for form in forms)
    assert on_disk != in_file
    dataset = opened(tmp_path, f"{in_file},1\nb.png,0\n", [on_disk, "b.png"])
    # The id is the same on all disks.
    assert label_of(dataset) == {unicodedata.normalize("NFC", on_disk): "1", "b.png": "0"}


def test_two_names_that_differ_in_their_unicode_form_only(tmp_path):
    names = [unicodedata.normalize(form, "ä.png") for form in ("NFC", "NFD")]
    with pytest.raises(InputError, match="differ only in Unicode normalisation"):
        opened(tmp_path, "\n".join(f"{name} 0" for name in names), names)


@pytest.mark.parametrize("label", ["9" * 5000, "x" * 5000])
def test_a_label_of_thousands_of_characters(tmp_path, label):
    with pytest.raises(InputError, match="line 2: its label has 5,000 characters"):
        opened(tmp_path, f"a.png 0\nb.png {label}\n", ["a.png", "b.png"])
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4, 3), np.uint8))
    (tmp_path / "short.txt").write_text(f"0\n{label}\n")
    with pytest.raises(InputError, match=r"line 2: '.{80}' is not a class index"):
        open_dataset(tmp_path / "x.npy", labels_file=tmp_path / "short.txt")
