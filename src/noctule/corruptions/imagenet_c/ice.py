"""Sheets of frost as on a window pane: grown by formula, so that no photograph is needed.

Crystals of six arms grow from scattered seeds until they meet; every arm sends out branches on
both sides, and these again. Six sheets have the tones (quantiles, colour) and the octave
spectra of the six photographs that the released ImageNet-C code mixes in. A sheet repeats
without a seam.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from noctule.sampling import Stream, image_keys, key_of, unit_interval

SIDE_PX = 512
GENERATIONS = 3
ROUNDS = 4
OCTAVES = 7
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

Plane = NDArray[Any]
"""Numbers of one kind, for each pixel, arm, point or frequency."""


class Sheet(NamedTuple):
    """How one sheet looks.

    Attributes:
        crystals: Number of seeds.
        arms: Of each crystal.
        film: Height of the film between the crystals.
        angle_deg: Between an arm and its branches.
        spacing_px: Between the branches of an arm.
        reach: Length of a branch as a share of the arm's length beyond it.
        bend: Turn of an arm per pixel, at most, in radians.
        octaves: Standard deviation of each octave, from the finest to the coarsest.
        tones: The quantiles of the brightness, in levels.
        slopes, offsets: Of red, green and blue over the brightness.
    """

    crystals: int
    arms: int
    film: float
    angle_deg: float
    spacing_px: float
    reach: float
    bend: float
    octaves: tuple[float, ...]
    tones: tuple[float, ...]
    slopes: tuple[float, float, float]
    offsets: tuple[float, float, float]


SHEETS = (
    Sheet(50, 3, 0.25, 30, 9, 0.5, 0.02, (6.7, 5.7, 3.8, 3.2, 4.2, 4.3, 7.3),
          (97, 104, 118, 129, 142, 163, 177), (1.37, 0.90, 0.73), (-101, 31, 70)),
    Sheet(110, 6, 0.12, 20, 7, 0.5, 0.006, (8.1, 8.8, 8.5, 7.6, 5.7, 4.3, 4.7),
          (141, 166, 195, 210, 222, 236, 245), (0.97, 1.00, 1.03), (0, -2, 2)),
    Sheet(120, 5, 0.12, 30, 5, 0.6, 0.008, (8.1, 8.8, 8.5, 7.6, 5.7, 4.3, 4.7),
          (141, 166, 195, 210, 222, 236, 245), (0.97, 1.00, 1.03), (0, -2, 2)),
    Sheet(300, 4, 0.20, 45, 5, 0.5, 0.006, (14.5, 14.7, 11.0, 8.8, 6.1, 3.9, 4.5),
          (82, 104, 134, 152, 169, 199, 234), (0.98, 0.99, 1.03), (-12, 3, 9)),
    Sheet(120, 5, 0.10, 55, 5, 0.5, 0.010, (16.4, 13.6, 13.1, 12.4, 12.3, 8.9, 7.0),
          (45, 60, 92, 119, 151, 203, 238), (1.03, 1.00, 0.97), (-15, -1, 15)),
    Sheet(40, 4, 0.10, 40, 6, 0.55, 0.012, (12.7, 13.7, 12.0, 10.8, 10.3, 13.5, 15.4),
          (16, 29, 57, 89, 121, 160, 186), (0.84, 1.03, 1.13), (-4, 2, 2)),
)  # fmt: skip


@functools.cache
def ice(number: int) -> NDArray[np.uint8]:
    """One of the `SHEETS`: (SIDE_PX, SIDE_PX, 3). Not to be written to."""
    kind = SHEETS[number]
    brightness = _grown(kind, _Lots(number))
    for _ in range(ROUNDS):  # either step spoils a little of what the other did
        brightness = _toned(_tuned(brightness, kind.octaves), kind.tones)
    color = brightness[..., None] * kind.slopes + kind.offsets
    sheet: NDArray[np.uint8] = np.rint(color.clip(0, 255)).astype(np.uint8)
    sheet.setflags(write=False)
    return sheet


class _Lots:
    """Uniform numbers of one sheet, each used once, in order."""

    def __init__(self, number: int) -> None:
        self.stream = Stream(image_keys(key_of("frost sheet"), [number]))
        self.lane = 0

    def draw(self, count: int) -> Plane:
        words, _ = self.stream.words(count, lane=self.lane)
        self.lane += 1
        lots: Plane = unit_interval(words)[0].numpy().astype(np.float64)
        return lots


class _Arms(NamedTuple):
    """Curved lines: where they begin, their direction, length and turn, and whose they are."""

    x: Plane
    y: Plane
    angle: Plane
    length: Plane
    bend: Plane
    crystal: Plane


class _Points(NamedTuple):
    """Points of arms: of which arm, how far along it, and where."""

    arm: Plane
    along: Plane
    x: Plane
    y: Plane

    @property
    def pixel(self) -> Plane:
        """The nearest pixel's number, on the repeated sheet."""
        column, row = (np.rint(place).astype(np.int64) % SIDE_PX for place in (self.x, self.y))
        number: Plane = row * SIDE_PX + column
        return number


