"""Class folders, against torchvision's ImageFolder, and the ways such a folder can be wrong."""

from __future__ import annotations

import os
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from noctule.data import decode, files, imagenet, open_dataset
from noctule.data.files import FileDataset
from noctule.errors import InputError, NoctuleWarning, UnreadableImageError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing
from photos import noise_image, png_bytes, write

ODD_NAMES = [
    "b/1.png", "b/10.PNG", "b/2.Jpg", "B/x.jpeg", "a/deep/z.tif", "a/deep-er/y.tiff",
    "a/deep/er/x.webp", "a/a.bmp", "a/.hidden.png", "a/notes.txt", "a/.DS_Store", "a/x.gif",
    "ä/é.ppm", "1/with space.pgm", "10/0.png", "2/0.png", "loose.png", "readme.md",
    ".dot/0.png",
]  # fmt: skip


def test_order_and_labels_are_imagefolders(tmp_path):
    for name in ODD_NAMES:
        write(tmp_path / name)
    (tmp_path / "a/linked").symlink_to(tmp_path / "b", target_is_directory=True)
    oracle = ImageFolder(str(tmp_path))
    with pytest.warns(NoctuleWarning, match="left out: "):
        dataset = open_dataset(tmp_path)
    # Departures: hidden files and folders are left out, a .gif is an image.
    shown = [one for one in oracle.classes if one != ".dot"]
    samples = [*oracle.samples, (str(tmp_path / "a/x.gif"), oracle.class_to_idx["a"])]
    # ImageFolder sorts a class's files folder by folder; x.gif is its folder's last.
    place = [path for path, _ in samples].index(str(tmp_path / "a/a.bmp"))
    samples.insert(place + 1, samples.pop())
    samples = [(path, label) for path, label in samples if "/." not in path]
    assert list(dataset.class_names) == shown
    assert [str(tmp_path / one) for one in dataset.ids] == [path for path, _ in samples]
    assert [dataset.class_names[one] for one in dataset.labels] == [
        oracle.classes[label] for _, label in samples
    ]
    assert dataset.labels.dtype == np.int64
    assert "a/linked/1.png" in dataset.ids
    assert len(dataset) == len(dataset.ids) == 16


def test_a_relative_folder_keeps_working(tmp_path, monkeypatch):
    write(tmp_path / "set/cat/1.png", png_bytes(noise_image()))
    monkeypatch.chdir(tmp_path / "set")
    dataset = open_dataset(".")
    assert dataset.name == "set"
    monkeypatch.chdir("/")
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.ids == ("cat/1.png",)
    assert copy.read(0).tobytes() == noise_image().tobytes()


def test_fingerprint_is_of_the_content_not_the_place(tmp_path):
    def made(place: str, **changes: bytes) -> str:
        for name in ("x", "y"):
            write(tmp_path / place / "cat" / f"{name}.png", changes.get(name, b"123"))
        write(tmp_path / place / changes.get("other", b"dog").decode() / "z.png")
        return open_dataset(tmp_path / place).fingerprint()

    first = made("here")
    assert first == made("there") == open_dataset(tmp_path / "here").fingerprint()
    assert len(first) == 64
    assert first != made("longer", x=b"1234")
    assert first != made("renamed", other=b"bird")
    (tmp_path / "there/cat/y.png").rename(tmp_path / "there/dog/y.png")
    assert first != open_dataset(tmp_path / "there").fingerprint()


def test_a_file_that_is_gone_or_bad_is_named(tmp_path):
    write(tmp_path / "cat/1.png")
    write(tmp_path / "cat/2.png", b"")
    (tmp_path / "cat/3.png").symlink_to("nowhere.png")
    dataset = open_dataset(tmp_path)
    assert dataset.read(0).size == (1, 1)
    for index, reason in ((1, "empty"), (2, "no such file")):
        with pytest.raises(UnreadableImageError, match=reason) as caught:
            dataset.read(index)
        assert caught.value.image_id == dataset.ids[index]
    assert len(dataset.fingerprint()) == 64


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_circles_of_links_end_and_count_once(tmp_path):
    write(tmp_path / "a/1.png")
    write(tmp_path / "b/2.png")
    (tmp_path / "a/self").symlink_to(tmp_path / "a")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/other").symlink_to(tmp_path / "b")
    (tmp_path / "b/other").symlink_to(tmp_path / "a")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    with pytest.warns(NoctuleWarning, match="2 without suffix"):  # links to themselves
        dataset = open_dataset(tmp_path)
    # a/other/other is a again, b/other/other is b again: neither is entered. a/up is entered
    # once, and a/up/a is a again.
    assert dataset.class_names == ("a", "b")
    assert dataset.ids == (
        "a/1.png", "a/other/2.png", "a/up/b/2.png", "b/2.png", "b/other/1.png",
    )  # fmt: skip


