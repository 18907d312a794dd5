"""`load_classifier`: one door to every source of classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from noctule.errors import InputError, nearest
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.factory import call_factory
from noctule.models.preprocessing import Preprocessing
from noctule.models.shipped import SHIPPED, shipped_file
from noctule.models.trained import load_trained
from noctule.models.weights_file import load_into, read_state_dict


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
    spec: str | nn.Module | Classifier,
    *,
    weights: Path | str | None = None,
    preprocessing: Preprocessing | None = None,
    num_classes: int | None = None,
) -> Classifier:
    """An image classifier, in eval mode, without gradients, with its own preprocessing.

    Args:
        spec: one of `model_forms()`, or a module, or a classifier.
        weights: a local .safetensors or .pt file used instead of the source's own weights;
            nothing is downloaded and no pickled code is executed. For torchvision and timm the
            number of classes is inferred from it.
        preprocessing: used instead of the source's own. A module without any gets the default
            `Preprocessing()`: RGB in [0, 1], neither resized nor normalised.
        num_classes: of `weights`, where it cannot be inferred; otherwise checked.

    Raises:
        InputError: unknown name, failed import or download, weights that do not fit.

    >>> load_classifier("photo-patches").num_classes
    16
    """
    path = None if weights is None else Path(weights)
    if isinstance(spec, str) and (
        found := _from_source(spec, path, preprocessing, num_classes)
    ):
        return found
    name = spec if isinstance(spec, str) else None
    given = call_factory(spec) if isinstance(spec, str) else spec
    if isinstance(given, nn.Module):
        given = _wrap(given, name)
    return _adapt(given, path, preprocessing, num_classes)


def _from_source(
    spec: str,
    weights: Path | None,
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
    if spec.endswith(".safetensors") and weights is None:
        return load_trained(Path(spec), preprocessing=preprocessing, num_classes=num_classes)
    if not colon or not kind or not name:
        raise _unknown_form(spec)
    return None


def _shipped(
    name: str,
    weights: Path | None,
    preprocessing: Preprocessing | None,
    num_classes: int | None,
) -> Classifier:
    """The shipped classifier of that name, or its architecture's with weights of our own."""
    if weights is not None:
        return load_trained(
            weights, name=name, preprocessing=preprocessing, num_classes=num_classes
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
    """A classifier around a bare module, named after its class."""
    architecture = type(module).__name__
    return make_classifier(
        module,
        Preprocessing(),
        name=name or architecture,
        architecture=architecture,
        weights="as the function returned them" if name else "given in memory",
    )


def _adapt(
    given: Classifier,
    weights: Path | None,
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
        load_into(given.module, read_state_dict(weights), weights)
        description = f"file {weights.name}"
    return make_classifier(
        given.module,
        preprocessing or given.preprocessing,
        name=given.name,
        architecture=given.architecture,
        weights=description,
        class_names=given.class_names,
        num_classes=given.num_classes if num_classes is None else num_classes,
    )
