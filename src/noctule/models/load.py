"""`load_classifier`: one door to every source of classifiers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from noctule.arguments import path_like, whole_number
from noctule.errors import InputError, nearest
from noctule.models.carried import carried_preprocessing, unwrapped
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.factory import call_factory
from noctule.models.preprocessing import Preprocessing
from noctule.models.shipped import SHIPPED, shipped_file
from noctule.models.trained import load_trained
from noctule.models.weights_file import WeightsFile, load_into
from noctule.sampling import random_state_kept

MAX_CLASSES = 2**31 - 1  # predictions are int32


class ModelForm(NamedTuple):
    """One way to name a classifier."""

    pattern: str
    description: str


def model_forms() -> tuple[ModelForm, ...]:
    """The ways to name a classifier, for `noctule list` and error messages."""
    return (
        ModelForm("photo-patches", "shipped: a small ResNet for photo-patches"),
        ModelForm("photo-patches-reference", "shipped: the weaker one it is compared with"),
        ModelForm("torchvision:NAME", "such as torchvision:resnet50, with its default weights"),
        ModelForm("torchvision:NAME@WEIGHTS", "such as torchvision:resnet50@IMAGENET1K_V1"),
        ModelForm("timm:NAME", "such as timm:resnet50.a1_in1k (needs the extra noctule[timm])"),
        ModelForm("FILE.safetensors", "a network that noctule has trained, as in a study"),
        ModelForm("PACKAGE.MODULE:FUNCTION", "your function that returns a torch.nn.Module"),
    )


def load_classifier(
    spec: str | Path | nn.Module | Classifier,
    *,
    weights: Path | str | None = None,
    weights_key: str | None = None,
    preprocessing: Preprocessing | None = None,
    num_classes: int | None = None,
) -> Classifier:
    """An image classifier with its own preprocessing.

    Args:
        spec: one of `model_forms()`, or a module, or a classifier. A module is not changed: not
            its mode, its weights, nor its layout in memory.
        weights: a local .safetensors or .pt file used instead of the source's own weights;
            nothing is downloaded and no pickled code is executed. For torchvision and timm the
            number of classes is inferred from it.
        weights_key: Which weights of the file, such as "state_dict_ema"; by default the plain
            ones, not a moving average beside them.
        preprocessing: used instead of the source's own. A module without any gets the default
            `Preprocessing()`: RGB in [0, 1], neither resized nor normalised.
        num_classes: of `weights`, where it cannot be inferred; otherwise checked.

    Raises:
        InputError: unknown name, failed import or download, weights that do not fit.

    >>> load_classifier("photo-patches").num_classes
    16
    """
    if isinstance(spec, Path):
        spec = str(spec)
    file = None
    if weights is not None:
        file = WeightsFile(path_like(weights, "weights"), weights_key)
    elif weights_key is not None:
        raise InputError("there is no file of weights", where="weights_key")
    _check_kinds(spec, preprocessing)
    if num_classes is not None:
        num_classes = whole_number(num_classes, "num_classes", low=1, high=MAX_CLASSES)
    with random_state_kept():
        if isinstance(spec, str) and (
            found := _from_source(spec, file, preprocessing, num_classes)
        ):
            return found
        given = call_factory(spec) if isinstance(spec, str) else spec
        if isinstance(given, nn.Module):
            given = _wrap(given, spec if isinstance(spec, str) else None)
        if file is not None and not isinstance(spec, str):
            given = _copied(given)
        return _adapt(given, file, preprocessing, num_classes)


def _check_kinds(spec: object, preprocessing: object) -> None:
    """Refuse what is not a model, with what to give in its place."""
    if not (preprocessing is None or isinstance(preprocessing, Preprocessing)):
        raise InputError(
            f"is a {type(preprocessing).__name__}",
            where="preprocessing",
            remedy="Use a noctule.Preprocessing.",
        )
    if not isinstance(spec, str | nn.Module | Classifier):
        raise InputError(_what_it_is(spec), where="model", remedy=_remedy_for(spec))


def _what_it_is(given: object) -> str:
    if isinstance(given, type):
        return f"{given.__name__} is a class, not a network"
    if given is None:
        return "is None, not a network"
    kind = type(given).__name__
    return f"is {'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}, not a network"


def _remedy_for(given: object) -> str:
    """What to give in place of something that is not a network."""
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f"Make one: {given.__name__}(...)."
    if isinstance(given, Mapping):
        return "Build the network, call its load_state_dict with these weights, and pass it."
    if isinstance(given, torch.export.ExportedProgram):
        return "Pass its module()."
    if isinstance(given, tuple | list):
        return "Pass one network; evaluate several in turn."
    if callable(given):
        return "Pass what it returns, or wrap it in a torch.nn.Module."
    patterns = ", ".join(form.pattern for form in model_forms())
    return f"Use a torch.nn.Module, a noctule.Classifier, or one of: {patterns}."


def _copied(given: Classifier) -> Classifier:
    """A classifier whose network can be given other weights: the user's keeps its own."""
    try:
        return replace(given, module=copy.deepcopy(given.module))
    except Exception as error:  # whatever the user's network holds may not be copied
        raise InputError(
            f"cannot be copied to be given other weights: {type(error).__name__}: {error}",
            where=given.name,
            remedy="Load the weights into it, and leave `weights` out.",
        ) from error


