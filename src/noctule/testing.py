"""Robustness as a test: `assert_robust` fails only where the interval says so.

The plug-in for pytest, `noctule.pytest_plugin`, has it as a fixture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noctule.arguments import real_number
from noctule.benchmarks import Benchmark
from noctule.benchmarks.parts import Names
from noctule.comparison import compare, reasons_it_is_worse
from noctule.data import Dataset
from noctule.errors import InputError
from noctule.evaluation.loop import folder_of, live_images, run_images
from noctule.evaluation.settings import Settings
from noctule.metrics import Scores
from noctule.remote import AnyPath
from noctule.report.comparison import comparison_table
from noctule.report.formatting import estimate_texts, interval_name
from noctule.report.scores import score_table
from noctule.report.terminal import terminal_text
from noctule.scoring import score_run
from noctule.store import RunStore
from noctule.store.comparability import open_reference

if TYPE_CHECKING:
    from noctule.evaluation.sources import ImageSource
    from noctule.report.table import Table


def assert_robust(
    model: Any,
    data: str | Path | Dataset | tuple[Any, Any],
    benchmark: str | Path | Benchmark = "imagenet-noc",
    *,
    max_mean_error: float | None = None,
    no_worse_than: str | Path | RunStore | None = None,
    points: float = 0.0,
    corruptions: Names = None,
    severities: Iterable[int] | None = None,
    skip: Names = None,
    out: str | Path | None = None,
    settings: Settings | None = None,
    confidence: float = 0.95,
) -> Scores:
    """Evaluate a model, and fail if it is shown to be less robust than it has to be.

    A limit fails only if the data show that it is missed. With few images, a model that misses
    it by little passes; it never fails by chance more often than stated below.

    Args:
        model, data, benchmark, corruptions, severities, skip, settings: See `noctule.evaluate`.
        max_mean_error: Largest mean error over the corruptions, a fraction in [0, 1]. It is
            missed if the whole interval of the mean error lies above it: for a model at the
            limit, with a probability of (1 − confidence) / 2 or less.
        no_worse_than: A finished run on the same data under the same conditions, or its folder.
            The model is worse if its mean error, its clean error or its error under any
            corruption is shown to be higher; see `noctule.comparison.reasons_it_is_worse`. If
            none is, this fails with a probability of 1 − confidence or less.
        points: Percentage points by which errors may be higher than those of that run.
        out: Run folder to keep; by default a temporary one. An existing run of the same model
            is used again.
        confidence: Confidence of the intervals and tests.

    Returns:
        The scores of the model.

    Raises:
        AssertionError: A limit is missed; the message has the reasons and the table.
        InputError: There is no limit, the other run does not fit, or see `noctule.evaluate`.
            The first two are found before any compute is spent.
    """
    __tracebackhide__ = True
    if max_mean_error is not None:
        remedy = "Use a fraction such as 0.35."
        max_mean_error = real_number(
            max_mean_error, "max_mean_error", low=0, high=1, remedy=remedy
        )
    elif no_worse_than is None:
        raise InputError(
            "there is no limit", where="assert_robust",
            remedy="Pass max_mean_error=… or no_worse_than=RUN.",
        )  # fmt: skip
    points = real_number(points, "points", low=0, high=100)
    source = live_images(
        model,
        data,
        benchmark,
        corruptions=corruptions,
        severities=severities,
        skip=skip,
        settings=settings,
    )
    with tempfile.TemporaryDirectory(prefix="noctule-") as temporary:
        folder = folder_of(source.identity, Path(temporary, "run") if out is None else out)
        baseline = _baseline(no_worse_than, source, folder)
        run = run_images(source, out=folder)
        scores = score_run(run, confidence=confidence)
        failures = _above(scores, run.title, max_mean_error)
        if baseline is not None:
            failures += _worse(baseline, run, points, confidence)
    if failures:
        raise AssertionError(
            "\n\n".join(f"{why}\n\n{terminal_text([table], None)}" for why, table in failures)
        )
    return scores


def _baseline(
    run: str | Path | RunStore | None, source: ImageSource, folder: AnyPath
) -> RunStore | None:
    return None if run is None else open_reference(run, RunStore(folder, source.identity))


def _above(scores: Scores, title: str, limit: float | None) -> list[tuple[str, Table]]:
    """Why the mean error is shown to be above a limit, with the table; empty if it is not."""
    mean = scores.of("error")
    if limit is None or mean.low is None or mean.low <= limit:
        return []
    value, extent = estimate_texts(mean)
    interval = interval_name(scores.confidence)
    why = f"the mean error is {value} % ({interval}: {extent}), above {100 * limit:g} %"
    return [(why, score_table(scores, title))]


def _worse(
    baseline: RunStore, run: RunStore, points: float, confidence: float
) -> list[tuple[str, Table]]:
    """Why a run is shown to be worse than another, with the table; empty if it is not."""
    comparison = compare(baseline, run, confidence=confidence)
    reasons = reasons_it_is_worse(comparison, points)
    margin = f" by more than {points:g} points" if points else ""
    why = f"the model is worse than {baseline.folder}{margin}: {'; '.join(reasons)}"
    return [(why, comparison_table(comparison))] if reasons else []
