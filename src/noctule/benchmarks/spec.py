"""What a benchmark is made of: conditions, and the errors a reference model made on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from noctule.config import Refused, Spec, build_spec, read_spec
from noctule.corruptions import CORRUPTIONS, LEVELS
from noctule.errors import InputError

CLEAN = "clean"
REFERENCES_FOLDER = Path(__file__).parent / "references"

Text = Annotated[str, Field(min_length=1)]
ErrorRate = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class Condition:
    """One corruption at one level or over its full range (level None), or clean (both None).

    >>> str(Condition("shear", 3)), str(Condition("shear")), str(Condition())
    ('shear@3', 'shear', 'clean')
    """

    corruption: str | None = None
    level: int | None = None

    def __str__(self) -> str:
        if self.corruption is None:
            return CLEAN
        return self.corruption if self.level is None else f"{self.corruption}@{self.level}"

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition with this name; an alias of a corruption becomes its proper name.

        Raises:
            InputError: unknown corruption, or a level that is not 1 to 5.
        """
        if text == CLEAN:
            return cls()
        name, at, level = text.partition("@")
        if at and level not in {str(known) for known in LEVELS}:
            raise InputError(f"condition '{text}' has level '{level}'", remedy="Use 1 to 5.")
        return cls(CORRUPTIONS[name].name, int(level) if at else None)


class Reference(Spec):
    """The errors one model made on one dataset; the denominators of CE.

    Attributes:
        model: name of the model.
        domain: the dataset they were measured on; they mean nothing on another.
        source: where the numbers come from.
        errors: top-1 error as a fraction in [0, 1] by condition name; `clean` is required.
    """

    model: Text
    domain: Text
    source: Text
    errors: dict[str, ErrorRate]

    @field_validator("errors")
    @classmethod
    def _known_conditions(cls, errors: dict[str, float]) -> dict[str, float]:
        names = {key: _condition_name(key) for key in errors}
        _refuse_duplicates("condition", list(names.values()))
        if CLEAN not in errors:
            raise Refused("the error on 'clean' is missing", "CE is relative to it.")
        return {names[key]: error for key, error in errors.items()}

    def lacks(self, conditions: Iterable[Condition]) -> list[str]:
        """Names of those conditions that have no error here."""
        return [str(condition) for condition in conditions if str(condition) not in self.errors]


class Benchmark(Spec):
    """A list of corruptions, at levels or over their full ranges, and how to score them.

    Attributes:
        name: short name, as used on the command line.
        title: what a table is headed with.
        source: who proposed it, and where.
        metric: `relative_ce`, see `noctule.metrics`.
        corruptions: names of registered corruptions, in the order they are reported.
        levels: the levels each corruption is applied at; None is its full range.
        references: errors of reference models, each covering every condition.
    """

    name: Text
    title: Text
    source: Text
    metric: Literal["relative_ce"] = "relative_ce"
    corruptions: tuple[str, ...]
    levels: tuple[int, ...] | None = None
    references: tuple[Reference, ...] = ()

    @field_validator("corruptions")
    @classmethod
    def _known_corruptions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise Refused("the list is empty", "Name at least one corruption.")
        return proper_names(names)

    @field_validator("levels", mode="before")
    @classmethod
    def _known_levels(cls, levels: object) -> object:
        if levels is None or levels == "full":
            return None
        remedy = 'Use "full", or a list of levels from 1 to 5.'
        if not isinstance(levels, tuple) or not levels:
            raise Refused(f"{levels!r} is not a list of levels", remedy)
        for level in levels:
            if type(level) is not int or level not in LEVELS:
                raise Refused(f"{level!r} is not a level", remedy)
        _refuse_duplicates("level", levels)
        return levels

    @model_validator(mode="after")
    def _references_are_complete(self) -> Benchmark:
        for index, reference in enumerate(self.references):
            if missing := reference.lacks(self.conditions):
                raise Refused(
                    f"references[{index}].errors: the errors of {reference.model} lack "
                    f"{', '.join(missing)}",
                    "Add them, or leave this reference out.",
                )
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition to evaluate, clean first."""
        return conditions_of(self.corruptions, self.levels)

    def conditions_of_corruption(self, corruption: str) -> tuple[Condition, ...]:
        """The conditions whose errors are averaged to the error of one corruption."""
        return conditions_of([corruption], self.levels)[1:]

    def reference_for(self, domain: str | None) -> Reference | None:
        """Reference errors that apply to data of this domain, or None.

        The benchmark's own come first, then those shipped with the package that cover every
        condition. Data of unknown origin (None) has none.
        """
        known = (*self.references, *shipped_references())
        fitting = (one for one in known if one.domain == domain)
        return next((one for one in fitting if not one.lacks(self.conditions)), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the keys of the TOML file; `from_dict` is the inverse."""
        data = self.model_dump(mode="json")
        data["levels"] = "full" if self.levels is None else list(self.levels)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: object = "benchmark") -> Benchmark:
        """A benchmark from plain data; InputError names `where` and the key."""
        return build_spec(data, cls, where=where)


def proper_names(names: Sequence[str]) -> tuple[str, ...]:
    """Corruptions by their proper names; for the validators of specs.

    Raises:
        Refused: one is unknown, or listed twice.
    """
    try:
        proper = tuple(CORRUPTIONS[name].name for name in names)
    except InputError as error:
        raise Refused.because(error) from error
    _refuse_duplicates("corruption", proper)
    return proper


def conditions_of(
    corruptions: Iterable[str], levels: Sequence[int] | None
) -> tuple[Condition, ...]:
    """Clean, then each corruption at each level, or once over its full range.

    >>> [str(condition) for condition in conditions_of(["shear", "rain"], [1, 5])]
    ['clean', 'shear@1', 'shear@5', 'rain@1', 'rain@5']
    """
    at = (None,) if levels is None else tuple(levels)
    return (Condition(), *(Condition(name, level) for name in corruptions for level in at))


def shipped_references() -> tuple[Reference, ...]:
    """The reference errors that come with the package, by file name."""
    return tuple(
        read_spec(path, Reference) for path in sorted(REFERENCES_FOLDER.glob("*.toml"))
    )


def why_no_reference(benchmark: Benchmark, domain: str | None) -> str:
    """The sentence shown in place of CE where `reference_for(domain)` is None."""
    known = (*benchmark.references, *shipped_references())
    fitting = [one for one in known if not one.lacks(benchmark.conditions)]
    remedy = "pass --reference RUN, a run of the reference model on this data"
    for reference in known:
        if reference.domain == domain and reference not in fitting:
            missing = ", ".join(reference.lacks(benchmark.conditions))
            return f"the reference errors of {reference.model} lack {missing}: {remedy}"
    if not fitting:
        return f"no reference errors are known for {benchmark.name}: {remedy}"
    scopes = ", those of ".join(f"{one.model} apply to {one.domain}" for one in fitting)
    data = "of unknown origin" if domain is None else domain
    return f"the reference errors of {scopes}; this data is {data}: {remedy}"


def _condition_name(text: str) -> str:
    try:
        return str(Condition.parse(text))
    except InputError as error:
        raise Refused.because(error) from error


def _refuse_duplicates(kind: str, values: Sequence[object]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise Refused(f"{kind} {value!r} is listed twice", "Remove one of the two.")
