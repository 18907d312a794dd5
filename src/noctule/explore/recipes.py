"""How to get the image that the page shows from Python and from the command line."""

from __future__ import annotations

import shlex

from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.data.photo_patches import CLASS_NAMES
from noctule.explore.photographs import GIVEN, Photograph
from noctule.explore.viewer import Request, ViewerConfig

YOUR_FILE = "YOUR-PHOTO"


def python_lines(viewer: ViewerConfig, photograph: Photograph, request: Request) -> str:
    """A program that ends with `corrupted`, the image shown, and a batch of one."""
    lines = ["import noctule", *_image(photograph)]
    if viewer.model_name is None:
        side = viewer.preprocessing.resize_px
        prepare = f"noctule.Preprocessing(resize_px={side}, crop_px=({side}, {side}))"
    else:
        prepare = f"noctule.load_classifier({viewer.model_name!r}).preprocessing"
    lines.append(f"image = {prepare}.prepare(image)")
    return "\n".join([*lines, _corrupt(viewer, photograph, request)])


def _image(photograph: Photograph) -> list[str]:
    if photograph.source in CLASS_NAMES and photograph.key != GIVEN:
        return [
            "from noctule.data.photo_patches import photograph",
            f"image = photograph({photograph.source!r})",
        ]
    path, image_id = photograph.source or YOUR_FILE, photograph.image_id
    return [
        "from pathlib import Path",
        "from noctule.data.decode import decode_file",
        f"image = decode_file(Path({path!r}), {image_id!r})",
    ]


def _corrupt(viewer: ViewerConfig, photograph: Photograph, request: Request) -> str:
    who = f"ids=[{photograph.image_id!r}], seed={request.seed}"
    if viewer.benchmark_name is None:
        mode = f", mode={request.mode!r}" if _names_mode(viewer, request) else ""
        return (
            f"corrupted = noctule.corrupt(\n    image[None], {request.corruption!r}, {who}, "
            f"severity={request.severity}{mode}\n)"
        )
    mode = f".in_mode({request.mode!r})" if _names_mode(viewer, request) else ""
    return (
        f"benchmark = noctule.load_benchmark({viewer.benchmark_name!r}){mode}\n"
        f"condition = noctule.Condition({request.corruption!r}, {request.severity})\n"
        f"corrupted = benchmark.corrupt(condition, image[None], {who})"
    )


def _names_mode(viewer: ViewerConfig, request: Request) -> bool:
    """Whether the mode must be said: a named benchmark's own may be either."""
    is_default = viewer.benchmark_name is None and request.mode == "paper"
    return viewer.has_modes(request.corruption) and not is_default


def command_line(viewer: ViewerConfig, photograph: Photograph, request: Request) -> str:
    """The command that draws a sheet with the clean and the corrupted image."""
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
    elif viewer.preprocessing.resize_px != REFERENCE_SIDE_PX:
        words += ["--size-px", str(viewer.preprocessing.resize_px)]
    return shlex.join(words)
