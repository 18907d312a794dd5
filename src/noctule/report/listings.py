"""Tables of what there is: corruptions, benchmarks, datasets, models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from noctule.benchmarks import benchmark_names, load_benchmark
from noctule.corruptions import CORRUPTIONS
from noctule.corruptions.draws import NoiseField
from noctule.data import dataset_forms
from noctule.models import model_forms
from noctule.report.text_tables import TextTable, text_table
from noctule.studies.spec import load_study, study_names


def listings() -> dict[str, TextTable]:
    """Every listing by its name."""
    return {
        "corruptions": text_table(
            "Corruptions",
            ("name", "family", "drawn for each image", "what it does"),
            _corruptions(),
        ),
        "benchmarks": text_table("Benchmarks", ("name", "corruptions", "title"), _benchmarks()),
        "studies": text_table("Studies", ("name", "candidates", "title"), _studies()),
        "datasets": text_table("Datasets", ("name", "what it is"), dataset_forms()),
        "models": text_table("Models", ("name", "what it is"), model_forms()),
    }


def _corruptions() -> Iterable[Sequence[str]]:
    for one in CORRUPTIONS.values():
        ranges = [
            f"{name} {draw.describe()}"
            for name, draw in one.draws.items()
            if not isinstance(draw, NoiseField)
        ]
        yield one.name, one.family, "; ".join(ranges), one.summary


def _benchmarks() -> Iterable[Sequence[str]]:
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        yield name, ", ".join(benchmark.corruptions), benchmark.title


def _studies() -> Iterable[Sequence[str]]:
    for name in study_names():
        study = load_study(name)
        yield name, str(len(study.candidates)), study.title
