"""A source of models: "brightness:4" sorts images into four classes by their mean value."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noctule.models import Classifier, ModelRequest, load_classifier, model_source


class Brightness(nn.Module):
    """The nearer an image's mean to the middle of a class's range, the larger its logit."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("middles", (torch.arange(num_classes) + 0.5) / num_classes)

    def forward(self, images: Tensor) -> Tensor:
        means = images.mean(dim=(1, 2, 3))
        return -10 * (means[:, None] - self.middles[None]).abs()


@model_source("brightness", ("brightness:CLASSES", "classes by mean brightness"))
def load(request: ModelRequest) -> Classifier:
    """The classifier with this number of classes."""
    classes = int(request.name)
    return load_classifier(Brightness(classes), num_classes=classes).named(request.spec)
