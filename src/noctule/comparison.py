"""Compare two models on the same images, from their run folders: paired, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import pyarrow.compute as pc

from noctule.arguments import choice, real_number
from noctule.benchmarks import CLEAN, Benchmark
from noctule.benchmarks.parts import part_note, part_of
from noctule.display import Displayed
from noctule.errors import InputError
from noctule.metrics.estimates import Estimate, IntervalSettings
from noctule.metrics.intervals import difference_p
from noctule.metrics.means import Estimates, mean_estimates, ratio_estimates
from noctule.metrics.outcome_matrix import OutcomeMatrix, OutcomeReader
from noctule.metrics.paired import Difference, family_weights, holm, paired_differences
from noctule.metrics.registry import METRICS, Metric
from noctule.metrics.scores import (
    KnownReference,
    columns_of,
    image_values,
    metric_estimates,
)
from noctule.remote import AnyPath
from noctule.scoring import ReferenceRun, known_reference
from noctule.store import RunStore
from noctule.store.comparability import check_reference, check_same_pixels

__all__ = ["By", "Comparison", "Difference", "compare", "reasons_it_is_worse"]

By = Literal["corruption", "condition"]
# A difference of error rates above a bound by less than this many points is rounding.
_ROUNDING_POINTS = 1e-9
_NO_INTERVAL = "differences of this metric have no interval"


@dataclass(frozen=True, repr=False)
class Comparison(Displayed):
    """Model B, the candidate, against model A, the baseline, on the same images.

    Attributes:
        benchmark: Name of A's benchmark.
        dataset: Name of the data.
        model_a, model_b: Names of the models; they may be the same.
        run_a, run_b: Folders of the runs.
        num_images: Number of images that both were evaluated on.
        num_outcomes: Number of outcomes, right or wrong: one for each image under each
            condition, clean included.
        num_differing: Number of outcomes that are right for one model and wrong for the other.
        by: Whether corruptions or single conditions were tested.
        rows: The differences, for every metric; those of errors are tested together.
        reference: Name of the model whose errors CE is relative to, or None.
        no_reference_reason: Why there is no reference, where there is none.
        left_out: Corruptions that only one of the runs has under these conditions.
        confidence: Confidence of the intervals; p-values are compared with 1 − confidence.
        part: Of parts of a benchmark, what they lack, in a sentence.
    """

    benchmark: str
    dataset: str
    model_a: str
    model_b: str
    run_a: str
    run_b: str
    num_images: int
    num_outcomes: int
    num_differing: int
    by: By
    rows: tuple[Difference, ...]
    reference: str | None
    no_reference_reason: str | None
    left_out: tuple[str, ...]
    confidence: float
    part: str | None = None

    def of(self, metric: str, name: str | None = None) -> Difference:
        """One difference.

        Args:
            metric: Name of a metric, or of its mean over the corruptions.
            name: Name of a corruption or condition; None is the mean over the corruptions.

        Raises:
            KeyError: There is no such difference.
        """
        known = METRICS[metric]
        wanted = known.mean_name if name is None else known.name
        for row in self.rows:
            if row.metric == wanted and name in (None, row.name):
                return row
        raise KeyError((metric, name))

    @property
    def clean(self) -> Difference | None:
        """The difference of the error on clean images, if they were evaluated."""
        found = (row for row in self.rows if (row.scope, row.metric) == ("clean", "error"))
        return next(found, None)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The differences of the error under each corruption or condition."""
        return tuple(row for row in self.rows if (row.scope, row.metric) == (self.by, "error"))

    @property
    def mean_error(self) -> Difference:
        """The difference of the mean error over the corruptions."""
        return self.of("mean_error")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready data; the records are under "differences"."""
        fields = {key: value for key, value in vars(self).items() if key != "rows"}
        if self.part is None:
            del fields["part"]
        return fields | {"left_out": list(self.left_out), "differences": self.to_records()}

    def to_records(self) -> list[dict[str, Any]]:
        """One flat record per difference; what it does not have is None."""
        return [row.to_record() for row in self.rows]


def compare(
    run_a: str | AnyPath | RunStore,
    run_b: str | AnyPath | RunStore,
    *,
    reference: str | AnyPath | RunStore | None = None,
    by: By = "corruption",
    confidence: float = 0.95,
) -> Comparison:
    """Compare two finished runs from their stored rows; no model is run.

    The tests and their sources are in `noctule.metrics.paired`. Only corruptions that both runs
    have under the same conditions are compared.

    Args:
        run_a: The run of the baseline, or its folder.
        run_b: The run of the candidate, or its folder.
        reference: A run on the same images that CE is relative to. By default the published
            reference errors, if they were measured on this data.
        by: Whether to test corruptions, with all their severities, or single conditions.
        confidence: Confidence of the intervals; p-values are compared with 1 − confidence.

    Raises:
        InputError: A run is unfinished; the runs differ in data, seed or mode, or have no
            corruption in common; or a setting is out of its range.
    """
    by = choice(by, "by", get_args(By))
    confidence = real_number(confidence, "confidence", low=0, high=1, open_ends=True)
    opened = _opened(run_a), _opened(run_b)
    benchmark, left_out = _shared(*opened)
    a, b = (_narrowed(store, benchmark) for store in opened)
    _check_comparable(a, b)
    names = a.identity.conditions
    check_same_pixels(*opened)
    reader, columns = OutcomeReader(), columns_of([*METRICS.values()])
    first, second = (reader.read(store.rows(names, columns=columns), names) for store in opened)
    outcomes = first, second
    _check_images(outcomes, (a, b))
    other = None if reference is None else ReferenceRun.read(_opened(reference), [a])
    relative_to = known_reference(a, first, benchmark, other)
    differing = outcomes[0].wrong != outcomes[1].wrong
    return Comparison(
        benchmark=benchmark.name,
        dataset=str(a.identity.dataset.get("name")),
        model_a=_model(a),
        model_b=_model(b),
        run_a=str(a.folder),
        run_b=str(b.folder),
        num_images=len(differing),
        num_outcomes=differing.size,
        num_differing=int(differing.sum()),
        by=by,
        rows=tuple(_rows(outcomes, benchmark, relative_to, by, confidence)),
        reference=relative_to.name,
        no_reference_reason=relative_to.why_none,
        left_out=left_out,
        part=part_note(benchmark) if any(map(_is_part, opened)) else None,
        confidence=confidence,
    )


def _rows(
    outcomes: tuple[OutcomeMatrix, OutcomeMatrix],
    benchmark: Benchmark,
    reference: KnownReference,
    by: By,
    confidence: float,
) -> Iterator[Difference]:
    """Differences by scope and name, the error's first."""
    whole, clean, parts = differences_of(outcomes, benchmark, by, confidence)
    untested = [
        metric_differences(metric, outcomes, benchmark, reference, confidence)
        for metric in METRICS.values()
        if metric.name != "error"
    ]
    for one in (clean, *parts, mean_error_difference(whole, benchmark.name)):
        if one is not None:
            yield one
            key = "condition" if one.scope == "clean" else one.scope, one.name
            for found in untested:
                if key in found:
                    yield replace(found[key], scope=one.scope)


