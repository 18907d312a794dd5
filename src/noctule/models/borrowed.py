"""A network on loan: it is evaluated as it came, and comes back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from noctule.errors import InputError
from noctule.models.classifier import Classifier, set_channels_last
from noctule.sampling import random_state_kept

_REGISTRIES = ("_parameters", "_buffers", "_modules")


@contextmanager
def borrowed(classifier: Classifier, device: torch.device) -> Iterator[torch.device]:
    """Put a classifier's network on a device and into evaluation mode; restore it afterwards.

    Afterwards, also after an exception, these are as before: the mode of every part of the
    network; device, layout and `requires_grad` of its parameters and buffers; gradients; the
    values of buffers; parts, parameters and buffers themselves; tensors that the network keeps
    in other attributes, such as caches; and the random state of Python, NumPy and PyTorch.
    The network runs in the memory layout it has, unless the classifier says `channels_last`.

    Args:
        classifier: The network and its name.
        device: Where to run. Weights on several devices stay where they are.

    Yields:
        The device that the network's inputs belong on.

    Raises:
        InputError: the network cannot be moved, or its weights are on several devices, none
            of them of the wanted kind.
    """
    module = classifier.module
    tensors = _tensors_of(module)
    homes = list(dict.fromkeys(tensor.device for tensor in tensors))
    moves = len(homes) == 1 and homes[0] != torch.empty(0, device=device).device
    if len(homes) > 1 and device.type not in {home.type for home in homes}:
        raise InputError(
            f"its weights are on several devices ({', '.join(map(str, homes))}), none of "
            f"them {device.type}",
            where=classifier.name,
            remedy="Move the network to one device, or name one of these.",
        )
    parts = [_Part(part) for part in module.modules()]
    swaps = moves or classifier.channels_last
    states = [_TensorState(tensor, swaps, moves) for tensor in tensors]
    states += [
        _TensorState(tensor, False, False) for part in parts for tensor in part.loose_tensors
    ]
    with random_state_kept():
        try:
            for state in states:
                state.set_gradient_aside()
            if any(part.training for part in parts):
                _set_evaluation_mode(classifier)
            if moves:
                _move(classifier, device)
            if classifier.channels_last:
                set_channels_last(module)
            yield homes[0] if len(homes) > 1 else device
        finally:
            _restore(module, parts, states, homes[0] if moves else None)


def _set_evaluation_mode(classifier: Classifier) -> None:
    try:
        classifier.module.eval()
    except NotImplementedError:
        return  # an exported program, whose mode was checked when it was loaded
    except Exception as error:  # a network may have a method `train` of another kind
        raise InputError(
            f"cannot be set to evaluation mode: {type(error).__name__}: {error}",
            where=classifier.name,
            remedy="Its method `train(mode)` has to do what that of torch.nn.Module does.",
        ) from error


def input_dtype(module: nn.Module) -> torch.dtype:
    """The type of number a network computes in: that of its first weight; float32 without."""
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    dtypes = (one.dtype for one in _tensors_of(module))
    return next((dtype for dtype in dtypes if dtype in kinds), torch.float32)


def _tensors_of(module: nn.Module) -> list[Tensor]:
    """Parameters, then buffers; a shared one once."""
    return [*module.parameters(), *module.buffers()]


def _move(classifier: Classifier, device: torch.device) -> None:
    try:
        classifier.module.to(device)
    except (RuntimeError, NotImplementedError) as error:  # out of memory is a RuntimeError
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"cannot be moved to {device}: {reason}",
            where=classifier.name,
            remedy="Free memory there, or use another device, such as cpu.",
        ) from error


class _TensorState:
    """What a parameter or a buffer is like before a loan.

    Args:
        tensor: The parameter or buffer.
        swaps: Whether it has other memory meanwhile, for another device or layout.
        moves: Whether that is on another device, so that its own is not written to.
    """

    def __init__(self, tensor: Tensor, swaps: bool, moves: bool) -> None:
        self.tensor = tensor
        self.data = tensor.data
        self.swaps = swaps
        self.requires_grad = tensor.requires_grad
        self.grad = tensor.grad if tensor.is_leaf else None
        # Networks write to their buffers, and not to their weights, as they are evaluated.
        writes = not isinstance(tensor, nn.Parameter) and not moves
        self.values = tensor.detach().clone() if writes else None

    def set_gradient_aside(self) -> None:
        """Gradients made meanwhile are not to be added to those there are."""
        if self.grad is not None:
            self.tensor.grad = None

    def put_back_data(self) -> None:
        if self.swaps:
            self.tensor.data = self.data
        if self.values is not None:
            with torch.inference_mode(self.data.is_inference()):
                self.data.copy_(self.values)

    def put_back_gradient(self) -> None:
        if self.tensor.is_leaf:
            self.tensor.requires_grad_(self.requires_grad)
            if self.grad is not None or self.tensor.grad is not None:
                self.tensor.grad = self.grad


class _Part:
    """What one module of a network is like before a loan."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        # torch.jit.export leaves no such attribute.
        self.training = bool(getattr(module, "training", False))
        self.registries = {name: dict(getattr(module, name).items()) for name in _REGISTRIES}
        self.attributes = {
            name: (value, dict(value) if isinstance(value, dict) else None)
            for name, value in _own_attributes(module).items()
        }
        self.loose_tensors = [
            value for value, _ in self.attributes.values() if isinstance(value, Tensor)
        ]

    def put_back(self) -> None:
        for name, before in self.registries.items():
            registry = getattr(self.module, name)
            now = dict(registry.items())
            for key in now.keys() - before.keys():
                del registry[key]
            for key, value in before.items():
                if now.get(key) is not value:
                    registry[key] = value
        for name, value in _own_attributes(self.module).items():
            if _holds_tensors(value):
                self._put_back_attribute(name)

    def _put_back_attribute(self, name: str) -> None:
        if name not in self.attributes:
            del vars(self.module)[name]
            return
        value, entries = self.attributes[name]
        vars(self.module)[name] = value
        if entries is not None:
            value.clear()
            value.update(entries)

    def put_back_mode(self) -> None:
        if getattr(self.module, "training", self.training) != self.training:
            # As the user has set it: a network may do more than set a flag.
            self.module.train(self.training)


def _own_attributes(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _REGISTRIES}


def _holds_tensors(value: object) -> bool:
    if isinstance(value, dict):
        return any(isinstance(entry, Tensor) for entry in value.values())
    if isinstance(value, list | tuple):
        return any(isinstance(entry, Tensor) for entry in value)
    return isinstance(value, Tensor)


def _restore(
    module: nn.Module,
    parts: list[_Part],
    states: list[_TensorState],
    home: torch.device | None,
) -> None:
    """Everything back, from the outermost part to the innermost."""
    for part in parts:
        part.put_back()
    for state in states:
        state.put_back_data()
    if home is not None:
        module.to(home)  # its tensors are there; a network may move more than these
        for part in parts:  # in case that made others of them
            part.put_back()
    for state in states:
        state.put_back_gradient()
    for part in parts:
        part.put_back_mode()
    for part in parts:  # where an outer part sets more than its own mode
        if getattr(part.module, "training", part.training) != part.training:
            part.module.training = part.training
