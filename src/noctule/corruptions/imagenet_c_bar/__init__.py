"""ImageNet-C-bar: the ten corruptions most unlike those of ImageNet-C.

Mintun, Kirillov & Xie, "On interaction between augmentations and corruptions in natural
corruption robustness", NeurIPS 2021. It publishes a severity for each severity, by which each
corruption scales something; here the tables hold what it scales, in its own unit, and the
docstrings say how to convert. The tables are those of ImageNet-C-bar, for 224 px.
"""

from noctule.corruptions.imagenet_c_bar import (
    caustics,
    cutout,
    perlin,
    plasma,
    sparkle,
    spectral,
    waves,
)

__all__ = ["caustics", "cutout", "perlin", "plasma", "sparkle", "spectral", "waves"]
