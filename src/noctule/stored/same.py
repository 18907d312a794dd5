"""Whether two benchmarks ask for the same images under the conditions of one of them."""

from __future__ import annotations

from typing import Any

from noctule.benchmarks import Benchmark
from noctule.corruptions import SEVERITIES
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.errors import InputError


def refuse_other_images(wanted: Benchmark, stored: Benchmark, where: object) -> None:
    """Refuse a benchmark whose corruptions were not stored, though they have their names.

    Only what bears on the wanted conditions counts: the mode, in mode "released" the JPEG
    files that images pass through, and the values of the wanted severities.

    Args:
        wanted: its conditions are to be among the stored ones.
        stored: what the set was made for.
        where: the set, for the message.

    Raises:
        InputError: the images are others; the key and both values are named.
    """
    ours, theirs = determining(wanted, wanted), determining(stored, wanted)
    for key, value in theirs.items():
        if value != ours[key]:
            raise InputError(
                f"was made with {key} = {value}, and {wanted.name} has {ours[key]}",
                where=where,
                remedy="Leave --benchmark out to evaluate what is there.",
            )


def determining(benchmark: Benchmark, wanted: Benchmark) -> dict[str, Any]:
    """What determines a benchmark's images under another one's conditions, in words.

    Lengths in tables are given for 224 px.
    """
    told: dict[str, Any] = {"mode": benchmark.mode}
    if benchmark.mode == "released":
        told["stored_jpeg_quality"] = benchmark.stored_jpeg_quality or "none"
    severities = wanted.severities or SEVERITIES
    for name in wanted.corruptions:
        tables = benchmark.tables.get(name, {})
        told[f"tables.{name}"] = {
            key: [_at_224(key, values[severity - 1], benchmark) for severity in severities]
            for key, values in sorted(tables.items())
        } or "none"
    return told


def _at_224(key: str, value: float, benchmark: Benchmark) -> float:
    return value * (REFERENCE_SIDE_PX / benchmark.side_px) if key.endswith("_px") else value
