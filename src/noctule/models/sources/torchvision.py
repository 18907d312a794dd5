"""Classifiers of torchvision: "torchvision:resnet50", "torchvision:resnet50@IMAGENET1K_V1".

Preprocessing and class names come from the named (or default) weights entry, also with a local
weights file; nothing is downloaded then.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from noctule.errors import InputError, unknown_name
from noctule.models.architectures import (
    modern_names,
    torchvision_options,
    unknown_architecture,
)
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest, model_source
from noctule.models.weights_file import WeightsFile, infer_num_classes, load_into

PREFIX = "torchvision:"
_IMAGENET_CLASSES = 1000


def build_untrained(name: str, num_classes: int, side_px: int) -> nn.Module:
    """An architecture with random weights.

    Raises:
        InputError: The architecture is unknown, or cannot be built for images of this size.
    """
    _check_name(name)
    try:
        return _build(name, num_classes, torchvision_options(name, side_px))
    except Exception as error:  # torchvision's layers can raise any exception
        raise InputError(
            f"this architecture cannot be built for these images: {error}",
            where=f"{PREFIX}{name}",
        ) from error


@model_source(
    "torchvision",
    ("torchvision:NAME", "such as torchvision:resnet50, with its default weights"),
    ("torchvision:NAME@WEIGHTS", "such as torchvision:resnet50@IMAGENET1K_V1"),
    untrained=build_untrained,
)
def load(request: ModelRequest) -> Classifier:
    """The classifier "NAME" or "NAME@ENTRY" of torchvision; see `load_classifier`."""
    name, _, entry_name = request.name.partition("@")
    entry, weights = _find_entry(name, entry_name), request.weights
    categories = tuple(entry.meta["categories"])
    if weights is None:
        module, classes = _download(name, entry), len(categories)
    else:
        module, classes = _from_file(name, entry, weights, request.num_classes)
    if request.num_classes not in (None, classes):
        raise InputError(
            f"{name} with these weights has {classes} classes, not {request.num_classes}",
            where=weights.path if weights else request.spec,
        )
    # Local weights with 1000 classes are assumed to be for ImageNet.
    return make_classifier(
        module,
        request.preprocessing or preprocessing_of(entry),
        name=f"{PREFIX}{name}@{entry.name}" if weights is None else f"{PREFIX}{name}",
        architecture=name,
        weights=f"torchvision {entry.name}" if weights is None else weights.description,
        class_names=categories if classes == len(categories) else None,
        num_classes=classes,
    )


def architecture_names() -> list[str]:
    """The names of torchvision's classifiers."""
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def structures(name: str, num_classes: int, side_px: int) -> list[nn.Module]:
    """The variants of an architecture with and without auxiliary heads for training.

    Variants that cannot be built for images of this size are left out.
    """
    built: list[nn.Module] = []
    variants = {
        str(options): options
        for auxiliary in (False, True)
        for options in [
            torchvision_options(name, side_px, auxiliary=auxiliary, for_weights=True)
        ]
    }
    for options in variants.values():
        try:
            built.append(_build(name, num_classes, options))
        except (ValueError, RuntimeError, TypeError, AssertionError):
            continue
    return built


def preprocessing_of(entry: Any) -> Preprocessing:
    """The preprocessing of a torchvision weights entry, equal to `entry.transforms()`.

    Raises:
        InputError: The entry's transform is not torchvision's `ImageClassification`.
    """
    from torchvision.transforms._presets import ImageClassification

    transform = entry.transforms()
    if type(transform) is not ImageClassification:
        raise InputError(f"preprocessing {transform} is not supported", where=str(entry))
    (resize_px,), (crop_px,) = transform.resize_size, transform.crop_size
    return Preprocessing(
        resize_px=resize_px,
        crop_px=(crop_px, crop_px),
        interpolation=transform.interpolation.value,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )


def _check_name(name: str) -> None:
    if name not in (known := architecture_names()):
        raise unknown_architecture("torchvision classifier", name, known)


def _find_entry(name: str, entry_name: str) -> Any:
    """The named or default weights entry, a torchvision `WeightsEnum`."""
    from torchvision import models

    _check_name(name)
    entries = models.get_model_weights(name)
    if not entry_name or entry_name == "DEFAULT":
        return entries["DEFAULT"]
    if entry_name not in entries.__members__:
        raise unknown_name(f"weights of {name}", entry_name, entries.__members__)
    return entries[entry_name]


def _download(name: str, entry: Any) -> nn.Module:
    from torchvision import models

    try:
        module: nn.Module = models.get_model(name, weights=entry, progress=False)
    # A URLError is an OSError; a wrong hash is a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the weights {entry} cannot be downloaded: {error}",
            where=entry.url,
            remedy="Download this file on another machine and pass it with --weights FILE.",
        ) from error
    return module


def _from_file(
    name: str, entry: Any, file: WeightsFile, num_classes: int | None
) -> tuple[nn.Module, int]:
    """The architecture with the weights in a file, and its number of classes."""
    state = modern_names(file.state)
    auxiliary = any(key.lower().startswith("aux") for key in state)
    module = _build_for(entry, name, num_classes or _IMAGENET_CLASSES, auxiliary=auxiliary)
    if num_classes is None:
        num_classes = infer_num_classes(module.state_dict(), state, _IMAGENET_CLASSES)
        if num_classes != _IMAGENET_CLASSES:
            module = _build_for(entry, name, num_classes, auxiliary=auxiliary)
    load_into(module, state, file.path)
    return module, num_classes


def _build_for(entry: Any, name: str, num_classes: int, *, auxiliary: bool) -> nn.Module:
    """The architecture as torchvision builds it for this weights entry."""
    side_px = entry.meta["min_size"][0]
    options = torchvision_options(name, side_px, auxiliary=auxiliary, for_weights=True)
    return _build(name, num_classes, options)


def _build(name: str, num_classes: int, options: dict[str, Any]) -> nn.Module:
    from torchvision import models

    module: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
    return module
