"""Architectures of the two shipped networks for photo-patches (64 × 64 RGB)."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F


class PatchResNet(nn.Module):
    """A residual network of three blocks: about 310,000 parameters, 50 million multiplications.

    Its layers follow He et al. 2016, "Deep Residual Learning for Image Recognition".

    Args:
        num_classes: Number of logits.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.blocks = nn.Sequential(_Block(32, 32, 1), _Block(32, 64, 2), _Block(64, 128, 2))
        self.head = nn.Linear(128, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) → (B, num_classes) logits; H and W at least 8."""
        features = self.blocks(self.stem(images)).mean(dim=(2, 3))
        return cast(torch.Tensor, self.head(features))


class _Block(nn.Module):
    """Two 3 × 3 convolutions and a shortcut, with a projection if the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if (channels_in, 1) != (channels, stride):
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(images)))))
        return F.relu(residual + self.shortcut(images))


class PatchAlexNet(nn.Module):
    """Plain convolutions, pooling and two linear layers, without normalisation or shortcuts.

    A small counterpart of AlexNet (Krizhevsky et al. 2012) for photo-patches.

    Args:
        num_classes: Number of logits.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(64 * 4 * 4, 128),
            nn.ReLU(),
            nn.Linear(128, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) → (B, num_classes) logits."""
        return cast(torch.Tensor, self.classifier(self.features(images)))
