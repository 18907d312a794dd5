"""Answers to the page's requests: images, predictions, and the commands that reproduce them."""

from __future__ import annotations

import base64
import io
import json
import shlex
from typing import Any

from torch import Tensor

from noctule.benchmarks import Condition
from noctule.corruptions import Corruption
from noctule.corruptions.draws import Choice, NoiseField
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.data.sources.photo_patches import CLASS_NAMES
from noctule.explore.photographs import FILE_KEY, Photograph
from noctule.explore.viewer import Request, ViewerConfig
from noctule.report.sheet import image_of

YOUR_FILE = "YOUR-PHOTO"


def corrupted_image(viewer: ViewerConfig, photograph: Photograph, request: Request) -> Tensor:
    """The corrupted photograph: uint8 (channels, height, width).

    Raises:
        InputError: The corruption is not defined for such an image.
    """
    result = viewer.by_mode[request.mode].corrupt(
        Condition(request.corruption, request.severity),
        photograph.image[None],
        ids=[photograph.image_id],
        seed=request.seed,
    )
    return result[0]


def drawn_values(corruption: Corruption, request: Request, image_id: str) -> list[str]:
    """The parameters drawn for this image, such as "angle_deg = -27", without noise fields."""
    values = corruption.sample([image_id], seed=request.seed, severity=request.severity)
    texts = []
    for name, draw in corruption.draws.items():
        value = values[name]
        if isinstance(draw, NoiseField) or not isinstance(value, Tensor):
            continue
        number = value.item()
        text = draw.options[int(number)] if isinstance(draw, Choice) else f"{number:.4g}"
        texts.append(f"{name} = {text}")
    return texts


def answer(viewer: ViewerConfig, request: Request) -> dict[str, Any]:
    """Everything the page shows for a request, as JSON values.

    Raises:
        InputError: The photograph is unknown, or cannot be corrupted or classified.
    """
    photograph = viewer.photographs[request.photo]
    corrupted = corrupted_image(viewer, photograph, request)
    corruption = viewer.by_mode[request.mode].bound[request.corruption]
    result: dict[str, Any] = {
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
        for key in ("clean", "corrupted"):
            result[key]["predictions"] = [one._asdict() for one in getattr(pair, key)]
        result["change"] = pair.change
    return result


def describe(photograph: Photograph) -> dict[str, Any]:
    """A photograph's key, id and size, as JSON values."""
    height, width = photograph.image.shape[1:]
    original = "{} × {}".format(*photograph.size_px)
    return {
        "key": photograph.key,
        "id": photograph.image_id,
        "size": f"{original} px, shown at {width} × {height} px",
        "side_px": max(width, height),
    }


def data_uri(image: Tensor) -> str:
    """An image, uint8 (channels, height, width), as a PNG in a data: URI."""
    stream = io.BytesIO()
    image_of(image).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def python_lines(viewer: ViewerConfig, photograph: Photograph, request: Request) -> str:
    """Python code that computes `corrupted`, a batch of one with the image shown."""
    lines = ["import noctule", *_image(photograph)]
    if viewer.model_name is None:
        side = viewer.preprocessing.resize_px
        prepare = f"noctule.Preprocessing(resize_px={side}, crop_px=({side}, {side}))"
    else:
        options = (f"{key}={value!r}" for key, value in viewer.loading.items())
        arguments = [repr(viewer.model_name), *options]
        prepare = f"noctule.load_classifier({', '.join(arguments)}).preprocessing"
    lines.append(f"image = {prepare}.prepare(image)")
    return "\n".join([*lines, _corrupt(viewer, photograph, request)])


def _image(photograph: Photograph) -> list[str]:
    if photograph.source in CLASS_NAMES and photograph.key != FILE_KEY:
        return [
            "from noctule.data.sources.photo_patches import photograph",
            f"image = photograph({photograph.source!r})",
        ]
    path, image_id = photograph.source or YOUR_FILE, photograph.image_id
    return [
        "from pathlib import Path",
        "from noctule.data.decode import decode_file",
        f"image = decode_file(Path({path!r}), {image_id!r})",
    ]


def _corrupt(viewer: ViewerConfig, photograph: Photograph, request: Request) -> str:
    keys = f"ids=[{photograph.image_id!r}], seed={request.seed}"
    if viewer.benchmark_name is None:
        mode = f", mode={request.mode!r}" if _names_mode(viewer, request) else ""
        return (
            f"corrupted = noctule.corrupt(\n    image[None], {request.corruption!r}, {keys}, "
            f"severity={request.severity}{mode}\n)"
        )
    mode = f".in_mode({request.mode!r})" if _names_mode(viewer, request) else ""
    return (
        f"benchmark = noctule.load_benchmark({viewer.benchmark_name!r}){mode}\n"
        f"condition = noctule.Condition({request.corruption!r}, {request.severity})\n"
        f"corrupted = benchmark.corrupt(condition, image[None], {keys})"
    )


def _names_mode(viewer: ViewerConfig, request: Request) -> bool:
    """Whether the mode must be named: a benchmark's own mode may be either."""
    is_default = viewer.benchmark_name is None and request.mode == "paper"
    return viewer.has_modes(request.corruption) and not is_default


def command_line(viewer: ViewerConfig, photograph: Photograph, request: Request) -> str:
    """The command that draws the clean and the corrupted image."""
    words = ["noctule", "show", photograph.source or YOUR_FILE]
    if photograph.source is None:
        words += ["--id", photograph.image_id]
    words += ["--corruption", request.corruption]
    words += (
        ["--overview"] if request.severity is None else ["--severity", str(request.severity)]
    )
    words += ["--seed", str(request.seed)]
    if viewer.benchmark_name is not None:
        words += ["--benchmark", viewer.benchmark_name]
    if _names_mode(viewer, request):
        words += ["--mode", request.mode]
    if viewer.model_name is not None:
        words += ["--model", viewer.model_name]
        for key, value in viewer.loading.items():
            words.append(f"--{key.replace('_', '-')}")
            if value is not True:
                words.append(json.dumps(value) if isinstance(value, dict) else str(value))
    elif viewer.preprocessing.resize_px != REFERENCE_SIDE_PX:
        words += ["--size-px", str(viewer.preprocessing.resize_px)]
    return shlex.join(words)
