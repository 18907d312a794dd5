"""What benchmarks say about the candidates of a matrix, and which one would say most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from noctule.benchmarks import Benchmark, benchmark_names, load_benchmark
from noctule.studies.design import (
    Choice,
    DesignScores,
    Stability,
    choose_exact,
    score_design,
    stability,
)
from noctule.studies.matrix import OverlapMatrix

DEFAULT_SIZE = 8  # of `noctule design`
# For the choice, and for repeating it on resamples: enough for some 50 candidates.
TIME_LIMIT_S = 60.0
_NAMES_SHOWN = 3


class ScoredBenchmark(NamedTuple):
    """A benchmark that comes with the package, scored as `noctule design score` does.

    Attributes:
        name: as used on the command line.
        title: of the benchmark.
        scored: how many of its corruptions count: those whose overlap is defined.
        total: how many it has.
        scores: of the corruptions that count.
    """

    name: str
    title: str
    scored: int
    total: int
    scores: DesignScores


@dataclass(frozen=True)
class Design:
    """What `noctule design` chooses.

    Attributes:
        choice: by the exact method, without a limit on overlap.
        stability: how often each candidate is chosen on resamples; None if there are none.
        is_default: whether the size is the default one; fewer candidates allow half of them.
    """

    choice: Choice
    stability: Stability | None
    is_default: bool


def score_shipped(
    matrix: OverlapMatrix,
) -> tuple[list[ScoredBenchmark], dict[str, list[str]]]:
    """Every shipped benchmark: the scores of those within the candidates, and the others.

    Returns:
        Those that can be scored, and the names of those that cannot, by the reason.
    """
    scored: list[ScoredBenchmark] = []
    unscored: dict[str, list[str]] = {}
    for benchmark in map(load_benchmark, benchmark_names()):
        if (reason := _why_unscored(benchmark, matrix)) is not None:
            unscored.setdefault(reason, []).append(benchmark.name)
            continue
        names = [name for name in benchmark.corruptions if name in matrix.names]
        total = len(benchmark.corruptions)
        scores = score_design(matrix, names)
        named = benchmark.name, benchmark.title
        scored.append(ScoredBenchmark(*named, len(names), total, scores))
    return scored, unscored


def design_of(matrix: OverlapMatrix, *, resamples: int) -> Design | None:
    """The default design; None if no overlap is defined.

    Args:
        matrix: of n defined candidates. With no more of them than `DEFAULT_SIZE` the size is
            half of n, for a benchmark of all candidates chooses nothing.
        resamples: bootstrap resamples to repeat the choice on, as far as the matrix has them.
    """
    count = len(matrix.names)
    if not count:
        return None
    is_default = count > DEFAULT_SIZE
    size = DEFAULT_SIZE if is_default else max(1, count // 2)
    known = matrix.replicates is not None and len(matrix.replicates) > 0 and resamples > 0
    return Design(
        choose_exact(matrix, size, time_limit_s=TIME_LIMIT_S),
        stability(matrix, size, resamples=resamples, time_limit_s=TIME_LIMIT_S)
        if known
        else None,
        is_default,
    )


def _why_unscored(benchmark: Benchmark, matrix: OverlapMatrix) -> str | None:
    known = {*matrix.names, *matrix.undefined}
    unknown = [name for name in benchmark.corruptions if name not in known]
    if unknown:
        if len(unknown) == len(benchmark.corruptions):
            return "none of its corruptions is among the candidates"
        listed = ", ".join(unknown[:_NAMES_SHOWN])
        more = len(unknown) - _NAMES_SHOWN
        listed += f" and {more} more" if more > 0 else ""
        verb = "is" if len(unknown) == 1 else "are"
        return f"{listed} {verb} not among the candidates"
    if not set(matrix.names) & set(benchmark.corruptions):
        return "the overlap of none of its corruptions is defined"
    return None
