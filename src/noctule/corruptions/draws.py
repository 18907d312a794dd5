"""The distributions that corruptions draw from, as data: ranges, tables, choices and noise.

A draw is *graded* if severities divide its range: severity k of 5 is the k-th fifth, from mild
to severe, and without a severity the full range is used. So the five severities together have
exactly the distribution of the full range. A corruption that was published with one value per
severity has a table instead, and its "full range" is a severity chosen at random.

A severity changes the value that random bits are mapped to, never the bits: the severities of
an image share their noise and can be compared pairwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

SEVERITIES = (1, 2, 3, 4, 5)
_BITS = 24
_MOST = 1 << 16  # so that a typing error cannot exhaust the memory

CONSTANT, UNIFORM, INTEGER, TABLE, STREAM = range(5)
"""Kinds of draws, the first number of their rows; see `noctule.corruptions.loops.drawing`."""
Row = tuple[float, ...]
"""A draw at a severity as seven numbers. Its kind, then

- for a constant, its value;
- for a table, its five values;
- for the uniform distributions, the lowest value; the width of the range, or the number of
  integers; the position of the severity, and the whole, of which a random number of 24 bits is
  a part; whether the sign is random; and whether the lowest number is the most severe.
"""


def _row(
    kind: int,
    low: float,
    span: float,
    severity: int | None,
    *,
    signed: bool = False,
    descending: bool = False,
) -> Row:
    before, whole = ((severity - 1) << _BITS, 5 << _BITS) if severity else (0, 1 << _BITS)
    return (kind, low, span, before, whole, signed, descending)


@dataclass(frozen=True)
class Uniform:
    """A real number, uniform in [low, high).

    Args:
        low, high: Published range.
        graded: Whether severities divide the range.
        signed: Whether the sign is random too, each with probability ½.

    >>> Uniform(0.05, 0.18).describe()
    '0.05 to 0.18'
    """

    low: float
    high: float
    graded: bool = True
    signed: bool = False
    whole: ClassVar[bool] = False

    def row(self, severity: int | None) -> Row:
        """The distribution at a severity, or over the full range."""
        graded = severity if self.graded else None
        return _row(UNIFORM, self.low, self.high - self.low, graded, signed=self.signed)

    @property
    def limits(self) -> tuple[float, float]:
        """The range of values that a user may set: wherever the parameter is meaningful.

        Shares and intensities are at most 1, factors at least 1; signed values may be negative.
        """
        lowest = 1.0 if self.low >= 1 else 0.0
        highest = 1.0 if self.high <= 1 else float("inf")
        return (-highest if self.signed else lowest), highest

    def describe(self) -> str:
        """The range, for tables."""
        return f"{'±' if self.signed else ''}{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Integer:
    """An integer, uniform in {low, …, high}, both ends included.

    Args:
        low, high: Published range.
        graded: Whether severities divide the range.
        signed: Whether the sign is random too, each with probability ½.
        hardest: End of the range that is most severe.

    >>> Integer(12, 39, signed=True).describe()
    '±12 to 39, whole'
    """

    low: int
    high: int
    graded: bool = True
    signed: bool = False
    hardest: Literal["low", "high"] = "high"
    whole: ClassVar[bool] = True

    def row(self, severity: int | None) -> Row:
        """The distribution at a severity, or over the full range."""
        return _row(
            INTEGER,
            self.low,
            self.high - self.low + 1,
            severity if self.graded else None,
            signed=self.signed,
            descending=self.hardest == "low",
        )

    @property
    def limits(self) -> tuple[float, float]:
        """The range of integers that a user may set; at least 1 for counts and lengths."""
        lowest = 1.0 if self.low >= 1 and not self.signed else float(-_MOST)
        return lowest, float(_MOST)

    def describe(self) -> str:
        """The range, for tables."""
        return f"{'±' if self.signed else ''}{self.low} to {self.high}, whole"


@dataclass(frozen=True)
class Choice:
    """One of several named options, all equally likely; kernels receive its index.

    >>> Choice("rows", "columns").describe()
    'rows or columns'
    """

    options: tuple[str, ...]
    whole: ClassVar[bool] = True

    def __init__(self, *options: str) -> None:
        object.__setattr__(self, "options", options)

    def row(self, severity: int | None) -> Row:
        """The distribution, whatever the severity."""
        del severity
        return _row(INTEGER, 0, len(self.options), None)

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the options' indices."""
        return 0.0, float(len(self.options) - 1)

    def describe(self) -> str:
        """The options, for tables."""
        return " or ".join(self.options)


@dataclass(frozen=True)
class PerSeverity:
    """A published table: one value for each of the five severities.

    Without a severity, one is chosen at random, the same for all tables of a corruption, so
    that values published together stay together. Tables of ints give int64, others float64.

    Args:
        *values: Values from mild to severe.
        lowest, highest: Range of values that a user may set.

    Raises:
        ValueError: There are not five values, or one is out of range.

    >>> PerSeverity(0.08, 0.12, 0.18, 0.26, 0.38).describe()
    '0.08, 0.12, 0.18, 0.26, 0.38 by severity'
    """

    values: tuple[float, ...]
    lowest: float
    highest: float

    def __init__(
        self, *values: float, lowest: float = 0.0, highest: float = float("inf")
    ) -> None:
        if len(values) != len(SEVERITIES) or not all(lowest <= v <= highest for v in values):
            raise ValueError(
                f"{values} is not {len(SEVERITIES)} values in [{lowest}, {highest}]"
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "lowest", lowest)
        object.__setattr__(self, "highest", highest)

    @property
    def whole(self) -> bool:
        """Whether every value is an int, as those of `Integer` and `Choice` are."""
        return all(isinstance(value, int) for value in self.values)

    def row(self, severity: int | None) -> Row:
        """The table, or its value at a severity."""
        if severity is None:
            return (TABLE, *self.values, 0)
        return _row(CONSTANT, self.values[severity - 1], 0, None)

    @property
    def limits(self) -> tuple[float, float]:
        """The range of values that a user may set."""
        return self.lowest, min(self.highest, _MOST) if self.whole else self.highest

    def describe(self) -> str:
        """The values, for tables."""
        return ", ".join(f"{value:g}" for value in self.values) + " by severity"


@dataclass(frozen=True)
class NoiseField:
    """Random words for many elements of each image; the kernel chooses how many."""

    whole: ClassVar[bool] = False

    def row(self, severity: int | None) -> Row:
        """The distribution, whatever the severity."""
        del severity
        return _row(STREAM, 0, 0, None)

    def describe(self) -> str:
        """The description, for tables."""
        return "per element"


Draw = Uniform | Integer | PerSeverity | Choice | NoiseField


def unit() -> Uniform:
    """A real number in [0, 1) that does not depend on the severity: a position or a grey."""
    return Uniform(0.0, 1.0, graded=False)
