"""Errors of reference models, to which corruption errors are relative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from noctule.benchmarks.conditions import CLEAN, Condition, refuse_duplicates
from noctule.config import Spec, SpecValueError, read_spec
from noctule.corruptions import SEVERITIES, Mode
from noctule.errors import InputError

REFERENCES_FOLDER = Path(__file__).parent / "references"

Text = Annotated[str, Field(min_length=1)]
ErrorRate = Annotated[float, Field(ge=0.0, le=1.0)]


class Reference(Spec):
    """Errors of one model on one dataset: the denominators of CE.

    Attributes:
        model: Name of the model.
        domain: Dataset that the errors were measured on; they do not apply to others.
        source: Origin of the numbers.
        errors: Top-1 error as a fraction in [0, 1] by condition name; `clean` is required. The
            error under a corruption without a severity is also the mean over its five
            severities.
        mode: Mode of the corruptions, if the errors apply to that mode only.
        num_images: Number of images that the errors were measured on, if not all of the domain.
    """

    model: Text
    domain: Text
    source: Text
    errors: dict[str, ErrorRate]
    mode: Mode | None = None
    num_images: Annotated[int, Field(ge=1)] | None = None

    @field_validator("errors")
    @classmethod
    def _known_conditions(cls, errors: dict[str, float]) -> dict[str, float]:
        names = {key: _condition_name(key) for key in errors}
        refuse_duplicates("condition", list(names.values()))
        if CLEAN not in errors:
            raise SpecValueError("the error on 'clean' is missing", "CE is relative to it.")
        return {names[key]: error for key, error in errors.items()}

    def errors_under(self, conditions: Sequence[Condition]) -> dict[str, float]:
        """The known errors under these conditions, by name.

        If only the mean over the five severities of a corruption is known, it is used for each
        of them, provided that all five are among the conditions.
        """
        errors: dict[str, float] = {}
        for condition in conditions:
            corruption = condition.corruption
            if str(condition) in self.errors:
                errors[str(condition)] = self.errors[str(condition)]
            elif corruption in self.errors and _all_severities(corruption, conditions):
                errors[str(condition)] = self.errors[corruption]
        return errors

    def lacks(self, conditions: Sequence[Condition]) -> list[str]:
        """Names of the conditions without a known error."""
        known: Mapping[str, float] = self.errors_under(conditions)
        return [str(condition) for condition in conditions if str(condition) not in known]


def _all_severities(corruption: str | None, conditions: Sequence[Condition]) -> bool:
    severities = {other.severity for other in conditions if other.corruption == corruption}
    return severities == set(SEVERITIES)


def shipped_references() -> tuple[Reference, ...]:
    """The reference errors in the package, in order of file name."""
    return tuple(
        read_spec(path, Reference) for path in sorted(REFERENCES_FOLDER.glob("*.toml"))
    )


class ReferenceOutcomes(NamedTuple):
    """The images that a reference model misclassifies under each condition.

    Attributes:
        image_ids: Ids of the images, sorted.
        seed: Seed of the corruptions.
        conditions: Names of the conditions.
        wrong: Whether the model misclassifies an image, (images, conditions).
    """

    image_ids: tuple[str, ...]
    seed: int
    conditions: tuple[str, ...]
    wrong: NDArray[np.bool_]


def shipped_outcomes(reference: Reference) -> ReferenceOutcomes | None:
    """The outcomes behind these reference errors, if they are in the package."""
    for path in sorted(REFERENCES_FOLDER.glob("*.npz")):
        if read_spec(path.with_suffix(".toml"), Reference) == reference:
            return read_outcomes(path)
    return None


def read_outcomes(path: Path) -> ReferenceOutcomes:
    """Read a file written by `write_outcomes`."""
    with np.load(path, allow_pickle=False) as data:
        image_ids = tuple(data["image_ids"].tolist())
        wrong = np.unpackbits(data["wrong"], axis=0, count=len(image_ids)).astype(np.bool_)
        conditions = tuple(data["conditions"].tolist())
        return ReferenceOutcomes(image_ids, int(data["seed"]), conditions, wrong)


def write_outcomes(outcomes: ReferenceOutcomes, path: Path) -> None:
    """Write a .npz file with one bit per image and condition."""
    np.savez_compressed(
        path,
        image_ids=np.array(outcomes.image_ids),
        seed=np.array(outcomes.seed),
        conditions=np.array(outcomes.conditions),
        wrong=np.packbits(outcomes.wrong, axis=0),
    )


def _condition_name(text: str) -> str:
    try:
        return str(Condition.parse(text, known=False))
    except InputError as error:
        raise SpecValueError.because(error) from error
