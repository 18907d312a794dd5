"""The strips of images in words: what the model said of each, right or wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from noctule.benchmarks import CLEAN
from noctule.report.formatting import counted, number
from noctule.report.run_page.details import Outcomes, class_name
from noctule.report.run_page.opening import Run
from noctule.report.run_page.samples import Absent, Strip, rule, strips


class Photo(NamedTuple):
    """One image of a strip, in words."""

    heading: str
    address: str
    said: str
    verdict: str
    is_right: bool
    alt: str


class PhotoStrip(NamedTuple):
    """One image under each corruption, in words."""

    heading: str
    photos: list[Photo]


def photo_strips(
    run: Run, outcomes: Outcomes, names: Mapping[int, str], count: int
) -> tuple[list[PhotoStrip], str]:
    """The strips to show, and the rule they are chosen by or why there are none."""
    if count == 0:
        return [], "No images were asked for."
    try:
        found = strips(run, outcomes, count)
    except Absent as reason:
        return [], f"There are no images: {str(reason).rstrip('.')}."
    if not found:
        return [], "There are no images: no image is right when clean."
    severity = run.benchmark.severities
    where = "over its full range" if severity is None else f"at severity {max(severity)}"
    note = f"Each corruption {where}, as the model saw it. {rule(outcomes, count)}"
    return [_photo_strip(one, names, len(outcomes.corrupted)) for one in found], note


def _photo_strip(strip: Strip, names: Mapping[int, str], conditions: int) -> PhotoStrip:
    truth = class_name(names, strip.label)
    photos = []
    for one in strip.answers:
        heading = "uncorrupted" if one.condition == CLEAN else one.condition
        confidence = number(one.confidence, 0, scale=100)
        said = f"{class_name(names, one.prediction)}, {confidence}\u00a0%"
        verdict = "✓ right" if one.is_right else "✗ wrong"
        photos.append(
            Photo(
                heading,
                one.address,
                said,
                verdict,
                one.is_right,
                f"{truth}, {heading}",
            )
        )
    heading = (
        f"{strip.image_id} ({truth}): wrong under {strip.failures} of "
        f"{counted(conditions, 'condition')}"
    )
    return PhotoStrip(heading, photos)
