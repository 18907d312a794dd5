"""Parts of benchmarks: some of their corruptions, at some of their severities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from noctule.benchmarks.spec import Benchmark, Whole
from noctule.corruptions import CORRUPTIONS
from noctule.errors import InputError, listed, unknown_name

Names = str | Iterable[str] | None


class Selection(NamedTuple):
    """A choice among a benchmark's conditions; clean images always belong to it.

    Attributes:
        corruptions: Corruptions to evaluate, by name or by the name that their authors use: a
            list, or text separated by commas. None is all of them.
        severities: Severities to evaluate; None is all of them.
        skip: Corruptions to leave out, as `corruptions`.
    """

    corruptions: Names = None
    severities: Iterable[int] | None = None
    skip: Names = None

    def of(self, benchmark: Benchmark) -> Benchmark:
        """The part of a benchmark, with a title that states it; the benchmark if it is all.

        Its means are over fewer conditions. It is therefore never ranked beside the whole.

        Raises:
            InputError: The benchmark has no such corruption or severity (those that it has are
                named), one is listed twice, or nothing is left.
        """
        known = benchmark.corruptions
        chosen = known if self.corruptions is None else _found(
            self.corruptions, benchmark, "--corruptions"
        )  # fmt: skip
        skipped = () if self.skip is None else _found(self.skip, benchmark, "--skip")
        names = [name for name in known if name in chosen and name not in skipped]
        if not names:
            raise InputError(
                f"no corruption of {benchmark.name} is left",
                where="--skip" if skipped else "--corruptions",
                remedy=f"Keep at least one of {', '.join(known)}.",
            )
        severities = benchmark.severities
        if self.severities is not None:
            severities = _severities(self.severities, benchmark)
        return part_of(benchmark, names, severities)


def part_of(
    benchmark: Benchmark, corruptions: Sequence[str], severities: tuple[int, ...] | None
) -> Benchmark:
    """The benchmark with these of its corruptions and severities, in its own order."""
    if (tuple(corruptions), severities) == (benchmark.corruptions, benchmark.severities):
        return benchmark
    whole = benchmark.whole or Whole(
        title=benchmark.title,
        corruptions=benchmark.corruptions,
        severities=benchmark.severities,
    )
    data = benchmark.to_dict()
    for key in ("tables", "plugins"):
        entries = data.get(key, {}).items()
        data[key] = {name: value for name, value in entries if name in corruptions}
    data |= {"corruptions": list(corruptions), "whole": whole.model_dump(exclude_none=True)}
    data["severities"] = "full" if severities is None else list(severities)
    data["title"] = f"{whole.title}, {_size(corruptions, severities, whole)}"
    return Benchmark.from_dict(data, where=benchmark.name)


def part_note(benchmark: Benchmark) -> str | None:
    """A sentence on what a part of a benchmark lacks; None for a whole benchmark.

    >>> from noctule.benchmarks import load_benchmark
    >>> part_note(Selection(skip="rain").of(load_benchmark("imagenet-noc")))
    'A part of ImageNet-NOC, not the whole: 7 of 8 corruptions, without rain.'
    """
    whole = benchmark.whole
    if whole is None:
        return None
    size = _size(benchmark.corruptions, benchmark.severities, whole, in_full=True)
    return f"A part of {whole.title}, not the whole: {size}."


def _size(
    corruptions: Sequence[str],
    severities: tuple[int, ...] | None,
    whole: Whole,
    *,
    in_full: bool = False,
) -> str:
    """How much a part has of the whole and, in full, what it lacks."""
    parts = []
    if absent := [name for name in whole.corruptions if name not in corruptions]:
        parts.append(f"{len(corruptions)} of {len(whole.corruptions)} corruptions")
        if in_full:
            parts.append(f"without {listed(absent)}")
    if severities is not None and whole.severities not in (None, severities):
        noun = "severity" if len(severities) == 1 else "severities"
        rest = f" of {listed(whole.severities or ())}" if in_full else ""
        parts.append(f"{noun} {listed(severities)}{rest}")
    return ", ".join(parts)


def _found(names: str | Iterable[str], benchmark: Benchmark, option: str) -> tuple[str, ...]:
    """The proper names of corruptions of a benchmark."""
    by_name = {_published(name): name for name in benchmark.corruptions}
    by_name |= {name: name for name in benchmark.corruptions}
    found: list[str] = []
    for text in _texts(names, option):
        if text not in by_name:
            raise unknown_name(
                f"corruption of {benchmark.name}", text, benchmark.corruptions, where=option
            )
        if by_name[text] in found:
            raise InputError(f"'{text}' is listed twice", where=option)
        found.append(by_name[text])
    return tuple(found)


def _published(name: str) -> str:
    return CORRUPTIONS[name].published_name if name in CORRUPTIONS else name


def _texts(names: str | Iterable[str], option: str) -> list[str]:
    """Names in a list, or in texts that separate them by commas."""
    try:
        listed = [names] if isinstance(names, str) else list(names)
        return [name.strip() for text in listed for name in text.split(",")]
    except (TypeError, AttributeError) as error:
        raise InputError(
            f"{names!r:.80} is not a list of names", where=option, remedy="Use names."
        ) from error


def _severities(severities: Iterable[int], benchmark: Benchmark) -> tuple[int, ...]:
    option, known = "--severities", benchmark.severities
    try:
        chosen = list(severities)
    except TypeError as error:
        raise InputError(
            f"{severities!r:.80} is not a list of severities",
            where=option,
            remedy="Use a list such as [1, 3, 5].",
        ) from error
    if known is None:
        raise InputError(
            f"{benchmark.name} draws from the full range, and has no single severities",
            where=option,
            remedy="Write a benchmark file with severities = [1, 3, 5], for example.",
        )
    for index, severity in enumerate(chosen):
        if type(severity) is not int or severity not in known:
            raise InputError(
                f"{benchmark.name} has no severity {severity!r:.20}",
                where=option,
                remedy=f"Its severities are {listed(known)}.",
            )
        if severity in chosen[:index]:
            raise InputError(f"{severity} is listed twice", where=option)
    if not chosen:
        raise InputError("lists no severity", where=option, remedy=f"Use {listed(known)}.")
    return tuple(severity for severity in known if severity in chosen)
