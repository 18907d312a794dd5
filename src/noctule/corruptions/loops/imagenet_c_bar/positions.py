"""Compiled elementary functions, and the compiled twin of the kernels' `positions`."""

from __future__ import annotations

from typing import Any

import numpy as np

from noctule.corruptions.loops import elementary
from noctule.corruptions.loops.compiling import compiled

cosine = compiled(elementary.cosine)
cosine32 = compiled(elementary.cosine32)
exp2_near_0 = compiled(elementary.exp2_near_0)
log2_near_1 = compiled(elementary.log2_near_1)
_angle_in_quadrant = compiled(elementary.angle_in_quadrant)
_angle_in_quadrant32 = compiled(elementary.angle_in_quadrant32)


@compiled
def angle_from_down(down: Any, right: Any, distance: Any) -> Any:
    """The angle of an offset in turns, from −½ to ½: float64."""
    angle = _angle_in_quadrant(abs(down), abs(right), distance)
    angle = -angle + 0.5 if down < 0 else angle
    return -angle if right < 0 else angle


@compiled
def angle_from_down32(down: Any, right: Any, distance: Any) -> Any:
    """The angle of an offset in turns, from −½ to ½: float32."""
    angle = _angle_in_quadrant32(abs(down), abs(right), distance)
    angle = -angle + np.float32(0.5) if down < np.float32(0) else angle
    return -angle if right < np.float32(0) else angle
