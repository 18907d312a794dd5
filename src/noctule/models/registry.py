"""The registry of model sources: `@model_source` registers a way to name a classifier.

A source has a prefix, its name, as in "timm:resnet50", or claims the names that it loads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import nn

from noctule.errors import InputError, nearest
from noctule.models.classifier import Classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.weights_file import WeightsFile
from noctule.registry import Registry

Texts = str | Path | Sequence[str]


class ModelForm(NamedTuple):
    """One way to name a classifier."""

    pattern: str
    description: str


class ModelRequest(NamedTuple):
    """The argument of `ModelSource.load`.

    Attributes:
        spec: Full name, such as "timm:resnet50".
        name: Name without the prefix.
        weights: Local file to use instead of the source's own weights.
        preprocessing: Preprocessing to use instead of the source's own.
        num_classes: Number of classes of `weights` if it cannot be inferred; otherwise checked.
        model_args: Arguments of the user's function, by name.
        trust: Whether a file of the user may run code while it is read.
        classes: Names of the classes of a zero-shot classifier: a file, "package:LIST", or
            the names.
        prompts: Its prompts: a file, "package:LIST", one prompt, or several.
    """

    spec: str
    name: str
    weights: WeightsFile | None = None
    preprocessing: Preprocessing | None = None
    num_classes: int | None = None
    model_args: Mapping[str, Any] = MappingProxyType({})
    trust: bool = False
    classes: Texts | None = None
    prompts: Texts | None = None


Load = Callable[[ModelRequest], Classifier]
BuildUntrained = Callable[..., nn.Module]


@dataclass(frozen=True)
class ModelSource:
    """A source of classifiers.

    Attributes:
        forms: Forms of classifier names.
        load: Function that loads a classifier.
        claims: Predicate for the names of this source; None for a source with a prefix.
        untrained: Function that builds an architecture with random weights from its name
            without prefix, the number of classes, the side of the images in pixels, and, if
            the source takes arguments, those; None if not supported.
        runs_code: Whether a name can make the source run the user's code.
        takes_args: Whether `load` uses `ModelRequest.model_args`, and `untrained` takes them.
        takes_texts: Whether `load` uses `ModelRequest.classes` and `prompts`.
    """

    forms: tuple[ModelForm, ...]
    load: Load
    claims: Callable[[str], bool] | None = None
    untrained: BuildUntrained | None = None
    runs_code: bool = False
    takes_args: bool = False
    takes_texts: bool = False


MODELS: Registry[ModelSource] = Registry(
    "model source", "noctule.models", "noctule.models.sources"
)


def model_source(
    name: str,
    *forms: tuple[str, str],
    claims: Callable[[str], bool] | None = None,
    untrained: BuildUntrained | None = None,
    runs_code: bool = False,
    takes_args: bool = False,
    takes_texts: bool = False,
) -> Callable[[Load], Load]:
    """Register the decorated function as the `load` of a source.

    Args:
        name: Name of the source, and its prefix unless it claims names.
        *forms: Pairs (pattern, description) for `noctule list models`.
        claims, untrained, runs_code, takes_args, takes_texts: See `ModelSource`.
    """

    def register(load: Load) -> Load:
        described = tuple(ModelForm(*form) for form in forms)
        source = ModelSource(
            described, load, claims, untrained, runs_code, takes_args, takes_texts
        )
        MODELS.add(name, source, origin=load.__module__)
        return load

    return register


def source_of(spec: str) -> tuple[ModelSource, str]:
    """The source of a model, and the name without its prefix.

    Raises:
        InputError: The name is unknown; the nearest known name is suggested.
    """
    prefix, colon, name = spec.partition(":")
    if colon and prefix in MODELS and MODELS[prefix].claims is None:
        return MODELS[prefix], name
    for source in MODELS.loaded().values():
        if source.claims is not None and source.claims(spec):
            return source, spec
    forms = [form.pattern for form in _sorted(MODELS.loaded())]
    forms += [f"{source}:NAME" for source in MODELS if source not in MODELS.loaded()]
    guess = nearest(spec, [form for form in forms if form.islower()])
    hint = f"Did you mean '{guess}'? " if guess else ""
    raise InputError(f"unknown model '{spec}'", remedy=f"{hint}Use one of: {', '.join(forms)}.")


def model_forms() -> tuple[ModelForm, ...]:
    """The forms of classifier names, for `noctule list` and error messages."""
    return _sorted(MODELS)


def _sorted(sources: Registry[ModelSource] | dict[str, ModelSource]) -> tuple[ModelForm, ...]:
    """Names of shipped models and prefixes first, then files and functions."""
    forms = [form for source in sources.values() for form in source.forms]
    return tuple(sorted(forms, key=lambda form: (form.pattern[0].isupper(), form.pattern)))
