"""ImageNet-C: the 15 corruptions of its benchmark and its 4 further ones.

Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019. The tables in the code are those for 224 px; the other datasets' are
in the benchmarks' TOML files.
"""

from noctule.corruptions.imagenet_c import (
    blur,
    color,
    digital,
    elastic,
    fog,
    frost,
    glass,
    motion,
    noise,
    snow,
    spatter,
)

__all__ = [
    "blur", "color", "digital", "elastic", "fog", "frost", "glass", "motion", "noise", "snow",
    "spatter",
]  # fmt: skip
