"""A model's predictions on an image and on its corrupted version, and what changed."""

from __future__ import annotations

import threading
from typing import NamedTuple

import torch
from torch import Tensor

from noctule.errors import InputError
from noctule.models import Classifier
from noctule.models.borrowed import borrowed, input_dtype
from noctule.models.outputs import (
    PROBABILITIES,
    are_probabilities,
    log_probabilities,
    output_tensor,
)

NUM_PREDICTIONS = 5


class RankedClass(NamedTuple):
    """One class among a model's top predictions.

    Attributes:
        name: Name of the class.
        confidence: Softmax probability, 0 to 1.
        percent: The confidence as text.
        note: Its rank and confidence on the other image.
        has_moved: Whether its rank differs on the other image.
    """

    name: str
    confidence: float
    percent: str
    note: str
    has_moved: bool


class PredictionPair(NamedTuple):
    """A model's top predictions on a clean and a corrupted image, and what changed."""

    clean: list[RankedClass]
    corrupted: list[RankedClass]
    change: str


class Predictor:
    """A classifier on its device, used by one thread at a time.

    Args:
        classifier: The loaded classifier.
        device: Device it runs on, in float32.
    """

    def __init__(self, classifier: Classifier, device: torch.device) -> None:
        self.classifier = classifier
        self._device = device
        self._dtype = input_dtype(classifier.module)
        self._lock = threading.Lock()

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Softmax probabilities, float32 (batch, classes), of uint8 (batch, C, H, W).

        Raises:
            InputError: The model fails, or does not return finite logits.
        """
        where = self.classifier.name
        inputs = self.classifier.preprocessing.normalise(images.to(self._device))
        try:
            with self._lock, borrowed(self.classifier, self._device):
                returned = self.classifier.module(inputs.to(self._dtype).contiguous())
        except InputError:
            raise
        except Exception as error:  # a user's module may raise anything
            shape = " × ".join(map(str, inputs.shape))
            what = f"the model failed on a batch of {shape}: {type(error).__name__}: {error}"
            raise InputError(what, where=where) from error
        outputs = output_tensor(returned, where)
        if outputs.dim() != 2 or len(outputs) != len(images):
            raise InputError("the model did not return logits (batch, classes)", where=where)
        if not bool(torch.isfinite(outputs).all()):
            raise InputError("the model returned NaN or infinite logits", where=where)
        kind = self.classifier.outputs
        if kind == PROBABILITIES or (kind is None and are_probabilities(outputs)):
            outputs = log_probabilities(outputs)
        return torch.softmax(outputs, dim=1).cpu()

    def pair(self, clean: Tensor, corrupted: Tensor) -> PredictionPair:
        """The top predictions on two images, uint8 (channels, height, width) each."""
        before, after = self.probabilities(torch.stack([clean, corrupted]))
        return prediction_pair(before, after, self.classifier.class_names)


def prediction_pair(
    before: Tensor, after: Tensor, class_names: tuple[str, ...] | None
) -> PredictionPair:
    """The top five classes of two vectors of probabilities, and what changed.

    >>> before, after = torch.tensor([0.75, 0.25]), torch.tensor([0.5, 0.5])
    >>> prediction_pair(before, torch.tensor([0.25, 0.75]), ("cat", "cup")).change
    'The top prediction changes from cat (75.0 %) to cup (75.0 %); cat is now 2nd, 25.0 %.'
    """
    shares = (before, after)
    orders = [torch.sort(one, descending=True, stable=True).indices.tolist() for one in shares]
    ranks = [{index: rank for rank, index in enumerate(order)} for order in orders]

    def ranked(index: int, here: int) -> RankedClass:
        name = f"class {index}" if class_names is None else class_names[index]
        confidence, other = (float(shares[one][index]) for one in (here, 1 - here))
        rank, other_rank = ranks[here][index], ranks[1 - here][index]
        note = (
            f"{_VERBS[here][_sign(rank - other_rank)]} {ordinal(other_rank)}, {percent(other)}"
        )
        return RankedClass(name, confidence, percent(confidence), note, rank != other_rank)

    clean, corrupted = (
        [ranked(i, here) for i in orders[here][:NUM_PREDICTIONS]] for here in (0, 1)
    )
    first = orders[0][0]
    change = _change(clean[0], corrupted[0], ranks[1][first], float(after[first]))
    return PredictionPair(clean, corrupted, change)


# By image (clean, corrupted), then by the sign of the rank on it minus the other rank.
_VERBS = (
    {-1: "falls to", 0: "stays", 1: "rises to"},
    {-1: "up from", 0: "still", 1: "down from"},
)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _change(clean: RankedClass, corrupted: RankedClass, rank: int, confidence: float) -> str:
    if rank == 0:
        return (
            f"The top prediction stays {clean.name}: {clean.percent} clean, "
            f"{corrupted.percent} corrupted."
        )
    return (
        f"The top prediction changes from {clean.name} ({clean.percent}) to {corrupted.name} "
        f"({corrupted.percent}); {clean.name} is now {ordinal(rank)}, {percent(confidence)}."
    )


def percent(share: float) -> str:
    """A share in percent, as text.

    >>> percent(0.9712), percent(0.0002), percent(0.0)
    ('97.1 %', '< 0.1 %', '0.0 %')
    """
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def ordinal(rank: int) -> str:
    """The ordinal of a rank counted from 0.

    >>> [ordinal(rank) for rank in (0, 1, 2, 3, 10, 20, 111)]
    ['1st', '2nd', '3rd', '4th', '11th', '21st', '112th']
    """
    number = rank + 1
    last = 0 if 10 <= number % 100 <= 20 else number % 10
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"
