"""How often the self-check stops honest models, and how often it finds a wrong set-up.

    python scripts/self_check.py [--runs 2000] [--seed 0] [--only honest]

Models are simulated by their logits: a matrix of confusions says which class wins for an image,
by a margin of a given size. Each run draws a model and images of it. Prints, per family, the
share of runs that are stopped. Honest models should be stopped in at most 1 of 1,000 runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from noctule.data import Dataset
from noctule.errors import InputError
from noctule.evaluation.checks import check_answers
from noctule.evaluation.checks.sample import Viewer
from noctule.evaluation.loading import Batch
from noctule.models import Preprocessing, load_classifier

Random = np.random.Generator
Confusions = NDArray[np.float64]


class Family(NamedTuple):
    """Models and data of one kind.

    Attributes:
        name: For the table.
        num_classes: Number of classes.
        images: Number of images, the same of each class as far as possible.
        confusions: Draws P(prediction | class), (classes, classes).
        margin: Mean margin of the winning logit.
        given: Draws the class names' order: the label in the data of each class.
    """

    name: str
    num_classes: int
    images: int
    confusions: Callable[[Random, int], Confusions]
    margin: float = 3.0
    given: Callable[[Random, int], NDArray[np.int64]] = lambda random, count: np.arange(count)


def uniform(accuracy: float) -> Callable[[Random, int], Confusions]:
    """Wrong predictions are any other class."""

    def draw(random: Random, count: int) -> Confusions:
        found = np.full((count, count), (1 - accuracy) / (count - 1))
        np.fill_diagonal(found, accuracy)
        return found

    return draw


def favourites(accuracy: float, favourite: float) -> Callable[[Random, int], Confusions]:
    """Each class is often taken for one certain other class, drawn at random."""

    def draw(random: Random, count: int) -> Confusions:
        rest = max(1 - accuracy - favourite, 0) / count
        found = np.full((count, count), rest)
        found[np.arange(count), np.arange(count)] += accuracy
        others = (np.arange(count) + random.integers(1, count, count)) % count
        found[np.arange(count), others] += favourite
        return found / found.sum(axis=1, keepdims=True)

    return draw


def pairs(confused: float) -> Callable[[Random, int], Confusions]:
    """Classes 0 and 1 (2 and 3, …) are taken for each other in that share of the images."""

    def draw(random: Random, count: int) -> Confusions:
        found = np.eye(count) * (1 - confused)
        for one in range(count - count % 2):
            found[one, one ^ 1] = confused
        return found / found.sum(axis=1, keepdims=True)

    return draw


def one_pair(random: Random, count: int) -> Confusions:
    """Classes 0 and 1 cannot be distinguished; all others are right."""
    found = np.eye(count)
    found[:2, :2] = 0.5
    return found


def hubs(accuracy: float) -> Callable[[Random, int], Confusions]:
    """Some classes attract predictions: a Zipf law; the accuracy differs by class."""

    def draw(random: Random, count: int) -> Confusions:
        weights = random.permutation(1 / np.arange(1, count + 1))
        found = random.gamma(0.05, 1, (count, count)) * weights + 1e-9
        found /= found.sum(axis=1, keepdims=True)
        own = random.beta(2 * accuracy, 2 * (1 - accuracy), count)[:, None]
        return own * np.eye(count) + (1 - own) * found

    return draw


def moved(share: float) -> Callable[[Random, int], NDArray[np.int64]]:
    """That share of the classes have each other's labels."""

    def draw(random: Random, count: int) -> NDArray[np.int64]:
        chosen = random.permutation(count)[: round(share * count)]
        given = np.arange(count)
        given[chosen] = np.roll(chosen, 1)
        return given

    return draw


HONEST = [
    Family("10 classes, accuracy 20 %, 256 images", 10, 256, uniform(0.2)),
    Family("10 classes, accuracy 30 %, 5,000 images", 10, 5000, uniform(0.3)),
    Family("10 classes, 30 %, favourites 40 %", 10, 2000, favourites(0.3, 0.4)),
    Family("10 classes, 30 %, favourites 60 %", 10, 2000, favourites(0.3, 0.6)),
    Family("10 classes, 30 %, favourites 60 %, 40 images", 10, 40, favourites(0.3, 0.6)),
    Family("10 classes, 60 %, favourites 35 %, 60 images", 10, 60, favourites(0.6, 0.35)),
    Family("10 classes, pairs at 50 %", 10, 2000, pairs(0.5)),
    Family("10 classes, pairs at 50 %, 40 images", 10, 40, pairs(0.5)),
    Family("10 classes, pairs at 50 %, 40 images, sure", 10, 40, pairs(0.5), 20),
    Family("4 classes, 16 images, one pair at 50 %", 4, 16, one_pair),
    Family("4 classes, 16 images, one pair at 50 %, sure", 4, 16, one_pair, 20),
    Family("4 classes, accuracy 45 %, 16 images", 4, 16, uniform(0.45)),
    Family("2 classes, accuracy 60 %, 1,000 images", 2, 1000, uniform(0.6)),
    Family("2 classes, accuracy 60 %, 12 images", 2, 12, uniform(0.6)),
    Family("100 classes, accuracy 10 %, 10,000 images", 100, 10000, uniform(0.1)),
    Family("100 classes, 30 %, favourites 40 %", 100, 10000, favourites(0.3, 0.4)),
    Family("100 classes, hubs, 20 %", 100, 1000, hubs(0.2)),
    Family("1,000 classes, accuracy 6 %, 5 each", 1000, 5000, uniform(0.06)),
    Family("1,000 classes, 20 %, favourites 30 %, 5 each", 1000, 5000, favourites(0.2, 0.3)),
    Family("1,000 classes, 75 %, favourites 20 %, 50 each", 1000, 50000, favourites(0.75, 0.2)),
    Family("1,000 classes, hubs, 30 %, 5 each", 1000, 5000, hubs(0.3)),
    Family("1,000 classes, hubs, 10 %, 2 each", 1000, 2000, hubs(0.1)),
    Family("1,000 classes, pairs at 50 %, 1 each", 1000, 1000, pairs(0.5)),
]  # fmt: skip

