"""Runs on the same images, which can be ranked together, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from noctule.benchmarks import CLEAN, Benchmark
from noctule.metrics import METRICS, Estimate, Metric, Scores, headline_metric
from noctule.metrics.scores import RANKING
from noctule.remote import AnyPath
from noctule.report.formatting import sentence
from noctule.report.loading import Run
from noctule.scoring import score_runs
from noctule.store.comparability import (
    ImageIdentity,
    benchmark_facts,
    comparable_groups,
)

_METRICS = ("accuracy", "error", "error_rise", "ce", "relative_ce")


class RunSettings(NamedTuple):
    """Settings of the intervals; see `score_run`."""

    seed: int = 0
    resamples: int = 1000
    confidence: float = 0.95


@dataclass(frozen=True)
class Summary:
    """One run and its errors, CE and relative CE."""

    run: Run
    scores: Scores

    @property
    def clean_error(self) -> Estimate | None:
        """The error on uncorrupted images, if they were evaluated."""
        return self.scores.of("error", CLEAN) if self.scores.has_clean else None

    def ranked_corruptions(self, metric: Metric) -> list[str]:
        """The corruptions, the largest value of a metric first; those without a value last."""

        def key(name: str) -> tuple[bool, float, str]:
            value = self.scores.of(metric.name, name).value
            return value is None, -(value or 0.0), name

        return sorted(self.scores.corruptions, key=key)


@dataclass(frozen=True)
class RunGroup:
    """Runs of the same benchmark, mode and tables, on the same images, with the same seed.

    Attributes:
        benchmark: The benchmark of all of them.
        summaries: One for each run, in the order in which the runs were given.
    """

    benchmark: Benchmark
    summaries: tuple[Summary, ...]

    @property
    def scores(self) -> Scores:
        """Scores of the first run, whose settings and number of images are those of all."""
        return self.summaries[0].scores

    @property
    def headline(self) -> Metric:
        """The metric that runs are ranked by, whose mean is defined for all of them."""
        return headline_metric([one.scores for one in self.summaries])

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that are shown, the headline first; without a reference the error."""
        if self.scores.reference is None:
            return [METRICS["error"]]
        own, others = METRICS[self.benchmark.metric], [METRICS[name] for name in RANKING]
        return list(dict.fromkeys((self.headline, own, *others)))

    @property
    def why_not_own(self) -> str:
        """A sentence, with a space in front, if the benchmark's own metric does not rank."""
        own = METRICS[self.benchmark.metric]
        if self.scores.reference is None or self.headline is own:
            return ""
        lacking = [
            one.run.label for one in self.summaries if one.scores.of(own.name).value is None
        ]
        return f" {sentence(own.mean_title)} is not defined for {', '.join(lacking)}."

    @property
    def ranked(self) -> list[Summary]:
        """The runs, the lowest headline first."""
        metric = self.headline.name
        return sorted(
            self.summaries, key=lambda one: (one.scores.of(metric).value or 0.0, one.run.label)
        )


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that can be ranked together: same benchmark, data, images read, and seed."""

    def also(run: Run) -> tuple[str, int, tuple[str, ...]]:
        skipped = tuple(sorted(image_id for image_id, _ in run.store.unreadable()))
        identity = run.store.identity
        return benchmark_facts(identity.benchmark), identity.dataset["num_images"], skipped

    return comparable_groups(runs, lambda run: ImageIdentity.of(run.store.identity), also)


def summarise(
    runs: Sequence[Run], *, reference: str | AnyPath | None = None, settings: RunSettings
) -> RunGroup:
    """The scores of the runs of one group: the same numbers that `score_run` gives for each.

    Args:
        runs: Runs of one group.
        reference: A run on the same images that CE is relative to, as in `score_run`.
        settings: Settings of the intervals.

    Raises:
        InputError: Rows are missing or double, or the reference has other images.
    """
    scores = score_runs(
        [run.store for run in runs],
        None,
        reference,
        metrics=_METRICS,
        same_images=True,
        **settings._asdict(),
    )
    return RunGroup(runs[0].benchmark, tuple(map(Summary, runs, scores)))
