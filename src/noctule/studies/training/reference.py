"""Measure the reference errors of photo-patches, which correspond to AlexNet's on ImageNet.

    python -m noctule.studies.training.reference

This evaluates the weaker classifier of the package under every corruption, over the full range
and at each severity, and writes two files that benchmarks read: the error rates, and the
outcomes of all images. It takes about two minutes on 2 cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from noctule._version import __version__
from noctule.benchmarks import Benchmark, Reference, write_reference
from noctule.benchmarks.references import (
    REFERENCES_FOLDER,
    ReferenceOutcomes,
    write_outcomes,
)
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.data import open_dataset
from noctule.evaluation.loop import run_images
from noctule.evaluation.settings import Settings
from noctule.evaluation.sources import LiveImages
from noctule.metrics import COLUMNS
from noctule.metrics.outcome_matrix import outcome_matrix
from noctule.models import load_classifier

MODEL = "photo-patches-reference"
DATA = "photo-patches/test"
SEED = 0
MODULE = "noctule.studies.training.reference"


def measure() -> tuple[Reference, ReferenceOutcomes]:
    """Evaluate the reference classifier under every corruption and severity."""
    classifier, dataset = load_classifier(MODEL), open_dataset(DATA)
    wrong_by_condition: dict[str, np.ndarray] = {}
    for severities in (None, SEVERITIES):
        benchmark = Benchmark(
            name="all",
            title="all",
            source="noctule",
            corruptions=tuple(CORRUPTIONS),
            severities=severities,
        )
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(device="cpu", seed=SEED)
            source = LiveImages(classifier, dataset, benchmark, settings)
            run = run_images(source, out=Path(folder) / "run")
            names = [str(condition) for condition in benchmark.conditions]
            outcomes = outcome_matrix(run.rows(columns=COLUMNS), names)
        wrong_by_condition |= dict(zip(names, outcomes.wrong.T, strict=True))
    reference = Reference(
        model=classifier.name,
        domain=DATA,
        source=f"python -m {MODULE}, noctule {__version__}, seed {SEED}",
        errors={name: int(w.sum()) / len(w) for name, w in wrong_by_condition.items()},
        mode="paper",
    )
    ids = tuple(outcomes.image_ids.to_pylist())
    wrong = np.stack(list(wrong_by_condition.values()), axis=1)
    return reference, ReferenceOutcomes(ids, SEED, tuple(wrong_by_condition), wrong)


def main() -> None:
    """Measure the reference and write the files."""
    reference, outcomes = measure()
    write_reference(reference, REFERENCES_FOLDER / "photo-patches.toml")
    write_outcomes(outcomes, REFERENCES_FOLDER / "photo-patches.npz")


if __name__ == "__main__":
    main()
