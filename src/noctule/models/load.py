"""`load_classifier` and `build_untrained`: load or build a model by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from noctule.arguments import flag, path_like, whole_number
from noctule.errors import InputError
from noctule.models.classifier import Classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import MODELS, ModelRequest, Texts, model_forms, source_of
from noctule.models.user_networks import adapt, as_module, copied, wrap
from noctule.models.weights_file import WeightsFile
from noctule.models.zero_shot import refuse_texts
from noctule.sampling import random_state_kept

MAX_CLASSES = 2**31 - 1  # predictions are int32


def load_classifier(
    spec: str | Path | nn.Module | Classifier | Callable[..., Any],
    *,
    weights: Path | str | None = None,
    weights_key: str | None = None,
    preprocessing: Preprocessing | None = None,
    num_classes: int | None = None,
    model_args: Mapping[str, Any] | None = None,
    trust: bool = False,
    classes: Texts | None = None,
    prompts: Texts | None = None,
) -> Classifier:
    """Load an image classifier with its own preprocessing.

    Args:
        spec: One of `model_forms()`, a module, a classifier, or a function of NumPy batches,
            float32 (B, H, W, C); for other layouts, see `noctule.models.NumpyNetwork`. The
            mode, weights and memory format of a module are not changed.
        weights: Local .safetensors or .pt file used instead of the source's own weights;
            nothing is downloaded and no pickled code is executed. For torchvision and timm,
            the number of classes is inferred from it.
        weights_key: Key of the weights in the file, such as "state_dict_ema"; by default the
            plain weights rather than a moving average.
        preprocessing: Preprocessing used instead of the source's own. A module without any
            gets the default `Preprocessing()`: RGB in [0, 1], neither resized nor normalised.
        num_classes: Number of classes of `weights` if it cannot be inferred; otherwise
            checked.
        model_args: Arguments of the function "package.module:function", by name.
        trust: Whether a file that is a program ("export:", "torchscript:") may run code
            while it is read.
        classes: Names of the classes of a zero-shot classifier (CLIP, SigLIP), in the order of
            the data's: a file with one per line, "package:LIST", or the names.
        prompts: Its prompts, with {} for the name: a file with one per line,
            "package:LIST", or one or several prompts; by default "a photo of a {}.".

    Raises:
        InputError: The name is unknown, an import or a download fails, the weights do not fit,
            or an option is not for this model.

    >>> load_classifier("photo-patches").num_classes
    16
    """
    if isinstance(spec, Path):
        spec = str(spec)
    file = None
    if weights is not None:
        file = WeightsFile(path_like(weights, "weights"), weights_key)
    elif weights_key is not None:
        raise InputError("there is no weights file", where="weights_key")
    _check_types(spec, preprocessing)
    if num_classes is not None:
        num_classes = whole_number(num_classes, "num_classes", low=1, high=MAX_CLASSES)
    with random_state_kept():
        if isinstance(spec, str):
            source, name = source_of(spec)
            if model_args and not source.takes_args:
                raise _no_arguments(spec)
            request = ModelRequest(
                spec,
                name,
                file,
                preprocessing,
                num_classes,
                dict(model_args or {}),
                flag(trust, "trust"),
                classes,
                prompts,
            )
            if not source.takes_texts:
                refuse_texts(request)
            return source.load(request)
        if model_args:
            raise _no_arguments("a model in memory")
        refuse_texts(ModelRequest("a model in memory", "", classes=classes, prompts=prompts))
        classifier = spec if isinstance(spec, Classifier) else wrap(as_module(spec), None)
        request = ModelRequest("", "", file, preprocessing, num_classes)
        return adapt(classifier if file is None else copied(classifier), request)


def build_untrained(
    spec: str, num_classes: int, side_px: int, model_args: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build an architecture with random initial weights from PyTorch's generator.

    Args:
        spec: "photo-patches" (or "photo-patches-reference"), "torchvision:NAME", "timm:NAME",
            or "package.module:function"; the function may take `num_classes`.
        num_classes: Number of logits. A function that does not take it must return a network
            with this number.
        side_px: Side of the training images, for architectures with a fixed size.
        model_args: Arguments of the function, by name.

    Raises:
        InputError: The name is unknown, an import fails, the architecture takes no arguments,
            or it cannot be built for such images.

    >>> build_untrained("torchvision:resnet18", 10, 64).fc.out_features
    10
    """
    try:
        source, name = source_of(spec)
    except InputError as error:
        what = error.what.replace("unknown model", "unknown architecture")
        raise InputError(what, remedy=error.remedy) from error
    if source.untrained is None:
        sources = (source for source in MODELS.loaded().values() if source.untrained)
        patterns = ", ".join(form.pattern for source in sources for form in source.forms)
        raise InputError(f"'{spec}' is not an architecture", remedy=f"Use one of: {patterns}.")
    if not model_args:
        return source.untrained(name, num_classes, side_px)
    if not source.takes_args:
        raise _no_arguments(spec)
    return source.untrained(name, num_classes, side_px, dict(model_args))


def runs_code(spec: str) -> bool:
    """Whether building the model runs code from outside noctule, torchvision and timm.

    True for sources of installed packages that are not imported yet.
    """
    if spec.partition(":")[0] in MODELS.keys() - MODELS.loaded().keys():
        return True
    try:
        return source_of(spec)[0].runs_code
    except InputError:
        return True


def _check_types(spec: object, preprocessing: object) -> None:
    """Raise InputError for objects of the wrong type, with a remedy."""
    if not (preprocessing is None or isinstance(preprocessing, Preprocessing)):
        raise InputError(
            f"is a {type(preprocessing).__name__}",
            where="preprocessing",
            remedy="Use a noctule.Preprocessing.",
        )
    is_function = callable(spec) and not isinstance(spec, type | torch.export.ExportedProgram)
    if not (isinstance(spec, str | nn.Module | Classifier) or is_function):
        raise InputError(_what_it_is(spec), where="model", remedy=_remedy_for(spec))


def _no_arguments(model: str) -> InputError:
    return InputError(
        f"{model} takes no arguments",
        where="--model-args",
        remedy="They are those of a function, package.module:function.",
    )


def _what_it_is(value: object) -> str:
    if isinstance(value, type):
        return f"{value.__name__} is a class, not a network"
    if value is None:
        return "is None, not a network"
    kind = type(value).__name__
    return f"is {'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}, not a network"


def _remedy_for(value: object) -> str:
    """What to pass instead of a value that is not a network."""
    if isinstance(value, type) and issubclass(value, nn.Module):
        return f"Create an instance: {value.__name__}(...)."
    if isinstance(value, Mapping):
        return "Build the network, call its load_state_dict with these weights, and pass it."
    if isinstance(value, torch.export.ExportedProgram):
        return "Pass its module()."
    if isinstance(value, tuple | list):
        return "Pass one network; evaluate several in turn."
    patterns = ", ".join(form.pattern for form in model_forms())
    return f"Use a torch.nn.Module, a noctule.Classifier, or one of: {patterns}."