def _grown(kind: Sheet, lots: _Lots) -> Plane:
    """The height of the ice, in no particular unit: crystals on a grainy, cloudy film."""
    ridges = _crystals(kind, lots)
    lit = ridges - np.roll(ridges, (1, 1), axis=(0, 1))
    grain = lots.draw(SIDE_PX**2).reshape(SIDE_PX, SIDE_PX) - 0.5
    cloud: Plane = np.fft.ifft2(np.fft.fft2(grain) / _frequency().clip(1 / SIDE_PX) ** 1.5).real
    height: Plane = ridges + 0.5 * lit + kind.film * (cloud / cloud.std() + grain)
    return height


def _crystals(kind: Sheet, lots: _Lots) -> Plane:
    """The height of the branches, falling towards their ends, from 1 on."""
    count = kind.crystals * kind.arms
    seeds = lots.draw(2 * kind.crystals).reshape(-1, 2) * SIDE_PX
    owner = _nearest_seed(seeds)
    turn = lots.draw(kind.crystals).repeat(kind.arms) + lots.draw(count) * 0.4 / kind.arms
    even = np.tile(np.arange(kind.arms) / kind.arms, kind.crystals)
    farthest = 2 * SIDE_PX / np.sqrt(kind.crystals)
    arms = _Arms(
        x=seeds[:, 0].repeat(kind.arms),
        y=seeds[:, 1].repeat(kind.arms),
        angle=2 * np.pi * (turn + even),
        length=farthest * (0.15 + 0.85 * lots.draw(count) ** 1.5),
        bend=kind.bend * (2 * lots.draw(count) - 1),
        crystal=np.arange(count) // kind.arms,
    )
    height = np.zeros(SIDE_PX**2)
    for generation in range(GENERATIONS):
        points = _points(arms)
        inside = owner[points.pixel] == arms.crystal[points.arm]
        points = _Points(*(part[inside] for part in points))
        ridge = (1 - 0.7 * points.along / arms.length[points.arm]) * 0.75**generation
        np.maximum.at(height, points.pixel, ridge)
        arms = _branches(kind, arms, points, lots)
    return height.reshape(SIDE_PX, SIDE_PX)


def _frequency() -> Plane:
    """Of each coefficient of a sheet's Fourier transform, in turns per pixel."""
    line = np.fft.fftfreq(SIDE_PX)
    frequency: Plane = np.hypot(line[:, None], line)
    return frequency


def _nearest_seed(seeds: Plane) -> Plane:
    rows, columns = np.divmod(np.arange(SIDE_PX**2), SIDE_PX)
    tree = cKDTree(seeds, boxsize=SIDE_PX)
    nearest: Plane = tree.query(np.stack([columns, rows], axis=1))[1]
    return nearest


def _points(arms: _Arms) -> _Points:
    """The points of each arm, a pixel apart."""
    steps = np.ceil(arms.length).astype(np.int64)
    arm = np.arange(len(steps)).repeat(steps)
    along = (np.arange(len(arm)) - (np.cumsum(steps) - steps)[arm]).astype(np.float64)
    # The chord of an arc, from its begin.
    turned = arms.angle[arm] + arms.bend[arm] * along / 2
    x = arms.x[arm] + along * np.cos(turned)
    return _Points(arm, along, x, arms.y[arm] + along * np.sin(turned))


def _branches(kind: Sheet, arms: _Arms, points: _Points, lots: _Lots) -> _Arms:
    """What grows from some of the points, on both sides of their arms."""
    along = points.along
    budding = np.floor(along / kind.spacing_px) > np.floor((along - 1) / kind.spacing_px)
    arm, along, x, y = (part[budding & (along > 0)].repeat(2) for part in points)
    side = np.tile([1, -1], len(arm) // 2)
    beyond = kind.reach * (arms.length[arm] - along) * (0.4 + 0.6 * lots.draw(len(arm)))
    angle = arms.angle[arm] + arms.bend[arm] * along + side * np.deg2rad(kind.angle_deg)
    return _Arms(x, y, angle, beyond, np.zeros(len(arm)), arms.crystal[arm])


def _tuned(plane: Plane, octaves: tuple[float, ...]) -> Plane:
    """The plane with other standard deviations of its octaves."""
    octave = -1 - np.log2(_frequency().clip(1 / SIDE_PX))
    spectrum = np.fft.fft2(plane)
    spectrum[0, 0] = 0
    power = np.abs(spectrum) ** 2 / SIDE_PX**4
    band = np.floor(octave).clip(0, OCTAVES - 1).astype(np.int64)
    found = np.sqrt(np.bincount(band.ravel(), power.ravel(), OCTAVES))
    gain = np.log(np.array(octaves) / found)
    spectrum *= np.exp(np.interp(octave, np.arange(OCTAVES) + 0.5, gain))
    tuned: Plane = np.fft.ifft2(spectrum).real
    return tuned


def _toned(plane: Plane, tones: tuple[float, ...]) -> Plane:
    """The plane with given quantiles, straight in between and beyond."""
    at = np.quantile(plane, QUANTILES)
    first = (tones[1] - tones[0]) / (at[1] - at[0])
    last = (tones[-1] - tones[-2]) / (at[-1] - at[-2])
    toned = np.interp(plane, at, tones)
    toned += np.minimum(plane - at[0], 0) * first + np.maximum(plane - at[-1], 0) * last
    return toned
