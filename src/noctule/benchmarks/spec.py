"""The specification of a benchmark: its conditions, and errors of reference models on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor

from noctule.benchmarks.conditions import (
    Condition,
    conditions_of,
    proper_names,
    refuse_duplicates,
    refuse_unfit_names,
)
from noctule.benchmarks.references import Reference, Text, shipped_references
from noctule.config import Spec, SpecValueError, build_spec
from noctule.corruptions import CORRUPTIONS, SEVERITIES, Corruption, Mode
from noctule.corruptions.checks import MAX_SIDE_PX, MIN_SIDE_PX
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.errors import InputError

Metric = Literal["relative_ce", "ce", "mean_error"]
LATER_FIELDS = (
    "mode",
    "side_px",
    "tables",
    "stored_jpeg_quality",
    "plugins",
    "whole",
    "stored_only",
)
JPEG = CORRUPTIONS["jpeg_compression"]


class Whole(Spec):
    """What a part of a benchmark was chosen from.

    Attributes:
        title: Title of the whole benchmark.
        corruptions: Names of all its corruptions.
        severities: All its severities; None is the full range.
    """

    title: Text
    corruptions: tuple[str, ...]
    severities: tuple[int, ...] | None = None


class Benchmark(Spec):
    """A list of corruptions, their severities, and the metric to score them with.

    Attributes:
        name: Short name, as used on the command line.
        title: Heading of tables.
        source: Authors and publication.
        metric: The score that the authors report: `relative_ce`, `ce` or `mean_error`, see
            `noctule.metrics`. All scores that are defined are computed.
        stored_only: Whether its corruptions are known from images on disk only: they are the
            names of folders, and noctule cannot compute them.
        corruptions: Names of registered corruptions, in the order of reports.
        severities: Severities of each corruption; None is its full range.
        mode: "paper" or "released", see `noctule.corruptions.Corruption`.
        side_px: Side of the images for which the lengths in `tables` are defined.
        tables: Values for the five severities by corruption and parameter, in place of those in
            the code; lengths (`*_px`) scale with the image.
        stored_jpeg_quality: Quality of the JPEG files in the released dataset. In mode
            "released", corrupted images are compressed with this quality.
        references: Errors of reference models, each covering every condition.
        plugins: SHA-256 of the source file of each corruption that a plugin defines; by default
            of the code in use. The record of a run sets it, so that different code is refused.
        whole: What it is a part of, see `noctule.benchmarks.parts`; None if it is whole.
    """

    name: Text
    title: Text
    source: Text
    metric: Metric = "relative_ce"
    stored_only: bool = False
    corruptions: tuple[str, ...]
    severities: tuple[int, ...] | None = None
    mode: Mode = "paper"
    side_px: Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX)] = REFERENCE_SIDE_PX
    tables: dict[str, dict[str, tuple[float, ...]]] = Field(default_factory=dict)
    stored_jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = None
    references: tuple[Reference, ...] = ()
    plugins: dict[str, str] = Field(default_factory=dict)
    whole: Whole | None = None

    @field_validator("corruptions")
    @classmethod
    def _known_corruptions(
        cls, names: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        if not names:
            raise SpecValueError("the list is empty", "Name at least one corruption.")
        if info.data.get("stored_only"):
            refuse_unfit_names(names)
            return names
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
            try:
                for name in () if self.stored_only else reference.errors:
                    Condition.parse(name)
            except InputError as error:
                what = f"references[{index}].errors: {error.what}"
                raise SpecValueError(what, error.remedy) from error
            if missing := reference.lacks(self.conditions):
                raise SpecValueError(
                    f"references[{index}].errors: the errors of {reference.model} lack "
                    f"{', '.join(missing)}",
                    "Add them, or remove this reference.",
                )
        return self

    @model_validator(mode="after")
    def _tables_fit(self) -> Benchmark:
        if self.stored_only:
            if self.tables:
                raise SpecValueError(
                    "tables: stored images have no parameters", "Remove `tables`."
                )
            return self
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
        in_use = {} if self.stored_only else _plugins_of(self.corruptions)
        recorded = {name: self.plugins.get(name, sha256) for name, sha256 in in_use.items()}
        object.__setattr__(self, "plugins", recorded)
        return self

    @functools.cached_property
    def bound(self) -> Mapping[str, Corruption]:
        """The corruptions by name, in this benchmark's mode and with its tables.

        Raises:
            InputError: The code of a plugin differs from the hash in `plugins`, or the
                corruptions are known from images on disk only.
        """
        if self.stored_only:
            raise InputError(
                "its corruptions are known from images on disk only",
                where=self.name,
                remedy="Pass the folder of the images: noctule evaluate --stored DIR.",
            )
        for name, sha256 in _plugins_of(self.corruptions).items():
            if sha256 != self.plugins[name]:
                raise InputError(
                    f"the plugin that defines '{name}' has changed: the SHA-256 of its file is "
                    f"{sha256[:8]}…, not {self.plugins[name][:8]}…",
                    where=self.name,
                    remedy="Restore the file, or evaluate the model in a new folder.",
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
        """The same benchmark in another mode."""
        return Benchmark.from_dict({**self.to_dict(), "mode": mode}, where=self.name)

    def corrupt(
        self,
        condition: Condition,
        images: Tensor,
        *,
        ids: Sequence[str | int],
        seed: int,
    ) -> Tensor:
        """Apply a condition to images, as an evaluation does.

        Args:
            condition: Clean, or a corruption of this benchmark.
            images: uint8 (batch, channels, height, width); returned unchanged if clean.
            ids: Ids of the images.
            seed: Random seed.

        Raises:
            InputError: The images are unsuitable, or a texture that the corruption needs is
                missing.
        """
        if condition.corruption is None:
            return images
        result = self.bound[condition.corruption](
            images, ids=ids, seed=seed, severity=condition.severity
        )
        if self.mode == "released" and self.stored_jpeg_quality is not None:
            return JPEG(result, quality=self.stored_jpeg_quality)
        return result

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions to evaluate, clean first."""
        return conditions_of(self.corruptions, self.severities)

    def conditions_of_corruption(self, corruption: str) -> tuple[Condition, ...]:
        """The conditions over which the error of one corruption is averaged."""
        return conditions_of([corruption], self.severities)[1:]

    def reference_for(self, domain: str | None) -> Reference | None:
        """The first reference errors for this domain that cover all conditions, or None.

        The benchmark's own precede those in the package. An unknown domain (None) has none.
        """
        matching = (known for known in self.known_references() if known.domain == domain)
        return next((known for known in matching if not known.lacks(self.conditions)), None)

    def known_references(self) -> tuple[Reference, ...]:
        """Its own reference errors, and those in the package for the same images."""
        shipped = () if self.tables or self.stored_only else shipped_references()
        same_mode = (reference for reference in shipped if reference.mode in (None, self.mode))
        return (*self.references, *same_mode)

    def to_dict(self) -> dict[str, Any]:
        """JSON values with the keys of the TOML file; `from_dict` is the inverse."""
        data = self.model_dump(mode="json", exclude_none=True)
        for key in LATER_FIELDS:  # left out at their defaults, so that older runs can resume
            field = type(self).model_fields[key]
            if data.get(key) == field.get_default(call_default_factory=True):
                data.pop(key, None)
        data["severities"] = "full" if self.severities is None else list(self.severities)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: object = "benchmark") -> Benchmark:
        """The inverse of `to_dict`; an InputError names `where` and the key."""
        plugins = data.get("plugins")
        for name in plugins if isinstance(plugins, Mapping) else ():
            if name not in CORRUPTIONS:
                raise InputError(
                    f"its corruption '{name}' was defined by a plugin that is not loaded",
                    where=where,
                    remedy="Name the plugin: --plugin FILE.py, or in Python, import it first.",
                )
        return build_spec(data, cls, where=where)


def _plugins_of(corruptions: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the source file of each corruption that a plugin defines, by name."""
    plugins = {name: CORRUPTIONS.plugin_of(name) for name in corruptions}
    return {name: plugin.sha256 or "unknown" for name, plugin in plugins.items() if plugin}


def why_no_reference(benchmark: Benchmark, domain: str | None) -> str:
    """The explanation shown instead of CE if `reference_for(domain)` is None."""
    known = benchmark.known_references()
    complete = [reference for reference in known if not reference.lacks(benchmark.conditions)]
    remedy = "pass --reference RUN, a run of the reference model on this data"
    for reference in known:
        if reference.domain == domain and reference not in complete:
            missing = reference.lacks(benchmark.conditions)
            shown = ", ".join(missing[:3]) + (
                f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            )
            return f"the reference errors of {reference.model} lack {shown}: {remedy}"
    if not complete:
        return f"no reference errors are known for {benchmark.name}: {remedy}"
    scopes = ", those of ".join(
        f"{reference.model} apply to {reference.domain}" for reference in complete
    )
    data = "of unknown origin" if domain is None else domain
    return f"the reference errors of {scopes}; this data is {data}: {remedy}"
