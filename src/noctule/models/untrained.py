"""Architectures before training: what the names that `load_classifier` takes stand for."""

from __future__ import annotations

from typing import Any

from torch import nn

from noctule.errors import InputError
from noctule.models.classifier import Classifier
from noctule.models.factory import call_factory
from noctule.models.names import unknown_architecture
from noctule.models.shipped import SHIPPED
from noctule.models.small_nets import ARCHITECTURES

ZOOS = ("torchvision", "timm")


def build_untrained(spec: str, num_classes: int, side_px: int) -> nn.Module:
    """The network that `spec` names, with initial weights from PyTorch's generator.

    Args:
        spec: "photo-patches" (or "photo-patches-reference"), "torchvision:NAME", "timm:NAME",
            or "package.module:function"; the function may take `num_classes`.
        num_classes: the number of logits. A function that does not take it has to return a
            network with as many.
        side_px: side of the images it is to be trained on, for architectures that ask.

    Raises:
        InputError: unknown name, failed import, or an architecture that cannot be built so.

    >>> build_untrained("torchvision:resnet18", 10, 64).fc.out_features
    10
    """
    kind, colon, name = spec.partition(":")
    if spec in SHIPPED:
        return ARCHITECTURES[SHIPPED[spec]](num_classes)
    if kind == "torchvision" and colon:
        return _torchvision(name, num_classes, side_px)
    if kind == "timm" and colon:
        return _timm(name, num_classes, side_px)
    if not (colon and kind and name):
        raise InputError(
            f"unknown architecture '{spec}'",
            remedy=f"Use {', '.join(SHIPPED)}, torchvision:NAME, timm:NAME or "
            "PACKAGE.MODULE:FUNCTION.",
        )
    made = call_factory(spec, num_classes=num_classes)
    return made.module.requires_grad_(True) if isinstance(made, Classifier) else made


def is_function(architecture: str) -> bool:
    """Whether an architecture is a function of the user's, not one of the package or a zoo."""
    return architecture not in SHIPPED and architecture.partition(":")[0] not in ZOOS


def _torchvision(name: str, num_classes: int, side_px: int) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise unknown_architecture("torchvision classifier", name, known)
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Their auxiliary heads would return more than logits.
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": side_px}
    elif name.startswith("maxvit"):
        options = {"input_size": (side_px, side_px)}
    return _built(f"torchvision:{name}", lambda: models.get_model(
        name, weights=None, num_classes=num_classes, **options
    ))  # fmt: skip


def _timm(name: str, num_classes: int, side_px: int) -> nn.Module:
    from noctule.models import timm_zoo

    timm = timm_zoo.package()
    architecture = name.partition(".")[0]
    known = timm.list_models()
    if architecture not in known:
        raise unknown_architecture("timm classifier", architecture, known)

    def build() -> nn.Module:
        options: dict[str, Any] = {"pretrained": False, "num_classes": num_classes}
        try:
            module: nn.Module = timm.create_model(architecture, img_size=side_px, **options)
        except TypeError:  # most convolutional networks do not ask for it
            module = timm.create_model(architecture, **options)
        return module

    return _built(f"timm:{name}", build)


def _built(spec: str, build: Any) -> nn.Module:
    try:
        module: nn.Module = build()
    except Exception as error:  # the zoos assert, and raise what their layers raise
        raise InputError(
            f"this architecture cannot be built for these images: {error}", where=spec
        ) from error
    return module
