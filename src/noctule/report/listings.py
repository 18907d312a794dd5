"""Tables of what there is: corruptions, benchmarks, datasets, models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from noctule.benchmarks import benchmark_names, load_benchmark
from noctule.corruptions import CORRUPTIONS
from noctule.corruptions.draws import Field
from noctule.data import dataset_forms
from noctule.models import model_forms
from noctule.study.spec import load_study, study_names


def listings() -> dict[str, Table]:
    """Every listing by its name."""
    return {
        "corruptions": table(
            "Corruptions",
            ("name", "family", "drawn for each image", "what it does"),
            _corruptions(),
        ),
        "benchmarks": table("Benchmarks", ("name", "corruptions", "title"), _benchmarks()),
        "studies": table("Studies", ("name", "candidates", "title"), _studies()),
        "datasets": table("Datasets", ("name", "what it is"), dataset_forms()),
        "models": table("Models", ("name", "what it is"), model_forms()),
    }


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table of text for the terminal."""
    result = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for number, name in enumerate(header):
        result.add_column(name, no_wrap=number == 0)
    for row in rows:
        result.add_row(*map(Text, row))
    return result


def _corruptions() -> Iterable[Sequence[str]]:
    for one in CORRUPTIONS.values():
        ranges = [
            f"{name} {draw.describe()}"
            for name, draw in one.draws.items()
            if not isinstance(draw, Field)
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
