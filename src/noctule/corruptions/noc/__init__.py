"""ImageNet-NOC: 23 candidate corruptions in seven families, one file each.

Laugros, Caplier & Ospici, "Using the overlapping score to improve corruption benchmarks", 2021,
and the code its authors released. `stamps`, `hsv` and `resampling` are shared by the families.
"""

from noctule.corruptions.noc import (
    blur,
    color,
    digital,
    geometry,
    noise,
    occlusion,
    weather,
)

__all__ = ["blur", "color", "digital", "geometry", "noise", "occlusion", "weather"]
