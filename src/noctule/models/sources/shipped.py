"""The classifiers in the package: "photo-patches" and the weaker "photo-patches-reference".

`python -m noctule.studies.training.photo_patches` trains both on photo-patches/train and writes
their files. The reference plays the role of AlexNet for ImageNet.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from torch import nn

from noctule.models.classifier import Classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest, model_source
from noctule.models.small_nets import PatchAlexNet, PatchResNet
from noctule.models.sources.trained import load_trained

SHIPPED: Final[dict[str, type[PatchResNet | PatchAlexNet]]] = {
    "photo-patches": PatchResNet,
    "photo-patches-reference": PatchAlexNet,
}
"""Architectures by name."""

PREPROCESSING: Final = Preprocessing(
    resize_px=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)


def build_untrained(name: str, num_classes: int, side_px: int) -> nn.Module:
    """The architecture with random weights."""
    del side_px  # the architectures are fixed
    return SHIPPED[name](num_classes)


@model_source(
    "shipped",
    ("photo-patches", "shipped: a small ResNet for photo-patches"),
    ("photo-patches-reference", "shipped: the reference model for photo-patches"),
    claims=SHIPPED.__contains__,
    untrained=build_untrained,
)
def load(request: ModelRequest) -> Classifier:
    """The shipped classifier, or its architecture with weights from a local file."""
    file, name = request.weights, request.spec
    build = functools.partial(
        load_trained,
        name=name,
        preprocessing=request.preprocessing,
        num_classes=request.num_classes,
    )
    if file is not None:
        return build(file.path, weights_key=file.key)
    with shipped_file(name) as path:
        return build(path, weights="shipped with noctule")


def shipped_file(name: str) -> AbstractContextManager[Path]:
    """A context manager for the path of a shipped weights file."""
    return as_file(files("noctule.models") / "assets" / f"{name}.safetensors")
