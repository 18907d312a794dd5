"""Special cases of architectures: what a zoo needs to be told, or names differently."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from noctule.errors import InputError

_SHELLS = ("_orig_mod", "module")  # of torch.compile, and of DataParallel and AveragedModel
_SHELL_PACKAGES = ("torch.nn.parallel", "torch._dynamo", "torch.optim.swa_utils")
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def torchvision_options(
    name: str, side_px: int, *, auxiliary: bool = False, for_weights: bool = False
) -> dict[str, Any]:
    """What torchvision has to be told to build an architecture, beside the number of classes.

    Args:
        name: The architecture's name in torchvision.
        side_px: Side of the images, for architectures that fix it.
        auxiliary: Whether to build the heads that only training uses. Published files contain
            them; files saved from loaded models may not.
        for_weights: Whether published weights are loaded into it: those of GoogLeNet and
            Inception come from TensorFlow and expect its normalisation.

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
    """A state dict in today's names: old DenseNet files say "norm.1" instead of "norm1"."""
    return {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state.items()}


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside PyTorch's wrappers for compilation, parallelism and averages.

    >>> inner = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(inner)) is inner, unwrapped(nn.Sequential(inner)) is inner
    (True, False)
    """
    while type(module).__module__.startswith(_SHELL_PACKAGES):
        inner = next(
            (getattr(module, name, None) for name in _SHELLS if hasattr(module, name)), None
        )
        if not isinstance(inner, nn.Module):
            break
        module = inner
    return module


def unknown_architecture(kind: str, name: str, known: Sequence[str]) -> InputError:
    """The error for a name that a zoo does not have, with only the nearest few of its names.

    >>> print(unknown_architecture("zoo model", "resnet5O", ["resnet50", "resnet18", "vgg11"]))
    unknown zoo model 'resnet5O'. Nearest: resnet50, resnet18 (of 3).
    """
    near = difflib.get_close_matches(name.lower(), known, n=5, cutoff=0.5) or list(known)[:5]
    return InputError(
        f"unknown {kind} '{name}'", remedy=f"Nearest: {', '.join(near)} (of {len(known)})."
    )
