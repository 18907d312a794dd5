"""ImageNet-C: glass_blur."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.fields import field_index
from noctule.corruptions.filters import gaussian_filter
from noctule.corruptions.grouping import group_by_params
from noctule.corruptions.imagenet_c.blur import SOURCE, finished, scaled
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import Stream

# After this number of doublings, one chain in some hundreds has not ended; these are followed
# separately.
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
    """Blur, repeatedly swap every pixel with a nearby pixel, and blur again.

    In each iteration, every pixel at least `reach` from the border is swapped with a random
    pixel of the square of side 2 · reach + 1 around it. Departure: the released code swaps
    pixels row by row; here, pixels that are 2 · reach + 1 apart, whose squares are disjoint,
    are swapped together. Pixels move equally far, except for the few that a row-by-row order
    carries along.

    Args:
        released: Do what the released code does. Its squares end one pixel earlier at the right
            and at the bottom, so that the image drifts. It overwrites a pixel with the other
            instead of swapping them, as its pixels are views of the same memory. It proceeds
            from the last pixel to the first, and truncates to 8 bits after each blur.
        sigma_px: Standard deviation of both blurs at 224 px, scaled with the shorter side; see
            `gaussian_blur`.
        reach_px: Largest movement along each axis at 224 px, scaled with the shorter side and
            rounded, at least 1 px.
        iterations: Number of iterations.
        moves: 16 random bits for each pixel and iteration.
    """
    height, width = images.shape[2:]

    def change(part: Tensor, sigma: float, reach: float, times: float, moves: Stream) -> Tensor:
        sigma, steps = scaled(sigma, images), max(1, round(scaled(reach, images)))
        values = gaussian_filter(part, sigma)
        if released and part.dtype == torch.uint8:
            values = finished(values, part.dtype, released=True)
        bits = field_index(moves, int(times) * height * width)
        bits = bits.view(len(part), -1, height, width)
        source = _copied(bits, steps) if released else _swapped(bits, steps)
        source = source.flatten(1)[:, None].expand(values.flatten(2).shape)
        values = values.flatten(2).gather(2, source).view(values.shape)
        values = gaussian_filter(values, sigma)
        return finished(values, part.dtype, released=released)

    return group_by_params(images, (sigma_px, reach_px, iterations), change, moves)


def _others(bits: Tensor, reach: int, side: int) -> Tensor:
    """A random pixel for each pixel, from the square that starts `reach` before it.

    Args:
        bits: Random bits, int32 in [0, 65536), (batch, height, width).
        reach: Rows and columns before the pixel where the square starts.
        side: Side of the square.

    Returns:
        Flat indices into the image, int32; undefined where the square crosses the border.
    """
    height, width = bits.shape[1:]
    scaled_bits = bits * side
    right = (scaled_bits & 0xFFFF).mul_(side).bitwise_right_shift_(16)
    here = torch.arange(height * width, dtype=torch.int32, device=bits.device)
    other = scaled_bits.bitwise_right_shift_(16).mul_(width).add_(right)
    return other.add_(here.sub_(reach * (width + 1)).view(height, width))


def _swapped(bits: Tensor, reach: int) -> Tensor:
    """Flat index of the source of each pixel after all swaps: int64 (batch, height, width).

    Args:
        bits: Random bits, int32 in [0, 65536), (batch, iterations, height, width).
        reach: Largest movement of a swap along each axis.
    """
    batch, _, height, width = bits.shape
    side = 2 * reach + 1
    here = torch.arange(height * width, dtype=torch.int32, device=bits.device)
    source = here.repeat(batch, 1)
    grid = source.view(batch, height, width)
    for iteration in bits.unbind(1):
        other = _others(iteration, reach, side)
        for turn in range(side**2):
            # Far from the previous turn, so that pixels are not carried along.
            row, column = divmod(turn * stride(side**2) % side**2, side)
            rows = slice(reach + row, height - reach, side)
            columns = slice(reach + column, width - reach, side)
            sites = grid[:, rows, columns]
            there = other[:, rows, columns].to(torch.int64).flatten(1)
            theirs = source.gather(1, there)
            source.scatter_(1, there, sites.flatten(1))
            sites.copy_(theirs.view(sites.shape))
    return grid.to(torch.int64)


def stride(turns: int) -> int:
    """The step between successive turns: a power of two, thus coprime to an odd square.

    >>> [stride(side**2) for side in (3, 5, 7)]
    [4, 8, 16]
    """
    return 1 << (turns * 5 // 8).bit_length() - 1


def _copied(bits: Tensor, reach: int) -> Tensor:
    """Flat index of the source of each pixel after all copies: int64 (batch, height, width).

    A pixel that is copied from a later pixel, which was overwritten before, has the value of
    that pixel's source. Such chains are followed to their ends in steps that double.

    Args:
        bits: Random bits, int32 in [0, 65536), (batch, iterations, height, width).
        reach: Largest movement of a copy along each axis.
    """
    batch, _, height, width = bits.shape
    rows, columns = (torch.arange(side, device=bits.device) for side in (height, width))
    moves = ((rows > reach) & (rows <= height - reach))[:, None]
    moves = moves & (columns > reach) & (columns <= width - reach)
    moves = moves.to(torch.int32).repeat(batch, 1, 1)
    position = torch.arange(moves.numel(), dtype=torch.int32, device=bits.device)
    here = position.view(batch, -1)[:1].view(height, width)
    source = position
    for iteration in bits.unbind(1):
        way = _others(iteration, reach, 2 * reach).sub_(here)
        way = way.mul_(moves).flatten()
        other = way + position
        # To the other pixel if it was overwritten before, otherwise nowhere.
        later = way.clamp(0, 1).mul_(moves.flatten().index_select(0, other))
        end = _ends(way.mul_(later).add_(position))
        source = source.index_select(0, other.index_select(0, end))
    first = position.view(batch, -1)[:, :1]
    return (source.view(batch, -1) - first).view(moves.shape).to(torch.int64)


def _ends(following: Tensor) -> Tensor:
    """The end of the chain that starts at each position: int32 (count,).

    Args:
        following: The next position of the chain, or at its end the position itself; int32
            (count,).

    >>> _ends(torch.tensor([2, 1, 3, 4, 4], dtype=torch.int32)).tolist()
    [4, 1, 4, 4, 4]
    """
    end = following
    for _ in range(DOUBLINGS):
        end = end.index_select(0, end)
    before, end = end, end.index_select(0, end)
    unfinished = (end != before).nonzero()[:, 0]
    while len(unfinished):
        reached = end.index_select(0, unfinished)
        further = end.index_select(0, reached)
        end[unfinished] = further
        unfinished = unfinished[further > reached]
    return end
