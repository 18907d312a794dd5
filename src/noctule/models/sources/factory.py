"""Classifiers from the user's code: "package.module:function".

The function is called without arguments, or with those of --model-args. It returns a
`torch.nn.Module`, a function of NumPy batches, a `Classifier`, or one of the first two and its
preprocessing. The working directory is on the import path, as with `python -m`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from torch import nn

from noctule.errors import InputError, nearest
from noctule.models.classifier import MAX_NAME, Classifier, make_classifier
from noctule.models.foreign import ForeignNetwork
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest, model_source
from noctule.models.user_networks import adapt, as_module, wrap
from noctule.plugins import import_module


def is_function_name(spec: str) -> bool:
    """Whether a name has the form of a function in a module.

    >>> is_function_name("my_package.models:resnet"), is_function_name("resnet")
    (True, False)
    """
    module, _, function = spec.partition(":")
    return bool(module and function) and not spec.casefold().endswith(".safetensors")


def build_untrained(
    spec: str, num_classes: int, side_px: int, model_args: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network that the function returns; the function may take `num_classes`."""
    del side_px  # not passed to the function
    result = call_factory(spec, model_args, num_classes=num_classes)
    module = result.module if isinstance(result, Classifier) else result
    if isinstance(module, ForeignNetwork):
        raise InputError(
            "the function returned a function, which has no weights to train",
            where=spec,
            remedy="Return a torch.nn.Module.",
        )
    return module.requires_grad_(True) if isinstance(result, Classifier) else module


@model_source(
    "function",
    ("PACKAGE.MODULE:FUNCTION", "your function that returns a network"),
    claims=is_function_name,
    untrained=build_untrained,
    runs_code=True,
    takes_args=True,
)
def load(request: ModelRequest) -> Classifier:
    """The classifier that a function returns; see `load_classifier`."""
    result = call_factory(request.spec, request.model_args)
    classifier = wrap(result, request.spec) if isinstance(result, nn.Module) else result
    name = f"{classifier.name}{_arguments(request)}"
    return adapt(classifier, request).named(name[:MAX_NAME])


def call_factory(
    spec: str, model_args: Mapping[str, Any] | None = None, *, num_classes: int | None = None
) -> nn.Module | Classifier:
    """The return value of the function named by `spec`; a function as a `NumpyNetwork`.

    The function is called with `model_args`, and with `num_classes` if this is not None, the
    function takes it, and `model_args` do not have it.

    Raises:
        InputError: The module cannot be imported or has no such function, the function does
            not take the arguments, or it raises or returns something else. The original
            exception is the cause.
    """
    function = _find(spec)
    options = dict(model_args or {})
    if num_classes is not None and "num_classes" in inspect.signature(function).parameters:
        options.setdefault("num_classes", num_classes)
    _check_arguments(function, options, spec)
    try:
        result = function(**options)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise InputError(f"the function raised {_text(error)}", where=spec) from error
    if isinstance(result, nn.Module | Classifier):
        return result
    if isinstance(result, tuple) and len(result) == 2 and _is_network(result[0]):
        return classifier_with(as_module(result[0]), result[1], name=spec)
    if _is_network(result):
        return as_module(result)
    raise InputError(
        f"the function returned a {type(result).__name__}",
        where=spec,
        remedy="Return a torch.nn.Module, a function of NumPy batches, a noctule Classifier, "
        "or one of the first two and its noctule Preprocessing or torchvision weights.",
    )


def classifier_with(module: nn.Module, source: object, *, name: str) -> Classifier:
    """A classifier from a module and the source of its preprocessing.

    Args:
        module: The user's network.
        source: A noctule `Preprocessing`, or a torchvision weights entry, such as
            `ResNet50_Weights.IMAGENET1K_V2`.
        name: Name of the classifier.

    Raises:
        InputError: `source` is neither.
    """
    class_names = None
    if isinstance(source, Preprocessing):
        preprocessing, note = source, "The preprocessing is the one that the function returned"
    elif hasattr(source, "transforms") and hasattr(source, "meta"):
        from noctule.models.sources.torchvision import preprocessing_of

        preprocessing = preprocessing_of(source)
        note = f"The preprocessing follows torchvision's {source}"
        class_names = tuple(source.meta["categories"])
    else:
        raise InputError(
            f"the function returned a {type(source).__name__} with the network",
            where=name,
            remedy="Return a noctule Preprocessing, or a torchvision weights entry.",
        )
    classifier = make_classifier(
        module,
        preprocessing,
        name=name,
        architecture=type(module).__name__,
        weights="as the function returned them",
        class_names=class_names,
        num_classes=len(class_names) if class_names else None,
        built_here=False,
    )
    return replace(classifier, preprocessing_note=note)


def _find(spec: str) -> Callable[..., object]:
    module_name, _, function_name = spec.partition(":")
    module = import_module(module_name, spec)
    function: object = getattr(module, function_name, None)
    if callable(function):
        return function
    if function is not None:
        raise InputError(f"'{function_name}' is not a function", where=spec)
    guess = nearest(function_name, (name for name in vars(module) if not name.startswith("_")))
    raise InputError(
        f"the module '{module_name}' has no '{function_name}'",
        where=spec,
        remedy=f"Did you mean '{guess}'?" if guess else None,
    )


def _is_network(value: object) -> TypeGuard[Callable[..., Any]]:
    """Whether a value is a module, or a function of batches."""
    return callable(value) and not isinstance(value, type)


def _arguments(request: ModelRequest) -> str:
    """The arguments of the function as in a call; empty without arguments."""
    options = (f"{name}={json.dumps(value)}" for name, value in request.model_args.items())
    text = ", ".join(options)
    return f"({text})" if text else ""


def _check_arguments(
    function: Callable[..., object], options: Mapping[str, Any], spec: str
) -> None:
    """Raise InputError if the function does not take exactly these arguments."""
    try:
        signature = inspect.signature(function)
        signature.bind(**options)
    except TypeError as error:
        first = next(iter(signature.parameters), "")
        hint = (
            f" If it maps a batch, {first}, to outputs, name a function that returns it."
            if first and not options
            else ""
        )
        raise InputError(
            f"the function takes {signature}, but {error}",
            where=spec,
            remedy=f"Pass arguments such as --model-args '{{\"width\": 64}}'.{hint}",
        ) from error
    except ValueError:  # a compiled function may have no signature
        return


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
