"""Networks of the user's own code: a classifier around each, with its own preprocessing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from noctule.errors import InputError
from noctule.models.architectures import unwrapped
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest
from noctule.models.weights_file import load_into

_NONE = "The network carries no preprocessing and receives RGB images in [0, 1]"
_REMEDY = (
    "If it was trained with other preprocessing, return that from the function beside the "
    "network, use --resize, --crop, --mean and --std, or load_classifier(…, preprocessing=…)"
)


def wrap(module: nn.Module, name: str | None) -> Classifier:
    """A classifier around a network.

    Args:
        module: The network.
        name: The classifier's name; None for one given in memory, which is named after its
            class and its weights.
    """
    inner = unwrapped(module)
    # TorchScript keeps the class name of the module that a program was compiled from.
    architecture = str(getattr(inner, "original_name", type(inner).__name__))
    preprocessing, note = carried_preprocessing(module)
    # torchvision's weights expect normalised images; of others, RGB in [0, 1] is documented.
    from_torchvision = type(inner).__module__.startswith("torchvision.models")
    if name is None and preprocessing is None and not from_torchvision:
        note = ""
    classifier = make_classifier(
        module,
        preprocessing or Preprocessing(),
        name=name or architecture,
        architecture=architecture,
        weights="as the function returned them" if name else "given in memory",
        built_here=False,
    )
    if name is None and module.state_dict():  # many networks share a class
        unique = f"{architecture}@{classifier.weights_sha256[:8]}"
        classifier = replace(classifier, name=unique)
    return replace(classifier, preprocessing_note=note)


def adapt(given: Classifier, request: ModelRequest) -> Classifier:
    """A classifier with the weights, preprocessing and number of classes asked for.

    Raises:
        InputError: It has another number of classes, or the weights do not fit.
    """
    weights, num_classes = request.weights, request.num_classes
    if num_classes is not None and given.num_classes not in (None, num_classes):
        raise InputError(
            f"'{given.name}' has {given.num_classes} classes, not {num_classes}",
            where="num_classes",
        )
    if weights is not None:
        load_into(given.module, weights.state, weights.path)
    adapted = make_classifier(
        given.module,
        request.preprocessing or given.preprocessing,
        name=given.name,
        architecture=given.architecture,
        weights=given.weights if weights is None else weights.description,
        class_names=given.class_names,
        num_classes=given.num_classes if num_classes is None else num_classes,
        built_here=False,
    )
    note = "" if request.preprocessing else given.preprocessing_note
    return replace(adapted, channels_last=given.channels_last, preprocessing_note=note)


def copied(given: Classifier) -> Classifier:
    """A classifier whose network can receive other weights without changing the user's.

    Raises:
        InputError: The network cannot be copied.
    """
    try:
        return replace(given, module=copy.deepcopy(given.module))
    except Exception as error:  # the user's network may contain anything
        raise InputError(
            f"cannot be copied to receive other weights: {type(error).__name__}: {error}",
            where=given.name,
            remedy="Load the weights into it, and leave `weights` out.",
        ) from error


def carried_preprocessing(module: nn.Module) -> tuple[Preprocessing | None, str]:
    """The preprocessing that a network carries, and a sentence about it for people.

    timm's networks carry the configuration of their weights; torchvision's carry none.
    """
    inner = unwrapped(module)
    config = getattr(inner, "pretrained_cfg", None)
    if not (isinstance(config, Mapping) and {"input_size", "mean", "std"} <= set(config)):
        return None, f"{_NONE}. {_REMEDY}"
    from noctule.models.sources.timm import preprocessing_of

    try:
        preprocessing = preprocessing_of(config, where=type(inner).__name__)
    except InputError as error:
        reason = f"its timm configuration cannot be used: {error.what}"
        return None, f"{_NONE} ({reason}). {_REMEDY}"
    return preprocessing, "The preprocessing follows the network's timm configuration"
