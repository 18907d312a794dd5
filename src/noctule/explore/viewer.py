"""The local page: what it offers, what it requests, and its HTML."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from noctule.benchmarks import Benchmark
from noctule.corruptions import MODES, SEVERITIES, Mode
from noctule.corruptions.draws import NoiseField
from noctule.data.sources.photo_patches import CLASS_NAMES
from noctule.errors import InputError, unknown_name
from noctule.explore.photographs import (
    FILE_KEY,
    KEPT_UPLOADS,
    LARGEST_UPLOAD_BYTES,
    LARGEST_UPLOAD_PX,
    Photographs,
)
from noctule.explore.predictions import Predictor
from noctule.models import Preprocessing
from noctule.report.template import render_template

FULL_RANGE = "full"
LARGEST_SEED = 2**32 - 1
_LONGEST_VALUE = 200


@dataclass(frozen=True)
class ViewerConfig:
    """What the page offers; fixed while it is served.

    Attributes:
        benchmark: Benchmark whose corruptions are offered, in the initial mode.
        benchmark_name: Its name on the command line; None if `benchmark` stands for all
            corruptions.
        preprocessing: The model's preprocessing, or the one used without a model.
        photographs: Photographs prepared with it.
        predictor: The model; None for a page without predictions.
        model_name: Name of the model on the command line.
        loading: Further arguments of `load_classifier`, of the options of the same names.
    """

    benchmark: Benchmark
    benchmark_name: str | None
    preprocessing: Preprocessing
    photographs: Photographs
    predictor: Predictor | None
    model_name: str | None
    loading: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def by_mode(self) -> Mapping[Mode, Benchmark]:
        """The benchmark in each mode."""
        return {mode: self.benchmark.in_mode(mode) for mode in MODES}

    def has_modes(self, corruption: str) -> bool:
        """Whether a corruption's images differ between the modes."""
        is_stored = self.benchmark.stored_jpeg_quality is not None
        return is_stored or self.benchmark.bound[corruption].has_modes


class Request(NamedTuple):
    """A request of the page: a photograph under a condition."""

    photo: str
    corruption: str
    severity: int | None
    seed: int
    mode: Mode


class Start(NamedTuple):
    """The initial selection of the page, as the parameters of a request."""

    photo: str
    corruption: str
    severity: str
    seed: str
    mode: str


def parse_request(query: Mapping[str, str], viewer: ViewerConfig) -> Request:
    """Validate the parameters of a request; `mode` is optional.

    Raises:
        InputError: A parameter is missing or not among the choices.
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
    severity, seed = _severity(query["severity"]), _seed(query["seed"])
    return Request(query["photo"], corruption, severity, seed, mode)


def _severity(text: str) -> int | None:
    if text == FULL_RANGE:
        return None
    if text not in map(str, SEVERITIES):
        raise InputError(
            f"there is no severity '{text}'",
            remedy=f"Use 1 to 5, or {FULL_RANGE} for the full range.",
        )
    return int(text)


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > LARGEST_SEED:
        raise InputError(
            f"the seed is '{text}'", remedy=f"Use a whole number from 0 to {LARGEST_SEED}."
        )
    return int(text)


def page(viewer: ViewerConfig, start: Start) -> str:
    """The page as HTML, with everything that its controls offer."""
    file_photo = viewer.photographs.file_photo
    families: dict[str, list[str]] = {}
    for name, corruption in viewer.benchmark.bound.items():
        families.setdefault(corruption.family, []).append(name)
    return render_template(
        "explore.html",
        title="A photograph under corruptions",
        scripts=["explore.js"],
        connects=True,
        photographs=CLASS_NAMES,
        file=None if file_photo is None else (FILE_KEY, file_photo.image_id),
        families=dict(sorted(families.items())),
        severities=[(str(severity), str(severity)) for severity in SEVERITIES]
        + [(FULL_RANGE, "full range")],
        modes=MODES,
        largest_seed=LARGEST_SEED,
        kept_uploads=KEPT_UPLOADS,
        largest_mb=LARGEST_UPLOAD_BYTES // 1_000_000,
        largest_megapixels=LARGEST_UPLOAD_PX // 1_000_000,
        benchmark=viewer.benchmark if viewer.benchmark_name is not None else None,
        model=viewer.model_name,
        data={
            "corruptions": {name: _describe(viewer, name) for name in viewer.benchmark.bound},
            "start": start._asdict(),
            "largest_bytes": LARGEST_UPLOAD_BYTES,
        },
    )


def _describe(viewer: ViewerConfig, name: str) -> dict[str, Any]:
    corruption = viewer.benchmark.bound[name]
    return {
        "summary": corruption.summary,
        "source": corruption.source,
        "ranges": [
            f"{parameter}: {draw.describe()}"
            for parameter, draw in corruption.draws.items()
            if not isinstance(draw, NoiseField)
        ],
        "has_modes": viewer.has_modes(name),
    }
