"""Elementary functions from sums and products, which round the same on every device.

Library functions differ in the last bit between devices. Torch kernels call these with tensors;
loops compile them and call them with numbers. Functions whose names end in 32 are for float32,
the others for float64. The polynomials are those with the smallest maximal error.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# To add this to a smaller number and to subtract it again rounds the number to an integer.
_ROUND = 1.5 * 2**52
_ROUND32 = np.float32(1.5 * 2**23)
_TINY = 1e-30
_ROOT_2 = math.sqrt(2)
# float32 constants, because a loop would calculate in float64 with a Python number.
_TINY32, _ROOT32 = np.float32(_TINY), np.float32(_ROOT_2)
_EIGHTH, _QUARTER, _ONE = np.float32(0.125), np.float32(0.25), np.float32(1)
_S0, _S1, _S2 = np.float32(6.283185), np.float32(-41.341656), np.float32(81.601006)
_S3, _S4 = np.float32(-76.54978), np.float32(39.536694)
_A0, _A1, _A2 = np.float32(0.31830984), np.float32(-0.1060997), np.float32(0.06354089)
_A3, _A4 = np.float32(-0.043782797), np.float32(0.024619522)
_L0, _L1 = np.float32(2.88539), np.float32(0.96180075)
_L2, _L3 = np.float32(0.57658446), np.float32(0.43425804)
_P0, _P1, _P2 = np.float32(0.57622075), np.float32(3.5606465), np.float32(9.0366755)
_P3, _P4, _P5 = np.float32(11.965872), np.float32(8.582423), np.float32(3.0282583)
_P6, _P_CENTER = np.float32(0.33393648), np.float32(0.90625)
_E1, _E2, _E3 = np.float32(0.6931472), np.float32(0.24022652), np.float32(0.055503272)
_E4, _E5, _E6 = np.float32(0.009617995), np.float32(0.0013400458), np.float32(0.00015477945)


def cosine(turns: Any) -> Any:
    """cos(2π · turns), within 1e-13.

    >>> round(cosine(1 / 6), 12), round(cosine(-10.5), 12)
    (0.5, -1.0)
    """
    height = -abs(turns - ((turns + _ROUND) - _ROUND)) + 0.25  # cos a = sin(½π − |a|)
    u = height * height
    power = u * 3.6550836042841213 - 15.07929485036367
    power = power * u + 42.05796386997329
    power = power * u - 76.70584112956813
    power = power * u + 81.60524903205254
    power = power * u - 41.34170223898952
    return (power * u + 6.283185307177228) * height


def cosine32(turns: Any) -> Any:
    """cos(2π · turns), within 4e-7 in [−1, 1]."""
    height = -abs(turns - ((turns + _ROUND32) - _ROUND32)) + _QUARTER
    u = height * height
    power = u * _S4 + _S3
    power = power * u + _S2
    power = power * u + _S1
    return (power * u + _S0) * height


def angle_in_quadrant(down: Any, right: Any, distance: Any) -> Any:
    """The angle of an offset in turns, from 0 downwards to ¼ to the right, within 2e-12.

    Args:
        down, right: Offsets, at least 0.
        distance: Root of the sum of their squares.

    >>> round(angle_in_quadrant(1.0, math.sqrt(3), 2.0) * 360, 9)
    60.0
    """
    tangent = (right - down) / (right + down + distance * _ROOT_2 + _TINY)
    u = tangent * tangent
    power = u * 0.014504314654143358 - 0.02664870217167648
    power = power * u + 0.0350852574524625
    power = power * u - 0.04545374357638429
    power = power * u + 0.06366130748025872
    power = power * u - 0.10610328498287906
    return (power * u + 0.3183098861368606) * tangent + 0.125


def angle_in_quadrant32(down: Any, right: Any, distance: Any) -> Any:
    """`angle_in_quadrant` within 5e-8."""
    tangent = (right - down) / (right + down + distance * _ROOT32 + _TINY32)
    u = tangent * tangent
    power = u * _A4 + _A3
    power = power * u + _A2
    power = power * u + _A1
    return (power * u + _A0) * tangent + _EIGHTH


def log2_near_1(value: Any) -> Any:
    """log2 of float32 between √½ and √2, within 8e-8."""
    tangent = (value - _ONE) / (value + _ONE)
    u = tangent * tangent
    power = u * _L3 + _L2
    power = power * u + _L1
    return (power * u + _L0) * tangent


def exp2_near_0(value: Any) -> Any:
    """2 ** value for float32 between −½ and ½, within 2e-7."""
    power = value * _E6 + _E5
    power = power * value + _E4
    power = power * value + _E3
    power = power * value + _E2
    power = power * value + _E1
    return power * value + _ONE


def power_1_4(fourth_root: Any) -> Any:
    """The 1.4th power of float32 between 0.2 and 1.8, from its fourth root, within 4e-7."""
    value = fourth_root - _P_CENTER
    power = value * _P6 + _P5
    power = power * value + _P4
    power = power * value + _P3
    power = power * value + _P2
    power = power * value + _P1
    return power * value + _P0
