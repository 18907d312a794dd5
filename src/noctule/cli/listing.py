"""`noctule list`: what is available, in short or one entry in full."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from noctule.cli.app import app
from noctule.cli.echo import echo
from noctule.cli.help import Command, split_docstring
from noctule.cli.options import arg
from noctule.errors import InputError

if TYPE_CHECKING:
    from noctule.report.table import Table
    from noctule.report.terminal import Part

Kind = Literal["all", "corruptions", "benchmarks", "metrics", "studies", "datasets", "models"]


@app.command(name="list", cls=Command)
def list_(
    what: Annotated[Kind, arg("WHAT")] = "all",
    name: Annotated[str | None, arg("NAME")] = None,
) -> None:
    """List the available corruptions, benchmarks, metrics, studies, datasets and models.

    Args:
        what: What to list.
        name: Show this corruption, benchmark or study in full, with its source and parameters.
    """
    if name is None:
        tables = {kind: table() for kind, table in LISTINGS.items() if what in ("all", kind)}
        data = {kind: table.records() for kind, table in tables.items()}
        echo(*tables.values(), data=data)
    elif what in DETAILS:
        parts = DETAILS[what](name)
        echo(*parts, data={what: _entry(parts)})
    else:
        raise InputError(
            f"'{name}' cannot be shown in full",
            where=f"list {what}",
            remedy=f"Use one of: list {' NAME, list '.join(DETAILS)} NAME.",
        )


def _entry(parts: Sequence[Part]) -> dict[str, Any]:
    """The facts of one entry and its parameters as data."""
    entry: dict[str, Any] = {"name": parts[0]}
    for part in parts[1:]:
        if isinstance(part, str):
            entry["description"] = " ".join(filter(None, [entry.get("description"), part]))
        elif any(part.header):
            entry["parameters"] = part.records()
        else:
            entry |= {str(row.values[0]): row.values[1] for row in part.rows}
    return entry


def _corruptions() -> Table:
    from noctule.corruptions import CORRUPTIONS

    rows = [(one.name, one.family, one.summary) for one in CORRUPTIONS.values()]
    return _table("Corruptions", ("name", "family", "description"), rows)


def _benchmarks() -> Table:
    from noctule.benchmarks import benchmark_names, load_benchmark

    benchmarks = {name: load_benchmark(name) for name in benchmark_names()}
    rows = [(name, str(len(one.corruptions)), one.title) for name, one in benchmarks.items()]
    return _table("Benchmarks", ("name", "corruptions", "title"), rows)


def _metrics() -> Table:
    from noctule.metrics import METRICS

    rows = [(name, one.title, one.formula) for name, one in METRICS.items()]
    return _table("Metrics", ("name", "title", "formula"), rows)


def _studies() -> Table:
    from noctule.studies.spec import load_study, study_names

    studies = {name: load_study(name) for name in study_names()}
    rows = [(name, str(len(one.candidates)), one.title) for name, one in studies.items()]
    return _table("Studies", ("name", "candidates", "title"), rows)


def _datasets() -> Table:
    from noctule.data import dataset_forms

    return _table("Datasets", ("name", "description"), dataset_forms())


def _models() -> Table:
    from noctule.models import model_forms

    return _table("Models", ("name", "description"), model_forms())


def _corruption(name: str) -> list[Part]:
    """One corruption: what it does, where it comes from and what it draws for each image."""
    from noctule.corruptions import CORRUPTIONS, SEVERITIES
    from noctule.corruptions.draws import NoiseField, PerSeverity

    corruption = CORRUPTIONS[name]
    text, arguments = split_docstring(inspect.getdoc(corruption.kernel) or "")
    facts = [("family", corruption.family), ("source", corruption.source)]
    if corruption.published_name not in ("", corruption.name):
        facts.append(("published as", corruption.published_name))
    if corruption.channels is not None:
        facts.append(("channels", str(corruption.channels)))
    has_tables = any(isinstance(draw, PerSeverity) for draw in corruption.draws.values())
    range_note = "one value each" if has_tables else "equal parts of the range"
    facts.append(("severities", f"{SEVERITIES[0]} to {SEVERITIES[-1]}, {range_note}"))
    released = arguments.get("released", "as the released code does")
    facts.append(("mode released", released if corruption.has_modes else "same as mode paper"))
    parameters = [
        (parameter, draw.describe(), arguments.get(parameter, ""))
        for parameter, draw in corruption.draws.items()
        if not isinstance(draw, NoiseField)
    ]
    parts: list[Part] = [part for paragraph in text for part in (paragraph, "")]
    header = ("parameter", "drawn for each image", "description")
    return [corruption.name, "", *parts, _facts(facts), _table("", header, parameters)]


def _benchmark(name: str) -> list[Part]:
    from noctule.benchmarks import load_benchmark

    benchmark = load_benchmark(name)
    severities = benchmark.severities
    references = (
        f"{one.model} on {one.domain}"
        for one in benchmark.known_references()
        if not one.lacks(benchmark.conditions)
    )
    facts = [
        ("title", benchmark.title),
        ("source", benchmark.source),
        ("main score", benchmark.metric),
        ("mode", benchmark.mode),
        ("severities", ", ".join(map(str, severities)) if severities else "full range"),
        ("corruptions", ", ".join(benchmark.corruptions)),
        ("references", ", ".join(references) or "none"),
    ]
    return [benchmark.name, _facts(facts)]


def _study(name: str) -> list[Part]:
    from noctule.studies.spec import load_study

    study = load_study(name)
    facts = [
        ("title", study.title),
        ("source", study.source),
        ("architecture", study.architecture),
        ("training data", study.train),
        ("test data", study.test),
        ("seeds", ", ".join(map(str, study.seeds))),
        ("epochs", str(study.recipe.epochs)),
        ("candidates", ", ".join(study.candidates)),
    ]
    return [study.name, _facts(facts)]


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from noctule.report.table import text_table

    return text_table(title, header, rows)


def _facts(facts: Iterable[tuple[str, str]]) -> Table:
    return _table("", ("", ""), facts)


LISTINGS: dict[str, Callable[[], Table]] = {
    "corruptions": _corruptions,
    "benchmarks": _benchmarks,
    "metrics": _metrics,
    "studies": _studies,
    "datasets": _datasets,
    "models": _models,
}
DETAILS: dict[str, Callable[[str], list[Part]]] = {
    "corruptions": _corruption,
    "benchmarks": _benchmark,
    "studies": _study,
}
