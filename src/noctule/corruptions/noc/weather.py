"""Weather: rain."""

from __future__ import annotations

import torch

from noctule.corruptions.draws import Integer, NoiseField
from noctule.corruptions.noc.stamps import (
    disc_offsets,
    draw_centers,
    pixel_index,
    stamp_margin_px,
)
from noctule.corruptions.pixels import from_float, full_scale
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream


@corruption(
    family="weather",
    source="Laugros et al. 2020, released code: rain",
    draws={"count": Integer(12, 120), "stamps": NoiseField()},
)
def rain(images: Images, *, count: PerImage, stamps: Stream) -> Images:
    """Draw drops, discs of 121 pixels, each of which halves the distance to white.

    Args:
        count: Number of drops, at least 1; their size scales with the shorter side.
        stamps: Random words for the position of each drop.
    """
    positions = draw_centers(images, count, stamps)
    offsets = disc_offsets(stamp_margin_px(images))
    index = pixel_index(images, positions, offsets)
    # Images with fewer drops than the batch's maximum repeat their last, which does not count.
    real = torch.arange(positions.row.shape[1], device=images.device) < count[:, None]
    drops = torch.zeros(
        len(images), images[0, 0].numel(), dtype=torch.int32, device=images.device
    )
    drops.scatter_add_(
        1, index, real.to(torch.int32).repeat_interleave(offsets.shape[1], dim=1)
    )
    result = images.clone()
    planes = result.view(*images.shape[:2], -1)
    pixels = index[:, None].expand(-1, images.shape[1], -1)
    white = full_scale(images)
    darkness = white - planes.gather(2, pixels).to(torch.float32)
    remaining = torch.ldexp(darkness, -drops.gather(1, index)[:, None])
    # In torch 2.6, ldexp returns the default dtype.
    planes.scatter_(2, pixels, from_float(white - remaining.to(torch.float32), images.dtype))
    return result
