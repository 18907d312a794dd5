"""From what the page asks for to pictures, predictions and words: no network in here."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from noctule.benchmarks import Condition
from noctule.corruptions import Corruption
from noctule.corruptions.draws import Choice, Field
from noctule.explore.photographs import Photograph
from noctule.explore.predictions import Guess
from noctule.explore.recipes import command_line, python_lines
from noctule.explore.scene import Scene, Wish
from noctule.report.sheet import image_of


def corrupted_picture(scene: Scene, photograph: Photograph, wish: Wish) -> Tensor:
    """The photograph under the condition: uint8 (channels, height, width).

    Raises:
        InputError: the corruption is not defined on such pictures.
    """
    result = scene.by_mode[wish.mode].corrupt(
        Condition(wish.corruption, wish.level),
        photograph.picture[None],
        ids=[photograph.image_id],
        seed=wish.seed,
    )
    return result[0]


def drawn_values(corruption: Corruption, wish: Wish, image_id: str) -> list[str]:
    """What was drawn for this picture, such as "angle_deg = -27"; fields are left out."""
    values = corruption.sample([image_id], seed=wish.seed, level=wish.level)
    shown = []
    for name, draw in corruption.draws.items():
        value = values[name]
        if isinstance(draw, Field) or not isinstance(value, Tensor):
            continue
        number = value.item()
        text = draw.options[int(number)] if isinstance(draw, Choice) else f"{number:.4g}"
        shown.append(f"{name} = {text}")
    return shown


def answer(scene: Scene, wish: Wish) -> dict[str, Any]:
    """All that the page shows for a wish, as JSON values.

    Raises:
        InputError: the photograph is unknown, or it cannot be corrupted or classified.
    """
    photograph = scene.photographs[wish.photo]
    corrupted = corrupted_picture(scene, photograph, wish)
    corruption = scene.by_mode[wish.mode].bound[wish.corruption]
    found: dict[str, Any] = {
        "photo": describe(photograph),
        "clean": {"picture": data_uri(photograph.picture)},
        "corrupted": {"picture": data_uri(corrupted)},
        "drawn": drawn_values(corruption, wish, photograph.image_id),
        "change": "",
        "python": python_lines(scene, photograph, wish),
        "command": command_line(scene, photograph, wish),
    }
    if scene.predictor is not None:
        opinion = scene.predictor.opinion(photograph.picture, corrupted)
        found["clean"]["guesses"] = _guesses(opinion.clean)
        found["corrupted"]["guesses"] = _guesses(opinion.corrupted)
        found["change"] = opinion.change
    return found


def describe(photograph: Photograph) -> dict[str, Any]:
    """What the page says of a photograph, as JSON values."""
    height, width = photograph.picture.shape[1:]
    before = "{} × {}".format(*photograph.size_px)
    return {
        "key": photograph.key,
        "id": photograph.image_id,
        "size": f"{before} px, here {width} × {height} px",
        "side_px": max(width, height),
    }


def data_uri(picture: Tensor) -> str:
    """A picture, uint8 (channels, height, width), as a PNG file in a data: address."""
    stream = io.BytesIO()
    image_of(picture).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _guesses(guesses: Iterable[Guess]) -> list[dict[str, Any]]:
    return [guess._asdict() for guess in guesses]
