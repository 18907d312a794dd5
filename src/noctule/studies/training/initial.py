"""Initial weights that depend on a seed only, and PyTorch's own generator left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from noctule.sampling import key_of

Rule = Literal["architecture", "xavier"]


def torch_seed(*parts: str | int) -> int:
    """A seed for PyTorch's generator, in [0, 2**63), for what takes no other: dropout.

    >>> torch_seed("weights", 0) == torch_seed("weights", 0) != torch_seed("weights", 1)
    True
    """
    low, high = key_of(*parts)
    return (high << 32 | low) & (2**63 - 1)


def initialised(build: Callable[[], nn.Module], seed: int, rule: Rule) -> nn.Module:
    """A freshly built module, its initial weights a function of `seed` and `rule` only.

    Args:
        build: Makes the module.
        seed: Of the weights.
        rule: "architecture" keeps what `build` gives; "xavier" is the NOC study's:
            Xavier-uniform weights of convolutions and linear layers, linear biases 0.01,
            batch-normalisation weights N(1, 0.02) and biases 0.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(torch_seed("initial weights", seed))
        module = build()
        if rule == "architecture":
            return module
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(part.weight)
            if isinstance(part, nn.Linear) and part.bias is not None:
                nn.init.constant_(part.bias, 0.01)
            if isinstance(part, nn.BatchNorm2d) and part.affine:
                nn.init.normal_(part.weight, 1.0, 0.02)
                nn.init.zeros_(part.bias)
        return module


def thrown_away(module: nn.Module, images: torch.Tensor) -> object:
    """What a network returns for images, PyTorch's generator left as it was."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        returned: object = module(images)
        return returned
