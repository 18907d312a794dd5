"""Overlap scores of a study, on the sample and on every resample at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from noctule.arguments import choice, path_like, real_number
from noctule.benchmarks import CLEAN
from noctule.errors import InputError, unknown_name
from noctule.metrics.outcome_matrix import (
    COLUMNS,
    OutcomeMatrix,
    check_same_images,
    outcome_matrix,
)
from noctule.store.comparability import check_same_pixels
from noctule.studies.accuracy import (
    CrossEvaluation,
    MeanAccuracies,
    gains_of_form,
    mean_accuracies,
)
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import Form, OverlapMatrix
from noctule.studies.spec import STANDARD, Member

NameT = TypeVar("NameT", str, int)

# Differences of robustness below this are rounding errors: with 50,000 images and several
# seeds, differences are multiples of more than 1e-11.
_ROUNDING = 1e-12


def overlap_of(
    folder: Path,
    *,
    form: Form = "robustness",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> OverlapMatrix:
    """The overlap matrix of a finished study.

    Args:
        folder: Folder of the study.
        form: Form of R in `overlap`.
        resamples: Number of bootstrap resamples, up to 100,000; 0 gives no intervals.
        confidence: Confidence of the intervals.
        seed: Seed of the resampling.

    Raises:
        InputError: The folder is not a study, networks are missing, or see `overlap`.
    """
    cross = cross_evaluation(StudyFolder.open(path_like(folder, "folder")))
    means = mean_accuracies(cross, resamples=resamples, seed=seed)
    return overlap(means, form=form, confidence=confidence)


def overlap(
    means: MeanAccuracies, *, form: Form = "robustness", confidence: float = 0.95
) -> OverlapMatrix:
    """The overlap of all pairs of candidates.

    With A_c(m) the accuracy of model m under c, the mean over images and seeds, and

        R(m, c) = A_c(m) / A_clean(m)                       form "robustness", or
        R(m, c) = A_c(m)                                    form "accuracy"
        D_b     = R(m_b, b) - R(std, b)                     gain of training on b, under b
        raw     = ½ · [(R(m_a, b) - R(std, b)) / D_b + (R(m_b, a) - R(std, a)) / D_a]

    This is a ratio of means, not a mean of ratios over images or seeds. "robustness" is
    Laugros, Caplier & Ospici, "Using the Overlapping Score to Improve Corruption Benchmarks",
    2021; "accuracy" is their arXiv 2107.12052. The published score is `OverlapMatrix.scores`.

    The overlap of a candidate b is undefined if D_b is not above 0, or if its interval contains
    0: then training on b is not shown to help against b. Without intervals (no resamples), only
    the first applies. Departure: the papers have no undefined scores.

    The interval of D_b is that of paired differences over the images, as in `noctule compare`,
    widened where the bootstrap's is wider (see `MeanAccuracies`). Intervals of the overlap are
    percentile bootstrap intervals over images and, with several seeds, over seeds (see
    `mean_accuracies`). With one seed they do not include the variation between seeds: another
    training run of the same study may well lie outside.

    Args:
        means: Accuracies of the study.
        form: Form of R.
        confidence: Confidence of the intervals, including those of D_b.

    Raises:
        InputError: A model has no clean image right (form "robustness"), or an argument is out
            of range.

    >>> right = np.zeros((1, 3, 4, 3), dtype=bool)
    >>> right[..., 0] = True                          # clean
    >>> right[0, 1, :, 1] = right[0, 2, :, 2] = True  # each model under its own corruption
    >>> right[0, 2, :1, 1] = True                     # rain also helps a little against shear
    >>> cross = CrossEvaluation(("shear", "rain"), (0,), right, "doctest")
    >>> overlap(mean_accuracies(cross, resamples=0)).raw.tolist()
    [[1.0, 0.125], [0.125, 1.0]]
    """
    confidence = real_number(confidence, "confidence", low=0, high=1, open_ends=True)
    form = choice(form, "form", get_args(Form))
    _check_clean_accuracies(means, form)
    gains = gains_of_form(means.values, form)
    reasons = {
        name: reason
        for index, name in enumerate(means.candidates)
        if (reason := _why_undefined(means, index, form, confidence))
    }
    defined = [i for i, name in enumerate(means.candidates) if name not in reasons]
    raw = _raw_overlap(gains[:, defined][:, :, defined])
    return OverlapMatrix(
        tuple(means.candidates[i] for i in defined),
        raw[0],
        reasons,
        form,
        raw[1:] if len(raw) > 1 else None,
        confidence,
        means.source,
    )


def _check_clean_accuracies(means: MeanAccuracies, form: Form) -> None:
    if form != "robustness":
        return
    clean = means.values[0, :, 0]
    for name, accuracy in zip((STANDARD, *means.candidates), clean, strict=True):
        if accuracy == 0:
            raise _no_clean_accuracy(name)


def _why_undefined(
    means: MeanAccuracies, candidate: int, form: Form, confidence: float
) -> str | None:
    gain = means.gain(candidate, form, confidence)
    value, low, interval = gain.value or 0.0, gain.low, ""
    if gain.low is not None and gain.high is not None:
        ends = f"{100 * gain.low:.2f} to {100 * gain.high:.2f}"
        interval = f", {100 * confidence:g} % CI {ends}"
    if value > _ROUNDING and (low is None or low > _ROUNDING):
        return None
    what = "training on it is not shown to help against it"
    return f"{what}: {form} {100 * value:+.2f} points{interval}"


def _raw_overlap(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw overlap from the gains of defined candidates, both (1 + resamples, n, n).

    Quantiles are valid only if resamples with a denominator that is not above 0 count at the
    far end, and not with the opposite sign at the near end. Each candidate has at most the tail
    share of such resamples, which are treated as follows.
    """
    denominators = np.diagonal(gains, axis1=1, axis2=2)[:, None, :]
    fails = denominators <= _ROUNDING
    # They count as infinite, with the sign of the numerator. A numerator of 0 stays 0: a model
    # that equals the standard model gains nothing, whatever the denominator.
    beyond = np.where(np.abs(gains) <= _ROUNDING, 0.0, np.copysign(np.inf, gains))
    halves = np.where(fails, beyond, gains / np.where(fails, 1.0, denominators))
    with np.errstate(invalid="ignore"):
        raw = (halves + halves.transpose(0, 2, 1)) / 2
    # inf - inf: both denominators fail, with opposite signs. It counts at the low end, so that
    # no overlap is claimed because of it. The high end may then exclude more than its share,
    # but only by these resamples, which are at most the tail share.
    raw[np.isnan(raw)] = -np.inf
    # The overlap of a corruption with itself is 1 on every resample.
    diagonal = np.arange(gains.shape[1])
    raw[:, diagonal, diagonal] = 1.0
    return raw


