"""A chosen set of corruptions as a benchmark."""

from __future__ import annotations

from noctule.benchmarks import Benchmark
from noctule.corruptions import CORRUPTIONS
from noctule.errors import InputError, nearest
from noctule.studies.design.choose import Choice
from noctule.studies.design.measures import DesignScores
from noctule.studies.design.n_by_k import FamilyDesign
from noctule.studies.matrix import OverlapMatrix


def benchmark_of(choice: Choice | FamilyDesign, matrix: OverlapMatrix, name: str) -> Benchmark:
    """The benchmark of these corruptions over their full ranges; its source tells the design.

    Args:
        choice: What was chosen.
        matrix: What it was chosen from.
        name: Of the benchmark, as used in tables.

    Raises:
        InputError: A candidate that is not a registered corruption, or a choice that is not
            complete.
    """
    if isinstance(choice, Choice) and not choice.complete:
        raise InputError(choice.note or "the choice is not complete", where=matrix.source,
                         remedy="Use the exact method, or allow more overlap.")  # fmt: skip
    for one in choice.names:
        if one not in CORRUPTIONS:
            raise _not_registered(one, matrix)
    how = _of_choice(choice) if isinstance(choice, Choice) else _of_families(choice)
    return Benchmark(
        name=name,
        title=f"{len(choice.names)} corruptions of {len(matrix.names)}, designed by noctule",
        source=f"Designed by noctule from {matrix.source}: {how}; {_numbers(choice.scores)}",
        corruptions=choice.names,
    )


def limit_text(max_overlap: float | None) -> str:
    """The limit in words.

    >>> limit_text(0.3), limit_text(None)
    ('every overlap below 0.3', 'no limit on overlap')
    """
    return (
        "no limit on overlap" if max_overlap is None else f"every overlap below {max_overlap:g}"
    )


def _of_choice(choice: Choice) -> str:
    return (
        f"{choice.size} corruptions, {limit_text(choice.max_overlap)}, {choice.method} method"
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
        f"the candidate {name} is not a registered corruption, so no benchmark can name it",
        where=matrix.source,
        remedy=f"{hint}`noctule list corruptions` names those there are.",
    )