def test_names_that_are_not_unicode(tmp_path):
    try:
        write(Path(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/caf\xe9.png")))
    except OSError:
        pytest.skip("this file system has Unicode names only")
    dataset = open_dataset(tmp_path)
    assert dataset.ids[0].encode("utf-8") == b"cat/caf\\udce9.png"
    assert dataset.read(0).size == (1, 1)


def test_empty(tmp_path):
    with pytest.raises(InputError, match="this folder is empty"):
        open_dataset(tmp_path)


def test_no_class_folders(tmp_path):
    write(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"no class subfolders, but 1 images.*--labels FILE"):
        open_dataset(tmp_path)
    (tmp_path / "1.png").rename(tmp_path / "1.txt")
    with pytest.raises(InputError, match="neither class subfolders nor images"):
        open_dataset(tmp_path)


def test_class_without_images(tmp_path):
    write(tmp_path / "cat/1.png")
    write(tmp_path / "dog/1.heic")
    (tmp_path / "emu").mkdir()
    with pytest.raises(
        InputError,
        match=r"2 class folders contain no image: dog, emu; left out: 1 files .*\. Fill",
    ):
        open_dataset(tmp_path)


def test_one_level_too_high(tmp_path):
    write(tmp_path / "train/cat/1.png")
    write(tmp_path / "val/cat/1.png")
    with pytest.raises(InputError, match=rf"splits, not classes: train, val.*{tmp_path}/val"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("inner", [False, True])
def test_unreadable_folder(tmp_path, monkeypatch, inner):
    write(tmp_path / "cat/1.png")
    real = os.scandir

    def scandir(path: str | Path) -> object:
        if str(path) == str(tmp_path / "cat" if inner else tmp_path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    # Patched, not chmod: tests may run as root, who may read everything.
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="cannot be read: Permission denied") as caught:
        open_dataset(tmp_path)
    assert caught.value.where == str(tmp_path / "cat" if inner else tmp_path)


def test_an_id_given_twice(tmp_path):
    with pytest.raises(InputError, match=r"the image id 'a\.png' occurs twice"):
        FileDataset("x", ["cat"], tmp_path, ["b.png", "a.png", "a.png"], [0, 0, 0])


def test_a_label_out_of_range(tmp_path):
    with pytest.raises(InputError, match="labels run from 0 to 2, but there are 2 classes"):
        FileDataset("x", ["cat", "dog"], tmp_path, ["a.png", "b.png"], [0, 2])
    with pytest.raises(InputError, match="2 images but 1 labels"):
        FileDataset("x", ["cat", "dog"], tmp_path, ["a.png", "b.png"], [0])
    with pytest.raises(InputError, match="no images"):
        FileDataset("x", ["cat", "dog"], tmp_path, [], [])


def wnids() -> list[str]:
    info = pytest.importorskip("timm.data").ImageNetInfo("imagenet-1k")
    return sorted(info.label_names())


def test_imagenet_is_known_by_its_classes_and_names(tmp_path):
    for number, wnid in enumerate(wnids(), start=1):
        write(tmp_path / wnid / f"ILSVRC2012_val_{number:08d}.JPEG", b"")
    dataset = open_dataset(tmp_path)
    assert dataset.domain == "imagenet-1k-val"
    assert len(dataset.class_names) == 1000
    # Neither training images, nor other classes, nor fewer of them.
    first = tmp_path / "n01440764"
    file = next(first.iterdir())
    file.rename(first / "n01440764_10026.JPEG")
    assert open_dataset(tmp_path).domain is None
    (first / "n01440764_10026.JPEG").rename(file)
    assert open_dataset(tmp_path).domain == "imagenet-1k-val"
    first.rename(tmp_path / "n01440765")
    assert open_dataset(tmp_path).domain is None
    (tmp_path / "n01440765" / file.name).unlink()
    (tmp_path / "n01440765").rmdir()
    assert open_dataset(tmp_path).domain is None


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ILSVRC2012_val_00000293.JPEG", 293),
        ("n01440764/ILSVRC2012_val_00050000.png", 50_000),
        ("ILSVRC2012_val_0000293.JPEG", None),
        ("xILSVRC2012_val_00000293.JPEG", None),
        ("ILSVRC2012_val_00000293_copy.JPEG", None),
        ("ILSVRC2012_test_00000293.JPEG", None),
    ],
)
def test_validation_names(name, number):
    assert imagenet.validation_number(name) == number


def test_missing_path_names_the_neighbour(tmp_path):
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(InputError, match=f"no such file or folder. '{tmp_path}' .*'imagenet'"):
        open_dataset(tmp_path / "imagenett")
    with pytest.raises(InputError, match=f"'{tmp_path}/imagenet' exists, but contains no name"):
        open_dataset(tmp_path / "imagenet" / "val")
    with pytest.raises(InputError, match="no such file or folder"):
        open_dataset("/no/such/place/at/all")


def test_torchvisions_endings_and_more():
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert set(files.image_suffixes()) > {*IMG_EXTENSIONS, ".jfif", ".gif"}


def test_every_ending_is_of_a_format_that_can_be_decoded():
    Image.init()
    known = {end for end, name in Image.EXTENSION.items() if name in decode.formats()}
    assert set(files.image_suffixes()) <= known


def test_what_is_left_out_is_said(tmp_path):
    for name in (
        "cat/1.png", "cat/2.heic", "cat/3.HEIC", "cat/notes.txt", "cat/._1.png",
        "cat/.ipynb_checkpoints/1-checkpoint.png", "cat/.DS_Store", "cat/Thumbs.db",
        "dog/1.jfif", "dog/@eaDir/1.png", "@eaDir/1.png", ".git/x", "__MACOSX/cat/1.png",
        "loose.png", ".DS_Store",
    ):  # fmt: skip
        write(tmp_path / name)
    expected = (
        "3 files that are not images (2 .heic, 1 .txt), 6 hidden (.git, @eaDir and 4 more), "
        "1 images beside the class folders (loose.png)"
    )
    with pytest.warns(NoctuleWarning) as caught:
        dataset = open_dataset(tmp_path)
    assert str(caught[0].message) == f"{tmp_path}: left out: {expected}"
    assert dataset.ids == ("cat/1.png", "dog/1.jfif")
    assert repr(dataset).endswith(f"2 images, 2 classes; left out: {expected}>")
    (tmp_path / "labels.csv").write_text("loose.png,0")
    write(tmp_path / ".hidden.png")
    with pytest.warns(NoctuleWarning):
        flat = open_dataset(tmp_path, labels_file=tmp_path / "labels.csv")
    assert (flat.ids, flat.left_out) == (("loose.png",), "1 hidden (.hidden.png)")


def test_nothing_is_said_where_nothing_is_left_out(tmp_path):
    for name in ("cat/1.png", "cat/.DS_Store", "dog/1.png", "Thumbs.db"):
        write(tmp_path / name)
    assert open_dataset(tmp_path).left_out == ""  # and no warning, which would be an error


def test_a_background_is_asked_for_recorded_and_part_of_the_data(tmp_path):
    clear = noise_image(4, 4).copy()
    clear.putalpha(0)
    for name in ("cat/1.png", "dog/1.png"):
        write(tmp_path / name, png_bytes(clear))
    white, again, grey = (
        open_dataset(tmp_path, background=one) for one in (None, "white", "grey")
    )
    assert [one.read(0).getpixel((0, 0)) for one in (white, again, grey)] == [
        (255, 255, 255), (255, 255, 255), (128, 128, 128),
    ]  # fmt: skip
    assert white.fingerprint() == again.fingerprint() != grey.fingerprint()
    black = open_dataset(grey, background="black")
    assert (black.background, grey.background) == ("#000000", "#808080")
    assert grey.source == {"spec": str(tmp_path), "background": "#808080"}
    with pytest.raises(InputError, match="have no transparency"):
        open_dataset("photo-patches", background="white")


@pytest.mark.parametrize("workers", [0, 1])
def test_transparency_is_said_once(tmp_path, workers):
    clear = noise_image(4, 4).copy()
    clear.putalpha(9)
    for index in range(6):
        write(
            tmp_path / f"cat/{index}.png", png_bytes(clear if index % 2 else noise_image(4, 4))
        )
    dataset = open_dataset(tmp_path)
    with pytest.warns(NoctuleWarning, match="are shown on #ffffff") as caught:
        list(load_batches(dataset, Preprocessing(), in_order(dataset, 2), workers))
    assert len({str(one.message) for one in caught}) == 1


def test_ids_and_classes_are_the_same_on_disks_of_another_unicode_form(tmp_path):
    datasets = []
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "Käfer/ä.png")
        write(tmp_path / form / name, png_bytes(noise_image(4, 4)))
        datasets.append(open_dataset(tmp_path / form))
    first, second = datasets
    assert first.ids == second.ids == ("Käfer/ä.png",)
    assert first.class_names == second.class_names == ("Käfer",)
    assert first.fingerprint() == second.fingerprint()
    assert second.read(0).size == (4, 4)


def test_tiny_imagenets_validation_folder_as_it_is_downloaded(tmp_path):
    write(tmp_path / "val/images/val_0.JPEG")
    labels = write(
        tmp_path / "val/val_annotations.txt", b"val_0.JPEG\tn03444034\t0\t32\t44\t62\n"
    )
    with pytest.raises(InputError, match=rf"Use {tmp_path}/val/images and --labels {labels}"):
        open_dataset(tmp_path / "val")
    dataset = open_dataset(tmp_path / "val/images", labels_file=labels)
    assert dataset.class_names == ("n03444034",)
