"""What a model says of an image and of the same image corrupted, in numbers and words."""

from __future__ import annotations

import threading
from typing import NamedTuple

import torch
from torch import Tensor

from noctule.errors import InputError
from noctule.models import Classifier
from noctule.models.borrowed import borrowed, input_dtype

SHOWN = 5


class Guess(NamedTuple):
    """One of a model's answers.

    Attributes:
        name: of the class.
        confidence: softmax probability, 0 to 1.
        shown: the confidence as text.
        note: its rank and confidence on the other image, in words.
        has_moved: whether that rank is another.
    """

    name: str
    confidence: float
    shown: str
    note: str
    has_moved: bool


class PredictionPair(NamedTuple):
    """A model's first answers about an image, clean and corrupted, and what changed."""

    clean: list[Guess]
    corrupted: list[Guess]
    change: str


class Predictor:
    """A classifier on its device, for one caller at a time.

    Args:
        classifier: as loaded.
        device: where it runs, in float32.
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
            InputError: the model fails, or does not return finite logits.
        """
        where = self.classifier.name
        inputs = self.classifier.preprocessing.normalise(images.to(self._device))
        try:
            with self._lock, borrowed(self.classifier, self._device):
                logits = self.classifier.module(inputs.to(self._dtype).contiguous())
        except InputError:
            raise
        except Exception as error:  # a module may raise anything
            shape = " × ".join(map(str, inputs.shape))
            what = f"the model failed on a batch of {shape}: {type(error).__name__}: {error}"
            raise InputError(what, where=where) from error
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(images):
            raise InputError("the model did not return logits (batch, classes)", where=where)
        if not bool(torch.isfinite(logits).all()):
            raise InputError("the model returned NaN or infinite logits", where=where)
        return torch.softmax(logits.float(), dim=1).cpu()

    def pair(self, clean: Tensor, corrupted: Tensor) -> PredictionPair:
        """The first answers about two images, uint8 (channels, height, width) each."""
        before, after = self.probabilities(torch.stack([clean, corrupted]))
        return prediction_pair(before, after, self.classifier.class_names)


def prediction_pair(
    before: Tensor, after: Tensor, class_names: tuple[str, ...] | None
) -> PredictionPair:
    """The first five classes of two vectors of probabilities, and what changed.

    >>> before, after = torch.tensor([0.75, 0.25]), torch.tensor([0.5, 0.5])
    >>> opinion_of(before, torch.tensor([0.25, 0.75]), ("cat", "cup")).change
    'The first answer changes from cat (75.0 %) to cup (75.0 %); cat is now 2nd with 25.0 %.'
    """
    shares = (before, after)
    orders = [torch.sort(one, descending=True, stable=True).indices.tolist() for one in shares]
    ranks = [{index: rank for rank, index in enumerate(order)} for order in orders]

    def guess(index: int, here: int) -> Guess:
        name = f"class {index}" if class_names is None else class_names[index]
        confidence, other = (float(shares[one][index]) for one in (here, 1 - here))
        rank, other_rank = ranks[here][index], ranks[1 - here][index]
        note = (
            f"{_WORDS[here][_sign(rank - other_rank)]} {ordinal(other_rank)}, {percent(other)}"
        )
        return Guess(name, confidence, percent(confidence), note, rank != other_rank)

    clean, corrupted = ([guess(i, here) for i in orders[here][:SHOWN]] for here in (0, 1))
    first = orders[0][0]
    change = _change(clean[0], corrupted[0], ranks[1][first], float(after[first]))
    return PredictionPair(clean, corrupted, change)


# By whether the rank here is the smaller (-1), the same or the larger number of the two.
_WORDS = (
    {-1: "falls to", 0: "stays", 1: "rises to"},
    {-1: "up from", 0: "still", 1: "down from"},
)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _change(clean: Guess, corrupted: Guess, rank: int, confidence: float) -> str:
    if rank == 0:
        return (
            f"The first answer stays {clean.name}: {clean.shown} clean, "
            f"{corrupted.shown} corrupted."
        )
    return (
        f"The first answer changes from {clean.name} ({clean.shown}) to {corrupted.name} "
        f"({corrupted.shown}); {clean.name} is now {ordinal(rank)} with {percent(confidence)}."
    )


def percent(share: float) -> str:
    """A share in per cent, as text.

    >>> percent(0.9712), percent(0.0002), percent(0.0)
    ('97.1 %', '< 0.1 %', '0.0 %')
    """
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def ordinal(rank: int) -> str:
    """The word for a rank counted from 0.

    >>> [ordinal(rank) for rank in (0, 1, 2, 3, 10, 20, 111)]
    ['1st', '2nd', '3rd', '4th', '11th', '21st', '112th']
    """
    number = rank + 1
    last = 0 if 10 <= number % 100 <= 20 else number % 10
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"
