"""Digital: quantization, pixelate, artifacts, vertical_artifacts."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import Integer, NoiseField, unit
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.noc.stamps import draw_places, paint
from noctule.corruptions.pixels import (
    REFERENCE_SIDE_PX,
    from_float,
    full_scale,
    per_image,
    to_float,
)
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream

SOURCE = "Laugros et al. 2020"


@corruption(
    family="digital",
    source=f"{SOURCE}, released code: quantization",
    draws={"steps": Integer(3, 8, hardest="low")},
    bytes_per_value=16,
)
def quantization(images: Images, *, steps: PerImage) -> Images:
    """Round every channel to steps + 1 levels, half to even.

    Args:
        images: see `noctule.corrupt`.
        steps: intervals between black and white, at least 1, (batch,).
    """
    scale = per_image(steps.to(torch.float64) / full_scale(images))
    back = per_image(full_scale(images) / steps.to(torch.float64))
    return from_float(
        to_float(images).mul_(scale).round_().mul_(back), images.dtype, in_range=True
    )


@corruption(
    family="digital",
    source=f"{SOURCE}, released code: pixelate",
    draws={"block_px": Integer(2, 4)},
)
def pixelate(images: Images, *, block_px: PerImage) -> Images:
    """Replace square blocks by their mean.

    Where the block does not divide a side, the blocks are those counted from the top left, and
    are shown centred, with the rest reflected: published so for 224 px and blocks of 3, where
    the image moves by one pixel. Departure: for other sides the released code returns
    another size; this returns the input's.

    Args:
        images: see `noctule.corrupt`.
        block_px: side of a block, not scaled with the image, (batch,).
    """
    return group_by_params(images, [block_px.clamp(max=min(images.shape[2:]))], _pixelate_alike)


def _pixelate_alike(images: Tensor, block_px: float) -> Tensor:
    block = int(block_px)
    of_row, of_column = (_block_of(side, block, images.device) for side in images.shape[2:])
    down, across = (side // block for side in images.shape[2:])
    # int16 holds the sum of 11 × 11 bytes, and is twice as fast as int32.
    small = torch.int16 if block <= 11 else torch.int32
    values = images.to(small if images.dtype == torch.uint8 else torch.float32)
    values = values[:, :, : down * block, : across * block]
    sums = _strided_sum(_strided_sum(values, block, dim=2), block, dim=3)
    means = from_float(sums.to(torch.float32).div_(block**2), images.dtype)
    return means.index_select(3, of_column).index_select(2, of_row)


def _strided_sum(values: Tensor, block: int, dim: int) -> Tensor:
    total = values[(slice(None),) * dim + (slice(None, None, block),)].clone()
    for offset in range(1, block):
        total += values[(slice(None),) * dim + (slice(offset, None, block),)]
    return total


def _block_of(side: int, block: int, device: torch.device) -> Tensor:
    """The block each row shows: int64 (side,).

    >>> _block_of(8, 3, torch.device("cpu")).tolist()  # blocks begin at 1; ends reflect
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    first, count = side % block // 2, side // block
    row = (torch.arange(side, device=device) - first).abs()
    last = count * block - 1
    return (last - (last - row).abs()) // block


DASH_SOLID = (-2, -1, 0, 1, 2)
DASH_AFTER = (6, 8, 10, 12, 14)
DASH_BEFORE = (-10, -8, -6, -4, -2)


@corruption(
    family="digital",
    source=f"{SOURCE}, released code: artifacts",
    draws={"count": Integer(14, 170), "gray": unit(), "dashes": NoiseField()},
)
def artifacts(images: Images, *, count: PerImage, gray: PerImage, dashes: Stream) -> Images:
    """Draw dashes three rows high, solid or with dotted tails, all of one gray.

    The released code writes into its input; this does not.

    Args:
        images: see `noctule.corrupt`.
        count: number of dashes, at least 1, (batch,); their size scales with the shorter side.
        gray: in [0, 1], (batch,).
        dashes: places, and which are solid only.
    """
    return _draw_dashes(images, count, gray, dashes, vertical=False)


@corruption(
    family="digital",
    source=f"{SOURCE}, released code: vertical_artifacts",
    draws={"count": Integer(14, 180), "gray": unit(), "dashes": NoiseField()},
)
def vertical_artifacts(
    images: Images, *, count: PerImage, gray: PerImage, dashes: Stream
) -> Images:
    """Draw dashes as `artifacts` does, with rows and columns exchanged.

    Departure: the sizes are exchanged too, where the released code breaks for oblong images.

    Args:
        images: see `noctule.corrupt`.
        count: number of dashes, at least 1, (batch,); their size scales with the shorter side.
        gray: in [0, 1], (batch,).
        dashes: places, and which are solid only.
    """
    return _draw_dashes(images, count, gray, dashes, vertical=True)


def _draw_dashes(
    images: Tensor, count: Tensor, gray: Tensor, dashes: Stream, *, vertical: bool
) -> Tensor:
    height, width = images.shape[2:]
    scale = min(height, width) / REFERENCE_SIDE_PX
    across, along = (width, height) if vertical else (height, width)
    thick, solid, after, before = (
        _scaled_offsets(offsets, scale).to(images.device)
        for offsets in ((-1, 0, 1), DASH_SOLID, DASH_AFTER, DASH_BEFORE)
    )
    half_thick, half_solid = int(thick.max()), int(solid.max())
    places = draw_places(
        count,
        dashes,
        rows=(half_thick, across - 1 - half_thick),
        columns=(half_solid, along - 1 - half_solid),
    )
    tail = (places.coin > 0)[:, :, None]
    start = places.column[:, :, None]
    # A tail that is absent, or would leave the image, collapses onto the dash's centre.
    right = after * (tail & (start + after.max() < along)) if len(after) else after
    left = before * (tail & (start + before.min() >= 0)) if len(before) else before
    shape = (*places.row.shape, -1)
    columns = start + torch.cat([part.expand(shape) for part in (solid, right, left)], dim=2)
    rows = places.row[:, :, None] + thick
    row_step, column_step = (1, width) if vertical else (width, 1)
    index = rows[..., None] * row_step + columns[:, :, None] * column_step
    return paint(images, index.flatten(1), gray[:, None, None])


def _scaled_offsets(offsets: tuple[int, ...], scale: float) -> Tensor:
    """Pixels of a shape drawn at another scale: those whose nearest original pixel is in it.

    >>> _scaled_offsets(DASH_SOLID, 1.0).tolist(), _scaled_offsets((-1, 0, 1), 2.0).tolist()
    ([-2, -1, 0, 1, 2], [-3, -2, -1, 0, 1, 2])
    """
    reach = round(max(abs(offset) for offset in offsets) * scale) + 1
    pixels = torch.arange(-reach, reach + 1)
    original = (pixels.to(torch.float32) / scale + 0.5).floor().to(torch.int64)
    return pixels[torch.isin(original, torch.tensor(offsets))]
