"""Corruptions as transforms: of torchvision v2 here, of albumentations in `.albumentations`.

>>> import torch
>>> from noctule.transforms import Corrupt, RandomCorruption
>>> Corrupt("shear", severity=3)(torch.zeros(3, 32, 32, dtype=torch.uint8)).shape
torch.Size([3, 32, 32])
"""

from __future__ import annotations

from noctule.transforms.choosing import AppliedCorruption
from noctule.transforms.torchvision import Corrupt, RandomCorruption

__all__ = ["AppliedCorruption", "Corrupt", "RandomCorruption"]
