"""A comparison of two models: the verdict in words, and tables in every format."""

from __future__ import annotations

import json
from collections.abc import Sequence

from noctule.comparison import Comparison
from noctule.errors import unknown_name
from noctule.metrics import Estimate
from noctule.metrics.paired import POWER
from noctule.metrics.paired_results import MeanDifference, PairedDifference
from noctule.report.tables import FORMATS
from noctule.report.text_tables import (
    UNDEFINED,
    Row,
    TextTable,
    csv_text,
    latex_table,
    markdown_table,
)

_SUMMARIES = {"mean_error": "mean error", "mce": "mCE", "relative_mce": "relative mCE"}


def render_comparison(comparison: Comparison, format: str) -> str:
    """A comparison in one of `FORMATS` other than "table"; the verdict is in all but CSV.

    CSV and JSON carry every number at full precision.

    Raises:
        InputError: unknown format.
    """
    match format:
        case "json":
            data = {"verdict": verdict(comparison), **comparison.to_dict()}
            return json.dumps(data, indent=2) + "\n"
        case "csv":
            return csv_text(comparison.to_records())
        case "markdown":
            return markdown_table(comparison_table(comparison))
        case "latex":
            return latex_table(comparison_table(comparison))
    raise unknown_name("format", format, FORMATS)


def comparison_table(comparison: Comparison) -> TextTable:
    """The table people read: errors of both, B − A, p, and what could have been told."""
    interval = f"{100 * comparison.confidence:g} % CI"
    header = (comparison.by, "A %", "B %", "B − A", interval, "p", "tells")
    digits = 1 if comparison.num_images < 10_000 else 2  # of points; an error of 100 / √n
    rows = [_row(one, digits) for one in comparison.differences]
    if comparison.clean is not None:
        rows.insert(0, _row(comparison.clean, digits))
    means = [comparison.mean_error]
    if comparison.reference is not None:
        means += [comparison.mce, comparison.relative_mce]
    rows += [_mean_row(mean, digits) for mean in means]
    one, other = comparison.model_b, comparison.model_a
    title = f"{one} (B) against {other} (A) on {comparison.dataset}, {comparison.benchmark}"
    return TextTable(
        title,
        header,
        tuple(rows),
        tuple(_notes(comparison)),
        summary_rows=len(means),
        lines=(verdict(comparison),),
    )


def verdict(comparison: Comparison) -> str:
    """What can be said of the two models, in a few sentences."""
    a, b = _names(comparison)
    if comparison.num_differing == 0:
        same = comparison.run_a == comparison.run_b
        who = "This is the same run twice: A and B" if same else f"{a} and {b}"
        outcomes = _count(comparison.num_outcomes, "outcome")
        return f"{who} do not differ in any of {outcomes} (right or wrong)."
    sentences = [_mean_sentence(comparison, a, b), _clean_sentence(comparison, a, b)]
    sentences += [_parts_sentence(comparison, a, b), _images_sentence(comparison)]
    return " ".join(filter(None, sentences))


def _names(comparison: Comparison) -> tuple[str, str]:
    a, b = comparison.model_a, comparison.model_b
    return ("A", "B") if a == b else (a, b)


def _mean_sentence(comparison: Comparison, a: str, b: str) -> str:
    mean = comparison.mean_error.points
    value, extent, is_real = mean.value or 0.0, "", comparison.mean_error.real
    if mean.low is not None and mean.high is not None:
        texts = [_signed(bound) for bound in (mean.low, mean.high)]
        if is_real and mean.low * mean.high > 0:  # "lower by" says the sign
            texts = [f"{bound:.2f}" for bound in sorted((abs(mean.low), abs(mean.high)))]
        extent = f" ({100 * comparison.confidence:g} % CI {' to '.join(texts)})"
    if is_real:
        how = "higher" if value > 0 else "lower"
        return (
            f"The mean error of {b} is {abs(value):.2f} points {how} than that of {a}{extent}."
        )
    return (
        f"The mean errors of {a} and {b} cannot be told apart: they differ by "
        f"{_signed(value)} points{extent}."
    )


def _clean_sentence(comparison: Comparison, a: str, b: str) -> str:
    clean = comparison.clean
    if clean is None:
        return ""
    if clean.real:
        return f"On clean images {_better(clean, a, b)} errs less, by {_size(clean)} points."
    return "On clean images they cannot be told apart."


def _parts_sentence(comparison: Comparison, a: str, b: str) -> str:
    """Under what B errs less, under what A does, and where nothing can be said."""
    parts = comparison.differences
    real = sorted((one for one in parts if one.real), key=lambda one: -abs(_points(one)))
    b_better = [one for one in real if _points(one) < 0]
    a_better = [one for one in real if _points(one) > 0]
    clauses = []
    for name, better in ((b, b_better), (a, a_better)):
        if len(better) == len(parts) and len(parts) > 1:
            least, most = _size(better[-1]), _size(better[0])
            extent = f"{least} ({better[-1].name}) to {most} points ({better[0].name})"
            extent = f"{most} points" if least == most else extent
            return f"{name} errs less under {_all(parts, comparison.by)}, by {extent}."
        if better:
            clauses.append(f"{name} errs less under {_listed(better)}")
    rest = [one for one in parts if not one.real]
    if rest:
        images = f"with {_count(comparison.num_images, 'image')}"
        clauses.append(f"{_where(rest, parts, comparison.by)} {images}")
    text = "; ".join(clauses)
    return f"{text[0].upper() if not real else text[0]}{text[1:]}."


