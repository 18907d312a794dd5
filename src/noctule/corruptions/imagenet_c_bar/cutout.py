"""ImageNet-C-bar, checkerboard_cutout."""

from __future__ import annotations

import torch

from noctule.corruptions.draws import NoiseField, PerSeverity, Uniform
from noctule.corruptions.fields import uniform_field
from noctule.corruptions.imagenet_c_bar.mixing import SOURCE
from noctule.corruptions.imagenet_c_bar.positions import per_plane
from noctule.corruptions.loops.elementary import cosine
from noctule.corruptions.pixels import coordinates, paste, side_scale
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream

# More squares than fit between two corners of an image with an aspect ratio of up to 1 : 3.
BOARD = 64
SQUARE = 1 << 58
"""Fixed-point length of a square, so that positions overflow where the board repeats."""
GRAY = 128 / 255


@corruption(
    family="occlusion",
    source=f"{SOURCE}: checkerboard_cutout",
    draws={
        "share": PerSeverity(0.2, 0.3, 0.4, 0.5, 0.6, highest=1.0),
        "square_px": Uniform(22.4, 56.0, graded=False),
        "angle_deg": Uniform(0.0, 360.0, graded=False),
        "squares": NoiseField(),
    },
    bytes_per_value=16,
)
def checkerboard_cutout(
    images: Images,
    *,
    share: PerImage,
    square_px: PerImage,
    angle_deg: PerImage,
    squares: Stream,
) -> Images:
    """Cover random squares of one colour of a rotated checkerboard with mid-grey.

    The board is rotated about the centre of the top left pixel. It repeats after 64 squares,
    which does not occur within images with an aspect ratio of up to 1 : 3, unless `square_px`
    is set to less than its published range.

    Args:
        share: Share of the squares of this colour that are covered; published as a tenth of the
            paper's severity.
        square_px: Side of a square at 224 px, at least one pixel of the image.
        angle_deg: Rotation of the board.
        squares: 16 random bits for each square.
    """
    rows, columns = (axis[0] for axis in coordinates(images))
    turns = per_plane(angle_deg) * (1 / 360)
    side = (per_plane(square_px) * side_scale(images)).clamp(min=1)
    cos, sin = (
        (cosine(turns - lag) / side * SQUARE).round().to(torch.int64) for lag in (0, 0.25)
    )
    row, column = (
        (position // SQUARE) % BOARD
        for position in (rows * cos + columns * sin, columns * cos - rows * sin)
    )
    same_color = (row + column) % 2 == 0
    covered = uniform_field(squares, BOARD**2) < share.to(torch.float32)[:, None]
    number = row * BOARD + column
    cut = covered.gather(1, number.flatten(1)).view_as(same_color).logical_and_(same_color)
    return paste(
        images, cut[:, None], torch.tensor(GRAY, dtype=torch.float32, device=images.device)
    )
