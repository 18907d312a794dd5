"""Evaluate a network and restore its state afterwards."""

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

    Afterwards, also after an exception, these are as before: the mode of every submodule; the
    device, memory format and `requires_grad` of parameters and buffers; gradients; the values
    of buffers; the submodules, parameters and buffers themselves; tensors in other attributes
    of the network, such as caches; and the random state of Python, NumPy and PyTorch. The
    network runs in its own memory format, unless the classifier has `channels_last`.

    Args:
        classifier: The network and its name.
        device: Where to run. Weights on several devices stay where they are.

    Yields:
        The device that the network's inputs belong on.

    Raises:
        InputError: The network cannot be moved, or its weights are on several devices, none
            of which has the wanted type.
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
            remedy="Move the network to one device, or select one of these.",
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
    except Exception as error:  # a network may have another kind of method `train`
        raise InputError(
            f"cannot be set to evaluation mode: {type(error).__name__}: {error}",
            where=classifier.name,
            remedy="Its method `train(mode)` must behave like that of torch.nn.Module.",
        ) from error


def input_dtype(module: nn.Module) -> torch.dtype:
    """The dtype that a network computes in: that of its first weight, or else float32."""
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    dtypes = (tensor.dtype for tensor in _tensors_of(module))
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
    """The state of a parameter or buffer before it is borrowed.

    Args:
        tensor: The parameter or buffer.
        swaps: Whether it uses other memory meanwhile, for another device or memory format.
        moves: Whether that memory is on another device, so that its own is not written to.
    """

    def __init__(self, tensor: Tensor, swaps: bool, moves: bool) -> None:
        self.tensor = tensor
        self.data = tensor.data
        self.swaps = swaps
        self.requires_grad = tensor.requires_grad
        self.grad = tensor.grad if tensor.is_leaf else None
        # Networks may write to their buffers, but not to their weights, during evaluation.
        writes = not isinstance(tensor, nn.Parameter) and not moves
        self.values = tensor.detach().clone() if writes else None

    def set_gradient_aside(self) -> None:
        """Keep gradients computed meanwhile from being added to the existing ones."""
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
            # Weights that were moved in inference mode refuse even what changes nothing.
            if self.tensor.requires_grad != self.requires_grad:
                self.tensor.requires_grad_(self.requires_grad)
            if self.grad is not None or self.tensor.grad is not None:
                self.tensor.grad = self.grad


class _Part:
    """The state of one submodule before it is borrowed."""

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
            # With the network's own method, which may do more than set a flag.
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
    """Restore everything, from the outermost submodule to the innermost."""
    for part in parts:
        part.put_back()
    for state in states:
        state.put_back_data()
    if home is not None:
        module.to(home)  # its tensors are there already; a network may move more than these
        for part in parts:  # in case that replaced some
            part.put_back()
    for state in states:
        state.put_back_gradient()
    for part in parts:
        part.put_back_mode()
    for part in parts:  # in case an outer submodule set more than its own mode
        if getattr(part.module, "training", part.training) != part.training:
            part.module.training = part.training
