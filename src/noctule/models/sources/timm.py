"""Classifiers of timm: "timm:resnet50", "timm:vit_small_patch16_224.augreg_in1k".

The preprocessing comes from timm's configuration of the named (or default) weights, also with a
local weights file; nothing is downloaded then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from noctule.errors import InputError
from noctule.extras import require
from noctule.models.architectures import unknown_architecture
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest, model_source
from noctule.models.weights_file import WeightsFile, infer_num_classes, load_into


def build_untrained(name: str, num_classes: int, side_px: int) -> nn.Module:
    """An architecture with random weights.

    Raises:
        InputError: The architecture is unknown, or cannot be built for images of this size.
    """
    timm, architecture = package(), name.partition(".")[0]
    if architecture not in (known := timm.list_models()):
        raise unknown_architecture("timm classifier", architecture, known)
    options: dict[str, Any] = {"pretrained": False, "num_classes": num_classes}
    module: nn.Module
    try:
        try:
            module = timm.create_model(architecture, img_size=side_px, **options)
        except TypeError:  # most convolutional networks take no image size
            module = timm.create_model(architecture, **options)
    except Exception as error:  # timm's layers can raise any exception
        raise InputError(
            f"this architecture cannot be built for these images: {error}", where=f"timm:{name}"
        ) from error
    return module


@model_source(
    "timm",
    ("timm:NAME", "such as timm:resnet50.a1_in1k (needs the extra noctule[timm])"),
    untrained=build_untrained,
)
def load(request: ModelRequest) -> Classifier:
    """The classifier "architecture" or "architecture.tag" of timm; see `load_classifier`."""
    timm, name, weights = package(), request.name, request.weights
    _check_name(timm, name)
    if weights is None:
        module = _download(timm, name)
    else:
        module = _from_file(timm, name, weights, request.num_classes)
    classes = int(module.num_classes)
    if classes < 1:
        raise InputError(
            "these weights are a feature extractor without a classifier", where=request.spec
        )
    if request.num_classes not in (None, classes):
        raise InputError(
            f"{name} with these weights has {classes} classes, not {request.num_classes}",
            where=weights.path if weights else request.spec,
        )
    config: Mapping[str, Any] = module.pretrained_cfg
    tag = config.get("tag") or "default"
    names = config.get("label_names")
    return make_classifier(
        module,
        request.preprocessing or preprocessing_of(config, where=request.spec),
        name=request.spec,
        architecture=str(config.get("architecture") or name.partition(".")[0]),
        weights=f"timm {tag}" if weights is None else weights.description,
        class_names=tuple(names) if names and len(names) == classes else None,
        num_classes=classes,
    )


def preprocessing_of(pretrained_cfg: Mapping[str, Any], *, where: str) -> Preprocessing:
    """The preprocessing of a timm configuration, equal to timm's evaluation transform.

    Args:
        pretrained_cfg: The `pretrained_cfg` of a timm model.
        where: Name of the model, for the message.

    Raises:
        InputError: The input is not RGB, or the interpolation or crop mode is not supported.
    """
    data = package().data.resolve_data_config(pretrained_cfg=dict(pretrained_cfg))
    channels, height, width = data["input_size"]
    if channels != 3:
        raise InputError(
            f"this model takes {channels} channels; only models for RGB images are supported",
            where=where,
            remedy="Return it with its preprocessing from a function of your own, and use "
            "package.module:function.",
        )
    scaled = (math.floor(height / data["crop_pct"]), math.floor(width / data["crop_pct"]))
    resize: dict[str, Any] = {"resize_px": scaled}
    if data["crop_mode"] == "border":
        resize |= {
            "fit": "contain",
            "fill": tuple(round(255 * value) for value in data["mean"]),
        }
    elif data["crop_mode"] == "center" and scaled[0] == scaled[1]:
        resize = {"resize_px": scaled[0]}
    elif data["crop_mode"] == "center":
        resize |= {"fit": "cover"}
    elif data["crop_mode"] != "squash":
        raise InputError(f"crop mode '{data['crop_mode']}' is not supported", where=where)
    return Preprocessing(
        **resize,
        crop_px=(height, width),
        interpolation=data["interpolation"],
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def package() -> Any:
    """The package timm; InputError if it is not installed."""
    require("timm")
    import timm

    return timm


def _check_name(timm: Any, name: str) -> None:
    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        raise unknown_architecture("timm classifier", name, known)
    tagged = [entry for entry in timm.list_pretrained() if entry.startswith(f"{architecture}.")]
    if tag and name not in tagged:
        raise unknown_architecture(f"weights of timm's {architecture}", name, tagged)


def _download(timm: Any, name: str) -> Any:
    try:
        return timm.create_model(name, pretrained=True)
    # The hub client and its HTTP library have no common base class but Exception.
    except Exception as error:
        raise InputError(
            f"the pretrained weights cannot be downloaded: {error}",
            where=f"timm:{name}",
            remedy="Download the file on another machine and pass it with --weights FILE.",
        ) from error


def _from_file(timm: Any, name: str, file: WeightsFile, num_classes: int | None) -> Any:
    """The architecture with the weights in a file and their number of classes."""
    state = file.state
    options = {} if num_classes is None else {"num_classes": num_classes}
    module = timm.create_model(name, pretrained=False, **options)
    if num_classes is None:
        default = int(module.num_classes)
        inferred = infer_num_classes(module.state_dict(), state, default)
        if inferred != default:
            module = timm.create_model(name, pretrained=False, num_classes=inferred)
    load_into(module, state, file.path)
    return module
