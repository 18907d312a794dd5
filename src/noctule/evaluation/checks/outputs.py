"""Whether a model returns probabilities instead of logits."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.errors import InputError
from noctule.evaluation.checks.sample import Answers
from noctule.evaluation.checks.statistics import at_least_p, percent
from noctule.models.outputs import are_probabilities

SPAN = 0.8
ALPHA = 1e-4


def check_outputs(answers: Answers, model: str, remedy_off: str) -> None:
    """Refuse probabilities that are taken for logits.

    Rows of a softmax are not negative and sum to 1. Outputs of a sigmoid all lie in [0, 1];
    logits may too, by chance. They are refused only if they fill that range and their softmax
    is too unconfident for the model's accuracy: it never exceeds e / (e + K − 1) for K classes.

    Raises:
        InputError: The rows are probabilities.
    """
    logits = answers.logits
    inside = bool((logits >= 0).all() and (logits <= 1).all())
    if not inside or logits.shape[1] < 2:
        return
    confidence = float(torch.softmax(logits, dim=1).amax(dim=1).mean())
    if are_probabilities(logits):
        kind, remedy = "a softmax", "For probabilities, pass --outputs probabilities."
    elif _fills_the_range(logits) and _is_unsure(answers, confidence):
        kind, remedy = "a sigmoid", "Leave out the sigmoid, or return torch.logit of it."
    else:
        return
    raise InputError(
        f"all outputs lie in [0, 1], as those of {kind} do: taken for logits, they give a mean "
        f"confidence of {percent(confidence)}, where the accuracy is "
        f"{percent(answers.correct.mean())} and the largest output {percent(_largest(logits))} "
        "on average",
        where=model,
        remedy=f"{remedy} {remedy_off}",
    )


def _fills_the_range(values: Tensor) -> bool:
    return float(values.max() - values.min()) >= SPAN


def _is_unsure(answers: Answers, confidence: float) -> bool:
    """Whether the accuracy is significantly above the mean confidence."""
    correct = answers.correct
    return at_least_p(int(correct.sum()), len(correct), confidence) <= ALPHA


def _largest(values: Tensor) -> float:
    return float(values.amax(dim=1).mean())