def mean_error_difference(whole: Difference, benchmark: str) -> Difference:
    """The difference over all corrupted conditions, as that of the mean error."""
    mean = replace(whole, scope="benchmark", name=benchmark, metric="mean_error")
    return replace(
        mean, only_a_wrong=None, only_b_wrong=None, detectable=None, images_needed=None
    )


def metric_differences(
    metric: Metric,
    outcomes: tuple[OutcomeMatrix, OutcomeMatrix],
    benchmark: Benchmark,
    reference: KnownReference,
    confidence: float,
) -> dict[tuple[str, str], Difference]:
    """Differences of a metric with their intervals; no test is made of them."""
    if metric.needs_clean and CLEAN not in outcomes[0].conditions:
        return {}
    settings = IntervalSettings(resamples=0, confidence=confidence)
    of_a, of_b = (
        metric_estimates(metric, one, benchmark, reference, settings) for one in outcomes
    )
    summand = METRICS["error"] if metric.kind == "ratio" else metric
    both: Estimates
    if metric.kind == "direct":
        both = {key: _less(of_b[key], of_a[key]) for key in of_a}
    else:
        a, b = (image_values(summand, one) for one in outcomes)
        if metric.kind == "mean":
            both = mean_estimates(metric, b.less(a), benchmark, confidence)
        else:
            both = ratio_estimates(
                metric,
                b.less(a),
                benchmark,
                reference.errors,
                no_reference_reason=reference.why_none or "",
                confidence=confidence,
            )
    return {
        (scope, name): Difference(
            scope,
            name,
            metric.name_in(scope),
            metric.unit,
            of_a[scope, name].scaled(metric.scale).value,
            of_b[scope, name].scaled(metric.scale).value,
            one.scaled(metric.scale),
        )
        for (scope, name), one in both.items()
    }


def _less(one: Estimate, other: Estimate) -> Estimate:
    if one.value is None or other.value is None:
        return Estimate(None, None, None, one.reason or other.reason)
    return Estimate(one.value - other.value, None, None, _NO_INTERVAL)


def differences_of(
    outcomes: tuple[OutcomeMatrix, OutcomeMatrix],
    benchmark: Benchmark,
    by: By,
    confidence: float,
) -> tuple[Difference, Difference | None, tuple[Difference, ...]]:
    """The differences of the mean error, of the clean error if it is known, and of the others.

    They are tested as one family.
    """
    names = outcomes[0].conditions
    groups = {CLEAN: [CLEAN]} if CLEAN in names else {}
    groups |= _groups(benchmark, by)
    corrupted = {"mean error": [name for name in names if name != CLEAN]}
    whole, *others = paired_differences(
        *outcomes,
        corrupted | groups,
        weights=family_weights(len(groups)),
        confidence=confidence,
    )
    clean = replace(others.pop(0), scope="clean") if CLEAN in groups else None
    return whole, clean, tuple(replace(one, scope=by) for one in others)


