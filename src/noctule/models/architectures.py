"""Special cases of architectures: build options, renamed weights and wrappers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from noctule.errors import InputError

_WRAPPED = ("_orig_mod", "module")  # torch.compile; DataParallel and AveragedModel
_WRAPPER_PACKAGES = ("torch.nn.parallel", "torch._dynamo", "torch.optim.swa_utils")
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def torchvision_options(
    name: str, side_px: int, *, auxiliary: bool = False, for_weights: bool = False
) -> dict[str, Any]:
    """The options, besides the number of classes, for building an architecture in torchvision.

    Args:
        name: Name of the architecture in torchvision.
        side_px: Side of the images, for architectures with a fixed size.
        auxiliary: Whether to build the auxiliary heads for training. Published weights contain
            them; weights saved from loaded models may not.
        for_weights: Whether published weights will be loaded: those of GoogLeNet and Inception
            come from TensorFlow and expect its normalisation.

    >>> torchvision_options("vit_b_16", 384), torchvision_options("resnet50", 224)
    ({'image_size': 384}, {})
    """
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": auxiliary, "init_weights": not for_weights}
        return {**options, "transform_input": True} if for_weights else options
    if name.startswith("vit_"):
        return {"image_size": side_px}
    if name.startswith("maxvit"):
        return {"input_size": (side_px, side_px)}
    return {}


def modern_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with current names: old DenseNet files have "norm.1" instead of "norm1"."""
    return {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state.items()}


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside PyTorch's wrappers for compilation, parallelism and averaging.

    >>> inner = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(inner)) is inner, unwrapped(nn.Sequential(inner)) is inner
    (True, False)
    """
    while type(module).__module__.startswith(_WRAPPER_PACKAGES):
        inner = next(
            (getattr(module, name, None) for name in _WRAPPED if hasattr(module, name)), None
        )
        if not isinstance(inner, nn.Module):
            break
        module = inner
    return module


def unknown_architecture(kind: str, name: str, known: Sequence[str]) -> InputError:
    """The error for an unknown architecture, with the nearest names.

    >>> print(unknown_architecture("zoo model", "resnet5O", ["resnet50", "resnet18", "vgg11"]))
    unknown zoo model 'resnet5O'. Nearest: resnet50, resnet18 (of 3).
    """
    near = difflib.get_close_matches(name.lower(), known, n=5, cutoff=0.5) or list(known)[:5]
    return InputError(
        f"unknown {kind} '{name}'", remedy=f"Nearest: {', '.join(near)} (of {len(known)})."
    )
