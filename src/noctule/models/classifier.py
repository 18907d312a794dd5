"""A classifier: a network with its preprocessing and identity."""

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

from noctule.arguments import choice
from noctule.errors import InputError, NoctuleWarning
from noctule.models.outputs import KINDS
from noctule.models.preprocessing import Preprocessing

MAX_NAME = 200


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier ready for evaluation; created by `load_classifier`.

    Args:
        name: Name in tables and run folders, such as "torchvision:resnet50@IMAGENET1K_V2".
        module: Network from normalised floats (B, C, H, W) to logits or probabilities
            (B, num_classes), in any form that `outputs.output_tensor` understands. A user's
            network may be in any mode; an evaluation restores its state.
        preprocessing: Preprocessing from a PIL image to the module's input.
        class_names: Names of the classes in the order of the logits; None if unknown.
        num_classes: Number of classes; None if unknown.
        architecture: Name of the architecture, such as "resnet50".
        weights: Description of the origin of the weights.
        weights_sha256: Hash of the weights, see `weights_sha256`.
        channels_last: Whether to evaluate the network in this memory format, in which
            convolutions are about a quarter faster, also on CPUs. Networks of noctule,
            torchvision and timm support it; a user's may not, such as one that flattens with
            `view`.
        preprocessing_note: Description of the origin of the preprocessing of a user's network;
            empty if the user has chosen it.
        outputs: Whether the network returns "logits" or "probabilities" (of a softmax); None to
            recognise it from its outputs.

    Raises:
        InputError: `outputs` is something else.
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
    outputs: str | None = None

    def __post_init__(self) -> None:
        if self.outputs is not None:
            choice(self.outputs, "outputs", KINDS)

    def named(self, name: str | None) -> Classifier:
        """The classifier with another name; None keeps its own.

        Raises:
            InputError: The name is empty, longer than 200 characters, or not a string.
        """
        if name is None:
            return self
        if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_NAME:
            raise InputError(
                f"{name!r:.80} is not a name", where="name", remedy="Use 1 to 200 characters."
            )
        return replace(self, name=name)

    def warn_of_preprocessing(self) -> None:
        """Warn about the preprocessing of a user's network if the user has not chosen it.

        Warns:
            NoctuleWarning: The preprocessing was read from the network, or is the default.
        """
        if self.preprocessing_note:
            used = self.preprocessing.describe()
            warnings.warn(
                f"{self.name}: {self.preprocessing_note}: {used}.", NoctuleWarning, stacklevel=3
            )

    def to_dict(self) -> dict[str, object]:
        """All fields except the module, the class names and the notes, as JSON values."""
        outputs = {} if self.outputs is None else {"outputs": self.outputs}
        return {
            "name": self.name,
            "architecture": self.architecture,
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "num_classes": self.num_classes,
            "preprocessing": self.preprocessing.to_dict(),
            **outputs,
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
    """Create a classifier.

    Args:
        module: The network.
        preprocessing, name, architecture, weights, class_names, num_classes: See `Classifier`.
        built_here: Whether noctule, torchvision or timm built the network. If so, it is set to
            evaluation mode without gradients and evaluated in `channels_last`; a user's network
            is not changed.

    Raises:
        InputError: The weights have no values yet, or the network was exported for training.
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
    """Convert four-dimensional weights and buffers to this memory format."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


_LAZY = (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)


def refuse_unready(module: nn.Module, where: str) -> None:
    """Raise InputError for a network that cannot be evaluated yet.

    Its layers are lazy without weights, its weights are on the meta device, or it was exported
    in training mode.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, _LAZY):
            raise InputError(
                f"its weight '{name}' does not exist yet: the layer is lazy",
                where=where,
                remedy="Set the size of the layer, or run the network on one image first.",
            )
        if tensor.is_meta:
            raise InputError(
                f"its weight '{name}' is on the meta device and has no value",
                where=where,
                remedy="Build the network on another device, and load its weights.",
            )
    if _exported_for_training(module):
        raise InputError(
            "was exported in training mode, with dropout or batch statistics",
            where=where,
            remedy="Call eval() on the network before torch.export.export.",
        )


def _exported_for_training(module: nn.Module) -> bool:
    """Whether the graph of an exported program has an operation in training mode."""
    if not isinstance(module, torch.fx.GraphModule):
        return False
    aten = torch.ops.aten
    training_index = {aten.dropout.default: 2, aten.batch_norm.default: 5}
    return any(
        node.target in training_index and node.args[training_index[node.target]] is True
        for node in module.graph.nodes
        if node.op == "call_function"
    )


def weights_sha256(state: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a state dict: sorted names with dtype, shape and bytes.

    It does not depend on the file format, the order in the file or the device.

    Raises:
        InputError: An entry is not a tensor, number, string, or a container of these.

    >>> weights_sha256({"a": torch.zeros(2)}) == weights_sha256({"a": torch.zeros(1, 2)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        _add_to(digest, name, state[name])
    return digest.hexdigest()


def _add_to(digest: hashlib._Hash, name: str, value: Any) -> None:
    """Hash one entry; quantised layers and extra state may not be tensors."""
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
            f"the entry '{name}' of the state dict is a {type(value).__name__}, which "
            "cannot be hashed to identify the weights",
            remedy="Let get_extra_state return tensors, numbers, strings, or containers of "
            "these.",
        )


_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.Size)


def _scale_of(tensor: torch.Tensor) -> tuple[object, ...]:
    """Scales and zero points of a quantised tensor."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return (tensor.q_scale(), tensor.q_zero_point())
    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return (tensor.q_per_channel_axis(), scales.tolist(), zeros.tolist())
