"""Published folders: what a hand-made classifier sees of each image, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import noctule
from noctule.benchmarks import Benchmark
from noctule.data import open_dataset
from noctule.evaluation.settings import Settings
from noctule.models import Preprocessing, load_classifier
from noctule.stored import evaluate_stored, open_stored

SIDE = 8
CLASSES = ("n01", "n02", "n03")
PER_CLASS = 2
FIVE = Benchmark(
    name="five",
    title="Five",
    source="tests",
    corruptions=("shear", "gaussian"),
    severities=(1, 2, 3, 4, 5),
)
SEVERITIES = ("1", "2", "3", "4", "5")
# Sorted as text, 10.0 would come first.
DECIMALS = ("2.35", "3.15", "4.9", "7.5", "10.0")
ONE_PROCESS = Settings(device="cpu", batch_size=4, workers=0, self_check=False)


class Says(torch.nn.Module):
    """Predicts the class whose number, times 10, the red of the corner pixel is nearest to."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red = images[:, 0, 0, 0, None] * 255
        return -((red - 10 * torch.arange(self.classes)).abs())


def planned(condition: str, number: int, label: int) -> int:
    """What the model is to say of an image under a condition: nothing a reader could guess."""
    key = sum(map(ord, condition)) * 7 + number * 5
    return label if condition == "clean" else (label + key) % len(CLASSES)


def image_predicted_as(prediction: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    return Image.new("RGB", size, (10 * prediction, 99, 7))


def write_condition(folder: Path, condition: str, suffix: str = "png") -> None:
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            image = image_predicted_as(planned(condition, number, label))
            image.save(folder / name / f"val_{number}.{suffix}")


def write_folders(
    root: Path,
    *,
    severities: tuple[str, ...] = SEVERITIES,
    category: Callable[[str], str] = lambda corruption: "",
    clean: bool = True,
    suffix: str = "png",
) -> Path:
    for corruption in FIVE.corruptions:
        for severity, name in enumerate(severities, start=1):
            place = root / category(corruption) / corruption / name
            write_condition(place, f"{corruption}@{severity}", suffix)
    if clean:
        write_condition(root / "clean", "clean")
    return root


def expected(image_id: Callable[[str, int], str] = lambda name, k: f"{name}/val_{k}.png"):
    return {
        (image_id(name, number), condition): (label, planned(condition, number, label))
        for condition in map(str, FIVE.conditions)
        for label, name in enumerate(CLASSES)
        for number in range(PER_CLASS)
    }


def outcomes(run: noctule.RunStore) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (row["image_id"], row["condition"]): (row["label"], row["prediction"])
        for row in run.rows().to_pylist()
    }


def evaluated(folder: Path, tmp_path: Path, **changes: Any) -> noctule.RunStore:
    arguments = {"benchmark": FIVE, "settings": ONE_PROCESS, "out": tmp_path / "run", **changes}
    return evaluate_stored(arguments.pop("model", Says()), folder, **arguments).run


# Class folders


@pytest.mark.parametrize("severities", [SEVERITIES, DECIMALS], ids=["1-5", "severities"])
@pytest.mark.parametrize("in_categories", [False, True])
def test_every_image_of_imagenet_c_is_read_under_its_own_name(
    tmp_path: Path, severities: tuple[str, ...], in_categories: bool
) -> None:
    archive = {"shear": "extra", "gaussian": "noise"} if in_categories else {}
    folder = write_folders(
        tmp_path / "imagenet-c",
        severities=severities,
        category=lambda name: archive.get(name, ""),
    )
    run = evaluated(folder, tmp_path)
    assert outcomes(run) == expected()
    told = run.identity.dataset
    assert (told["name"], told["stored"]["layout"]) == ("imagenet-c", "folders")
    assert (told["stored"]["clean"], told["stored"]["resize"]) == ("folder", False)


