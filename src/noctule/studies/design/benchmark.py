"""A designed set of corruptions as a benchmark."""

from __future__ import annotations

from noctule.benchmarks import Benchmark
from noctule.corruptions import CORRUPTIONS
from noctule.errors import InputError, nearest
from noctule.studies.design.choose import ChosenSet
from noctule.studies.design.measures import DesignScores
from noctule.studies.design.n_by_k import FamilyDesign
from noctule.studies.matrix import OverlapMatrix


def benchmark_of(
    design: ChosenSet | FamilyDesign, matrix: OverlapMatrix, name: str
) -> Benchmark:
    """The benchmark of a design, over full ranges; its source describes the design.

    Args:
        design: Set of corruptions.
        matrix: Matrix from which it was chosen.
        name: Name of the benchmark, as used in tables.

    Raises:
        InputError: A candidate is not a registered corruption, or the design is not complete.
    """
    if isinstance(design, ChosenSet) and not design.complete:
        raise InputError(design.note or "the design is not complete", where=matrix.source,
                         remedy="Use the exact method, or allow more overlap.")  # fmt: skip
    for corruption in design.names:
        if corruption not in CORRUPTIONS:
            raise _not_registered(corruption, matrix)
    method = _of_set(design) if isinstance(design, ChosenSet) else _of_families(design)
    return Benchmark(
        name=name,
        title=f"{len(design.names)} corruptions of {len(matrix.names)}, designed by noctule",
        source=f"Designed by noctule from {matrix.source}: {method}; {_numbers(design.scores)}",
        corruptions=design.names,
    )


def limit_text(max_overlap: float | None) -> str:
    """The limit as text.

    >>> limit_text(0.3), limit_text(None)
    ('every overlap below 0.3', 'no limit on overlap')
    """
    return (
        "no limit on overlap" if max_overlap is None else f"every overlap below {max_overlap:g}"
    )


def _of_set(design: ChosenSet) -> str:
    return (
        f"{design.size} corruptions, {limit_text(design.max_overlap)}, {design.method} method"
    )


def _of_families(design: FamilyDesign) -> str:
    n = len(design.families)
    return f"{n} families with {len(design.names) // n} corruptions each"


def _numbers(scores: DesignScores) -> str:
    text = f"coverage {scores.coverage:.3f} of {len(scores.emphasis)} candidates"
    if not scores.undefined:
        return text
    reasons = ", ".join(f"{name} ({reason})" for name, reason in scores.undefined.items())
    return f"{text}. Left out, their overlap is not defined: {reasons}"


def _not_registered(name: str, matrix: OverlapMatrix) -> InputError:
    guess = nearest(name, CORRUPTIONS)
    hint = f"Did you mean '{guess}'? " if guess else ""
    return InputError(
        f"the candidate {name} is not a registered corruption, which a benchmark requires",
        where=matrix.source,
        remedy=f"{hint}`noctule list corruptions` lists the registered corruptions.",
    )
