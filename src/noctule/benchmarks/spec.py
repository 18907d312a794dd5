"""What a benchmark is made of: conditions, and the errors a reference model made on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from torch import Tensor

from noctule.benchmarks.conditions import (
    Condition,
    conditions_of,
    proper_names,
    refuse_duplicates,
)
from noctule.benchmarks.references import Reference, Text, shipped_references
from noctule.config import Spec, SpecValueError, build_spec
from noctule.corruptions import CORRUPTIONS, SEVERITIES, Corruption, Mode
from noctule.corruptions.checks import MAX_SIDE_PX, MIN_SIDE_PX
from noctule.corruptions.imagenet_c.jpeg import through_jpeg
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.errors import InputError

Metric = Literal["relative_ce", "ce", "mean_error"]
LATER_FIELDS = ("mode", "side_px", "tables", "stored_jpeg_quality", "plugins")


class Benchmark(Spec):
    """A list of corruptions, at severities or over their full ranges, and how to score them.

    Attributes:
        name: short name, as used on the command line.
        title: what a table is headed with.
        source: who proposed it, and where.
        metric: the score its authors report: `relative_ce`, `ce` or `mean_error`, see
            `noctule.metrics`. All are computed where they are defined.
        corruptions: names of registered corruptions, in the order they are reported.
        severities: the severities each corruption is applied at; None is its full range.
        mode: "paper" or "released", see `noctule.corruptions.Corruption`.
        side_px: the side of the images that lengths in `tables` are for.
        tables: the values of the five severities, by corruption and parameter, where they are
            not those in the code; lengths (`*_px`) scale with the image.
        stored_jpeg_quality: the quality of the JPEG files that the released dataset consists
            of; in mode "released", corrupted images pass through such a file.
        references: errors of reference models, each covering every condition.
        plugins: SHA-256 of the source file of each corruption that a plugin defines. Set to
            that of the code in use unless given, as in the record of a run: then no other code
            makes its images.
    """

    name: Text
    title: Text
    source: Text
    metric: Metric = "relative_ce"
    corruptions: tuple[str, ...]
    severities: tuple[int, ...] | None = None
    mode: Mode = "paper"
    side_px: Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX)] = REFERENCE_SIDE_PX
    tables: dict[str, dict[str, tuple[float, ...]]] = Field(default_factory=dict)
    stored_jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = None
    references: tuple[Reference, ...] = ()
    plugins: dict[str, str] = Field(default_factory=dict)

    @field_validator("corruptions")
    @classmethod
    def _known_corruptions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise SpecValueError("the list is empty", "Name at least one corruption.")
        return proper_names(names)

    @field_validator("severities", mode="before")
    @classmethod
    def _known_severities(cls, severities: object) -> object:
        if severities is None or severities == "full":
            return None
        remedy = 'Use "full", or a list of severities from 1 to 5.'
        if not isinstance(severities, tuple) or not severities:
            raise SpecValueError(f"{severities!r} is not a list of severities", remedy)
        for severity in severities:
            if type(severity) is not int or severity not in SEVERITIES:
                raise SpecValueError(f"{severity!r} is not a severity", remedy)
        refuse_duplicates("severity", severities)
        return severities

    @model_validator(mode="after")
    def _references_are_complete(self) -> Benchmark:
        for index, reference in enumerate(self.references):
            if missing := reference.lacks(self.conditions):
                raise SpecValueError(
                    f"references[{index}].errors: the errors of {reference.model} lack "
                    f"{', '.join(missing)}",
                    "Add them, or leave this reference out.",
                )
        return self

    @model_validator(mode="after")
    def _tables_fit(self) -> Benchmark:
        for name in self.tables:
            if name not in self.corruptions:
                raise SpecValueError(
                    f"tables.{name}: '{name}' is not among the corruptions",
                    "Use the names in `corruptions`.",
                )
        try:
            self._bind_all()
        except InputError as error:
            raise SpecValueError(f"tables.{error.where}: {error.what}", error.remedy) from error
        return self

    @model_validator(mode="after")
    def _plugins_are_recorded(self) -> Benchmark:
        in_use = _plugins_of(self.corruptions)
        recorded = {name: self.plugins.get(name, sha256) for name, sha256 in in_use.items()}
        object.__setattr__(self, "plugins", recorded)
        return self

    @functools.cached_property
    def bound(self) -> Mapping[str, Corruption]:
        """The corruptions by name, in this benchmark's mode and with its tables.

        Raises:
            InputError: A plugin defines one of them by other code than `plugins` records.
        """
        for name, sha256 in _plugins_of(self.corruptions).items():
            if sha256 != self.plugins[name]:
                raise InputError(
                    f"the plugin that defines '{name}' has changed: the SHA-256 of its file is "
                    f"{sha256[:8]}…, not {self.plugins[name][:8]}…",
                    where=self.name,
                    remedy="Restore the file, or evaluate the model again in a new folder.",
                )
        return self._bind_all()

    def _bind_all(self) -> dict[str, Corruption]:
        return {name: self._bind(CORRUPTIONS[name]) for name in self.corruptions}

    def _bind(self, corruption: Corruption) -> Corruption:
        to_224 = REFERENCE_SIDE_PX / self.side_px
        tables = {
            key: [value * to_224 for value in values] if key.endswith("_px") else values
            for key, values in self.tables.get(corruption.name, {}).items()
        }
        return corruption.in_mode(self.mode).with_tables(tables)

    def in_mode(self, mode: Mode) -> Benchmark:
        """The same benchmark in one of the two modes."""
        return Benchmark.from_dict({**self.to_dict(), "mode": mode}, where=self.name)

    def corrupt(
        self,
        condition: Condition,
        images: Tensor,
        *,
        ids: Sequence[str | int],
        seed: int,
    ) -> Tensor:
        """Images under one of the benchmark's conditions, as live evaluation sees them.

        Args:
            condition: clean, or one with a corruption of this benchmark.
            images: uint8 (batch, channels, height, width); returned as they are if clean.
            ids: what the images are called.
            seed: chooses the random numbers.

        Raises:
            InputError: unsuitable images, or a texture that a corruption needs is missing.
        """
        if condition.corruption is None:
            return images
        result = self.bound[condition.corruption](
            images, ids=ids, seed=seed, severity=condition.severity
        )
        if self.mode == "released" and self.stored_jpeg_quality is not None:
            return through_jpeg(result, [self.stored_jpeg_quality] * len(result))
        return result

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition to evaluate, clean first."""
        return conditions_of(self.corruptions, self.severities)

    def conditions_of_corruption(self, corruption: str) -> tuple[Condition, ...]:
        """The conditions whose errors are averaged to the error of one corruption."""
        return conditions_of([corruption], self.severities)[1:]

    def reference_for(self, domain: str | None) -> Reference | None:
        """Reference errors that apply to data of this domain, or None.

        The benchmark's own come first, then those shipped with the package that cover every
        condition, of its mode and of the severities in the code. Data of unknown origin (None)
        has none.
        """
        fitting = (one for one in self.known_references() if one.domain == domain)
        return next((one for one in fitting if not one.lacks(self.conditions)), None)

    def known_references(self) -> tuple[Reference, ...]:
        """Its own, and those shipped with the package that are of the same images."""
        shipped = () if self.tables else shipped_references()
        group_equal = (one for one in shipped if one.mode in (None, self.mode))
        return (*self.references, *group_equal)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the keys of the TOML file; `from_dict` is the inverse."""
        data = self.model_dump(mode="json", exclude_none=True)
        for key in LATER_FIELDS:  # absent where they say nothing: runs of before go on
            field = type(self).model_fields[key]
            if data.get(key) == field.get_default(call_default_factory=True):
                data.pop(key, None)
        data["severities"] = "full" if self.severities is None else list(self.severities)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: object = "benchmark") -> Benchmark:
        """A benchmark from plain data; InputError names `where` and the key."""
        return build_spec(data, cls, where=where)


def _plugins_of(corruptions: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the source file of each corruption that a plugin defines, by name."""
    found = {name: CORRUPTIONS.plugin_of(name) for name in corruptions}
    return {name: plugin.sha256 or "unknown" for name, plugin in found.items() if plugin}


def why_no_reference(benchmark: Benchmark, domain: str | None) -> str:
    """The sentence shown in place of CE where `reference_for(domain)` is None."""
    known = benchmark.known_references()
    fitting = [one for one in known if not one.lacks(benchmark.conditions)]
    remedy = "pass --reference RUN, a run of the reference model on this data"
    for reference in known:
        if reference.domain == domain and reference not in fitting:
            missing = reference.lacks(benchmark.conditions)
            shown = ", ".join(missing[:3]) + (
                f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            )
            return f"the reference errors of {reference.model} lack {shown}: {remedy}"
    if not fitting:
        return f"no reference errors are known for {benchmark.name}: {remedy}"
    scopes = ", those of ".join(f"{one.model} apply to {one.domain}" for one in fitting)
    data = "of unknown origin" if domain is None else domain
    return f"the reference errors of {scopes}; this data is {data}: {remedy}"
