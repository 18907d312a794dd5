"""Published scores, for orientation: shown with their source, never recomputed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

from pydantic import Field

from noctule.benchmarks import Metric
from noctule.config import Spec, read_spec
from noctule.corruptions import Mode

LANDMARKS_FILE = Path(__file__).parent / "landmarks.toml"


class Landmark(Spec):
    """One published score.

    Attributes:
        title: what the source calls the model.
        architecture: of the model.
        training_data: what it was trained on.
        benchmark: name of the benchmark.
        mode: the mode whose images the score is of.
        domain: the data, as runs record it.
        images: how many.
        metric: which score it is, in noctule's words.
        value: as printed, in percent.
        ces: CE by corruption, in whole percent, in the benchmark's order; may be empty.
        source: where it is printed.
    """

    title: str
    architecture: str
    training_data: str
    benchmark: str
    mode: Mode = "paper"
    domain: str
    images: Annotated[int, Field(ge=1)]
    metric: Metric
    value: float
    ces: tuple[int, ...] = ()
    source: str


class _Landmarks(Spec):
    landmarks: tuple[Landmark, ...]


@functools.cache
def load_landmarks() -> tuple[Landmark, ...]:
    """The landmarks that come with the package.

    >>> [one.value for one in load_landmarks() if one.benchmark == "imagenet-noc"]
    [81.0]
    """
    return read_spec(LANDMARKS_FILE, _Landmarks).landmarks
