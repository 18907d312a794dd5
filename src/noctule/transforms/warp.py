"""Where a geometric corruption moves things: masks, boxes and points beside the image.

A corruption of the family `geometry` is applied to an image whose channels are each pixel's
column, its row, and a constant. The result says which position of the original each pixel
shows. So whatever moves the pixels of a photograph, and however it interpolates, moves its
masks, boxes and points by the same amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.corruptions import Corruption
from noctule.errors import InputError

GEOMETRY = "geometry"
# Parameters of geometric corruptions that change values as well, at the value that does not.
NEUTRAL = {"lighting": 0.0}
_TOLERANCE = 1e-3
_WHITE = 0.5  # below full scale, where brighter pixels would be clamped


class Origins(NamedTuple):
    """The position of the original that each pixel of the corrupted image shows.

    Attributes:
        x_px, y_px: Position from the left and upper edges, float64 (height, width); the centre
            of the first pixel is at 0.5.
        inside: Whether the pixel shows a part of the original, bool (height, width).
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    inside: NDArray[np.bool_]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        height, width = self.inside.shape
        return height, width


def origins_of(
    corruption: Corruption,
    size: tuple[int, int],
    *,
    image_id: str | int,
    seed: int,
    severity: int | None,
    fixed: Mapping[str, Any],
) -> Origins:
    """Where the pixels of one corrupted image come from.

    Args:
        corruption: A corruption of the family `geometry`.
        size: Height and width of the image.
        image_id, seed, severity, fixed: As of the image.

    Raises:
        InputError: The corruption does more than move pixels, so that this cannot be said.
    """
    height, width = size
    rows = (torch.arange(height, dtype=torch.float32) + 0.5)[:, None].expand(size) / height
    columns = (torch.arange(width, dtype=torch.float32) + 0.5).expand(size) / width
    ramps = torch.stack([columns, rows, torch.ones(size)])[None] * _WHITE
    neutral = {name: value for name, value in NEUTRAL.items() if name in corruption.draws}
    moved = corruption(
        ramps, ids=[image_id], seed=seed, severity=severity, **{**fixed, **neutral}
    )
    x, y, covered = moved[0].to(torch.float64).numpy() / _WHITE
    inside = covered >= 0.5
    x_px, y_px = (np.divide(v, covered, where=inside, out=np.zeros(size)) for v in (x, y))
    # Only at its edges is the original partly covered.
    usual = np.median(covered[inside]) if inside.any() else 1.0
    if max(covered.max(), x_px.max(), y_px.max(), 2 - usual) > 1 + _TOLERANCE:
        raise InputError(
            "moves pixels and changes their values, so that boxes, masks and keypoints cannot "
            "follow",
            where=corruption.name,
            remedy="Leave them out, or use another corruption.",
        )
    return Origins(x_px * width, y_px * height, inside)


def move_mask(mask: Tensor, origins: Origins) -> Tensor:
    """Move a mask (…, height, width) of any dtype: nearest neighbour, 0 outside.

    Raises:
        InputError: Its size is not that of the image.
    """
    check_size(tuple(mask.shape[-2:]), origins, "mask")
    height, width = origins.size
    row = torch.from_numpy(origins.y_px.astype(np.int64).clip(0, height - 1))
    column = torch.from_numpy(origins.x_px.astype(np.int64).clip(0, width - 1))
    moved = mask[..., row.to(mask.device), column.to(mask.device)]
    outside = torch.from_numpy(~origins.inside).to(mask.device)
    return torch.where(outside, torch.zeros((), dtype=mask.dtype, device=mask.device), moved)


def move_boxes(boxes: NDArray[np.float64], origins: Origins) -> NDArray[np.float64]:
    """Move boxes: the tightest box around all pixels that show a part of the original box.

    Args:
        boxes: Left, upper, right and lower edge in px, (boxes, 4).
        origins: Where pixels come from.

    Returns:
        (boxes, 4); four zeros for a box that no pixel shows.
    """
    moved = np.zeros_like(boxes)
    for box, (left, upper, right, lower) in zip(moved, boxes, strict=True):
        shows = origins.inside & (origins.x_px >= left) & (origins.x_px < right)
        shows &= (origins.y_px >= upper) & (origins.y_px < lower)
        columns, rows = shows.any(0).nonzero()[0], shows.any(1).nonzero()[0]
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return moved


def move_points(points: NDArray[np.float64], origins: Origins) -> NDArray[np.float64]:
    """Move points to the centre of the pixel that shows what is nearest to them.

    Args:
        points: x and y in px, (points, 2).
        origins: Where pixels come from.

    Returns:
        (points, 2); NaN for a point that no pixel shows, to within 1.5 px.
    """
    moved = np.full_like(points, np.nan)
    for result, (x, y) in zip(moved, points, strict=True):
        distance = np.hypot(origins.x_px - x, origins.y_px - y)
        distance[~origins.inside] = np.inf
        row, column = np.unravel_index(distance.argmin(), distance.shape)
        if distance[row, column] <= 1.5:
            result[:] = column + 0.5, row + 0.5
    return moved


def check_size(size: tuple[int, ...], origins: Origins, where: str) -> None:
    """Check that something is of the size of the image.

    Raises:
        InputError: It is not.
    """
    if size != origins.size:
        height, width = origins.size
        raise InputError(
            f"has {size[0]} × {size[1]} px, but the image has {height} × {width} px",
            where=where,
            remedy="Resize both before they are corrupted.",
        )
