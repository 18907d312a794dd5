"""The preprocessing that a network brings with it, when it comes from the user's own code."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from noctule.errors import InputError
from noctule.models.preprocessing import Preprocessing

_SHELLS = ("_orig_mod", "module")  # of torch.compile, and of DataParallel and AveragedModel
_SHELL_PACKAGES = ("torch.nn.parallel", "torch._dynamo", "torch.optim.swa_utils")


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside PyTorch's own shells for compiling, for parallelism and averages.

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


def carried_preprocessing(module: nn.Module) -> tuple[Preprocessing | None, str]:
    """What a network says of its preprocessing, and a sentence about it for people.

    timm's networks carry the configuration of their weights; torchvision's carry none.
    """
    inner = unwrapped(module)
    config = getattr(inner, "pretrained_cfg", None)
    if isinstance(config, Mapping) and {"input_size", "mean", "std"} <= set(config):
        from noctule.models import timm_zoo

        try:
            found = timm_zoo.preprocessing_of(config, where=type(inner).__name__)
        except InputError as error:
            return (
                None,
                f"{_NONE} (its timm configuration cannot be used: {error.what}). {_REMEDY}",
            )
        return found, "Images are prepared as the network's timm configuration says"
    return None, f"{_NONE}. {_REMEDY}"


_NONE = "The network carries no preprocessing, so that it gets RGB in [0, 1]"
_REMEDY = (
    "If it was trained with another, return it from the function beside the network, use "
    "--resize, --crop, --mean and --std, or load_classifier(…, preprocessing=…)"
)
