"""ImageNet-C: fog."""

from __future__ import annotations

import torch
from torch import Tensor

from noctule.corruptions.draws import NoiseField, PerSeverity
from noctule.corruptions.grouping import map_chunks
from noctule.corruptions.pixels import full_scale, per_image, to_float, to_int16_levels
from noctule.corruptions.registry import corruption
from noctule.corruptions.shapes import Images, PerImage
from noctule.sampling import FIELD_ROUNDS, Stream

# Grids up to this side use 16-bit numbers; finer grids, whose steps are small, use bytes.
COARSE_SIDE = 64
# Maps above this side are computed in bands of rows of at most this number of values.
WHOLE_SIDE = 1024
BAND_VALUES = 1 << 20
MAPS_VALUES = 1 << 22  # number of values of the maps that are computed together


@corruption(
    family="weather",
    source="Hendrycks & Dietterich 2019, released code: fog",
    draws={
        "intensity": PerSeverity(1.5, 2.0, 2.5, 2.5, 3.0),
        "wibble_decay": PerSeverity(2.0, 2.0, 1.7, 1.5, 1.4, lowest=1.0),
        "plasma": NoiseField(),
    },
)
def fog(
    images: Images,
    *,
    released: bool = False,
    intensity: PerImage,
    wibble_decay: PerImage,
    plasma: Stream,
) -> Images:
    """Add a fractal height map, and rescale so that the maximum of the image does not change.

    Heights are 0 to 1. The side of the map is the smallest power of two that covers the image,
    which gets its upper left corner, the same in all channels.

    Args:
        released: Truncate uint8 results instead of rounding them.
        intensity: Factor of the map before rescaling, as a share of white.
        wibble_decay: Root of the factor by which steps shrink when the grid becomes twice as
            fine.
        plasma: 8 or 16 random bits for each element of the map.
    """
    height, width = images.shape[2:]
    maximum = images.flatten(1).amax(dim=1).to(torch.float64) / full_scale(images)
    # A black image stays black, even at intensity 0.
    share = maximum / (maximum + intensity).clamp(min=torch.finfo(torch.float64).tiny)
    side = 1 << (max(height, width) - 1).bit_length()
    maps = [
        _height_map(_Steps(plasma[part], wibble_decay[part], side), height, width)
        for part in _chunks(len(images), side)
    ]
    heights, low, high = (torch.cat(values) for values in zip(*maps, strict=True))
    gain = share * intensity * full_scale(images) / (high - low).to(torch.float64)
    veil = heights[:, None].sub_(per_image(low)).mul_(per_image(gain))

    def change(chunk: Tensor, image_share: Tensor, added: Tensor) -> Tensor:
        values = to_float(chunk).mul_(image_share).add_(added)
        return to_int16_levels(values, images.dtype, in_range=True, truncate=released)

    return map_chunks(change, images, per_image(share), veil)


