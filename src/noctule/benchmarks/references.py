"""The errors a reference model made, which corruption errors are relative to."""

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
    """The errors one model made on one dataset; the denominators of CE.

    Attributes:
        model: name of the model.
        domain: the dataset they were measured on; they mean nothing on another.
        source: where the numbers come from.
        errors: top-1 error as a fraction in [0, 1] by condition name; `clean` is required. The
            error over a corruption's full range also stands for its five severities together,
            whose mean it is.
        mode: the mode they were measured in, where they apply to that one only.
    """

    model: Text
    domain: Text
    source: Text
    errors: dict[str, ErrorRate]
    mode: Mode | None = None

    @field_validator("errors")
    @classmethod
    def _known_conditions(cls, errors: dict[str, float]) -> dict[str, float]:
        names = {key: _condition_name(key) for key in errors}
        refuse_duplicates("condition", list(names.values()))
        if CLEAN not in errors:
            raise SpecValueError("the error on 'clean' is missing", "CE is relative to it.")
        return {names[key]: error for key, error in errors.items()}

    def errors_under(self, conditions: Sequence[Condition]) -> dict[str, float]:
        """The errors under those of the conditions that have one, by name.

        Where only the mean over the five severities of a corruption is known, and all five are
        asked for, each gets the mean.
        """
        found: dict[str, float] = {}
        for one in conditions:
            if str(one) in self.errors:
                found[str(one)] = self.errors[str(one)]
            elif one.corruption in self.errors and _all_severities(one.corruption, conditions):
                found[str(one)] = self.errors[one.corruption]
        return found

    def lacks(self, conditions: Sequence[Condition]) -> list[str]:
        """Names of those conditions that have no error here."""
        known: Mapping[str, float] = self.errors_under(conditions)
        return [str(condition) for condition in conditions if str(condition) not in known]


def _all_severities(corruption: str | None, conditions: Sequence[Condition]) -> bool:
    severities = {one.severity for one in conditions if one.corruption == corruption}
    return severities == set(SEVERITIES)


def shipped_references() -> tuple[Reference, ...]:
    """The reference errors that come with the package, by file name."""
    return tuple(
        read_spec(path, Reference) for path in sorted(REFERENCES_FOLDER.glob("*.toml"))
    )


class ReferenceOutcomes(NamedTuple):
    """On which images a reference model errs, where its errors come with them.

    Attributes:
        image_ids: Ids of the images, sorted.
        seed: Seed of the corruptions.
        conditions: Names of the conditions.
        wrong: (images, conditions), whether the model errs.
    """

    image_ids: tuple[str, ...]
    seed: int
    conditions: tuple[str, ...]
    wrong: NDArray[np.bool_]


def shipped_outcomes(reference: Reference) -> ReferenceOutcomes | None:
    """The outcomes that these reference errors are the means of, if the package has them."""
    for path in sorted(REFERENCES_FOLDER.glob("*.npz")):
        if read_spec(path.with_suffix(".toml"), Reference) == reference:
            return read_outcomes(path)
    return None


def read_outcomes(path: Path) -> ReferenceOutcomes:
    """Read what `write_outcomes` wrote."""
    with np.load(path, allow_pickle=False) as data:
        image_ids = tuple(data["image_ids"].tolist())
        wrong = np.unpackbits(data["wrong"], axis=0, count=len(image_ids)).astype(np.bool_)
        conditions = tuple(data["conditions"].tolist())
        return ReferenceOutcomes(image_ids, int(data["seed"]), conditions, wrong)


def write_outcomes(outcomes: ReferenceOutcomes, path: Path) -> None:
    """Write a .npz of one bit per image and condition."""
    np.savez_compressed(
        path,
        image_ids=np.array(outcomes.image_ids),
        seed=np.array(outcomes.seed),
        conditions=np.array(outcomes.conditions),
        wrong=np.packbits(outcomes.wrong, axis=0),
    )


def _condition_name(text: str) -> str:
    try:
        return str(Condition.parse(text))
    except InputError as error:
        raise SpecValueError.because(error) from error
