"""Rows and weights exchanged between the networks of a study."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import sealed_runs
from noctule import InputError
from noctule.studies.folder import StudyFolder
from noctule.studies.overlap import cross_evaluation
from small_studies import write_arrays
from synthetic_studies import write_study

SHARES = {
    (model, condition): 0.9 - 0.1 * (model != condition) - 0.2 * (condition != "clean")
    for model in ("standard", "gaussian", "border")
    for condition in ("clean", "gaussian", "border")
}


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def run_folders(folder: Path) -> None:
    exchange(folder / "runs" / "gaussian-seed0", folder / "runs" / "border-seed0")


def slices(folder: Path) -> None:
    exchange(
        folder / "runs" / "gaussian-seed0" / "rows", folder / "runs" / "border-seed0" / "rows"
    )


def rows_and_hashes(folder: Path) -> None:
    slices(folder)
    exchange(
        *(folder / "runs" / f"{one}-seed0" / "SHA256SUMS" for one in ("gaussian", "border"))
    )


def weights(folder: Path) -> None:
    exchange(folder / "models" / "gaussian-seed0", folder / "models" / "border-seed0")


def seeds(folder: Path) -> None:
    exchange(folder / "runs" / "gaussian-seed0", folder / "runs" / "gaussian-seed1")


def record(folder: Path) -> None:
    path = folder / "runs" / "border-seed0" / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def sealed_record(folder: Path) -> None:
    record(folder)
    sealed_runs.seal(folder / "runs" / "border-seed0")


def no_weights(folder: Path) -> None:
    (folder / "models" / "border-seed0" / "weights.safetensors").unlink()


def empty_weights(folder: Path) -> None:
    (folder / "models" / "border-seed0" / "weights.safetensors").write_bytes(b"")


def other_study(folder: Path) -> None:
    write_arrays(folder.parent)
    other = write_study(
        folder.parent / "other", SHARES, seeds=(0, 1), title="t", num_images=100
    )
    shutil.rmtree(folder / "runs" / "border-seed0")
    shutil.copytree(other.folder / "runs" / "border-seed0", folder / "runs" / "border-seed0")


@pytest.mark.parametrize(
    "damage",
    [
        run_folders, slices, rows_and_hashes, weights, seeds, record, sealed_record, no_weights,
        empty_weights, other_study,
    ],
)  # fmt: skip
def test_what_belongs_to_another_network_is_refused(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    made = write_study(tmp_path / "study", SHARES, seeds=(0, 1))
    assert cross_evaluation(StudyFolder.open(made.folder)).correct.shape == (2, 3, 200, 3)
    damage(made.folder)
    with pytest.raises(InputError, match=r"(gaussian|border)-seed"):
        cross_evaluation(StudyFolder.open(made.folder))
