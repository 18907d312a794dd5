"""Classifiers from torchvision: "torchvision:resnet50", "torchvision:resnet50@IMAGENET1K_V1".

Preprocessing and class names are the weights' own, from `torchvision.models`' metadata. With a
local weights file the metadata is still that of the named (or default) entry, and nothing is
downloaded.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from noctule.errors import InputError, unknown_name
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.names import unknown_architecture
from noctule.models.preprocessing import Preprocessing
from noctule.models.weights_file import State, WeightsFile, infer_num_classes, load_into

_IMAGENET_CLASSES = 1000


def load(
    spec: str,
    weights: WeightsFile | None = None,
    preprocessing: Preprocessing | None = None,
    num_classes: int | None = None,
) -> Classifier:
    """The classifier "NAME" or "NAME@ENTRY" of torchvision; see `load_classifier`."""
    name, _, entry_name = spec.partition("@")
    entry = _find_entry(name, entry_name)
    if weights is None:
        module = _download(name, entry)
        classes = len(entry.meta["categories"])
    else:
        module, classes = _from_file(name, entry, weights, num_classes)
    if num_classes not in (None, classes):
        raise InputError(
            f"{name} with these weights has {classes} classes, not {num_classes}",
            where=weights.path if weights else f"torchvision:{spec}",
        )
    categories = tuple(entry.meta["categories"])
    # Other weights with 1000 classes are taken to be ImageNet's too, as their preprocessing is.
    known = classes == len(categories)
    return make_classifier(
        module,
        preprocessing or preprocessing_of(entry),
        name=f"torchvision:{name}@{entry.name}" if weights is None else f"torchvision:{name}",
        architecture=name,
        weights=f"torchvision {entry.name}" if weights is None else weights.description,
        class_names=categories if known else None,
        num_classes=classes,
    )


def preprocessing_of(entry: Any) -> Preprocessing:
    """The preprocessing of a torchvision weights entry, equal to `entry.transforms()`.

    Raises:
        InputError: the entry's transform is not torchvision's `ImageClassification`.
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


def _find_entry(name: str, entry_name: str) -> Any:
    """The weights entry of that name, or the default one, as a torchvision `WeightsEnum`."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise unknown_architecture("torchvision classifier", name, known)
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
    # URLError is an OSError; a damaged download is a RuntimeError about its hash.
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the weights {entry} cannot be downloaded: {error}",
            where=entry.url,
            remedy="Fetch this file on another machine and pass it with --weights FILE.",
        ) from error
    return module


def _from_file(
    name: str, entry: Any, file: WeightsFile, num_classes: int | None
) -> tuple[nn.Module, int]:
    """The architecture with a file's weights, and its number of classes."""
    state = _modern_names(file.state)
    auxiliary = any(key.lower().startswith("aux") for key in state)
    module = _build(name, entry, num_classes or _IMAGENET_CLASSES, auxiliary=auxiliary)
    if num_classes is None:
        num_classes = infer_num_classes(module.state_dict(), state, _IMAGENET_CLASSES)
        if num_classes != _IMAGENET_CLASSES:
            module = _build(name, entry, num_classes, auxiliary=auxiliary)
    load_into(module, state, file.path)
    return module, num_classes


def _build(name: str, entry: Any, num_classes: int, *, auxiliary: bool) -> nn.Module:
    """The architecture as torchvision builds it for this entry, with random weights.

    Args:
        name: of the architecture.
        entry: of its weights, from `_find_entry`.
        num_classes: number of logits.
        auxiliary: with the heads that GoogLeNet and Inception use while they are trained;
            published files hold them, files saved from loaded models may not.
    """
    from torchvision import models

    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Their weights are from TensorFlow, and expect its normalisation.
        options = {"transform_input": True, "init_weights": False, "aux_logits": auxiliary}
    elif name.startswith("vit_"):
        options = {"image_size": entry.meta["min_size"][0]}
    elif name.startswith("maxvit"):
        options = {"input_size": entry.meta["min_size"]}
    module: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
    return module


_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def _modern_names(state: State) -> State:
    """Torchvision's first DenseNet files say "norm.1" where the module says "norm1"."""
    return {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state.items()}
