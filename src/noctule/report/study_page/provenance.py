"""What a study's numbers came from, and the commands that give them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noctule.report.study_page.designs import Design
from noctule.report.study_page.findings import Findings, Measured
from noctule.report.table import Column, Row, Table

_LISTED_ELSEWHERE = ("name", "title", "source", "candidates", "seeds", "train", "test")
_PROGRAM = ("noctule", "__main__.py", "noctule.exe")


def settings_table(measured: Measured) -> Table:
    """The study, its data and its recipe, as `study.json` records them."""
    identity, study = measured.folder.identity, measured.folder.study
    rows = [
        Row(["name", study.name]),
        Row(["source", study.source]),
        *(Row([split, _data(identity, split)]) for split in ("train", "test")),
        Row(["seeds", ", ".join(map(str, study.seeds))]),
        *(
            Row([key, value])
            for key, value in _flat(study.to_dict())
            if key not in _LISTED_ELSEWHERE
        ),
        Row(["device", str(identity.get("device_type", "not recorded"))]),
        Row(["precision used", str(identity.get("precision", "not recorded"))]),
    ]
    columns = [Column("setting"), Column("value")]
    title = "What determines the results"
    return Table(title, columns, rows, name="settings", sortable=False)


def starts_table(measured: Measured) -> Table:
    """When the study was run, with what, and where."""
    columns = [
        Column("started (UTC)"), Column("noctule"), Column("commit"), Column("device"),
        Column("Python"), Column("torch"), Column("command"),
    ]  # fmt: skip
    starts = measured.folder.starts()
    rows = [Row(_start(one)) for one in starts if isinstance(one, Mapping)]
    title = "Every start of the study"
    return Table(title, columns, rows, name="starts", sortable=False)


def commands(findings: Findings, place: Path, design: Design | None) -> list[str]:
    """Commands that give the study's numbers, the page and the design again.

    Args:
        findings: of a study or of a matrix.
        place: the study folder or the CSV file.
        design: the size of the benchmark to choose.
    """
    where = shlex.quote(str(place))
    lines = []
    if (measured := findings.measured) is not None:
        lines.append(f"noctule study run {shlex.quote(str(place / 'study.toml'))}")
        lines.append(f"noctule study overlap {where}{_choices(findings, measured)}")
    lines.append(f"noctule report {where} -o study.html")
    if design is not None:
        lines.append(f"noctule design {where} --size {design.choice.size} --out mine.toml")
    return lines


def _choices(findings: Findings, measured: Measured) -> str:
    """The options of `noctule study overlap` that differ from its defaults."""
    matrix, study, means = findings.matrix, measured.folder.study, measured.means
    resamples = len(means.values) - 1
    options = {
        "form": (matrix.form, "robustness"),
        "candidates": (",".join(means.candidates), ",".join(study.candidates)),
        "seeds": (",".join(map(str, measured.seeds)), ",".join(map(str, study.seeds))),
        "resamples": (resamples, 1000),
        "confidence": (f"{matrix.confidence:g}", "0.95"),
        "seed": (measured.bootstrap_seed, 0),
    }
    return "".join(
        f" --{name} {shlex.quote(str(value))}"
        for name, (value, default) in options.items()
        if value != default
    )


def _data(identity: Mapping[str, Any], split: str) -> str:
    data = _within(identity, split)
    if not data:
        return "not recorded"
    fingerprint = str(data.get("fingerprint", "not recorded"))
    return (
        f"{data.get('name')}: {data.get('num_images')} images, {data.get('num_classes')} "
        f"classes, fingerprint {fingerprint}"
    )


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            yield f"{prefix}{key}", str(text)


def _within(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table in a record that anybody may have edited."""
    found = table.get(key)
    return found if isinstance(found, Mapping) else {}


def _said(value: object) -> str:
    return "not recorded" if value is None else str(value)


def _start(start: Mapping[str, Any]) -> list[str]:
    return [
        _said(start.get("started_utc")),
        _said(start.get("noctule")),
        _commit(start),
        _device(start),
        _said(start.get("python")),
        _said(_within(start, "packages").get("torch")),
        _command(start.get("argv")),
    ]


def _commit(start: Mapping[str, Any]) -> str:
    if not start.get("commit"):
        return "none: not run from a checkout"
    changed = ", with changes" if start.get("dirty") else ""
    return f"{str(start['commit'])[:12]}{changed}"


def _device(start: Mapping[str, Any]) -> str:
    return f"{_said(start.get('device'))}, {_said(start.get('device_name'))}"


def _command(argv: object) -> str:
    if not isinstance(argv, list) or not argv:
        return "not recorded"
    program, *arguments = map(str, argv)
    program = "noctule" if Path(program).name in _PROGRAM else program
    return shlex.join([program, *arguments])
