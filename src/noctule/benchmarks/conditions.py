"""Conditions: clean, or a corruption at one severity or over its full severity range."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from noctule.config import SpecValueError
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.errors import InputError

CLEAN = "clean"
_MOST_LETTERS = 100


@dataclass(frozen=True)
class Condition:
    """One corruption at a severity or over its full range (None), or clean (both None).

    >>> str(Condition("shear", 3)), str(Condition("shear")), str(Condition())
    ('shear@3', 'shear', 'clean')
    """

    corruption: str | None = None
    severity: int | None = None

    def __str__(self) -> str:
        if self.corruption is None:
            return CLEAN
        return (
            self.corruption if self.severity is None else f"{self.corruption}@{self.severity}"
        )

    @classmethod
    def parse(cls, text: str, *, known: bool = True) -> Condition:
        """Parse the name of a condition; aliases of corruptions become proper names.

        Args:
            text: The name.
            known: Whether noctule must know the corruption. Those of stored images need not be.

        Raises:
            InputError: The corruption is unknown, or the severity is not 1 to 5.
        """
        if text == CLEAN:
            return cls()
        name, at, severity = text.partition("@")
        if at and severity not in {str(known) for known in SEVERITIES}:
            raise InputError(
                f"condition '{text}' has severity '{severity}'", remedy="Use 1 to 5."
            )
        proper = CORRUPTIONS[name].name if known or name in CORRUPTIONS else name
        return cls(proper, int(severity) if at else None)


def conditions_of(
    corruptions: Iterable[str], severities: Sequence[int] | None
) -> tuple[Condition, ...]:
    """Clean, then each corruption at each severity, or once over its full range.

    >>> [str(condition) for condition in conditions_of(["shear", "rain"], [1, 5])]
    ['clean', 'shear@1', 'shear@5', 'rain@1', 'rain@5']
    """
    at = (None,) if severities is None else tuple(severities)
    return (
        Condition(),
        *(Condition(name, severity) for name in corruptions for severity in at),
    )


def proper_names(names: Sequence[str]) -> tuple[str, ...]:
    """The proper names of corruptions, for validators of specs.

    Raises:
        SpecValueError: A corruption is unknown or listed twice.
    """
    try:
        proper = tuple(CORRUPTIONS[name].name for name in names)
    except InputError as error:
        raise SpecValueError.because(error) from error
    refuse_duplicates("corruption", proper)
    return proper


def refuse_duplicates(kind: str, values: Sequence[object]) -> None:
    """Raise SpecValueError if a value is listed twice, for validators of specs."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise SpecValueError(f"{kind} {value!r} is listed twice", "Remove one of the two.")


def refuse_unfit_names(names: Sequence[str]) -> None:
    """Raise SpecValueError if names of stored corruptions cannot be those of conditions."""
    refuse_duplicates("corruption", names)
    for name in names:
        if (
            not 0 < len(name) <= _MOST_LETTERS
            or not name.isprintable()
            or name != name.strip()
            or any(letter in name for letter in "@,/\\")
            or name in (CLEAN, ".", "..")
        ):
            raise SpecValueError(
                f"{name[:_MOST_LETTERS]!r} cannot be the name of a corruption",
                f"Use up to {_MOST_LETTERS} letters, without @ , / and \\.",
            )