def _from_source(
    spec: str,
    weights: WeightsFile | None,
    preprocessing: Preprocessing | None,
    num_classes: int | None,
) -> Classifier | None:
    """The classifier of a shipped name, a zoo or a file; None for a factory."""
    kind, colon, name = spec.partition(":")
    if kind == "torchvision" and colon:
        from noctule.models import torchvision_zoo

        return torchvision_zoo.load(name, weights, preprocessing, num_classes)
    if kind == "timm" and colon:
        from noctule.models import timm_zoo

        return timm_zoo.load(name, weights, preprocessing, num_classes)
    if spec in SHIPPED:
        return _shipped(spec, weights, preprocessing, num_classes)
    if spec.casefold().endswith(".safetensors") and weights is None:
        return load_trained(Path(spec), preprocessing=preprocessing, num_classes=num_classes)
    if not colon or not kind or not name:
        raise _unknown_form(spec)
    return None


def _shipped(
    name: str,
    weights: WeightsFile | None,
    preprocessing: Preprocessing | None,
    num_classes: int | None,
) -> Classifier:
    """The shipped classifier of that name, or its architecture's with weights of our own."""
    if weights is not None:
        return load_trained(
            weights.path,
            name=name,
            weights_key=weights.key,
            preprocessing=preprocessing,
            num_classes=num_classes,
        )
    with shipped_file(name) as path:
        return load_trained(
            path,
            name=name,
            weights="shipped with noctule",
            preprocessing=preprocessing,
            num_classes=num_classes,
        )


def _unknown_form(spec: str) -> InputError:
    guess = nearest(spec, SHIPPED)
    hint = f"Did you mean '{guess}'? " if guess else ""
    patterns = ", ".join(form.pattern for form in model_forms())
    return InputError(f"unknown model '{spec}'", remedy=f"{hint}Use one of: {patterns}.")


def _wrap(module: nn.Module, name: str | None) -> Classifier:
    """A classifier around a bare module, named after its class and its weights."""
    inner = unwrapped(module)
    # TorchScript keeps the name of the class that a program was made of.
    architecture = str(getattr(inner, "original_name", type(inner).__name__))
    preprocessing, told = carried_preprocessing(module)
    if name is None and preprocessing is None and not _from_torchvision(inner):
        told = ""  # the documented default of a user's own network
    found = make_classifier(
        module,
        preprocessing or Preprocessing(),
        name=name or architecture,
        architecture=architecture,
        weights="as the function returned them" if name else "given in memory",
        built_here=False,
    )
    if name is None and module.state_dict():  # there are many of the same class
        found = replace(found, name=f"{architecture}@{found.weights_sha256[:8]}")
    return replace(found, preprocessing_note=told)


def _from_torchvision(module: nn.Module) -> bool:
    """Whether torchvision's weights, which expect normalised images, may be in the network."""
    return type(module).__module__.startswith("torchvision.models")


def _adapt(
    given: Classifier,
    weights: WeightsFile | None,
    preprocessing: Preprocessing | None,
    num_classes: int | None,
) -> Classifier:
    """`given` with other weights, preprocessing or number of classes where they are given."""
    if num_classes is not None and given.num_classes not in (None, num_classes):
        raise InputError(
            f"'{given.name}' has {given.num_classes} classes, not {num_classes}",
            where="num_classes",
        )
    description = given.weights
    if weights is not None:
        load_into(given.module, weights.state, weights.path)
        description = weights.description
    adapted = make_classifier(
        given.module,
        preprocessing or given.preprocessing,
        name=given.name,
        architecture=given.architecture,
        weights=description,
        class_names=given.class_names,
        num_classes=given.num_classes if num_classes is None else num_classes,
        built_here=False,
    )
    note = "" if preprocessing else given.preprocessing_note
    return replace(adapted, channels_last=given.channels_last, preprocessing_note=note)
