"""Occlusion: rhombus, arlequin, circle, obstruction, border."""

from __future__ import annotations

from noctule.corruptions.draws import Integer, NoiseField, unit
from noctule.corruptions.noc.stamps import (
    disc_offsets,
    draw_centers,
    paint,
    paint_in_order,
    pixel_index,
    rhombus_offsets,
    stamp_margin_px,
)
from noctule.corruptions.pixels import (
    coordinates,
    fraction_to_index,
    paste,
    per_image,
    scale_px,
)
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream, unit_interval

SOURCE = "Laugros et al. 2020"


@corruption(
    family="occlusion",
    source=f"{SOURCE}, released code: rhombus",
    draws={"count": Integer(9, 76), "stamps": NoiseField()},
)
def rhombus(images: Images, *, count: PerImage, stamps: Stream) -> Images:
    """Cover the image with grey rhombi of 98 pixels; later ones cover earlier ones.

    Args:
        count: Number of rhombi, at least 1; their size scales with the shorter side.
        stamps: Random words for the position and the grey of each rhombus.
    """
    positions = draw_centers(images, count, stamps)
    return paint_in_order(images, positions, rhombus_offsets(stamp_margin_px(images)))


@corruption(
    family="occlusion",
    source=f"{SOURCE}, released code: arlequin",
    draws={"count": Integer(3, 36), "color": NoiseField(), "stamps": NoiseField()},
    channels=3,
)
def arlequin(images: Images, *, count: PerImage, color: Stream, stamps: Stream) -> Images:
    """Cover the image with rhombi, all in one colour. Needs 3 channels.

    Args:
        count: Number of rhombi, at least 1; their size scales with the shorter side.
        color: Random words for the colour of an image's rhombi, each channel in [0, 1).
        stamps: Random words for the position of each rhombus.
    """
    positions = draw_centers(images, count, stamps)
    index = pixel_index(images, positions, rhombus_offsets(stamp_margin_px(images)))
    return paint(images, index, unit_interval(color.words(3)[0])[:, :, None])


@corruption(
    family="occlusion",
    source=f"{SOURCE}, released code: circle",
    draws={"count": Integer(7, 50), "stamps": NoiseField()},
)
def circle(images: Images, *, count: PerImage, stamps: Stream) -> Images:
    """Cover the image with grey discs of 121 pixels; later ones cover earlier ones.

    Args:
        count: Number of discs, at least 1; their size scales with the shorter side.
        stamps: Random words for the position and the grey of each disc.
    """
    positions = draw_centers(images, count, stamps)
    return paint_in_order(images, positions, disc_offsets(stamp_margin_px(images)))


@corruption(
    family="occlusion",
    source=f"{SOURCE}, released code: obstruction",
    draws={
        "side_px": Integer(47, 125),
        "top_fraction": unit(),
        "left_fraction": unit(),
        "gray": unit(),
    },
)
def obstruction(
    images: Images,
    *,
    side_px: PerImage,
    top_fraction: PerImage,
    left_fraction: PerImage,
    gray: PerImage,
) -> Images:
    """Cover a square with one grey.

    Args:
        side_px: Side of the square at 224 px, scaled with the shorter side.
        top_fraction: Vertical position of the square, as a share of the possible ones.
        left_fraction: Horizontal position of the square, as a share of the possible ones.
        gray: Grey of the square, in [0, 1].
    """
    height, width = images.shape[2:]
    side = scale_px(side_px, images).clamp(max=min(height, width))
    top = fraction_to_index(top_fraction, height - side + 1).view(-1, 1, 1, 1)
    left = fraction_to_index(left_fraction, width - side + 1).view(-1, 1, 1, 1)
    side = side.view(-1, 1, 1, 1)
    rows, columns = coordinates(images)
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    return paste(images, in_rows & in_columns, per_image(gray))


@corruption(
    family="occlusion",
    source=f"{SOURCE}, released code: border",
    draws={"thickness_px": Integer(9, 46), "gray": unit()},
)
def border(images: Images, *, thickness_px: PerImage, gray: PerImage) -> Images:
    """Cover a frame along the edges of the image with one grey.

    Departure: the released code modifies its input; this kernel does not.

    Args:
        thickness_px: Width of the frame at 224 px, scaled with the shorter side.
        gray: Grey of the frame, in [0, 1].
    """
    height, width = images.shape[2:]
    thickness = scale_px(thickness_px, images).view(-1, 1, 1, 1)
    rows, columns = coordinates(images)
    in_rows = (rows < thickness) | (rows >= height - thickness)
    in_columns = (columns < thickness) | (columns >= width - thickness)
    return paste(images, in_rows | in_columns, per_image(gray))
