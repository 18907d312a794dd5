"""ImageNet-C: glass_blur."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.fields import field_index
from noctule.corruptions.filters import gaussian_filter
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.imagenet_c.blur import SOURCE, finished, scaled
from noctule.corruptions.imagenet_c.sparse import places
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream

# After so many doublings of the steps one chain in some hundreds has not ended, and those are
# followed on their own.
DOUBLINGS = 3


@corruption(
    family="blur",
    source=f"{SOURCE}: glass_blur",
    draws={
        "sigma_px": PerSeverity(0.7, 0.9, 1.0, 1.1, 1.5, highest=float(REFERENCE_SIDE_PX)),
        "reach_px": PerSeverity(1.0, 2.0, 2.0, 3.0, 4.0, highest=REFERENCE_SIDE_PX / 16),
        "iterations": PerSeverity(2, 1, 3, 2, 2, highest=16),
        "moves": NoiseField(),
    },
    bytes_per_value=13,
)
def glass_blur(
    images: Images,
    released: bool = False,
    *,
    sigma_px: PerImage,
    reach_px: PerImage,
    iterations: PerImage,
    moves: Stream,
) -> Images:
    """Blur, let every pixel change places with one nearby, again and again, and blur.

    In each iteration every pixel that is at least `reach` from the border is swapped with one
    drawn from the square of side 2 · reach + 1 around it. Departure: the released code goes row
    by row; here those 2 · reach + 1 apart, which do not meet, are swapped at once. Pixels move
    as far, but for the few that a row by row order carries along.

    Released mode does what the released code does. Its squares end one pixel earlier at the
    right and at the bottom, so that the image drifts. It does not swap but overwrites a pixel
    with the other, as its pixels are views of the same memory. It goes from the last pixel to
    the first, and truncates to 8 bits after each blur.

    Args:
        images: See `noctule.corrupt`.
        released: See above.
        sigma_px: Standard deviation of both blurs at 224 px, scaled with the shorter side; see
            `gaussian_blur`.
        reach_px: How far pixels move along each axis at 224 px, scaled with the shorter side
            and rounded, at least 1.
        iterations: How often.
        moves: 16 random bits for each pixel and iteration.
    """
    height, width = images.shape[2:]

    def change(part: Tensor, sigma: float, reach: float, times: float, moves: Stream) -> Tensor:
        sigma, steps = scaled(sigma, images), max(1, round(scaled(reach, images)))
        values = gaussian_filter(part, sigma)
        if released and part.dtype == torch.uint8:
            values = finished(values, part.dtype, released=True).to(part.dtype)
        bits = field_index(moves, int(times) * height * width)
        bits = bits.view(len(part), -1, height, width)
        source = _copied(bits, steps) if released else _swapped(bits, steps)
        source = source.flatten(1)[:, None].expand(values.flatten(2).shape)
        values = values.flatten(2).gather(2, source).view(values.shape)
        values = gaussian_filter(values, sigma)
        return finished(values, part.dtype, released=released).to(part.dtype)

    return group_by_params(images, (sigma_px, reach_px, iterations), change, moves)


def _others(bits: Tensor, reach: int, side: int) -> Tensor:
    """The pixel that each one meets, in a square of this side from `reach` before it on.

    Args:
        bits: int32 in [0, 65536), (batch, height, width).

    Returns:
        Places in the image, int32; where the square crosses its border, they mean nothing.
    """
    height, width = bits.shape[1:]
    scaled_bits = bits * side
    right = (scaled_bits & 0xFFFF).mul_(side).bitwise_right_shift_(16)
    here = torch.arange(height * width, dtype=torch.int32, device=bits.device)
    other = scaled_bits.bitwise_right_shift_(16).mul_(width).add_(right)
    return other.add_(here.sub_(reach * (width + 1)).view(height, width))


def _swapped(bits: Tensor, reach: int) -> Tensor:
    """Where each pixel comes from after all swaps: int64 (batch, height, width).

    Args:
        bits: int32 in [0, 65536), (batch, iterations, height, width).
    """
    batch, _, height, width = bits.shape
    side = 2 * reach + 1
    here = torch.arange(height * width, dtype=torch.int32, device=bits.device)
    source = here.repeat(batch, 1)
    grid = source.view(batch, height, width)
    for iteration in bits.unbind(1):
        other = _others(iteration, reach, side)
        for turn in range(side**2):
            # Far from the turn before, so that pixels are not carried along.
            row, column = divmod(turn * _stride(side**2) % side**2, side)
            rows = slice(reach + row, height - reach, side)
            columns = slice(reach + column, width - reach, side)
            sites = grid[:, rows, columns]
            there = other[:, rows, columns].to(torch.int64).flatten(1)
            theirs = source.gather(1, there)
            source.scatter_(1, there, sites.flatten(1))
            sites.copy_(theirs.view(sites.shape))
    return grid.to(torch.int64)


def _stride(turns: int) -> int:
    """How far apart successive turns are: a power of two, so coprime to an odd square.

    >>> [_stride(side**2) for side in (3, 5, 7)]
    [4, 8, 16]
    """
    return 1 << (turns * 5 // 8).bit_length() - 1


def _copied(bits: Tensor, reach: int) -> Tensor:
    """Where each pixel comes from after all copies: int64 (batch, height, width).

    A pixel that is copied from one later in the image, which was overwritten before, shows
    what that one shows: such chains are followed to their ends, in steps that double.

    Args:
        bits: int32 in [0, 65536), (batch, iterations, height, width).
    """
    batch, _, height, width = bits.shape
    rows, columns = (torch.arange(side, device=bits.device) for side in (height, width))
    moves = ((rows > reach) & (rows <= height - reach))[:, None]
    moves = moves & (columns > reach) & (columns <= width - reach)
    moves = moves.to(torch.int32).repeat(batch, 1, 1)
    place = torch.arange(moves.numel(), dtype=torch.int32, device=bits.device)
    here = place.view(batch, -1)[:1].view(height, width)
    source = place
    for iteration in bits.unbind(1):
        way = _others(iteration, reach, 2 * reach).sub_(here)
        way = way.mul_(moves).flatten()
        other = way + place
        # To the other pixel if it was overwritten before, else nowhere.
        later = way.clamp(0, 1).mul_(moves.flatten().index_select(0, other))
        end = _ends(way.mul_(later).add_(place))
        source = source.index_select(0, other.index_select(0, end))
    first = place.view(batch, -1)[:, :1]
    return (source.view(batch, -1) - first).view(moves.shape).to(torch.int64)


def _ends(following: Tensor) -> Tensor:
    """Where the chain that begins at each place ends: int32 (places,).

    Args:
        following: The place that follows in the chain, or the place itself at its end; int32.

    >>> _ends(torch.tensor([2, 1, 3, 4, 4], dtype=torch.int32)).tolist()
    [4, 1, 4, 4, 4]
    """
    end = following
    for _ in range(DOUBLINGS):
        end = end.index_select(0, end)
    before, end = end, end.index_select(0, end)
    open_ones = places(end - before)
    while len(open_ones):
        reached = end.index_select(0, open_ones)
        further = end.index_select(0, reached)
        end[open_ones] = further
        open_ones = open_ones[further > reached]
    return end
