"""The page itself, with all that its controls choose from."""

from __future__ import annotations

from typing import Any, NamedTuple

from noctule.corruptions import MODES, SEVERITIES
from noctule.corruptions.draws import NoiseField
from noctule.data.photo_patches import CLASS_NAMES
from noctule.explore.photographs import (
    GIVEN,
    KEPT_UPLOADS,
    LARGEST_UPLOAD_BYTES,
    LARGEST_UPLOAD_PX,
)
from noctule.explore.viewer import FULL_RANGE, LARGEST_SEED, ViewerConfig
from noctule.report.web import render_page


class Start(NamedTuple):
    """What the page shows first, as the parameters of a request; see `parse_request`."""

    photo: str
    corruption: str
    severity: str
    seed: str
    mode: str


def page(viewer: ViewerConfig, start: Start) -> str:
    """The page as HTML."""
    given = viewer.photographs.given
    return render_page(
        "explore.html",
        title="A photograph under corruptions",
        scripts=["explore.js"],
        connects=True,
        photographs=CLASS_NAMES,
        given=None if given is None else (GIVEN, given.image_id),
        families=_families(viewer),
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
            "corruptions": {name: _corruption(viewer, name) for name in viewer.benchmark.bound},
            "start": start._asdict(),
            "largest_bytes": LARGEST_UPLOAD_BYTES,
        },
    )


def _families(viewer: ViewerConfig) -> dict[str, list[str]]:
    families: dict[str, list[str]] = {}
    for name, corruption in viewer.benchmark.bound.items():
        families.setdefault(corruption.family, []).append(name)
    return {family: families[family] for family in sorted(families)}


def _corruption(viewer: ViewerConfig, name: str) -> dict[str, Any]:
    corruption = viewer.benchmark.bound[name]
    return {
        "summary": corruption.summary,
        "family": corruption.family,
        "source": corruption.source,
        "ranges": [
            f"{parameter}: {draw.describe()}"
            for parameter, draw in corruption.draws.items()
            if not isinstance(draw, NoiseField)
        ],
        "has_modes": viewer.has_modes(name),
    }
