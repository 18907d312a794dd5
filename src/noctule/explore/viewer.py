"""What the page has to choose from, and what it asks for."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from noctule.benchmarks import Benchmark
from noctule.corruptions import MODES, SEVERITIES, Mode
from noctule.errors import InputError, unknown_name
from noctule.explore.photographs import Photographs
from noctule.explore.predictions import Predictor
from noctule.models import Preprocessing

FULL_RANGE = "full"
LARGEST_SEED = 2**32 - 1
_LONGEST_VALUE = 200


@dataclass(frozen=True)
class ViewerConfig:
    """What there is to choose from; it stays the same while the page is served.

    Attributes:
        benchmark: whose corruptions are offered, in the mode to start with.
        benchmark_name: as it was named; None if `benchmark` stands for all corruptions.
        preprocessing: the model's, or how images are made without one.
        photographs: prepared by it.
        predictor: None to predict nothing.
        model_name: its model, as it was named.
    """

    benchmark: Benchmark
    benchmark_name: str | None
    preprocessing: Preprocessing
    photographs: Photographs
    predictor: Predictor | None
    model_name: str | None

    @functools.cached_property
    def by_mode(self) -> Mapping[Mode, Benchmark]:
        """The benchmark in each mode."""
        return {mode: self.benchmark.in_mode(mode) for mode in MODES}

    def has_modes(self, corruption: str) -> bool:
        """Whether a corruption's images differ between the modes."""
        is_stored = self.benchmark.stored_jpeg_quality is not None
        return is_stored or self.benchmark.bound[corruption].has_modes


class Request(NamedTuple):
    """What the page asks for: a photograph under a condition."""

    photo: str
    corruption: str
    severity: int | None
    seed: int
    mode: Mode


def parse_request(query: Mapping[str, str], viewer: ViewerConfig) -> Request:
    """A request's parameters, checked; `mode` may be left out.

    Raises:
        InputError: one is missing or not among the choices.
    """
    for name in ("photo", "corruption", "severity", "seed"):
        if name not in query:
            raise InputError("is missing", where=name)
        if len(query[name]) > _LONGEST_VALUE:
            raise InputError(f"is longer than {_LONGEST_VALUE} characters", where=name)
    corruption, mode = query["corruption"], query.get("mode", viewer.benchmark.mode)
    if corruption not in viewer.benchmark.bound:
        known = viewer.benchmark.bound
        raise unknown_name("corruption", corruption, known, where=viewer.benchmark_name)
    if mode not in MODES:
        raise unknown_name("mode", mode[:_LONGEST_VALUE], MODES)
    return Request(
        query["photo"], corruption, _severity(query["severity"]), _seed(query["seed"]), mode
    )


def _severity(text: str) -> int | None:
    if text == FULL_RANGE:
        return None
    if text not in map(str, SEVERITIES):
        raise InputError(
            f"there is no severity '{text}'",
            remedy=f"Use 1 to 5, or {FULL_RANGE} for the range.",
        )
    return int(text)


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > LARGEST_SEED:
        raise InputError(
            f"the seed is '{text}'", remedy=f"Use a whole number from 0 to {LARGEST_SEED}."
        )
    return int(text)
