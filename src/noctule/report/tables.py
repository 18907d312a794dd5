"""Scores as a table: for the terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from noctule.errors import unknown_name
from noctule.formulas import FORMULAS
from noctule.metrics import Estimate, Scores
from noctule.report.text_tables import (
    UNDEFINED,
    Row,
    TextTable,
    csv_text,
    escape_latex,
    interval_cells,
    latex_table,
    markdown_table,
)

__all__ = ["FORMATS", "UNDEFINED", "escape_latex", "render", "score_table"]

FORMATS = ("table", "csv", "json", "markdown", "latex")


def render(scores: Scores, format: str, *, title: str) -> str:
    """Scores in one of `FORMATS`; CSV and JSON carry every number at full precision.

    Raises:
        InputError: unknown format.
    """
    match format:
        case "json":
            return json.dumps({"title": title, **scores.to_dict()}, indent=2) + "\n"
        case "csv":
            return csv_text(scores.to_records())
        case "markdown":
            return markdown_table(score_table(scores, title))
        case "latex":
            return latex_table(score_table(scores, title))
    raise unknown_name("format", format, FORMATS)


def score_table(scores: Scores, title: str) -> TextTable:
    """The table people read: error, CE and relative CE by corruption, and their means.

    Of the two ratios, the one that the benchmark's authors report comes first, with intervals;
    without a reference there are none.
    """
    interval = f"{100 * scores.confidence:g} % CI"
    header: tuple[str, ...] = ("corruption", "error %", interval)
    relative_first = scores.metric == "relative_ce"
    if scores.reference is not None:
        names = ("relative CE", "CE") if relative_first else ("CE", "relative CE")
        header = (*header, names[0], interval, names[1])

    def row(name: str, error: Estimate, ratios: Sequence[Estimate], digits: int) -> Row:
        cells = (name, *interval_cells(error, 100, 1))
        if scores.reference is None:
            return cells
        first, second = reversed(ratios) if relative_first else ratios
        return (*cells, *interval_cells(first, 1, digits), interval_cells(second, 1, digits)[0])

    rows = [
        row(one.corruption, one.error, (one.ce, one.relative_ce), 0)
        for one in scores.corruptions
    ]
    rows.append(row("mean", scores.mean_error, (scores.mce, scores.relative_mce), 1))
    if scores.clean is not None:
        clean = ("clean", *interval_cells(scores.clean.error, 100, 1))
        rows.insert(0, clean + ("",) * (len(header) - len(clean)))
    return TextTable(title, header, tuple(rows), tuple(_notes(scores)), lines=_lines(scores))


def _lines(scores: Scores) -> tuple[str, ...]:
    """The result in a few lines, what the benchmark's authors report first."""
    means = [("mCE", scores.mce), ("relative mCE", scores.relative_mce)]
    if scores.reference is None:
        means = []
    elif scores.metric == "relative_ce":
        means.reverse()
    interval = f"{100 * scores.confidence:g} % CI"
    lines = [_line(name, mean, 1, "", interval) for name, mean in means]
    lines.append(_line("mean error", scores.mean_error, 100, " %", interval))
    if (clean := scores.clean) is not None:
        lines.append(_line("clean error", clean.error, 100, " %", interval))
    return tuple(lines)


def _line(name: str, estimate: Estimate, scale: float, unit: str, interval: str) -> str:
    value, extent = interval_cells(estimate, scale, 1)
    if estimate.value is None:
        return f"{name}: not defined" + (f", {estimate.reason}" if estimate.reason else "")
    if extent == UNDEFINED:
        return f"{name}: {value}{unit} (no {interval}: {estimate.reason})"
    return f"{name}: {value}{unit} ({interval}: {extent})"


def _notes(scores: Scores) -> list[str]:
    images = f"{scores.num_images:,} image{'' if scores.num_images == 1 else 's'}"
    notes = [f"{images}; the clean ones were not evaluated."]
    if (clean := scores.clean) is not None:
        notes = [
            f"{images}; on clean ones the top-5 error is "
            f"{_percent(clean.top5_error)} and the calibration error {_percent(clean.ece)}."
        ]
    notes.append(f"{_sentence(FORMULAS['mean_error'])}")
    if scores.reference is None:
        return [*notes, f"No CE: {scores.no_reference_reason}."]
    notes += [_sentence(FORMULAS["ce"]), _sentence(FORMULAS["relative_ce"])]
    if scores.metric == "relative_ce":
        notes.append("The relative mCE is what ImageNet-NOC publishes as mCE.")
    notes.append(f"Relative to {scores.reference}.")
    for what in ("CE", "relative CE"):
        reasons: dict[str, list[str]] = {}
        for one in scores.corruptions:
            estimate = one.ce if what == "CE" else one.relative_ce
            if estimate.reason:
                reasons.setdefault(estimate.reason, []).append(one.corruption)
        notes += [f"{what} of {', '.join(which)}: {why}." for why, which in reasons.items()]
    return notes


def _sentence(formula: str) -> str:
    return f"{formula[0].upper()}{formula[1:]}."


def _percent(estimate: Estimate) -> str:
    return UNDEFINED if estimate.value is None else f"{100 * estimate.value:.1f} %"
