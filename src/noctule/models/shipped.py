"""The classifiers inside the package: "photo-patches" and, weaker, "photo-patches-reference".

Both are trained on photo-patches/train by `python -m noctule.studies.training.photo_patches`,
which writes the files read here. The reference is to photo-patches what AlexNet is to ImageNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from noctule.models.preprocessing import Preprocessing

SHIPPED: Final = {"photo-patches": "PatchResNet", "photo-patches-reference": "PatchAlexNet"}
"""Architecture by name."""

PREPROCESSING: Final = Preprocessing(
    resize_px=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)


@contextmanager
def shipped_file(name: str) -> Iterator[Path]:
    """The path of a shipped weights file while the context lasts."""
    with as_file(files("noctule.models") / "assets" / f"{name}.safetensors") as path:
        yield path
