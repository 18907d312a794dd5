"""A comparison of two models: the verdict in words, and tables in every format."""

from __future__ import annotations

from collections.abc import Sequence

from noctule.comparison import Comparison
from noctule.errors import listed
from noctule.metrics.paired import POWER, Difference
from noctule.report.formatting import counted, interval, interval_name, number
from noctule.report.table import Cell, Column, Row, Table, render_table

_SUMMARIES = {"mean_error": "mean error", "mce": "mCE", "relative_mce": "relative mCE"}


def render_comparison(comparison: Comparison, format: str) -> str:
    """A comparison in one of `FORMATS` other than "table"; see `render_table`."""
    return render_table(comparison_table(comparison), format)


def comparison_table(comparison: Comparison, name: str = "") -> Table:
    """Errors of both models, B − A, p, and the smallest detectable difference."""
    digits = 1 if comparison.num_images < 10_000 else 2  # the standard error is 50 / √n points
    columns = [
        Column(comparison.by), Column("A %", 1), Column("B %", 1),
        Column("B − A", digits, interval=interval_name(comparison.confidence), signed=True),
        Column("p", 3), Column("detectable", digits),
    ]  # fmt: skip
    rows = [_row(one) for one in comparison.differences]
    if comparison.clean is not None:
        rows.insert(0, _row(comparison.clean))
    means = [comparison.mean_error]
    if comparison.reference is not None:
        means += [comparison.of("mce"), comparison.of("relative_mce")]
    rows += [_mean_row(mean) for mean in means]
    b, a = comparison.model_b, comparison.model_a
    title = f"{b} (B) against {a} (A) on {comparison.dataset}, {comparison.benchmark}"
    return Table(
        title, columns, rows, _notes(comparison), [verdict(comparison)],
        summary_rows=len(means), name=name, sortable=False, data=comparison.to_records(),
    )  # fmt: skip


def _row(one: Difference) -> Row:
    detectable = "" if one.real else one.detectable
    return Row([one.name, one.a, one.b, one.difference, _p_cell(one.p_holm), detectable])


def _mean_row(mean: Difference) -> Row:
    points = mean.difference if mean.metric == "mean_error" else Cell(mean.difference, digits=1)
    name = _SUMMARIES[mean.metric]
    return Row([name, mean.a, mean.b, points, _p_cell(mean.p_holm), ""])


def _p_cell(p_value: float | None) -> Cell:
    if p_value is None:
        return Cell("")
    return Cell(p_value, "<0.001" if p_value < 0.001 else None)


def verdict(comparison: Comparison) -> str:
    """What can be concluded about the two models, in a few sentences."""
    a, b = _names(comparison)
    if comparison.num_differing == 0:
        same = comparison.run_a == comparison.run_b
        models = "This is the same run twice: A and B" if same else f"{a} and {b}"
        outcomes = counted(comparison.num_outcomes, "outcome")
        return f"{models} do not differ in any of {outcomes} (right or wrong)."
    sentences = [mean_sentence(comparison), _clean_sentence(comparison, a, b)]
    sentences += [_parts_sentence(comparison, a, b), _images_sentence(comparison)]
    return " ".join(filter(None, sentences))


def _names(comparison: Comparison) -> tuple[str, str]:
    a, b = comparison.model_a, comparison.model_b
    return ("A", "B") if a == b else (a, b)


def mean_sentence(comparison: Comparison) -> str:
    """How the mean errors of the two models differ."""
    a, b = _names(comparison)
    mean = comparison.mean_error.difference
    value, low, high, extent = mean.value or 0.0, mean.low, mean.high, ""
    significant = bool(comparison.mean_error.real)
    if low is not None and high is not None:
        # "lower by" holds the sign
        unsigned = significant and low * high > 0
        first, last = sorted((abs(low), abs(high))) if unsigned else (low, high)
        text = interval(first, last, 2, signed=not unsigned)
        extent = f" ({interval_name(comparison.confidence)} {text})"
    if significant:
        how = "higher" if value > 0 else "lower"
        size = number(abs(value), 2)
        return f"The mean error of {b} is {size} points {how} than that of {a}{extent}."
    return (
        f"The mean errors of {a} and {b} do not differ significantly: the difference is "
        f"{number(value, 2, signed=True)} points{extent}."
    )


def _clean_sentence(comparison: Comparison, a: str, b: str) -> str:
    clean = comparison.clean
    if clean is None:
        return ""
    if clean.real:
        better = b if _points(clean) < 0 else a
        return f"On clean images {better} has the lower error, by {_size(clean)} points."
    return "On clean images the difference is not significant."


