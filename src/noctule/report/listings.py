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


def listings() -> dict[str, Table]:
    """Every listing by its name."""
    return {
        "corruptions": _table(
            "Corruptions",
            ("name", "family", "drawn for each image", "what it does"),
            _corruptions(),
        ),
        "benchmarks": _table("Benchmarks", ("name", "corruptions", "title"), _benchmarks()),
        "datasets": _table("Datasets", ("name", "what it is"), dataset_forms()),
        "models": _table("Models", ("name", "what it is"), model_forms()),
    }


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


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
