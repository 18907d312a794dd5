"""The registry of metrics; light, so that help texts can show formulas without loading numpy.

A metric is a function with a description:

    @metric(title="NLL", unit="nats", scale=1, digits=2, formula="…", columns=("loss",))
    def nll(outcomes): return outcomes.loss

Three kinds of function exist, told by `kind`:

    mean    from outcomes to one number per image and condition; the score is the mean over the
            images, and for a corruption the mean over its severities as well
    ratio   from the errors by corruption of a model, and of the reference, to those whose ratio
            is the score
    direct  from outcomes and interval settings to one estimate per condition
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from noctule.errors import NoctuleError
from noctule.plugins import PluginError
from noctule.registry import Registry

Scope = Literal["condition", "corruption", "benchmark"]


@dataclass(frozen=True)
class Metric:
    """A metric, and how its values are shown.

    Attributes:
        name: Name in tables of records, such as "ce".
        title: Name for readers, such as "CE".
        formula: Definition, in one line. E_c is the mean error over the severities of
            corruption c, E_clean the error on uncorrupted images, ref the reference model.
        compute: The function; see the module.
        kind: Kind of the function.
        mean_name: Name of the mean over the corruptions; empty if there is none.
        mean_title: The same for readers.
        unit: Unit of shown values.
        scale: Shown values are stored values times this.
        digits: Decimals of shown values.
        better: Which values are better.
        columns: Columns of outcome rows that the metric needs.
        low, high: Range of the stored numbers of one image.
        range_of_mean: Whether it is the range of their means only: the number of an image may
            lie outside.
        needs_clean: Whether it compares with the clean images, which then have no value.
    """

    name: str
    title: str
    formula: str
    compute: Callable[..., Any]
    kind: Literal["mean", "ratio", "direct"] = "mean"
    mean_name: str = ""
    mean_title: str = ""
    unit: str = "%"
    scale: float = 100.0
    digits: int = 1
    better: Literal["lower", "higher"] = "lower"
    columns: tuple[str, ...] = ("label_rank",)
    low: float = 0.0
    high: float = 1.0
    range_of_mean: bool = False
    needs_clean: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("mean", "ratio", "direct"):
            raise ValueError(f"kind must be 'mean', 'ratio' or 'direct', not {self.kind!r}")
        if type(self.digits) is not int or self.digits < 0:
            raise ValueError(f"digits must be a whole number from 0, not {self.digits!r}")

    def __call__(self, *arguments: Any) -> Any:
        """What its function returns.

        Raises:
            PluginError: The function belongs to a plugin, and raises an error.
        """
        try:
            return self.compute(*arguments)
        except Exception as error:
            if isinstance(error, NoctuleError) or METRICS.plugin_of(self.name) is None:
                raise
            raise self.error(f"raises {type(error).__name__}: {error}") from error

    def error(self, what: str) -> PluginError:
        """An error of the plugin that defines this metric."""
        plugin = METRICS.plugin_of(self.name)
        return PluginError(
            f"the metric '{self.name}' {what}",
            where=plugin and (plugin.file or plugin.module),
            remedy="Correct the plugin.",
        )

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Of what it is a score."""
        single: tuple[Scope, ...] = () if self.kind == "ratio" else ("condition",)
        return (*single, "corruption", "benchmark") if self.mean_name else single

    @property
    def needs_reference(self) -> bool:
        """Whether it is relative to a reference model."""
        return self.kind == "ratio"

    def name_in(self, scope: Scope) -> str:
        """Its name in records of this scope."""
        return self.mean_name if scope == "benchmark" else self.name


METRICS: Registry[Metric] = Registry("metric", "noctule.metrics")
"""The metrics, in the order of tables; the name of a metric's mean leads to it as well."""


def metric(
    *, title: str, formula: str, mean_name: str = "", mean_title: str = "", **described: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function under its own name; the arguments are `Metric`'s.

    Raises:
        InputError: The name of a metric, or that of its mean, is taken.
    """

    def register(compute: Callable[..., Any]) -> Callable[..., Any]:
        added = Metric(
            name=compute.__name__,
            title=title,
            formula=formula,
            compute=compute,
            mean_name=mean_name,
            mean_title=mean_title or (mean_name and f"mean {title}"),
            **described,
        )
        aliases = [mean_name] if mean_name else []
        METRICS.add(added.name, added, origin=compute.__module__, aliases=aliases)
        return compute

    return register