def reasons_it_is_worse(comparison: Comparison, points: float) -> list[str]:
    """The errors by which B is shown to be worse than A by more than `points`.

    Tested are the mean error over the corruptions, the clean error, and the error under each
    corruption (or condition), each against the hypothesis that B is worse by `points` or less.
    All tests are corrected together, like those of `compare`: if no error of B is worse by more
    than that, any is reported with probability at most 1 − confidence.

    Args:
        comparison: Comparison of B with A.
        points: Percentage points by which B may be worse.

    Returns:
        One sentence for each such error; none if B is not shown to be worse.

    Raises:
        InputError: `points` is not a number from 0 to 100.
    """
    points = real_number(points, "--fail-if-worse", low=0, high=100)
    named = [("the mean error", comparison.mean_error)]
    if comparison.clean is not None:
        named.append(("the clean error", comparison.clean))
    named += [(f"the error under {one.name}", one) for one in comparison.differences]
    p_values = [_p_of_more_than(one, points, comparison.num_images) for _, one in named]
    adjusted = holm(p_values, family_weights(len(named) - 1))
    return [
        f"{what} is {one.difference.value:.2f} points higher (p = {p_value:.2g})"
        for (what, one), p_value in zip(named, adjusted, strict=True)
        if p_value < 1 - comparison.confidence
    ]


def _p_of_more_than(one: Difference, points: float, num_images: int) -> float:
    """p-value of "B is worse by at most `points`"; never below that of 0 points."""
    value, spread, p_value = one.difference.value, one.spread, one.p_value
    assert value is not None
    assert spread is not None
    assert p_value is not None
    if value <= points + _ROUNDING_POINTS:
        return 1.0
    squares = num_images * (spread / 100) ** 2
    return max(p_value, difference_p(value / 100, squares, num_images, points / 100))


def _opened(run: str | AnyPath | RunStore) -> RunStore:
    store = run if isinstance(run, RunStore) else RunStore.open(run)
    try:
        _ = store.identity.dataset["fingerprint"], store.identity.seed, _model(store)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"its record does not describe its images: {error}", where=store.folder
        ) from error
    return store


def _model(store: RunStore) -> str:
    return store.identity.model_title


def _is_part(store: RunStore) -> bool:
    return "whole" in store.identity.benchmark


def _groups(benchmark: Benchmark, by: By) -> dict[str, list[str]]:
    groups = {
        name: [str(one) for one in benchmark.conditions_of_corruption(name)]
        for name in benchmark.corruptions
    }
    if by == "corruption":
        return groups
    return {name: [name] for severities in groups.values() for name in severities}


def _shared(a: RunStore, b: RunStore) -> tuple[Benchmark, tuple[str, ...]]:
    """A's benchmark, restricted to what both runs have, and the corruptions left out."""
    ours, theirs = (
        Benchmark.from_dict(one.identity.benchmark, where=one.folder) for one in (a, b)
    )
    shared = [
        name
        for name in ours.corruptions
        if name in theirs.corruptions
        and ours.conditions_of_corruption(name) == theirs.conditions_of_corruption(name)
    ]
    if not shared:
        raise InputError(
            f"this run has no corruption under the same conditions as {a.folder}",
            where=b.folder,
            remedy="Evaluate both models on the same benchmark.",
        )
    both = dict.fromkeys((*ours.corruptions, *theirs.corruptions))
    left_out = tuple(name for name in both if name not in shared)
    return part_of(ours, shared, ours.severities), left_out


def _narrowed(store: RunStore, benchmark: Benchmark) -> RunStore:
    """The run as if only the shared corruptions had been evaluated; its tables are kept."""
    own = Benchmark.from_dict(store.identity.benchmark, where=store.folder)
    narrow = part_of(own, benchmark.corruptions, own.severities)
    return RunStore(store.folder, replace(store.identity, benchmark=narrow.to_dict()))


def _check_comparable(a: RunStore, b: RunStore) -> None:
    try:
        check_reference(a, b)
    except InputError as error:
        raise InputError(
            error.what,
            where=error.where,
            remedy="Evaluate both models on the same data, with the same seed and mode.",
        ) from error


def _check_images(outcomes: Sequence[OutcomeMatrix], stores: Sequence[RunStore]) -> None:
    for one, other, store in zip(outcomes, reversed(outcomes), stores, strict=True):
        ids = other.image_ids
        lacking = ids.filter(pc.invert(pc.is_in(ids, value_set=one.image_ids)))
        if len(lacking):
            raise InputError(
                f"this run lacks {len(lacking):,} of the other's {len(ids):,} images, "
                f"first '{lacking[0]}'",
                where=store.folder,
                remedy="Evaluate both models on the same images.",
            )