def _parts_sentence(comparison: Comparison, a: str, b: str) -> str:
    """Under what B has the lower error, under what A, and where neither has."""
    parts = comparison.differences
    significant = sorted((one for one in parts if one.real), key=lambda one: -abs(_points(one)))
    clauses = []
    for model, sign in ((b, -1), (a, 1)):
        better = [one for one in significant if sign * _points(one) > 0]
        if len(better) == len(parts) and len(parts) > 1:
            all_parts = f"{_all(len(parts))} {comparison.by}s"
            return f"{model} has the lower error under {all_parts}, by {_range(better)}."
        if better:
            clauses.append(f"{model} has the lower error under {_sizes(better)}")
    if rest := [one for one in parts if not one.real]:
        where = f"{_rest(rest, len(parts), comparison.by)} significant"
        clauses.append(f"{where} with {counted(comparison.num_images, 'image')}")
    text = "; ".join(clauses)
    return f"{text if significant else text[0].upper() + text[1:]}."


def _range(better: Sequence[Difference]) -> str:
    """From the smallest to the largest of differences in descending order."""
    least, most = better[-1], better[0]
    if _size(least) == _size(most):
        return f"{_size(most)} points"
    return f"{_size(least)} ({least.name}) to {_size(most)} points ({most.name})"


def _all(count: int) -> str:
    return "both" if count == 2 else f"all {count}"


def _rest(rest: Sequence[Difference], count: int, by: str) -> str:
    if len(rest) == 1:
        return f"under {rest[0].name} the difference is not"
    if len(rest) == count:
        return f"under none of the {count} {by}s is the difference"
    return f"under the other {len(rest)} {by}s the differences are not"


def _images_sentence(comparison: Comparison) -> str:
    """How many images it would take to detect what these could not."""
    rest = [one for one in comparison.differences if not one.real]
    needed = sorted((one.images_needed, one.name) for one in rest if one.images_needed)
    if not needed:
        return ""
    (fewest, first), (most, last) = needed[0], needed[-1]
    several = len(needed) > 1
    images = f"{fewest:,} ({first}) to {most:,} ({last})" if fewest != most else f"{fewest:,}"
    what = "the differences" if several else "the difference"
    where = "" if several or len(rest) == 1 else f" under {first}"
    verb = "are" if several else "is"
    end = "" if len(needed) == len(rest) else "; elsewhere none was observed"
    return (
        f"Detecting {what}{where} would take about {images} images, if "
        f"{'they' if several else 'it'} {verb} as large as observed here{end}."
    )


def _sizes(better: Sequence[Difference]) -> str:
    """Names and sizes: `shear (by 3.10 points), fog (by 2.00) and hue (by 1.00)`."""
    first, *others = better
    texts = [f"{one.name} (by {_size(one)})" for one in others]
    return listed([f"{first.name} (by {_size(first)} points)", *texts])


def _points(one: Difference) -> float:
    return (one.b or 0.0) - (one.a or 0.0)


def _size(one: Difference) -> str:
    return number(abs(_points(one)), 2)


def _notes(comparison: Comparison) -> list[str]:
    parts = counted(len(comparison.differences), comparison.by)
    family = f"the mean error and {parts}"
    if comparison.clean is not None:
        family = f"the mean error, the clean error and {parts}"
    notes = [
        f"A: {comparison.model_a} ({comparison.run_a}).",
        f"B: {comparison.model_b} ({comparison.run_b}).",
        f"{counted(comparison.num_images, 'image')}. A %, B %: errors. B − A: difference in "
        f"percentage points, with its own {interval_name(comparison.confidence)}.",
        "p: paired test of equal error rates, with Holm's correction for all tests together: "
        f"{family}; the mean error has half of the weight. A difference is significant if "
        f"p < {1 - comparison.confidence:.3g}.",
        "detectable: the smallest difference, in points, that this number of images shows to "
        f"be significant with {100 * POWER:.0f} % probability.",
        *_images_notes(comparison),
    ]
    if comparison.reference is None:
        notes.append(f"No CE: {comparison.no_reference_reason}.")
    else:
        notes.append(f"mCE and relative mCE: relative to {comparison.reference}.")
        for mean in (comparison.of("mce"), comparison.of("relative_mce")):
            if mean.difference.reason:
                notes.append(f"{_SUMMARIES[mean.metric]}: {mean.difference.reason}.")
    if comparison.part is not None:
        notes.append(comparison.part)
    if comparison.left_out:
        left_out = ", ".join(comparison.left_out)
        notes.append(f"Left out, as only one of the runs has them: {left_out}.")
    return notes


def _images_notes(comparison: Comparison) -> list[str]:
    needed = [
        f"{one.name} {one.images_needed:,}"
        for one in comparison.differences
        if one.images_needed
    ]
    if not needed:
        return []
    return [f"Images needed to detect a difference as large as observed: {', '.join(needed)}."]
