"""The shipped reference errors are those of the shipped reference classifier."""

from __future__ import annotations

from pathlib import Path

import pytest

from noctule.benchmarks import Benchmark, load_benchmark
from noctule.corruptions import CORRUPTIONS
from noctule.data import open_dataset
from noctule.evaluation.loop import run_images
from noctule.evaluation.settings import Settings
from noctule.evaluation.sources import LiveImages
from noctule.models import load_classifier

PHOTO_PATCHES = "photo-patches/test"


@pytest.mark.parametrize("severities", [None, (1, 5)])
def test_reference_errors_can_be_measured_again(
    tmp_path: Path, severities: tuple[int, ...] | None
) -> None:
    corruptions = ("shear", "rain", "gaussian", "fog", "spatter", "plasma_noise")
    benchmark = Benchmark(
        name="some",
        title="Some",
        source="tests",
        corruptions=corruptions,
        severities=severities,
    )
    reference = benchmark.reference_for(PHOTO_PATCHES)
    assert reference is not None
    classifier, dataset = load_classifier(reference.model), open_dataset(PHOTO_PATCHES)
    source = LiveImages(classifier, dataset, benchmark, Settings(device="cpu"))
    run = run_images(source, out=tmp_path / "run")
    for condition in map(str, benchmark.conditions):
        rows = run.rows([condition]).to_pylist()
        error = sum(row["prediction"] != row["label"] for row in rows) / len(rows)
        # Other processors may round a logit differently: three images of 1,024.
        assert error == pytest.approx(reference.errors[condition], abs=3 / 1024), condition


def test_the_reference_covers_every_corruption_and_every_severity() -> None:
    for severities in (None, (1, 2, 3, 4, 5)):
        benchmark = Benchmark(
            name="all",
            title="All",
            source="tests",
            corruptions=tuple(CORRUPTIONS),
            severities=severities,
        )
        assert benchmark.reference_for(PHOTO_PATCHES) is not None


def test_the_seeds_reference_errors_serve_the_built_in_benchmarks() -> None:
    # Clean error of AlexNet, and its error under shear, as published.
    reference = load_benchmark("imagenet-noc-candidates").reference_for("imagenet-1k-val")
    assert reference is not None
    assert (reference.model, reference.errors["clean"], reference.errors["shear"]) == (
        "AlexNet", 0.435, 0.657,
    )  # fmt: skip
