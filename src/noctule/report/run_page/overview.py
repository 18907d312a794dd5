"""Runs of the same images together: their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from noctule.benchmarks import Benchmark
from noctule.metrics import Scores
from noctule.report.run_page.opening import Run
from noctule.scoring import score_runs
from noctule.store.comparability import (
    ImageIdentity,
    benchmark_facts,
    comparable_groups,
)

_METRICS = ("accuracy", "error", "error_rise", "ce", "relative_ce")


@dataclass(frozen=True)
class Summary:
    """One run and its errors, CE and relative CE."""

    run: Run
    scores: Scores


@dataclass(frozen=True)
class Group:
    """Runs of the same benchmark, mode and tables, on the same images, with the same seed.

    Attributes:
        benchmark: of all of them.
        summaries: one per run, in the order the runs were given.
        num_images: how many images each was evaluated on.
        reference: whose errors CE is relative to, or None.
        no_reference_reason: why there is none.
        confidence: of the intervals.
    """

    benchmark: Benchmark
    summaries: tuple[Summary, ...]
    num_images: int
    reference: str | None
    no_reference_reason: str | None
    confidence: float


class Settings(NamedTuple):
    """Of the intervals; see `score_run`."""

    seed: int = 0
    resamples: int = 1000
    confidence: float = 0.95


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that can be ranked together: same benchmark, data, images read, and seed."""

    def also(run: Run) -> tuple[str, int, tuple[str, ...]]:
        skipped = tuple(sorted(image_id for image_id, _ in run.store.unreadable()))
        identity = run.store.identity
        return benchmark_facts(identity.benchmark), identity.dataset["num_images"], skipped

    return comparable_groups(runs, lambda run: ImageIdentity.of(run.store.identity), also)


def summarise(
    runs: Sequence[Run], *, reference: str | Path | None = None, settings: Settings
) -> Group:
    """The scores of runs of one group: for each the same numbers as `score_run` gives.

    Args:
        runs: of one group.
        reference: a run on the same images that CE is relative to, as in `score_run`.
        settings: Settings of the intervals.

    Raises:
        InputError: rows are missing or double, or the reference has other images.
    """
    found = score_runs(
        [run.store for run in runs],
        None,
        reference,
        metrics=_METRICS,
        same_images=True,
        **settings._asdict(),
    )
    first = found[0]
    return Group(
        benchmark=runs[0].benchmark,
        summaries=tuple(map(Summary, runs, found)),
        num_images=first.num_images,
        reference=first.reference,
        no_reference_reason=first.no_reference_reason,
        confidence=first.confidence,
    )
