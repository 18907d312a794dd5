"""Canny edges of 8-bit planes, identical to OpenCV's.

J. Canny, "A computational approach to edge detection", PAMI 1986; with 3 × 3 Sobel derivatives,
the L1 norm of the gradient and no smoothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.imagenet_c.neighbours import framed, neighbour

# OpenCV's constant: a short binary fraction, so that products are exact, and an odd multiple of
# 1 / 32,768, so that its product with an integer below 32,768 is an integer only if it is 0.
TAN_22_5_DEG = 13573 / 32768


def canny(planes: Tensor, low: int, high: int) -> Tensor:
    """Ridges of the gradient above `low` that are connected to a ridge above `high`.

    Args:
        planes: Values from 0 to 255, int16 (batch, height, width).
        low, high: Thresholds of |x derivative| + |y derivative|.

    Returns:
        1 on edges and 0 elsewhere, int16 (batch, height, width).
    """
    dx, dy = _sobel(planes)
    x, y = dx.abs(), dy.abs()
    strength = x + y
    limit = _least_ridge(framed(strength, "zero"), x, y, dx.bitwise_xor_(dy))
    ridge = strength >= limit
    edges = _joined(ridge & (strength > high), ridge & (strength > low))
    return edges.to(planes.dtype)


def _joined(strong: Tensor, weak: Tensor) -> Tensor:
    """The strong edges and the weak edges that are connected to them."""
    while True:
        frame = framed(strong, "zero")
        rows = frame[:, :-2] | frame[:, 1:-1] | frame[:, 2:]
        joins = weak & ~strong & (rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:])
        if not joins.any():
            return strong
        strong = strong | joins


def _sobel(planes: Tensor) -> tuple[Tensor, Tensor]:
    frame = framed(planes, "repeat")
    down = (frame[:, 1:-1] * 2).add_(frame[:, :-2]).add_(frame[:, 2:])
    across = (frame[:, :, 1:-1] * 2).add_(frame[:, :, :-2]).add_(frame[:, :, 2:])
    return down[:, :, 2:] - down[:, :, :-2], across[:, 2:] - across[:, :-2]


def _least_ridge(frame: Tensor, x: Tensor, y: Tensor, signs: Tensor) -> Tensor:
    """The least gradient that makes a pixel a ridge across the gradient's direction.

    Args:
        frame: Norm of the gradient, framed by zeros.
        x, y: Magnitudes of the derivatives.
        signs: Negative where the derivatives have different signs.
    """
    # Along x and y, a ridge exceeds one neighbour and is at least as high as the other; along a
    # diagonal, it exceeds both.
    along_x = (neighbour(frame, 0, -1) + 1).maximum(neighbour(frame, 0, 1))
    along_y = (neighbour(frame, -1, 0) + 1).maximum(neighbour(frame, 1, 0))
    falling = neighbour(frame, -1, -1).maximum(neighbour(frame, 1, 1)).add_(1)
    rising = neighbour(frame, -1, 1).maximum(neighbour(frame, 1, -1)).add_(1)
    slope = (x * TAN_22_5_DEG).to(torch.int16)  # never an integer
    limit = torch.where(signs < 0, rising, falling)
    limit = torch.where(slope >= y, along_x, limit)
    return torch.where(slope < y - 2 * x, along_y, limit)
