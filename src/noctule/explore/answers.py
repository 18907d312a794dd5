"""From what the page asks for to images, predictions and words: no network in here."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from noctule.benchmarks import Condition
from noctule.corruptions import Corruption
from noctule.corruptions.draws import Choice, NoiseField
from noctule.explore.photographs import Photograph
from noctule.explore.predictions import Guess
from noctule.explore.recipes import command_line, python_lines
from noctule.explore.viewer import Request, ViewerConfig
from noctule.report.sheet import image_of


def corrupted_image(viewer: ViewerConfig, photograph: Photograph, request: Request) -> Tensor:
    """The photograph under the condition: uint8 (channels, height, width).

    Raises:
        InputError: the corruption is not defined on such images.
    """
    result = viewer.by_mode[request.mode].corrupt(
        Condition(request.corruption, request.severity),
        photograph.image[None],
        ids=[photograph.image_id],
        seed=request.seed,
    )
    return result[0]


def drawn_values(corruption: Corruption, request: Request, image_id: str) -> list[str]:
    """What was drawn for this image, such as "angle_deg = -27"; fields are left out."""
    values = corruption.sample([image_id], seed=request.seed, severity=request.severity)
    shown = []
    for name, draw in corruption.draws.items():
        value = values[name]
        if isinstance(draw, NoiseField) or not isinstance(value, Tensor):
            continue
        number = value.item()
        text = draw.options[int(number)] if isinstance(draw, Choice) else f"{number:.4g}"
        shown.append(f"{name} = {text}")
    return shown


def answer(viewer: ViewerConfig, request: Request) -> dict[str, Any]:
    """All that the page shows for a wish, as JSON values.

    Raises:
        InputError: the photograph is unknown, or it cannot be corrupted or classified.
    """
    photograph = viewer.photographs[request.photo]
    corrupted = corrupted_image(viewer, photograph, request)
    corruption = viewer.by_mode[request.mode].bound[request.corruption]
    found: dict[str, Any] = {
        "photo": describe(photograph),
        "clean": {"image": data_uri(photograph.image)},
        "corrupted": {"image": data_uri(corrupted)},
        "drawn": drawn_values(corruption, request, photograph.image_id),
        "change": "",
        "python": python_lines(viewer, photograph, request),
        "command": command_line(viewer, photograph, request),
    }
    if viewer.predictor is not None:
        pair = viewer.predictor.pair(photograph.image, corrupted)
        found["clean"]["guesses"] = _guesses(pair.clean)
        found["corrupted"]["guesses"] = _guesses(pair.corrupted)
        found["change"] = pair.change
    return found


def describe(photograph: Photograph) -> dict[str, Any]:
    """What the page says of a photograph, as JSON values."""
    height, width = photograph.image.shape[1:]
    before = "{} × {}".format(*photograph.size_px)
    return {
        "key": photograph.key,
        "id": photograph.image_id,
        "size": f"{before} px, here {width} × {height} px",
        "side_px": max(width, height),
    }


def data_uri(image: Tensor) -> str:
    """An image, uint8 (channels, height, width), as a PNG file in a data: address."""
    stream = io.BytesIO()
    image_of(image).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _guesses(guesses: Iterable[Guess]) -> list[dict[str, Any]]:
    return [guess._asdict() for guess in guesses]