def _chunks(count: int, side: int) -> list[slice]:
    """Chunks of images whose maps of this side are computed together."""
    at_once = max(1, MAPS_VALUES // side**2)
    return [slice(start, start + at_once) for start in range(0, count, at_once)]


def _height_map(steps: _Steps, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The upper left corner of a periodic fractal height map, and the range of the map.

    Computed by the diamond-square algorithm: starting from a single 0, the grid is refined by
    two until it has the side of the map. New points, first at centres and then at edges, are
    the mean of their four neighbours plus a uniform number.

    Maps are square even if images are not. Large maps are computed in bands of rows, of which
    only the corner and the range are kept.

    Returns:
        float32 (batch, height, width), and the lowest and the highest value of the whole map,
        float32 (batch,) each.
    """
    size = max(
        1, (BAND_VALUES if steps.side > WHOLE_SIDE else steps.side**2) // steps.side // 2
    )
    columns = -(-width // 2)
    bands, lows, highs = [], [], []
    for first in range(0, steps.side // 2, size):
        planes = _planes(steps, steps.side, first, size)
        lows += [plane.flatten(1).amin(dim=1) for plane in planes]
        highs += [plane.flatten(1).amax(dim=1) for plane in planes]
        if (rows := -(-height // 2) - first) > 0:
            bands.append(_interleaved([plane[:, :rows, :columns] for plane in planes]))
    heights = torch.cat(bands, dim=1)[:, :height, :width]
    return heights, torch.stack(lows).amin(dim=0), torch.stack(highs).amax(dim=0)


def _planes(steps: _Steps, side: int, first: int, count: int) -> list[Tensor]:
    """Pairs of rows of the periodic grid of a side, starting with pair `first`.

    Returns:
        [0::2, 0::2], [0::2, 1::2], [1::2, 0::2] and [1::2, 1::2] of the rows, each float32
        (batch, count, side / 2).
    """
    n = side // 2
    rows = _rows(steps, n, first - 1, count + 2)
    corner, below = rows[:, 1:-1], rows[:, 2:]
    pairs = _add_rolled(rows.clone(), rows, -1)
    centre = steps.of(n, 0, first - 1, count + 1)
    centre.add_(pairs[:, :-1], alpha=0.25).add_(pairs[:, 1:], alpha=0.25)
    above, centre = centre[:, :-1], centre[:, 1:]
    along_row = steps.of(n, 1, first, count)
    along_row.add_(pairs[:, 1:-1].add_(centre).add_(above), alpha=0.25)
    along_column = steps.of(n, 2, first, count)
    around = _add_rolled((corner + below).add_(centre), centre, 1)
    along_column.add_(around, alpha=0.25)
    return [corner, along_row, along_column, centre]


def _rows(steps: _Steps, side: int, first: int, count: int) -> Tensor:
    """Rows of the periodic grid of a side: float32 (batch, count, side)."""
    if side == 1:
        device = steps.plasma.keys.device
        return torch.zeros((len(steps.plasma), count, 1), dtype=torch.float32, device=device)
    pair, end = first // 2, -(-(first + count) // 2)
    fine = _interleaved(_planes(steps, side, pair, end - pair))
    return fine.narrow(1, first - 2 * pair, count)


def _add_rolled(total: Tensor, values: Tensor, shift: int) -> Tensor:
    """`total.add_(values.roll(shift, dims=2))` without a copy, for a shift of ±1."""
    if shift > 0:
        total[..., 1:].add_(values[..., :-1])
        total[..., :1].add_(values[..., -1:])
    else:
        total[..., :-1].add_(values[..., 1:])
        total[..., -1:].add_(values[..., :1])
    return total


class _Steps:
    """The uniform numbers of maps of a given side.

    The first words of the stream's elements, followed by their second words, are split into
    16-bit numbers for grids up to `COARSE_SIDE`, and into bytes for finer grids. The grid of
    side n uses numbers n² to 4 n² − 1 for its new points: the centres, then the edges along
    rows, then the edges along columns. The numbers of grids up to `WHOLE_SIDE` are stored.
    """

    def __init__(self, plasma: Stream, decay: Tensor, side: int) -> None:
        self.plasma, self.side = plasma, side
        self.halves = min(side, COARSE_SIDE) ** 2
        self.elements = (side**2 + self.halves) // 8
        if side <= WHOLE_SIDE:
            words = torch.cat(plasma.words(self.elements, rounds=FIELD_ROUNDS), dim=1)
        else:
            words, _ = plasma.words((WHOLE_SIDE**2 + self.halves) // 4, rounds=FIELD_ROUNDS)
        self.stored = words.view(torch.int8)
        self.reach = {1: torch.ones_like(decay)}
        for power in range(1, side.bit_length()):
            self.reach[1 << power] = self.reach[1 << power - 1] / decay**2

    def of(self, n: int, which: int, first: int, count: int) -> Tensor:
        """Uniform numbers in (−reach, reach) for rows of one of the three grids of side n.

        Args:
            n: Side of the grid.
            which: 0 for the centres, 1 and 2 for the edges along rows and along columns.
            first: First row, modulo n.
            count: Number of rows.

        Returns:
            float32 (batch, count, n).
        """
        start = (1 + which) * n * n
        if 2 * n <= WHOLE_SIDE:
            coarse = 2 * n <= COARSE_SIDE
            stored = self.stored
            numbers = stored.view(torch.int16) if coarse else stored[:, self.halves :]
            grid = numbers[:, start : start + n * n].view(-1, n, n)
            row = torch.arange(first, first + count, device=grid.device) % n
            part, whole = grid.index_select(1, row), 1 << (15 if coarse else 7)
        else:
            part, whole = self._computed(n, start + self.halves, first, count), 1 << 7
        scale = (self.reach[n] / whole).to(torch.float32).view(-1, 1, 1)
        return part.to(torch.float32).add_(0.5).mul_(scale)

    def _computed(self, n: int, start: int, first: int, count: int) -> Tensor:
        """The bytes of a grid that are not stored: int8 (batch, count, n)."""
        pieces: list[Tensor] = []
        while count > 0:
            row = first % n
            rows = min(count, n - row)
            word, end = ((start + line * n) // 4 for line in (row, row + rows))
            for lane, offset in ((0, 0), (1, self.elements)):
                low, high = max(word - offset, 0), min(end - offset, self.elements)
                if low < high:
                    words = self.plasma.words(high - low, first=low, rounds=FIELD_ROUNDS)
                    pieces.append(words[lane])
            first, count = first + rows, count - rows
        return torch.cat(pieces, dim=1).view(torch.int8).view(len(self.plasma), -1, n)


def _interleaved(planes: list[Tensor]) -> Tensor:
    """Interleave the four parts (batch, n, m) of a grid, row by row: (batch, 2 n, 2 m)."""
    upper, lower = (
        torch.view_as_real(torch.complex(left, right)).flatten(2)
        for left, right in (planes[:2], planes[2:])
    )
    return torch.stack([upper, lower], dim=2).flatten(1, 2)