def _no_clean_accuracy(model: str) -> InputError:
    name = "the standard model" if model == STANDARD else f"the model trained with {model}"
    return InputError(
        f"{name} has no clean image right, so its robustness is 0 / 0",
        where="overlap",
        remedy="Train longer, test on more images, or use the form 'accuracy'.",
    )


def cross_evaluation(
    folder: StudyFolder,
    *,
    candidates: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> CrossEvaluation:
    """Read the outcomes of every network of a study on every test image, joined by image id.

    Args:
        folder: Folder of the study.
        candidates: Candidates to read; by default all.
        seeds: Seeds to read; by default all.

    Raises:
        InputError: A candidate or seed is not in the study, or a network is not measured yet.
    """
    candidates = _selected("candidate", folder.study.candidates, candidates)
    seeds = _selected("seed", folder.study.seeds, seeds)
    members = [[Member(name, seed) for name in (None, *candidates)] for seed in seeds]
    _reject_missing(folder, [member for row in members for member in row])
    conditions = [CLEAN, *candidates]
    outcomes = [[_outcomes(folder, member, conditions) for member in row] for row in members]
    for row in outcomes:
        for matrix in row:
            check_same_images(matrix, outcomes[0][0])
    return CrossEvaluation(
        candidates=tuple(candidates),
        seeds=tuple(seeds),
        correct=np.array([[~matrix.wrong for matrix in row] for row in outcomes]),
        source=f"study {folder.study.name} in {folder.folder}",
    )


def _selected(
    kind: str, known: Sequence[NameT], selection: Sequence[NameT] | None
) -> list[NameT]:
    if selection is None:
        return list(known)
    for name in selection:
        if name not in known:
            raise unknown_name(f"{kind} of this study", str(name), map(str, known))
    return [name for name in known if name in selection]


def _reject_missing(folder: StudyFolder, members: Sequence[Member]) -> None:
    unfinished = set(folder.missing())
    missing = [str(member) for member in members if member in unfinished]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(members)} networks are not trained and measured yet, "
            f"first '{missing[0]}'",
            where=folder.folder,
            remedy=f"Finish the study: noctule study resume {folder.folder}",
        )


def _outcomes(folder: StudyFolder, member: Member, conditions: Sequence[str]) -> OutcomeMatrix:
    store = folder.open_run(member)
    # All networks must have been measured on the same test images.
    check_same_pixels(folder.open_run(folder.study.members[0]), store)
    return outcome_matrix(store.rows(conditions, columns=COLUMNS), conditions)
