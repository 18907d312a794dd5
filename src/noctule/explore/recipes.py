"""How to get the picture that the page shows from Python and from the command line."""

from __future__ import annotations

import shlex

from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.data.photo_patches import CLASS_NAMES
from noctule.explore.photographs import GIVEN, Photograph
from noctule.explore.scene import Scene, Wish

YOUR_FILE = "YOUR-PHOTO"


def python_lines(scene: Scene, photograph: Photograph, wish: Wish) -> str:
    """A program that ends with `corrupted`, the picture shown, and a batch of one."""
    lines = ["import noctule", *_image(photograph)]
    if scene.model_name is None:
        side = scene.preprocessing.resize_px
        prepare = f"noctule.Preprocessing(resize_px={side}, crop_px=({side}, {side}))"
    else:
        prepare = f"noctule.load_classifier({scene.model_name!r}).preprocessing"
    lines.append(f"picture = {prepare}.picture(image)")
    return "\n".join([*lines, _corrupt(scene, photograph, wish)])


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


def _corrupt(scene: Scene, photograph: Photograph, wish: Wish) -> str:
    who = f"ids=[{photograph.image_id!r}], seed={wish.seed}"
    if scene.benchmark_name is None:
        mode = f", mode={wish.mode!r}" if _names_mode(scene, wish) else ""
        return (
            f"corrupted = noctule.corrupt(\n    picture[None], {wish.corruption!r}, {who}, "
            f"level={wish.level}{mode}\n)"
        )
    mode = f".in_mode({wish.mode!r})" if _names_mode(scene, wish) else ""
    return (
        f"benchmark = noctule.load_benchmark({scene.benchmark_name!r}){mode}\n"
        f"condition = noctule.Condition({wish.corruption!r}, {wish.level})\n"
        f"corrupted = benchmark.corrupt(condition, picture[None], {who})"
    )


def _names_mode(scene: Scene, wish: Wish) -> bool:
    """Whether the mode must be said: a named benchmark's own may be either."""
    is_default = scene.benchmark_name is None and wish.mode == "corrected"
    return scene.has_modes(wish.corruption) and not is_default


def command_line(scene: Scene, photograph: Photograph, wish: Wish) -> str:
    """The command that draws a sheet with the clean and the corrupted picture."""
    words = ["noctule", "show", photograph.source or YOUR_FILE]
    if photograph.source is None:
        words += ["--id", photograph.image_id]
    words += ["--corruption", wish.corruption]
    words += ["--overview"] if wish.level is None else ["--level", str(wish.level)]
    words += ["--seed", str(wish.seed)]
    if scene.benchmark_name is not None:
        words += ["--benchmark", scene.benchmark_name]
    if _names_mode(scene, wish):
        words += ["--mode", wish.mode]
    if scene.model_name is not None:
        words += ["--model", scene.model_name]
    elif scene.preprocessing.resize_px != REFERENCE_SIDE_PX:
        words += ["--size-px", str(scene.preprocessing.resize_px)]
    return shlex.join(words)
