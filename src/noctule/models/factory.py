"""Classifiers from the user's own code: "package.module:function".

The function takes no arguments and returns an `nn.Module`, a `Classifier`, or a module and its
preprocessing. The working
directory is importable, as with other command-line tools.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from noctule.errors import InputError, nearest
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.preprocessing import Preprocessing


def call_factory(spec: str, *, num_classes: int | None = None) -> nn.Module | Classifier:
    """What the function named by `spec` returns.

    It is called without arguments, but for `num_classes` if one is given and it takes it.

    The working directory is put first on `sys.path` and stays there: the module may import its
    neighbours later.

    Raises:
        InputError: the module cannot be imported, has no such function, or the function raises
            or returns something else. The original exception is the cause.
    """
    function = _find(spec)
    takes_classes = "num_classes" in inspect.signature(function).parameters
    options = {} if num_classes is None or not takes_classes else {"num_classes": num_classes}
    try:
        result = function(**options)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise InputError(f"the function raised {_text(error)}", where=spec) from error
    if isinstance(result, nn.Module | Classifier):
        return result
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], nn.Module):
        return classifier_with(*result, name=spec)
    raise InputError(
        f"the function returned a {type(result).__name__}",
        where=spec,
        remedy="It has to return a torch.nn.Module, a noctule Classifier, or a module and its "
        "noctule Preprocessing or torchvision weights.",
    )


def classifier_with(module: nn.Module, source: object, *, name: str) -> Classifier:
    """A classifier of a module and what its preprocessing comes from.

    Args:
        module: The user's network.
        source: A noctule `Preprocessing`, or an entry of torchvision's weights, such as
            `ResNet50_Weights.IMAGENET1K_V2`.
        name: What to call it.

    Raises:
        InputError: `source` is something else.
    """
    class_names = None
    if isinstance(source, Preprocessing):
        preprocessing, told = source, "Images are prepared as the function says"
    elif hasattr(source, "transforms") and hasattr(source, "meta"):
        from noctule.models import torchvision_zoo

        preprocessing = torchvision_zoo.preprocessing_of(source)
        told = f"Images are prepared as torchvision's {source} says"
        class_names = tuple(source.meta["categories"])
    else:
        raise InputError(
            f"the function returned a {type(source).__name__} beside the network",
            where=name,
            remedy="Return a noctule Preprocessing, or an entry of torchvision's weights.",
        )
    found = make_classifier(
        module,
        preprocessing,
        name=name,
        architecture=type(module).__name__,
        weights="as the function returned them",
        class_names=class_names,
        num_classes=len(class_names) if class_names else None,
        built_here=False,
    )
    return replace(found, preprocessing_note=told)


def _find(spec: str) -> Callable[..., object]:
    module_name, _, function_name = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing runs the user's code
        raise InputError(
            f"cannot import '{module_name}': {_text(error)}",
            where=spec,
            remedy="Run from the folder that holds it, or install it.",
        ) from error
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


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
