"""Digital: quantization, pixelate, artifacts, vertical_artifacts."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import Integer, NoiseField, unit
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.noc.stamps import draw_positions, paint
from noctule.corruptions.pixels import (
    divisor,
    from_float,
    full_scale,
    per_image,
    side_scale,
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
    """Round every channel to steps + 1 equidistant values, half to even.

    Args:
        steps: Number of intervals between black and white, at least 1.
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

    Where a side is not a multiple of the block, the blocks are counted from the top left, shown
    centred, and the rest is filled by reflection. The released code does this at 224 px with
    blocks of 3, where the image moves by one pixel. Departure: at other sizes the released code
    returns an image of another size; this kernel keeps the size.

    Args:
        block_px: Side of a block in pixels, at least 1; not scaled with the image.
    """
    blocks = block_px.clamp(max=min(images.shape[2:]))
    return group_by_params(images, [blocks], _pixelate_by)


def _pixelate_by(images: Tensor, block_px: float) -> Tensor:
    block = int(block_px)
    of_row, of_column = (_block_of(side, block, images.device) for side in images.shape[2:])
    down, across = (side // block for side in images.shape[2:])
    values = to_float(images)[:, :, : down * block, : across * block]
    sums = _strided_sum(_strided_sum(values, block, dim=2), block, dim=3)
    means = from_float(sums.div_(divisor(block**2, images)), images.dtype)
    return means.index_select(3, of_column).index_select(2, of_row)


def _strided_sum(values: Tensor, block: int, dim: int) -> Tensor:
    total = values[(slice(None),) * dim + (slice(None, None, block),)].clone()
    for offset in range(1, block):
        total += values[(slice(None),) * dim + (slice(offset, None, block),)]
    return total


def _block_of(side: int, block: int, device: torch.device) -> Tensor:
    """Index of the block that each row shows: int64 (side,).

    >>> _block_of(8, 3, torch.device("cpu")).tolist()  # blocks start at row 1, ends reflect
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
    """Draw dashes, three rows high, solid or with dotted tails, all in one grey.

    Departure: the released code modifies its input; this kernel does not.

    Args:
        count: Number of dashes, at least 1; their size scales with the shorter side.
        gray: Grey of the dashes, in [0, 1].
        dashes: Random words for the positions and for which dashes have no tails.
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

    Departure: height and width are exchanged too; the released code fails on oblong images.

    Args:
        count: Number of dashes, at least 1; their size scales with the shorter side.
        gray: Grey of the dashes, in [0, 1].
        dashes: Random words for the positions and for which dashes have no tails.
    """
    return _draw_dashes(images, count, gray, dashes, vertical=True)


def _draw_dashes(
    images: Tensor, count: Tensor, gray: Tensor, dashes: Stream, *, vertical: bool
) -> Tensor:
    height, width = images.shape[2:]
    scale = side_scale(images)
    across, along = (width, height) if vertical else (height, width)
    thick, solid, after, before = (
        _scaled_offsets(offsets, scale).to(images.device)
        for offsets in ((-1, 0, 1), DASH_SOLID, DASH_AFTER, DASH_BEFORE)
    )
    half_thick, half_solid = int(thick.max()), int(solid.max())
    positions = draw_positions(
        count,
        dashes,
        rows=(half_thick, across - 1 - half_thick),
        columns=(half_solid, along - 1 - half_solid),
    )
    tail = (positions.coin > 0)[:, :, None]
    start = positions.column[:, :, None]
    # A tail that is absent, or would leave the image, collapses onto the centre of the dash.
    right = after * (tail & (start + after.max() < along)) if len(after) else after
    left = before * (tail & (start + before.min() >= 0)) if len(before) else before
    shape = (*positions.row.shape, -1)
    columns = start + torch.cat([part.expand(shape) for part in (solid, right, left)], dim=2)
    rows = positions.row[:, :, None] + thick
    row_step, column_step = (1, width) if vertical else (width, 1)
    index = rows[..., None] * row_step + columns[:, :, None] * column_step
    return paint(images, index.flatten(1), gray[:, None, None])


def _scaled_offsets(offsets: tuple[int, ...], scale: float) -> Tensor:
    """Offsets of a rescaled shape: the pixels whose nearest original pixel belongs to it.

    >>> _scaled_offsets(DASH_SOLID, 1.0).tolist(), _scaled_offsets((-1, 0, 1), 2.0).tolist()
    ([-2, -1, 0, 1, 2], [-3, -2, -1, 0, 1, 2])
    """
    reach = round(max(abs(offset) for offset in offsets) * scale) + 1
    pixels = torch.arange(-reach, reach + 1)
    original = (pixels.to(torch.float32) / scale + 0.5).floor().to(torch.int64)
    return pixels[torch.isin(original, torch.tensor(offsets))]
