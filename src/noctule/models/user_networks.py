"""Classifiers around the user's own networks, with the preprocessing they carry."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from noctule.errors import InputError
from noctule.models.architectures import unwrapped
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.foreign import NumpyNetwork
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest
from noctule.models.weights_file import load_into

_NONE = "The network carries no preprocessing and receives RGB images in [0, 1]"
_REMEDY = (
    "If it was trained with other preprocessing, return that from the function beside the "
    "network, use --resize, --crop, --mean and --std, or load_classifier(…, preprocessing=…)"
)


def as_module(network: nn.Module | Callable[..., Any]) -> nn.Module:
    """A module as it is; a plain function as one of NumPy batches."""
    return network if isinstance(network, nn.Module) else NumpyNetwork(network)


def wrap(module: nn.Module, name: str | None) -> Classifier:
    """Create a classifier from a network.

    Args:
        module: The network.
        name: Name of the classifier; None to name it after its class and the hash of its
            weights.
    """
    inner = unwrapped(module)
    # TorchScript keeps the class name of the original module, and a function has its own.
    architecture = str(getattr(inner, "original_name", type(inner).__name__))
    preprocessing, note = carried_preprocessing(module)
    # No warning about the documented default, except for torchvision's networks, whose weights
    # expect normalised images.
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


def adapt(classifier: Classifier, request: ModelRequest) -> Classifier:
    """Apply the weights, preprocessing and number of classes of a request to a classifier.

    Raises:
        InputError: The classifier has another number of classes, or the weights do not match.
    """
    weights, num_classes = request.weights, request.num_classes
    if num_classes is not None and classifier.num_classes not in (None, num_classes):
        raise InputError(
            f"'{classifier.name}' has {classifier.num_classes} classes, not {num_classes}",
            where="num_classes",
        )
    if weights is not None:
        load_into(classifier.module, weights.state, weights.path)
    adapted = make_classifier(
        classifier.module,
        request.preprocessing or classifier.preprocessing,
        name=classifier.name,
        architecture=classifier.architecture,
        weights=classifier.weights if weights is None else weights.description,
        class_names=classifier.class_names,
        num_classes=classifier.num_classes if num_classes is None else num_classes,
        built_here=False,
    )
    note = "" if request.preprocessing else classifier.preprocessing_note
    return replace(
        adapted,
        channels_last=classifier.channels_last,
        preprocessing_note=note,
        outputs=classifier.outputs,
    )


def copied(classifier: Classifier) -> Classifier:
    """A copy of a classifier, for loading other weights without changing the user's network.

    Raises:
        InputError: The network cannot be copied.
    """
    try:
        return replace(classifier, module=copy.deepcopy(classifier.module))
    except Exception as error:  # the user's network may contain anything
        raise InputError(
            f"cannot be copied to receive other weights: {type(error).__name__}: {error}",
            where=classifier.name,
            remedy="Load the weights into it, and leave `weights` out.",
        ) from error


def carried_preprocessing(module: nn.Module) -> tuple[Preprocessing | None, str]:
    """The preprocessing that a network carries, and a note about it.

    timm networks carry the configuration of their weights; torchvision networks carry none.
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