def test_rows_do_not_depend_on_workers(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set")
    for workers in (0, 2):
        settings = Settings(device="cpu", batch_size=4, workers=workers, self_check=False)
        evaluated(folder, tmp_path, out=tmp_path / str(workers), settings=settings)
    paths = [tmp_path / one / "rows/000000.parquet" for one in ("0", "2")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def originals(folder: Path, *, suffix: str = "JPEG") -> Path:
    """Data with more images and one class more than the stored set."""
    for label, name in enumerate((*CLASSES, "n04")):
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS + 1):
            image_predicted_as(label).save(folder / name / f"val_{number}.{suffix}", "PNG")
    return folder


def test_clean_images_and_ids_come_from_the_data(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set", clean=False)
    run = evaluated(folder, tmp_path, data=originals(tmp_path / "val"), model=Says(4))
    assert outcomes(run) == expected(lambda name, k: f"{name}/val_{k}.JPEG")
    assert run.identity.dataset["num_classes"] == 4
    assert run.identity.dataset["stored"]["clean"] == "data"


def test_a_part_of_a_published_set_goes_by_the_ids_of_the_data(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set", clean=False)
    chosen = ["n03/val_0.JPEG", "n01/val_1.JPEG"]
    (tmp_path / "ids.txt").write_text("\n".join(chosen))
    data = originals(tmp_path / "val")
    run = evaluated(folder, tmp_path, data=data, model=Says(4), ids_file=tmp_path / "ids.txt")
    whole = expected(lambda name, k: f"{name}/val_{k}.JPEG")
    assert outcomes(run) == {key: whole[key] for key in whole if key[0] in chosen}
    assert run.identity.dataset["subset"]["num_images"] == 6  # of the set, not of the data
    assert "live_fingerprint" not in run.identity.dataset["stored"]


def test_classes_in_the_datas_order(tmp_path: Path) -> None:
    """A flat folder counts classes its own way: here n01, n02, n03 are 2, 0, 1."""
    flat, label_of = tmp_path / "flat", {"n01": 2, "n02": 0, "n03": 1}
    flat.mkdir()
    folder = tmp_path / "set"
    lines = []
    for condition in map(str, FIVE.conditions[1:]):
        for name, label in label_of.items():
            place = folder / condition.replace("@", "/") / name
            place.mkdir(parents=True)
            image_predicted_as(label).save(place / f"{name}_a.png")
    for name, label in label_of.items():
        image_predicted_as(label).save(flat / f"{name}_a.png")
        lines.append(f"{name}_a.png {label}\n")
    (tmp_path / "labels.txt").write_text("".join(lines))
    data = open_dataset(flat, labels_file=tmp_path / "labels.txt")
    run = evaluated(folder, tmp_path, data=data)
    found = outcomes(run)
    assert len(found) == 3 * 11
    for (image_id, _), (label, prediction) in found.items():
        assert label == prediction == label_of[image_id[:3]]


def test_data_of_other_images_is_refused(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set", clean=False)
    data = originals(tmp_path / "val")
    (data / "n02" / "val_1.JPEG").unlink()
    with pytest.raises(
        noctule.InputError, match=r"1 of the 6 images are not in \S*val: n02/val_1"
    ):
        open_stored(folder, FIVE, open_dataset(data))


def test_data_whose_labels_split_a_class_is_refused(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set", clean=False)
    for place in folder.glob("*/*/n0?"):  # file names that tell all images apart
        for path in place.iterdir():
            path.rename(path.with_stem(f"{place.name}_{path.stem}"))
    (tmp_path / "flat").mkdir()
    names = [f"{name}_val_{number}.png" for name in CLASSES for number in range(PER_CLASS)]
    for name in names:
        image_predicted_as(0).save(tmp_path / "flat" / name)
    lines = [f"{name} {number // 2}\n" for number, name in enumerate(names)]
    (tmp_path / "labels.txt").write_text("".join(lines))
    data = open_dataset(tmp_path / "flat", labels_file=tmp_path / "labels.txt")
    assert open_stored(folder, FIVE, data).labels.tolist() == [0, 0, 1, 1, 2, 2]
    lines[3] = f"{names[3]} 2\n"
    (tmp_path / "labels.txt").write_text("".join(lines))
    data = open_dataset(tmp_path / "flat", labels_file=tmp_path / "labels.txt")
    with pytest.raises(noctule.InputError, match="class 'n02' have the labels 1 and 2 in flat"):
        open_stored(folder, FIVE, data)


def test_without_clean_images_there_are_no_clean_rows_and_no_relative_ce(
    tmp_path: Path,
) -> None:
    folder = write_folders(tmp_path / "set", clean=False)
    run, scores = evaluate_stored(
        Says(), folder, FIVE, out=tmp_path / "run", settings=ONE_PROCESS
    )
    due = {key: value for key, value in expected().items() if key[1] != "clean"}
    assert outcomes(run) == due
    wrong = sum(label != prediction for label, prediction in due.values())
    assert not scores.has_clean
    assert scores.of("mean_error").value == pytest.approx(wrong / len(due))
    assert scores.of("relative_mce").value is None
    again = noctule.RunStore.open(tmp_path / "run")
    assert again.missing_slices() == []


def bordered(label: int) -> Image.Image:
    """48 px, whose border says the class; resized to 64 and cropped to 48 it is cut off."""
    image = Image.new("RGB", (48, 48), (255, 0, 0))
    image.paste((10 * label, 0, 0), (0, 0, 48, 3))
    return image


@pytest.mark.parametrize(("crop", "resized"), [(48, False), (40, True)])
def test_images_of_the_models_size_are_not_resized_and_cropped_again(
    tmp_path: Path, crop: int, resized: bool
) -> None:
    folder = tmp_path / "set"
    for condition in map(str, FIVE.conditions[1:]):
        for label, name in enumerate(CLASSES):
            place = folder / condition.replace("@", "/") / name
            place.mkdir(parents=True)
            bordered(label).save(place / "a.png")
    for label, name in enumerate(CLASSES):  # 96 px: resized to 64, of which 8 px are cut off
        (tmp_path / "val" / name).mkdir(parents=True)
        image = Image.new("RGB", (96, 96), (255, 0, 0))
        image.paste((10 * label, 0, 0), (10, 10, 86, 86))
        image.save(tmp_path / "val" / name / "a.png")
    preprocessing = Preprocessing(resize_px=64, crop_px=(crop, crop), interpolation="nearest")
    run = evaluate_stored(
        load_classifier(Says(), preprocessing=preprocessing),
        folder,
        FIVE,
        data=tmp_path / "val",
        out=tmp_path / "run",
        settings=ONE_PROCESS,
    ).run
    right = {
        condition: all(
            label == prediction for (_, of), (label, prediction) in found if of == condition
        )
        for found in [outcomes(run).items()]
        for condition in run.identity.conditions
    }
    assert right.pop("clean")
    # Resized, the corner is that of the middle: red, which is nearest to the last class.
    assert set(right.values()) == {not resized}
    assert run.identity.dataset["stored"]["resize"] is resized


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(resize_px=12, crop_px=(SIDE, SIDE)), Preprocessing()],
    ids=["as ImageNet-C", "none"],
)
@pytest.mark.parametrize("odd", ["gaussian/4/n02/val_1.png", "shear/1/n01/val_0.png"])
def test_a_image_of_another_size_is_unreadable_where_nothing_resizes(
    tmp_path: Path, preprocessing: Preprocessing, odd: str
) -> None:
    folder = write_folders(tmp_path / "set")
    image_predicted_as(0, (9, 9)).save(folder / odd)
    model = load_classifier(Says(), preprocessing=preprocessing)
    what = rf"{odd}.*: it is 9 × 9 px, and the set's others are {SIDE} × {SIDE} px"
    with pytest.raises(noctule.UnreadableImageError, match=what):
        evaluate_stored(model, folder, FIVE, out=tmp_path / "a", settings=ONE_PROCESS)
    skip = replace(ONE_PROCESS, on_unreadable="skip")
    run = evaluate_stored(model, folder, FIVE, out=tmp_path / "b", settings=skip).run
    left_out = odd.split("/", 2)[2]
    assert [image_id for image_id, _ in run.unreadable()] == [left_out]
    assert outcomes(run) == {
        key: value for key, value in expected().items() if key[0] != left_out
    }


def test_a_crop_larger_than_the_images_is_refused(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set")
    model = load_classifier(Says(), preprocessing=Preprocessing(crop_px=(SIDE, SIDE + 1)))
    with pytest.raises(noctule.InputError, match=r"crop of 8 × 9 px is larger .* 8 × 8 px"):
        evaluate_stored(model, folder, FIVE, out=tmp_path / "run", settings=ONE_PROCESS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "names",
    [
        ("1", "1.0", "2", "4", "5"),
        ("1", "2", "4", "5", "6"),
        ("1.0", "1.00", "2.0", "3.5", "5.0"),
    ],
)
def test_severity_folders_that_are_doubles_or_mixed_are_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    folder = write_folders(tmp_path / "set", severities=names)
    listed = ", ".join(sorted(names)).replace(".", r"\.")
    with pytest.raises(
        noctule.InputError, match=f"its severity folders are {listed}, which are"
    ):
        open_stored(folder, FIVE)


def test_what_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set", severities=DECIMALS)
    first = open_stored(folder, FIVE).fingerprint()
    for place in sorted(folder.rglob("n02")):
        (place / "._val_0.png").write_bytes(b"AppleDouble")
        (place / ".ipynb_checkpoints").mkdir()
        (place.parent / ".ipynb_checkpoints").mkdir()
        (place.parent / "._n02").write_bytes(b"AppleDouble")
    (folder / "shear/.ipynb_checkpoints").mkdir()
    assert outcomes(evaluated(folder, tmp_path)) == expected()
    assert open_stored(folder, FIVE).fingerprint() == first


def test_a_run_folder_is_no_stored_set(tmp_path: Path) -> None:
    run = evaluated(write_folders(tmp_path / "set"), tmp_path)
    for benchmark in (None, FIVE):
        with pytest.raises(noctule.InputError, match="is a run folder, not a folder of imag"):
            open_stored(run.folder, benchmark)


def spoil(folder: Path, how: str) -> None:
    if how == "severity":
        shutil.rmtree(folder / "shear/3")
    elif how == "corruption":
        shutil.rmtree(folder / "gaussian")
    elif how == "image":
        (folder / "gaussian/2/n03/val_0.png").unlink()
    elif how == "extra image":
        image_predicted_as(0).save(folder / "gaussian/2/n03/new.png")
    elif how == "extra class":
        shutil.copytree(folder / "shear/5/n01", folder / "shear/5/n09")
    elif how == "missing class":
        shutil.rmtree(folder / "shear/5/n01")
    elif how == "empty class":
        (folder / "shear/5/n09").mkdir()
    elif how == "same stem":
        image_predicted_as(0).save(folder / "shear/1/n01/val_0.jpg")
    elif how == "six severities":
        shutil.copytree(folder / "shear/5", folder / "shear/6")
    elif how == "no classes":
        shutil.rmtree(folder / "shear/5")
        (folder / "shear/5").mkdir()


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("severity", r"lacks 1 of the 10 conditions of five: shear@3\."),
        ("corruption", r"lacks 5 of the 10 conditions of five: gaussian@1, gaussian@2,"),
        ("image", r"gaussian/2: lacks 1 of the 6 images of clean: n03/val_0\."),
        ("extra image", r"gaussian/2: has 1 more than the 6 images of clean: n03/new\."),
        (
            "extra class",
            r"shear/5: has 2 more than the 6 images of clean: n09/val_0, n09/val_1",
        ),
        ("missing class", r"shear/5: lacks 2 of the 6 images of clean: n01/val_0, n01/val_1"),
        ("empty class", r"shear/5/n09: this class folder holds no image"),
        ("same stem", r"shear/1/n01: val_0.jpg and val_0.png would be the same image"),
        (
            "six severities",
            r"shear: its severity folders are 1, 2, 3, 4, 5, 6, which are not 5",
        ),
        ("no classes", r"shear/5: holds no class folders"),
    ],
)
def test_what_is_not_complete_is_named_before_anything_is_run(
    tmp_path: Path, how: str, what: str
) -> None:
    folder = write_folders(tmp_path / "set")
    spoil(folder, how)
    with pytest.raises(noctule.InputError, match=what):
        evaluated(folder, tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_stored_set_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(noctule.InputError, match=r"lacks 10 of the 10 .*It is empty"):
        open_stored(tmp_path / "empty", FIVE)
    with pytest.raises(noctule.InputError, match="there is no such folder"):
        open_stored(tmp_path / "nowhere", FIVE)
    with pytest.raises(noctule.InputError, match="holds no folders of corruptions"):
        open_stored(tmp_path / "empty")


def test_an_unreadable_image_stops_or_is_counted_under_no_condition(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set")
    torn = folder / "gaussian/2/n03/val_0.png"
    torn.write_bytes(torn.read_bytes()[:40])
    with pytest.raises(noctule.UnreadableImageError, match=r"gaussian@2/n03/val_0\.png"):
        evaluated(folder, tmp_path, out=tmp_path / "stopped")
    settings = Settings(
        device="cpu", batch_size=4, workers=0, on_unreadable="skip", self_check=False
    )
    run = evaluated(folder, tmp_path, settings=settings)
    due = {key: value for key, value in expected().items() if key[0] != "n03/val_0.png"}
    assert outcomes(run) == due
    assert len(due) == 5 * 11
    ((image_id, reason),) = run.unreadable()
    assert image_id == "n03/val_0.png"
    assert reason.startswith("gaussian@2: ")


def test_the_fingerprint_is_of_the_files_and_not_of_their_place(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set")
    first = open_stored(folder, FIVE).fingerprint()
    moved = folder.rename(tmp_path / "moved")
    assert open_stored(moved, FIVE).fingerprint() == first
    with (moved / "shear/1/n01/val_0.png").open("ab") as file:
        file.write(b"!")
    assert open_stored(moved, FIVE).fingerprint() != first
    data = open_dataset(originals(tmp_path / "val"))
    assert (
        open_stored(moved, FIVE, data).fingerprint() != open_stored(moved, FIVE).fingerprint()
    )


def test_conditions_whose_files_end_otherwise_are_joined_by_name(tmp_path: Path) -> None:
    folder = write_folders(
        tmp_path / "set", suffix="bmp"
    )  # and clean as .png, which names them
    assert outcomes(evaluated(folder, tmp_path)) == expected()


def test_odd_class_names_and_links_to_elsewhere_are_only_read(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "set")
    for place in sorted(folder.rglob("n02")):
        place.rename(place.with_name("n02 Ünïcode 'x'"))
    outside = tmp_path / "outside.png"
    (folder / "shear/1/n01/val_0.png").rename(outside)
    (folder / "shear/1/n01/val_0.png").symlink_to(outside)
    before = outside.read_bytes()
    run = evaluated(folder, tmp_path)
    assert outcomes(run) == expected(
        lambda name, k: (
            f"{name.replace('n02', chr(110) + '02 Ünïcode ' + repr('x'))}/val_{k}.png"
        )
    )
    assert outside.read_bytes() == before


# Arrays


def write_arrays(root: Path, count: int = 6, *, clean: bool = True) -> Path:
    root.mkdir()
    labels = np.arange(count) % len(CLASSES)

    def block(condition: str) -> np.ndarray:
        images = [
            np.array(image_predicted_as(planned(condition, number, int(label))))
            for number, label in enumerate(labels)
        ]
        return np.stack(images)

    for corruption in FIVE.corruptions:
        blocks = [block(f"{corruption}@{severity}") for severity in range(1, 6)]
        np.save(root / f"{corruption}.npy", np.concatenate(blocks))
    np.save(root / "labels.npy", np.tile(labels, 5))
    if clean:
        np.save(root / "clean.npy", block("clean"))
    return root


def expected_of_arrays(count: int = 6, prefix: str = "") -> dict[Any, Any]:
    return {
        (f"{prefix}{number:06d}", condition): (label, planned(condition, number, label))
        for condition in map(str, FIVE.conditions)
        for number in range(count)
        for label in [number % len(CLASSES)]
    }


@pytest.mark.parametrize("shape", [None, (6,), (6, 1), (30, 1)])
def test_every_image_of_cifar_10_c_is_read_at_its_severity(
    tmp_path: Path, shape: tuple[int, ...] | None
) -> None:
    folder = write_arrays(tmp_path / "cifar-10-c")
    if shape:
        np.save(folder / "labels.npy", (np.arange(shape[0]) % 3).reshape(shape))
    run = evaluated(folder, tmp_path)
    assert outcomes(run) == expected_of_arrays()
    assert run.identity.dataset["stored"]["layout"] == "arrays"


def test_arrays_are_joined_to_data_with_the_same_labels(tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "set", clean=False)
    labels = np.arange(6) % 3
    images = np.stack([np.array(image_predicted_as(int(label))) for label in labels])
    run = evaluated(folder, tmp_path, data=(images, labels))
    assert outcomes(run) == expected_of_arrays()
    with pytest.raises(noctule.InputError, match=r"6 labels are not those of arrays"):
        evaluated(folder, tmp_path, data=(images, labels[::-1].copy()))
    with pytest.raises(noctule.InputError, match=r"6 labels are not those of arrays"):
        evaluated(folder, tmp_path, data=(images[:3], labels[:3]))


def test_a_slice_that_is_lost_is_computed_again_to_the_bit(tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "set", 600)
    settings = replace(ONE_PROCESS, batch_size=64)
    run = evaluated(folder, tmp_path, settings=settings)
    assert outcomes(run) == expected_of_arrays(600)
    files = sorted((tmp_path / "run/rows").iterdir())
    before = [path.read_bytes() for path in files]
    assert len(files) == 3  # 600 images in slices of 256
    files[1].unlink()
    evaluated(folder, tmp_path, settings=settings)
    assert [path.read_bytes() for path in files] == before


def spoil_arrays(folder: Path, how: str) -> None:
    shear = np.load(folder / "shear.npy")
    if how == "missing":
        (folder / "shear.npy").unlink()
    elif how == "torn":
        content = (folder / "shear.npy").read_bytes()
        (folder / "shear.npy").write_bytes(content[:-100])
    elif how == "short":
        np.save(folder / "shear.npy", shear[:-6])
    elif how == "floats":
        np.save(folder / "shear.npy", shear / 255)
    elif how == "shape":
        np.save(folder / "shear.npy", np.moveaxis(shear, 3, 1))
    elif how == "no labels":
        (folder / "labels.npy").unlink()
    elif how == "labels":
        np.save(folder / "labels.npy", np.arange(29))
    elif how == "float labels":
        np.save(folder / "labels.npy", np.zeros(30))
    elif how == "labels differ":
        np.save(folder / "labels.npy", np.arange(30) % 7)
    elif how == "pickle":
        np.save(folder / "labels.npy", np.array([{}]), allow_pickle=True)
    elif how == "clean":
        np.save(folder / "clean.npy", shear[:5])


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("missing", r"lacks 5 of the 10 conditions of five: shear@1, shear@2,"),
        ("torn", r"shear\.npy: cannot load this array"),
        ("short", r"holds 30 labels, and shear.npy 24 images of 5 severities"),
        ("floats", r"shear\.npy: is an array of float64, shape \(30, 8, 8, 3\)"),
        ("shape", r"shear\.npy: is an array of uint8, shape \(30, 3, 8, 8\)"),
        ("no labels", r"set: lacks labels\.npy, which arrays such as shear\.npy need"),
        ("labels", r"holds 29 labels, and shear.npy 30 images"),
        ("float labels", r"labels\.npy: are float64 of shape \(30,\), not labels"),
        ("labels differ", r"the labels differ from severity to severity"),
        ("pickle", r"labels\.npy: this is, or contains, a pickled object"),
        ("clean", r"clean\.npy: holds 5 images, where 1 × 6 are expected"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, how: str, what: str) -> None:
    folder = write_arrays(tmp_path / "set")
    spoil_arrays(folder, how)
    with pytest.raises(noctule.InputError, match=what):
        evaluated(folder, tmp_path)
    assert not (tmp_path / "run").exists()


def test_the_second_array_must_have_the_size_of_the_first(tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "set")
    np.save(folder / "gaussian.npy", np.load(folder / "gaussian.npy")[:-6])
    with pytest.raises(
        noctule.InputError, match=r"gaussian\.npy: holds 24 .* 5 × 6 are expected"
    ):
        evaluated(folder, tmp_path)


# The look at a part of the data


def test_a_model_that_guesses_is_found_at_the_start(tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "set", 60)

    class Constant(Says):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.0, 0.0, 2.0]]).expand(len(images), 3)

    checked = Settings(device="cpu", batch_size=4, workers=0)
    with pytest.raises(noctule.InputError, match="predicts class 2 for each of 60 images"):
        evaluate_stored(Constant(), folder, FIVE, out=tmp_path / "a", settings=checked)
    evaluate_stored(Says(), folder, FIVE, out=tmp_path / "b", settings=checked)
