"""Elementary functions against NumPy's; tensors, arrays and compiled code give one result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noctule.corruptions.loops import elementary


class Case(NamedTuple):
    """A function, its arguments, the values it approximates, and its greatest error."""

    function: Callable[..., Any]
    arguments: list[NDArray[Any]]
    expected: NDArray[np.float64]
    error: float


def offsets(dtype: type) -> list[NDArray[Any]]:
    """Offsets at all angles of a quadrant, and their lengths."""
    angle = np.linspace(0, np.pi / 2, 10_001)
    down: NDArray[Any] = (7 * np.cos(angle)).astype(dtype)
    right: NDArray[Any] = (7 * np.sin(angle)).astype(dtype)
    return [down, right, np.sqrt(down * down + right * right)]


def angles(down: NDArray[Any], right: NDArray[Any], _: NDArray[Any]) -> NDArray[np.float64]:
    return np.arctan2(right.astype(float), down.astype(float)) / (2 * np.pi)


def range32(low: float, high: float) -> NDArray[np.float32]:
    return np.linspace(low, high, 10_001).astype(np.float32)


def cases() -> dict[str, Case]:
    turns, near_1, near_0 = range32(-2, 2), range32(0.7072, 1.4142), range32(-0.5, 0.5)
    more, roots = np.linspace(-50, 50, 100_001), range32(0.2**0.25, 1.8**0.25)
    wide, narrow = offsets(np.float64), offsets(np.float32)
    exact = [values.astype(float) for values in (turns, near_1, near_0, roots)]
    return {
        "cosine": Case(elementary.cosine, [more], np.cos(2 * np.pi * more), 1e-13),
        "cosine32": Case(elementary.cosine32, [turns], np.cos(2 * np.pi * exact[0]), 4e-7),
        "angle": Case(elementary.angle_in_quadrant, wide, angles(*wide), 2e-12),
        "angle32": Case(elementary.angle_in_quadrant32, narrow, angles(*narrow), 5e-8),
        "log2": Case(elementary.log2_near_1, [near_1], np.log2(exact[1]), 8e-8),
        "exp2": Case(elementary.exp2_near_0, [near_0], np.exp2(exact[2]), 2e-7),
        "power": Case(elementary.power_1_4, [roots], exact[3] ** 5.6, 4e-7),
    }


@pytest.mark.parametrize("name", cases())
def test_functions(name: str) -> None:
    function, arguments, expected, error = cases()[name]
    found = function(*arguments)
    assert found.dtype == arguments[0].dtype
    assert np.abs(found - expected).max() <= error
    assert np.array_equal(function(*map(torch.from_numpy, arguments)).numpy(), found)
    assert np.array_equal(numba.vectorize(function)(*arguments), found)
