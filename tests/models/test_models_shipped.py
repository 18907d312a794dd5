"""The shipped classifiers do what their training record says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from noctule.data import open_dataset
from noctule.errors import InputError
from noctule.models import load_classifier, weights_sha256
from noctule.models.sources.shipped import PREPROCESSING, SHIPPED, shipped_file
from noctule.models.sources.trained import trained_bytes, training_record
from noctule.studies.training.photo_patches import RECIPES, accuracy

LARGEST_BYTES = 2 * 1024**2


@pytest.mark.parametrize("name", SHIPPED)
def test_the_stated_clean_accuracy_is_reached(name: str) -> None:
    given = load_classifier(name)
    with shipped_file(name) as path:
        record = training_record(path)
        assert path.stat().st_size <= LARGEST_BYTES
    measured = accuracy(given.module, open_dataset("photo-patches/test"), given.preprocessing)
    assert abs(measured - record["clean_accuracy"]) <= 0.01


def test_the_reference_leaves_room() -> None:
    stated = {}
    for name in SHIPPED:
        with shipped_file(name) as path:
            stated[name] = training_record(path)["clean_accuracy"]
    assert stated["photo-patches"] >= 0.9
    assert 0.6 <= stated["photo-patches-reference"] <= 0.9
    assert stated["photo-patches"] > stated["photo-patches-reference"] + 0.05


@pytest.mark.parametrize("name", SHIPPED)
def test_the_record_is_of_todays_data_and_recipe(name: str) -> None:
    with shipped_file(name) as path:
        record = training_record(path)
    for split in ("train", "test"):
        dataset = open_dataset(f"photo-patches/{split}")
        assert record[split] == {"name": dataset.name, "fingerprint": dataset.fingerprint()}
    assert (
        record["command"] == f"python -m noctule.studies.training.photo_patches --only {name}"
    )
    assert record["architecture"] == name
    assert record["recipe"] == RECIPES[name].model_dump(mode="json")
    given = load_classifier(name)
    assert given.class_names == open_dataset("photo-patches").class_names
    assert (given.name, given.num_classes) == (name, 16)


@pytest.mark.parametrize("spec", SHIPPED)
def test_saving_twice_gives_the_same_bytes_and_loading_the_same_weights(
    tmp_path: Path, spec: str
) -> None:
    module = SHIPPED[spec](3)
    record = {
        "architecture": spec,
        "class_names": ["a", "b", "c"],
        "note": "é",
        "preprocessing": PREPROCESSING.to_dict(),
    }
    one = tmp_path / "one.safetensors"
    one.write_bytes(trained_bytes(module, record))
    assert one.read_bytes() == trained_bytes(module, dict(reversed(record.items())))
    sha256 = weights_sha256(module.state_dict())
    assert training_record(one) == record | {"weights_sha256": sha256}
    given = load_classifier(spec, weights=one)
    assert given.weights_sha256 == weights_sha256(module.state_dict())
    assert (given.class_names, given.weights) == (("a", "b", "c"), "file one.safetensors")
    with pytest.raises(InputError, match="3 classes, not 16"):
        load_classifier(spec, weights=one, num_classes=16)


def test_changed_weights_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    with shipped_file("photo-patches") as shipped:
        data = bytearray(shipped.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"one\.safetensors: is damaged: the SHA-256"):
        load_classifier("photo-patches", weights=path)


def test_weights_from_elsewhere_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"nonsense")
    for name in ("a", "b", "absent"):
        with pytest.raises(InputError, match="not a weights file written by"):
            load_classifier("photo-patches", weights=tmp_path / f"{name}.safetensors")
