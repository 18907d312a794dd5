"""A classifier: a module, its preprocessing, and what identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from noctule.models.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier ready for evaluation; made by `load_classifier`.

    Args:
        name: what tables and run folders call it, such as "torchvision:resnet50@IMAGENET1K_V2".
        module: (B, C, H, W) normalised float → (B, num_classes) logits; in eval mode, without
            gradients, on the CPU.
        preprocessing: from a PIL image to the module's input.
        class_names: in the order of the logits; None if unknown.
        num_classes: None if unknown.
        architecture: such as "resnet50".
        weights: where the weights are from, for people.
        weights_sha256: see `weights_sha256`.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    num_classes: int | None
    architecture: str
    weights: str
    weights_sha256: str

    def to_dict(self) -> dict[str, object]:
        """Everything but the module and the class names, as JSON values."""
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
) -> Classifier:
    """A `Classifier` around `module`, which is set to eval mode and stripped of gradients."""
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
    )


def weights_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) over a state dict: sorted names, and dtype, shape and bytes of each.

    It does not depend on the file format, the order in the file or the device.

    >>> weights_sha256({"a": torch.zeros(2)}) == weights_sha256({"a": torch.zeros(1, 2)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        # reshape first: a 0-dimensional tensor cannot be viewed as another dtype.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
