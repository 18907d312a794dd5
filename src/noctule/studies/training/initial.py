"""Initial weights that depend only on a seed, without changing PyTorch's generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from noctule.sampling import key_of

Rule = Literal["architecture", "xavier"]


def torch_seed(*parts: str | int) -> int:
    """A seed for PyTorch's generator, in [0, 2**63), for initial weights and dropout.

    >>> torch_seed("weights", 0) == torch_seed("weights", 0) != torch_seed("weights", 1)
    True
    """
    low, high = key_of(*parts)
    return (high << 32 | low) & (2**63 - 1)


def initialised(build: Callable[[], nn.Module], seed: int, rule: Rule) -> nn.Module:
    """Build a module whose initial weights depend only on `seed` and `rule`.

    Args:
        build: Function that builds the module.
        seed: Seed of the weights.
        rule: "architecture" keeps the weights from `build`. "xavier" is the rule of the NOC
            study: Xavier-uniform weights of convolutions and linear layers, linear biases 0.01,
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


def trial_output(module: nn.Module, images: torch.Tensor) -> object:
    """The output of a network for images, without changing PyTorch's generator."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        returned: object = module(images)
        return returned
