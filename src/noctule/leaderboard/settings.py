"""Check the settings in run.json against a track."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from noctule.benchmarks import Benchmark
from noctule.leaderboard.lines import (
    CheckItem,
    expect_equal,
    failed,
    passed,
    passed_unless,
    same_hash,
    truncate,
    unverified,
)
from noctule.leaderboard.tracks import Track
from noctule.store.identity import RunIdentity

_SHOWN_DIFFERENCES = 3
_ABSENT = "absent"


def settings_lines(
    identity: RunIdentity, benchmark: Benchmark, track: Track
) -> Iterator[CheckItem]:
    """Check benchmark, seed, data and images.

    Args:
        identity: The run.
        benchmark: The track's benchmark, in the track's mode.
        track: The track.
    """
    description = f"{benchmark.name}, mode {benchmark.mode}, with its severities and tables"
    differences = _differences(identity.benchmark, benchmark.to_dict())
    yield passed_unless("benchmark", differences, description)
    yield expect_equal("seed", identity.seed, track.seed)
    data = identity.dataset
    yield _data_line(identity, track)
    yield _images_line(data, track)
    yield expect_equal("domain of the data", data.get("domain"), track.domain)
    yield expect_equal("number of images", data["num_images"], track.images)
    yield expect_equal("number of classes", data["num_classes"], track.classes)
    classes = identity.model.get("num_classes")
    if classes is not None:  # it may be unknown for a user's own network
        yield expect_equal("classes of the model", classes, track.classes)


def fingerprint_of(identity: RunIdentity) -> str:
    """The data's fingerprint; for lossless stored images, that of live evaluation."""
    live = identity.dataset.get("stored", {}).get("live_fingerprint")
    return str(live or identity.dataset.get("fingerprint"))


def images_of(data: Mapping[str, Any]) -> str:
    """The source of the evaluated images.

    Args:
        data: The `dataset` of a run.

    >>> images_of({"name": "a"})
    'corrupted during evaluation'
    """
    stored = data.get("stored")
    if stored is None:
        return "corrupted during evaluation"
    layout, encoder = (
        truncate(json.dumps(stored.get(key), ensure_ascii=False))
        for key in ("layout", "encoder")
    )
    return f"stored on disk, layout {layout}, encoder {encoder}"


def _data_line(identity: RunIdentity, track: Track) -> CheckItem:
    name, actual = "fingerprint of the data", fingerprint_of(identity)
    if track.fingerprint is None:
        return unverified(name, f"{actual[:16]}...; that of the track is unknown")
    return same_hash(name, actual, track.fingerprint)


def _images_line(data: Mapping[str, Any], track: Track) -> CheckItem:
    """Check that the images equal those of live evaluation; lossy encoding changes them."""
    name, source = "images", images_of(data)
    stored = data.get("stored")
    if stored is None:
        return passed(name, source)
    if isinstance(stored.get("live_fingerprint"), str):
        return passed(name, f"{source}: recorded as equal to live evaluation")
    if track.mode == "released":  # published images are JPEG files
        return unverified(name, source)
    return failed(name, f"{source}: not known to equal live evaluation")


def _differences(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """The keys in which two benchmarks differ, with both values."""
    keys = sorted({**actual, **expected})
    pairs = [(key, _json(actual, key), _json(expected, key)) for key in keys]
    texts = [
        f"{truncate(key)} is {truncate(here)}, expected {truncate(there)}"
        for key, here, there in pairs
        if here != there
    ]
    return "; ".join(texts[:_SHOWN_DIFFERENCES]) or None


def _json(benchmark: Mapping[str, Any], key: str) -> str:
    if key not in benchmark:
        return _ABSENT
    return json.dumps(benchmark[key], ensure_ascii=False, sort_keys=True)
