"""The reference errors of photo-patches: what AlexNet's are to ImageNet.

    python -m noctule.training.reference

evaluates the weaker shipped classifier under every corruption, over the full range and at each
level, and writes the errors to the file the benchmarks read. About two minutes on 2 cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.compute as pc

from noctule._version import __version__
from noctule.benchmarks import Benchmark, Reference, write_reference
from noctule.benchmarks.references import REFERENCES_FOLDER
from noctule.corruptions import CORRUPTIONS, LEVELS
from noctule.data import open_dataset
from noctule.evaluation import Settings, run_benchmark
from noctule.models import load_classifier

MODEL = "photo-patches-reference"
DATA = "photo-patches/test"


def measure() -> Reference:
    """Evaluate the reference classifier under everything that is to be measured."""
    classifier, dataset = load_classifier(MODEL), open_dataset(DATA)
    errors: dict[str, float] = {}
    for levels in (None, LEVELS):
        benchmark = Benchmark(
            name="all",
            title="all",
            source="noctule",
            corruptions=tuple(CORRUPTIONS),
            levels=levels,
        )
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(device="cpu")
            run = run_benchmark(
                classifier, dataset, benchmark, out=Path(folder) / "run", settings=settings
            )
            rows = run.rows(columns=["condition", "label", "prediction"])
        for condition in map(str, benchmark.conditions):
            mine = rows.filter(pc.equal(rows["condition"], condition))
            wrong = pc.sum(pc.not_equal(mine["label"], mine["prediction"])).as_py()
            errors[condition] = wrong / len(mine)
    return Reference(
        model=classifier.name,
        domain=DATA,
        source=f"python -m noctule.training.reference, noctule {__version__}, seed 0",
        errors=errors,
        mode="corrected",
    )


def main() -> None:
    """Measure, and write the file."""
    reference = measure()
    write_reference(reference, REFERENCES_FOLDER / "photo-patches.toml")


if __name__ == "__main__":
    main()
