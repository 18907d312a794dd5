"""From the rows of a study to its overlap matrix; no network is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from noctule.arguments import path_like
from noctule.benchmarks import CLEAN
from noctule.errors import InputError, unknown_name
from noctule.metrics.outcome_matrix import (
    COLUMNS,
    OutcomeMatrix,
    check_same_images,
    outcome_matrix,
)
from noctule.store.comparability import check_same_pixels
from noctule.studies.accuracy import CrossEvaluation
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import Form, OverlapMatrix
from noctule.studies.overlap import overlap
from noctule.studies.spec import Member

NameT = TypeVar("NameT", str, int)


def overlap_of(
    folder: Path,
    *,
    form: Form = "robustness",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> OverlapMatrix:
    """The overlap matrix of a finished study; see `noctule.studies.overlap.overlap`.

    Raises:
        InputError: Not a study folder, or networks of it are missing.
    """
    cross = cross_evaluation(StudyFolder.open(path_like(folder, "folder")))
    return overlap(cross, form=form, resamples=resamples, confidence=confidence, seed=seed)


def cross_evaluation(
    folder: StudyFolder,
    *,
    candidates: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> CrossEvaluation:
    """What every network of a study did on every test image, joined by image id.

    Args:
        folder: Of the study.
        candidates: Those wanted; None is all.
        seeds: Those wanted; None is all.

    Raises:
        InputError: A candidate or seed is not in the study, or networks are not measured yet.
    """
    candidates = _chosen("candidate", folder.study.candidates, candidates)
    seeds = _chosen("seed", folder.study.seeds, seeds)
    members = [[Member(name, seed) for name in (None, *candidates)] for seed in seeds]
    _refuse_missing(folder, [member for row in members for member in row])
    conditions = [CLEAN, *candidates]
    outcomes = [[_outcomes(folder, member, conditions) for member in row] for row in members]
    for row in outcomes:
        for one in row:
            check_same_images(one, outcomes[0][0])
    return CrossEvaluation(
        candidates=tuple(candidates),
        seeds=tuple(seeds),
        correct=np.array([[~one.wrong for one in row] for row in outcomes]),
        source=f"study {folder.study.name} in {folder.folder}",
    )


def _chosen(kind: str, known: Sequence[NameT], wanted: Sequence[NameT] | None) -> list[NameT]:
    if wanted is None:
        return list(known)
    for one in wanted:
        if one not in known:
            raise unknown_name(f"{kind} of this study", str(one), map(str, known))
    return [one for one in known if one in wanted]


def _refuse_missing(folder: StudyFolder, members: Sequence[Member]) -> None:
    missing = set(folder.missing())
    lacking = [str(member) for member in members if member in missing]
    if lacking:
        raise InputError(
            f"{len(lacking)} of {len(members)} networks are not trained and measured yet, "
            f"first '{lacking[0]}'",
            where=folder.folder,
            remedy=f"Finish the study: noctule study resume {folder.folder}",
        )


def _outcomes(folder: StudyFolder, member: Member, conditions: Sequence[str]) -> OutcomeMatrix:
    store = folder.open_run(member)
    # Every network was shown the same test images, whenever it was measured.
    check_same_pixels(folder.open_run(folder.study.members[0]), store)
    return outcome_matrix(store.rows(conditions, columns=COLUMNS), conditions)
