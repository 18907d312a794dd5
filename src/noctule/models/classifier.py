"""A classifier: a module, its preprocessing, and what identifies it."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from noctule.errors import InputError, NoctuleWarning
from noctule.models.preprocessing import Preprocessing

MAX_NAME = 200


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier ready for evaluation; made by `load_classifier`.

    Args:
        name: what tables and run folders call it, such as "torchvision:resnet50@IMAGENET1K_V2".
        module: (B, C, H, W) normalised float → (B, num_classes) logits. One of the user's is as
            it was given, in whatever mode: evaluation borrows it, and puts it back.
        preprocessing: from a PIL image to the module's input.
        class_names: in the order of the logits; None if unknown.
        num_classes: None if unknown.
        architecture: such as "resnet50".
        weights: where the weights are from, for people.
        weights_sha256: see `weights_sha256`.
        channels_last: Whether the network is evaluated in this memory layout, in which
            convolutions are a quarter faster, on CPUs as well. Those of the package and of the
            zoos work in it; a user's may not, such as one that flattens with `view`.
        preprocessing_note: Where the preprocessing of a user's network is from, for people;
            empty where the user has chosen it, or a zoo.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    num_classes: int | None
    architecture: str
    weights: str
    weights_sha256: str
    channels_last: bool = False
    preprocessing_note: str = ""

    def named(self, name: str | None) -> Classifier:
        """The classifier under another name; None keeps its own.

        Raises:
            InputError: the name is empty, longer than 200 characters, or no text.
        """
        if name is None:
            return self
        if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_NAME:
            raise InputError(
                f"{name!r:.80} is not a name", where="name", remedy="Use 1 to 200 characters."
            )
        return replace(self, name=name)

    def warn_of_preprocessing(self) -> None:
        """Name the preprocessing of a user's network, if the user has not chosen it.

        Warns:
            NoctuleWarning: It was read off the network, or the network carries none.
        """
        if self.preprocessing_note:
            used = self.preprocessing.describe()
            warnings.warn(
                f"{self.name}: {self.preprocessing_note}: {used}.", NoctuleWarning, stacklevel=3
            )

    def to_dict(self) -> dict[str, object]:
        """Everything but the module, the class names and the notes, as JSON values."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "num_classes": self.num_classes,
            "preprocessing": self.preprocessing.to_dict(),
        }


def make_classifier(
    module: nn.Module,
    preprocessing: Preprocessing,
    *,
    name: str,
    architecture: str,
    weights: str,
    class_names: tuple[str, ...] | None = None,
    num_classes: int | None = None,
    built_here: bool = True,
) -> Classifier:
    """A `Classifier` around `module`.

    Args:
        module: The network.
        preprocessing: As the attribute of `Classifier`, and so the next five.
        name: See there.
        architecture: See there.
        weights: See there.
        class_names: See there.
        num_classes: See there.
        built_here: Whether this package or a zoo has built the network: it is then set to
            evaluation mode, without gradients, and evaluated in `channels_last`. One that a
            user has built is not touched.

    Raises:
        InputError: the weights have no values yet, or the network was exported for training.
    """
    refuse_unready(module, name)
    if built_here:
        module.eval().requires_grad_(False)
    return Classifier(
        name=name,
        module=module,
        preprocessing=preprocessing,
        class_names=class_names,
        num_classes=num_classes,
        architecture=architecture,
        weights=weights,
        weights_sha256=weights_sha256(module.state_dict()),
        channels_last=built_here,
    )


def set_channels_last(module: nn.Module) -> None:
    """Bring four-dimensional weights and buffers into this memory layout; leave others."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


_LAZY = (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)


def refuse_unready(module: nn.Module, where: str) -> None:
    """Raise InputError for a network that cannot be evaluated as it is.

    Its layers are lazy and have no weights yet, its weights are on the meta device, or it is a
    program that was exported in training mode.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, _LAZY):
            raise InputError(
                f"its weight '{name}' does not exist yet: the layer is lazy",
                where=where,
                remedy="Give the layer its size, or show the network one image first.",
            )
        if tensor.is_meta:
            raise InputError(
                f"its weight '{name}' is on the meta device and has no value",
                where=where,
                remedy="Build the network on a device that has memory, and load its weights.",
            )
    if _exported_for_training(module):
        raise InputError(
            "was exported in training mode, so that it drops units by chance or normalises by "
            "the batch",
            where=where,
            remedy="Call eval() on the network before torch.export.export.",
        )


def _exported_for_training(module: nn.Module) -> bool:
    """Whether a graph of ATen operations has one in training mode."""
    if not isinstance(module, torch.fx.GraphModule):
        return False
    aten = torch.ops.aten
    place = {aten.dropout.default: 2, aten.batch_norm.default: 5}
    return any(
        node.target in place and node.args[place[node.target]] is True
        for node in module.graph.nodes
        if node.op == "call_function"
    )


def weights_sha256(state: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over a state dict: sorted names, and dtype, shape and bytes of each.

    It does not depend on the file format, the order in the file or the device.

    Raises:
        InputError: an entry that is not a tensor, a number, a text, or a container of these.

    >>> weights_sha256({"a": torch.zeros(2)}) == weights_sha256({"a": torch.zeros(1, 2)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        _add_to(digest, name, state[name])
    return digest.hexdigest()


def _add_to(digest: hashlib._Hash, name: str, value: Any) -> None:
    """Add one entry of a state dict; quantised layers and extra state have no tensors only."""
    if isinstance(value, torch.Tensor):
        scale: tuple[object, ...] = ()
        if value.is_quantized:
            scale, value = (_scale_of(value),), value.int_repr()
        if value.layout != torch.strided:
            value = value.to_dense()
        digest.update(repr((name, str(value.dtype), tuple(value.shape), *scale)).encode())
        # reshape first: a 0-dimensional tensor cannot be viewed as another dtype.
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        digest.update(repr((name, len(value))).encode())
        for key in sorted(value, key=repr):
            _add_to(digest, f"{name}.{key!r}", value[key])
    elif isinstance(value, list | tuple):
        digest.update(repr((name, len(value))).encode())
        for number, entry in enumerate(value):
            _add_to(digest, f"{name}[{number}]", entry)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        _add_to(digest, name, [str(value.dtype), value.shape, value.tobytes()])
    elif isinstance(value, io.BytesIO):
        _add_to(digest, name, value.getvalue())
    elif isinstance(value, _PLAIN):
        digest.update(repr((name, value)).encode())
    else:
        raise InputError(
            f"the entry '{name}' of the state dict is a {type(value).__name__}, by which the "
            "weights cannot be identified",
            remedy="Let get_extra_state return tensors, numbers, texts, or containers of them.",
        )


_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.Size)


def _scale_of(tensor: torch.Tensor) -> tuple[object, ...]:
    """How the integers of a quantised tensor become numbers."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return (tensor.q_scale(), tensor.q_zero_point())
    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return (tensor.q_per_channel_axis(), scales.tolist(), zeros.tolist())
