"""Preprocessing of the user's choice in place of a model's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from noctule.models.classifier import Classifier


def with_preprocessing(
    classifier: Classifier,
    *,
    resize: int | None = None,
    crop: int | None = None,
    interpolation: str | None = None,
    image_mode: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Classifier:
    """The classifier with some of its preprocessing replaced; None keeps what it has.

    Args:
        classifier: The classifier.
        resize: Shorter side after resizing, in pixels.
        crop: Side of the central square, in pixels.
        interpolation, mean, std: See `Preprocessing`.
        image_mode: "RGB" or "L". Of `mean` and `std`, those that are equal for all channels
            are adapted.

    Raises:
        InputError: A value cannot be used.
    """
    own = classifier.preprocessing
    changes: dict[str, Any] = {}
    if image_mode not in (None, own.mode):
        changes["mode"] = image_mode
        for field in ("mean", "std"):  # a number for all channels suits any mode
            if len(set(values := getattr(own, field))) == 1:
                changes[field] = values[:1] * (1 if image_mode == "L" else 3)
        changes["fill"] = None
    chosen = {
        "interpolation": interpolation,
        "resize_px": resize,
        "crop_px": None if crop is None else (crop, crop),
        "mean": None if mean is None else tuple(mean),
        "std": None if std is None else tuple(std),
    }
    changes |= {name: value for name, value in chosen.items() if value is not None}
    if not changes:
        return classifier
    note = classifier.preprocessing_note
    return replace(
        classifier,
        preprocessing=replace(own, **changes),
        preprocessing_note=note
        and "Preprocessing follows the options, and otherwise the model's own settings or "
        "noctule's defaults",
    )
