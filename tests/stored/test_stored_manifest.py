"""What a stored set says of itself: hostile values, changed files, other sets, parts of one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import noctule
from noctule.benchmarks import Benchmark
from noctule.data import open_dataset
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.evaluation.sources import identify
from noctule.models import Preprocessing, load_classifier
from noctule.store import RunStore
from noctule.store.comparability import check_reference
from noctule.stored import StoredImages, evaluate_stored, export, open_stored, verify
from noctule.stored.manifest import MOST_CHARACTERS
from stored_sets import LOSSLESS, ONE_PROCESS, SEVERITIES, file_bytes, forge, photos
from stripes import ChannelMeans, Stripes

COUNT = 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    for form in ("png", "npy"):
        export(SEVERITIES, Stripes(COUNT), root / form, format=form, processes=1)
    return root


@pytest.fixture
def stored(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "png", tmp_path / "set"))


# Values


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("image_px", [32], "image_px"),
        ("image_px", [32, "32"], r"image_px\[1\].*'32'"),
        ("image_px", [0, 32], r"image_px\[0\].*0"),
        ("image_px", {"a": 1}, "image_px"),
        ("seed", 0.0, r"seed: .*0\.0"),
        ("seed", True, "seed: .*True"),
        ("seed", None, "seed: .*None"),
        ("format", "gif", "format: .*'gif'"),
        ("format", [], "format: "),
        ("encoder", {"name": ["png"]}, r"encoder\.name: .*png"),
        ("encoder", {"name": "jpeg", "quality": 85}, r"encoder\.name: 'jpeg' does not go with"),
        ("encoder", "png", "encoder: .*'png'"),
        ("dataset.num_images", 6.0, r"dataset\.num_images: .*6\.0"),
        ("dataset.num_images", -1, r"dataset\.num_images: .*-1"),
        ("dataset.class_names", "rgb", r"dataset\.class_names: .*'rgb'"),
        ("dataset.class_names", ["r", 1, "b"], r"dataset\.class_names\[1\]: .*1"),
        ("dataset.domain", 7, r"dataset\.domain: .*7"),
        ("dataset", None, "dataset: .*None"),
        ("preprocessing.crop_px", 32, r"preprocessing\.crop_px: .*32"),
        ("versions", ["1"], "versions: "),
        ("benchmark", "severities", "benchmark: "),
        ("benchmark.corruptions", ["sheer"], "benchmark: corruptions: .*'sheer'"),
        ("benchmark.severities", [1.0], r"benchmark: severities: 1\.0 is not a severity"),
        ("schema_version", 2.0, r"schema_version: .*2\.0"),
        ("new", 1, "new: unknown key 'new'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(
    stored: Path, key: str, value: object, named: str
) -> None:
    manifest = json.loads((stored / "manifest.json").read_text())
    *parents, last = key.split(".")
    inner = manifest
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    forge(stored, "manifest.json", json.dumps(manifest).encode())
    for use in (open_stored, verify, lambda folder: open_stored(folder, SEVERITIES)):
        with pytest.raises(noctule.InputError, match=rf"manifest\.json: {named}"):
            use(stored)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("s/0003,0", "s/0003,3", "'s/0003' has label 3 of 3 classes"),
        ("s/0003,0", "s/0003,-1", "'s/0003' has label -1"),
        ("s/0003,0", f"s/0003,{10**40}", "'s/0003' has label 10000"),
        ("s/0003,0", "s/0003,x", "invalid literal"),
        ("s/0003,0,0-r,0003\n", "", "5 entries where 6 are expected"),
        ("s/0003,0", "s/0003,0,0", "list of images"),
    ],
)
def test_a_list_of_images_that_does_not_fit_is_refused(
    stored: Path, old: str, new: str, what: str
) -> None:
    text = (stored / "images.csv").read_text()
    assert text.count(old) == 1
    forge(stored, "images.csv", text.replace(old, new).encode())
    with pytest.raises(noctule.InputError, match=rf"images\.csv: .*{what}"):
        open_stored(stored)


@pytest.mark.parametrize(
    ("form", "name"),
    [("png", "manifest.json"), ("png", "images.csv"), ("npy", "manifest.json"),
     ("npy", "images.csv"), ("npy", "labels.npy")],
)  # fmt: skip
def test_small_files_are_compared_with_their_hashes_when_a_set_is_opened(
    whole: Path, tmp_path: Path, form: str, name: str
) -> None:
    folder = Path(shutil.copytree(whole / form, tmp_path / "set"))
    content = (folder / name).read_bytes()
    # Another seed and another label, in files that are otherwise as they should be.
    changed = content.replace(b'"seed": 0', b'"seed": 1').replace(b"s/0003,0", b"s/0003,1")
    if name == "labels.npy":
        changed = content[:-8] + bytes(8)
    assert changed != content
    (folder / name).write_bytes(changed)
    with pytest.raises(
        noctule.InputError, match=rf"{name}: is not what was written.*files again"
    ):
        open_stored(folder)
    (folder / name).write_bytes(content)
    open_stored(folder)
    text = (folder / "SHA256SUMS").read_text()
    lines = [line for line in text.splitlines(keepends=True) if not line.endswith(f"{name}\n")]
    (folder / "SHA256SUMS").write_text("".join(lines))
    with pytest.raises(noctule.InputError, match=f"SHA256SUMS: has no hash of {name}"):
        open_stored(folder)
    (folder / "SHA256SUMS").write_text(text)
    if name != "manifest.json":
        (folder / name).unlink()
        with pytest.raises(noctule.InputError, match=f"{name}: is missing"):
            open_stored(folder)


def test_what_a_stored_set_lacks_is_written_by_exporting_it_again(stored: Path) -> None:
    before = file_bytes(stored)
    for spoil in (
        lambda: shutil.rmtree(stored / "gaussian/3"),
        lambda: shutil.rmtree(stored / "clean"),
        lambda: (stored / "shear/1/0-r/0003.png").unlink(),
    ):
        spoil()
        with pytest.raises(noctule.InputError, match="Rerun the command that exported it"):
            open_stored(stored)
        export(SEVERITIES, Stripes(COUNT), stored, processes=1)
        open_stored(stored)
    assert file_bytes(stored) == before


# Another set


def test_of_another_set_the_differing_keys_are_listed_and_long_values_cut(
    tmp_path: Path,
) -> None:
    class Many(Stripes):
        def __init__(self, last: str) -> None:
            super().__init__(COUNT)
            self.class_names = (*(f"class {k:04d}" for k in range(999)), last)

    export(SEVERITIES, Many("x"), tmp_path, processes=1)
    other = replace_text(SEVERITIES, source="an author " * 100)
    with pytest.raises(noctule.InputError) as caught:
        export(other, Many("y"), tmp_path, seed=3, processes=1)
    message = caught.value.what
    for part in (
        'benchmark.source is "tests" there and "an author an author',
        '"x"] there and …',
        '"y"] here',
        "seed is 0 there and 3 here",
    ):
        assert part in message
    # Four keys: source, class names, the fingerprint, which is of the names too, and the seed.
    assert message.count(" there and ") == 4
    assert len(message) < 4 * (2 * MOST_CHARACTERS + 50)


def replace_text(benchmark: Benchmark, **changes: Any) -> Benchmark:
    return Benchmark.from_dict({**benchmark.to_dict(), **changes})


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("place", ["val/stored", "val", "val/n01", "."])
def test_a_set_is_not_written_into_its_data_nor_the_data_into_it(
    tmp_path: Path, place: str, link: bool
) -> None:
    data = photos(tmp_path / "val", 1)
    out = tmp_path / place
    if link:
        (tmp_path / "link").symlink_to(data.parent)
        out = tmp_path / "link" / place
    before = file_bytes(data)
    what = "holds the data" if place == "." else "lies in the data"
    for given in (data, str(data), open_dataset(data)):
        with pytest.raises(
            noctule.InputError, match=rf"{what}, .*val\. Choose a folder beside"
        ):
            export(SEVERITIES, given, out, processes=1)
    assert file_bytes(data) == before
    assert not (data / "stored").exists()


def test_arrays_inside_the_set_are_not_its_data(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole / "npy", tmp_path / "set"))
    with pytest.raises(noctule.InputError, match="holds the data"):
        export(SEVERITIES, folder / "clean.npy", folder, processes=1)


def test_a_set_beside_its_data_is_written(tmp_path: Path) -> None:
    data = photos(tmp_path / "val", 1)
    export(SEVERITIES, data, tmp_path / "val-stored", processes=1)
    assert verify(tmp_path / "val-stored").is_good


def test_a_crop_that_is_larger_than_a_image_is_refused(tmp_path: Path) -> None:
    data = photos(tmp_path / "val")  # 280 px high, 340 to 342 px wide
    for preprocessing, what in (
        (Preprocessing(resize_px=200, crop_px=(224, 224)), r"it has 200 × 242 px, fewer than"),
        (
            Preprocessing(crop_px=(280, 341)),
            r"val: cannot read 'n01/ILSVRC_0.JPEG': .*280 × 341",
        ),
    ):
        with pytest.raises(noctule.InputError, match=what):
            export(SEVERITIES, data, tmp_path / "set", preprocessing=preprocessing, processes=1)
    assert not (tmp_path / "set").exists()
    fitting = Preprocessing(crop_px=(280, 340))
    assert export(
        SEVERITIES, data, tmp_path / "set", preprocessing=fitting, processes=1
    ).image_px == [280, 340]


def test_other_arrays_in_the_folder_get_no_hash(tmp_path: Path) -> None:
    export(SEVERITIES, Stripes(COUNT), tmp_path, format="npy", processes=1)
    (tmp_path / "SHA256SUMS").unlink()
    for name in ("._shear.npy", "mine.npy"):
        (tmp_path / name).write_bytes(b"?")
    export(SEVERITIES, Stripes(COUNT), tmp_path, format="npy", processes=1)
    assert verify(tmp_path).extra == ("._shear.npy", "mine.npy")


# A part of a set

TABLES = {
    "gaussian_blur": {"sigma_px": [1, 2, 3, 4, 5]},
    "contrast_c": {"factor": [0.9, 0.8, 0.7, 0.6, 0.5]},
}
WHOLE = Benchmark.from_dict({
    "name": "whole", "title": "W", "source": "tests", "severities": [1, 2, 5], "tables": TABLES,
    "corruptions": ["shear", "gaussian_blur", "contrast_c"], "stored_jpeg_quality": 85,
})  # fmt: skip


def part_of(whole: Benchmark, corruptions: list[str], **changes: Any) -> Benchmark:
    data = {**whole.to_dict(), "name": "part", "corruptions": corruptions, **changes}
    data["tables"] = {
        key: one for key, one in data.get("tables", {}).items() if key in corruptions
    }
    return Benchmark.from_dict(data)


@pytest.fixture(scope="module")
def with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    for mode in ("paper", "released"):
        export(WHOLE.in_mode(mode), Stripes(COUNT), root / mode, processes=1)
    return root


@pytest.mark.parametrize(
    ("corruptions", "changes"),
    [
        (["shear"], {"stored_jpeg_quality": None}),  # which says nothing in paper mode
        (["contrast_c"], {}),
        (["shear", "gaussian_blur"], {"severities": [5, 1]}),
        # The same lengths, for images of half the side.
        (["gaussian_blur"], {"side_px": 112, "tables": {"gaussian_blur": {"sigma_px": [0.5, 1, 1.5, 2, 2.5]}}}),  # noqa: E501
        # Other values at severities that are not wanted.
        (["contrast_c"], {"severities": [2], "tables": {"contrast_c": {"factor": [0.95, 0.8, 0.7, 0.6, 0.4]}}}),  # noqa: E501
    ],
)  # fmt: skip
def test_a_part_is_evaluated_as_live(
    with_tables: Path, tmp_path: Path, corruptions: list[str], changes: dict[str, Any]
) -> None:
    part = part_of(WHOLE, corruptions, **changes)
    live = evaluate(
        ChannelMeans(), Stripes(COUNT), part, out=tmp_path / "l", settings=ONE_PROCESS
    )
    stored = evaluate_stored(
        ChannelMeans(),
        with_tables / "paper",
        part,
        out=tmp_path / "f",
        settings=ONE_PROCESS,
    )
    assert stored.run.rows().equals(live.run.rows())


@pytest.mark.parametrize(
    ("mode", "changes", "what"),
    [
        ("paper", {"mode": "released"}, "mode = paper, and part has released"),
        ("released", {"stored_jpeg_quality": None}, "as JPEG 85, and part has released"),
        ("paper", {"tables": {}}, r"severities of contrast_c = {'factor': \[0\.9, 0\.8, 0\.5\]}, and part has none"),  # noqa: E501
        ("paper", {"tables": {"contrast_c": {"factor": [0.9, 0.8, 0.7, 0.6, 0.4]}}}, r"has {'factor': \[0\.9, 0\.8, 0\.4\]}"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_part_with_other_images_is_refused(
    with_tables: Path, mode: Any, changes: dict[str, Any], what: str
) -> None:
    part = part_of(WHOLE.in_mode(mode), ["contrast_c"], **changes)
    with pytest.raises(noctule.InputError, match=what):
        open_stored(with_tables / mode, part)


# Beside live runs


AS_IMAGENET_C = Preprocessing(resize_px=256, crop_px=(224, 224))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    data = photos(root / "val", 1)
    export(SEVERITIES, data, root / "png", processes=1)
    export(SEVERITIES, data, root / "jpeg", format="jpeg", quality=95, processes=1)
    return root


def live_run(data: Path, preprocessing: Preprocessing) -> RunStore:
    model = load_classifier(ChannelMeans(), preprocessing=preprocessing)
    return RunStore(Path("live"), identify(model, open_dataset(data), SEVERITIES, ONE_PROCESS))


def stored_run(folder: Path, preprocessing: Preprocessing) -> RunStore:
    model = load_classifier(ChannelMeans(), preprocessing=preprocessing)
    return RunStore(Path("f"), StoredImages(model, open_stored(folder), ONE_PROCESS).identity)


@pytest.mark.parametrize("form", LOSSLESS)
def test_a_lossless_set_serves_runs_on_its_data_as_a_reference(
    tmp_path: Path, form: Any
) -> None:
    data = Stripes(COUNT)
    live = evaluate(
        ChannelMeans(), data, SEVERITIES, out=tmp_path / "l", settings=ONE_PROCESS
    ).run
    export(SEVERITIES, data, tmp_path / "set", format=form, processes=1)
    run, scores = evaluate_stored(
        ChannelMeans(),
        tmp_path / "set",
        out=tmp_path / "f",
        reference=live,
        settings=ONE_PROCESS,
    )
    assert run.rows().equals(live.rows())
    assert scores.reference == f"ChannelMeans ({live.folder})"
    check_reference(live, run)


def test_photographs_serve_as_a_reference_prepared_as_they_are(photographs: Path) -> None:
    run = stored_run(photographs / "png", AS_IMAGENET_C)
    for preprocessing in (AS_IMAGENET_C, Preprocessing(resize_px=232, crop_px=(224, 224))):
        # Each model has its own preprocessing, of live runs as well.
        check_reference(live_run(photographs / "val", preprocessing), run)


@pytest.mark.parametrize(
    ("form", "changes"),
    [
        ("jpeg", {}),
        ("png", {"resize_px": 232}),
        ("png", {"interpolation": "bicubic"}),
        ("png", {"crop_px": (208, 208)}),
        ("png", {"resize_px": None, "crop_px": None}),
    ],
)
def test_images_that_live_evaluation_does_not_see_are_no_reference(
    photographs: Path, form: str, changes: dict[str, Any]
) -> None:
    run = stored_run(photographs / form, replace(AS_IMAGENET_C, **changes))
    assert "live_fingerprint" not in run.identity.dataset["stored"]
    with pytest.raises(noctule.InputError, match=r"other data .* stored them without loss"):
        check_reference(live_run(photographs / "val", AS_IMAGENET_C), run)


def test_an_unreadable_image_is_named_with_its_file(stored: Path, tmp_path: Path) -> None:
    (stored / "shear/3/0-r/0003.png").write_bytes(b"?")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "odd.png")
    forge(stored, "gaussian/1/1-g/0004.png", (tmp_path / "odd.png").read_bytes())
    with pytest.raises(
        noctule.UnreadableImageError, match=r"set/shear/3/0-r/0003\.png \(shear@3/s/0003\): "
    ):
        evaluate_stored(ChannelMeans(), stored, out=tmp_path / "a", settings=ONE_PROCESS)
    skip = Settings(device="cpu", workers=0, self_check=False, on_unreadable="skip")
    run = evaluate_stored(ChannelMeans(), stored, out=tmp_path / "b", settings=skip).run
    assert dict(run.unreadable()).keys() == {"s/0003", "s/0004"}
    assert dict(run.unreadable())["s/0004"].startswith("gaussian@1: it is 9 × 9 px, and the")
