"""Canny edges of 8-bit planes, identical to OpenCV's.

J. Canny, "A computational approach to edge detection", PAMI 1986; with 3 × 3 Sobel derivatives,
the L1 norm of the gradient and no smoothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.imagenet_c.neighbours import framed, neighbour
from noctule.corruptions.imagenet_c.sparse import nonzero_positions

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
    ridge = strength.clone().ge_(limit).mul_(strength)
    strong, weak = ridge.clone().gt_(high), ridge.gt_(low)
    return _joined(strong, weak.sub_(strong))


def _joined(strong: Tensor, weak: Tensor) -> Tensor:
    """The strong edges and the weak edges that are connected to them; few are weak."""
    frame = framed(strong, "zero")
    pitch = frame.shape[2]
    edges = frame.view(-1)
    pixel, before = nonzero_positions(framed(weak, "zero")), -1
    around = [pitch * down + right for down in (-1, 0, 1) for right in (-1, 0, 1)]
    steps = torch.tensor(around, device=pixel.device)[:, None]
    while len(pixel) not in (0, before):
        before = len(pixel)
        near = edges.index_select(0, (pixel + steps).flatten())  # half the time of indexing
        joins = near.view(len(steps), -1).amax(dim=0)
        edges.index_copy_(0, pixel, joins)
        pixel = pixel[joins == 0]
    return frame[:, 1:-1, 1:-1]


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
    limit = falling.add_(signs.lt_(0).mul_(rising.sub_(falling)))
    slope = x.to(torch.float32).mul_(TAN_22_5_DEG).to(torch.int16)  # never an integer
    flat, steep = slope.clone().ge_(y), slope.lt_(y.sub(x, alpha=2))
    towards_x, towards_y = along_x.sub_(limit), along_y.sub_(limit)
    return limit.add_(towards_x.mul_(flat)).add_(towards_y.mul_(steep))