WRONG = [
    Family("4 classes, 2 exchanged, 16 images, sure", 4, 16, uniform(0.999), 20, moved(0.5)),
    Family("10 classes, 2 exchanged, accuracy 90 %", 10, 1000, uniform(0.9), 3, moved(0.2)),
    Family("10 classes, all exchanged, accuracy 40 %", 10, 1000, uniform(0.4), 3, moved(1)),
    Family("10 classes, 5 exchanged, 100 images, 80 %", 10, 100, uniform(0.8), 3, moved(0.5)),
    Family("2 classes exchanged, 80 %, 100 images", 2, 100, uniform(0.8), 3, moved(1)),
    Family("100 classes, 90 exchanged, accuracy 60 %", 100, 1000, uniform(0.6), 3, moved(0.9)),
    Family("100 classes, 10 exchanged, accuracy 80 %", 100, 5000, uniform(0.8), 3, moved(0.1)),
    Family("1,000 classes, all exchanged, 75 %", 1000, 5000, uniform(0.75), 3, moved(1)),
    Family("1,000 classes, 100 exchanged, 75 %", 1000, 5000, uniform(0.75), 3, moved(0.1)),
    Family("1,000 classes, all exchanged, 25 %", 1000, 5000, uniform(0.25), 3, moved(1)),
]


class Labels(Dataset):
    """A data set without images."""

    def read(self, index: int) -> Image.Image:
        """Never called."""
        raise NotImplementedError

    def content(self) -> Iterator[bytes]:
        """Nothing."""
        return iter(())


class Simulated(Viewer):
    """Shows numbers in place of images; negative ones behind them tell if they are reversed."""

    def batches(self, indices: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Batches of numbers."""
        for start in range(0, len(indices), self.batch_size):
            part = indices[start : start + self.batch_size]
            numbers = torch.from_numpy(part)
            images = torch.stack([numbers, numbers * 0 - 1, numbers * 0 - 2], dim=1)
            labels = torch.from_numpy(self.dataset.labels[part])
            ids = [str(one) for one in part]
            yield part, Batch(ids, labels, images, [], ids)


class Model:
    """Draws logits: for another form of the images, predictions drawn again."""

    def __init__(self, family: Family, random: Random) -> None:
        self.random = random
        self.classes = np.arange(family.images) % family.num_classes
        self.cumulative = family.confusions(random, family.num_classes).cumsum(axis=1)
        self.margins = 1 + family.margin * random.exponential(size=family.images)
        self.draws: dict[object, NDArray[np.float64]] = {}

    def __call__(self, images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
        """Logits (batch, classes)."""
        reversed_channels = bool(images[0, 0] < 0)
        form = (reversed_channels, preprocessing)
        if form not in self.draws:
            self.draws[form] = self.random.random(len(self.classes))
        numbers = images[:, 2 if reversed_channels else 0].numpy()
        below = self.cumulative[self.classes[numbers]] < self.draws[form][numbers, None]
        count = below.shape[1]
        rows = np.arange(len(numbers))
        logits = np.sin(1.0 + rows[:, None] + 7.0 * np.arange(count)) - 2
        logits[rows, below.sum(axis=1).clip(max=count - 1)] = self.margins[numbers]
        return torch.from_numpy(logits).float()


def message(family: Family, random: Random) -> str | None:
    """Draws a model and its data; what the check says, None if it passes."""
    count = family.num_classes
    model = Model(family, random)
    data = Labels(
        "data",
        [str(one) for one in range(count)],
        [str(one) for one in range(family.images)],
        family.given(random, count)[model.classes],
    )
    viewer = Simulated(CLASSIFIER, data, model, 32, "stop")
    try:
        check_answers(viewer)
    except InputError as error:
        return str(error)
    return None


CLASSIFIER = load_classifier(torch.nn.Identity())


def main() -> None:
    """Print the share of runs that are stopped, by family."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="Seed of the simulation.")
    parser.add_argument("--only", choices=["honest", "wrong"])
    parser.add_argument("--like", default="", help="Only families whose name holds this.")
    options = parser.parse_args()
    for kind, families in (("honest", HONEST), ("wrong", WRONG)):
        for family in families:
            if options.only in (None, kind) and options.like in family.name:
                random = np.random.default_rng(options.seed)
                found = [message(family, random) for _ in range(options.runs)]
                stopped = [one for one in found if one is not None]
                print(
                    f"{kind:6}  {len(stopped):5} of {options.runs}  {family.name}", flush=True
                )
                for text in stopped[:1] if kind == "honest" else []:
                    print(f"        {text[:200]}")


if __name__ == "__main__":
    main()