def _where(rest: Sequence[PairedDifference], parts: Sequence[PairedDifference], by: str) -> str:
    if len(rest) == 1:
        return f"under {rest[0].name} they cannot be told apart"
    if len(rest) == len(parts):
        return f"under none of the {len(parts)} {by}s can they be told apart"
    return f"under the other {len(rest)} {by}s they cannot be told apart"


def _images_sentence(comparison: Comparison) -> str:
    """How many images would tell apart what these could not."""
    rest = [one for one in comparison.differences if not one.real]
    needed = sorted((one.images_needed, one.name) for one in rest if one.images_needed)
    if not needed:
        return ""
    (fewest, first), (most, last) = needed[0], needed[-1]
    if len(rest) == 1:
        return f"About {fewest:,} would, if the difference is as large as it looks here."
    if len(needed) == 1:
        return (
            f"About {fewest:,} would under {first}, if the difference is as large as it looks "
            "here; elsewhere none is seen."
        )
    how_many = f"{fewest:,} ({first}) to {most:,} ({last})"
    if fewest == most:
        how_many = f"{fewest:,}"
    end = "" if len(needed) == len(rest) else "; elsewhere none is seen"
    return f"About {how_many} would, if the differences are as large as they look here{end}."


def _listed(better: Sequence[PairedDifference]) -> str:
    """Names and sizes: `shear (by 3.10 points), fog (by 2.00) and hue (by 1.00)`."""
    texts = [f"{one.name} (by {_size(one)})" for one in better]
    texts[0] = f"{texts[0][:-1]} points)"
    *most, last = texts
    return f"{', '.join(most)} and {last}" if most else last


def _all(parts: Sequence[PairedDifference], by: str) -> str:
    return f"both {by}s" if len(parts) == 2 else f"all {len(parts)} {by}s"


def _better(one: PairedDifference, a: str, b: str) -> str:
    return b if _points(one) < 0 else a


def _points(one: PairedDifference) -> float:
    return one.b_percent - one.a_percent


def _size(one: PairedDifference) -> str:
    return f"{abs(_points(one)):.2f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _signed(value: float, digits: int = 2) -> str:
    """With its sign, but for what rounds to 0."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def _row(one: PairedDifference, digits: int) -> Row:
    cells = (
        one.name,
        f"{one.a_percent:.1f}",
        f"{one.b_percent:.1f}",
        *_cells(one.points, digits),
    )
    p_text = _p_text(one.p_holm)
    if one.real:
        return (*cells, p_text, "")
    least = (
        UNDEFINED if one.detectable_points is None else f"{one.detectable_points:.{digits}f}"
    )
    return (*cells, p_text, least)


def _p_text(p_value: float | None) -> str:
    if p_value is None:
        return ""
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _mean_row(mean: MeanDifference, digits: int) -> Row:
    both = (
        UNDEFINED if value is None else f"{value:.1f}"
        for value in (mean.a_percent, mean.b_percent)
    )
    digits = digits if mean.metric == "mean_error" else 1
    return (
        _SUMMARIES[mean.metric],
        *both,
        *_cells(mean.points, digits),
        _p_text(mean.p_holm),
        "",
    )


def _cells(points: Estimate, digits: int) -> tuple[str, str]:
    if points.value is None:
        return UNDEFINED, ""
    if points.low is None or points.high is None:
        return _signed(points.value, digits), UNDEFINED
    low, high = (_signed(bound, digits) for bound in (points.low, points.high))
    return _signed(points.value, digits), f"{low} to {high}"


def _notes(comparison: Comparison) -> list[str]:
    parts = _count(len(comparison.differences), comparison.by)
    family = f"the mean error and {parts}"
    if comparison.clean is not None:
        family = f"the mean error, the clean error and {parts}"
    notes = [
        f"A: {comparison.model_a} ({comparison.run_a}).",
        f"B: {comparison.model_b} ({comparison.run_b}).",
        f"{_count(comparison.num_images, 'image')}. A %, B %: errors. B − A: percentage "
        f"points, with a {100 * comparison.confidence:g} % confidence interval for each alone.",
        "p: paired test of equal error rates, corrected for all tests together by Holm's "
        f"method: {family}; half the weight is the mean error's. A difference is called real "
        f"if p < {1 - comparison.confidence:.3g}.",
        "Tells: the least difference, in points, that as many images show to be real with "
        f"{100 * POWER:.0f} % probability.",
        *_images_notes(comparison),
    ]
    if comparison.reference is None:
        notes.append(f"No CE: {comparison.no_reference_reason}.")
    else:
        notes.append(f"mCE and relative mCE: relative to {comparison.reference}.")
        for mean in (comparison.mce, comparison.relative_mce):
            if mean.points.reason:
                notes.append(f"{_SUMMARIES[mean.metric]}: {mean.points.reason}.")
    if comparison.left_out:
        notes.append(
            f"Left out, as only one of the runs has them: {', '.join(comparison.left_out)}."
        )
    return notes


def _images_notes(comparison: Comparison) -> list[str]:
    needed = [
        f"{one.name} {one.images_needed:,}"
        for one in comparison.differences
        if one.images_needed
    ]
    if not needed:
        return []
    return [f"Images that show so a difference as large as seen here: {', '.join(needed)}."]
