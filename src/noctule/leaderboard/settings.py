"""What run.json says of a run's settings, against a track."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from noctule.benchmarks import Benchmark
from noctule.leaderboard.lines import (
    CheckItem,
    expect_equal,
    failed,
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
    """Benchmark, seed, data and the images that were evaluated.

    Args:
        identity: the run.
        benchmark: the track's, in its mode.
        track: the track.
    """
    named = f"{benchmark.name}, mode {benchmark.mode}, with its severities and tables"
    differences = _differences(identity.benchmark, benchmark.to_dict())
    yield passed_unless("benchmark", differences, named)
    yield expect_equal("seed", identity.seed, track.seed)
    data = identity.dataset
    yield _data_line(identity, track)
    yield _images_line(data, track)
    yield expect_equal("domain of the data", data.get("domain"), track.domain)
    yield expect_equal("number of images", data["num_images"], track.images)
    yield expect_equal("number of classes", data["num_classes"], track.classes)
    classes = identity.model.get("num_classes")
    if classes is not None:  # of an own network it may be unknown
        yield expect_equal("classes of the model", classes, track.classes)


def fingerprint_of(identity: RunIdentity) -> str:
    """That of the data; for images on disk that live evaluation also sees, the live one's."""
    live = identity.dataset.get("stored", {}).get("live_fingerprint")
    return str(live or identity.dataset.get("fingerprint"))


def images_of(data: Mapping[str, Any]) -> str:
    """Where the images came from that were evaluated.

    Args:
        data: a run's `dataset`.

    >>> images_of({"name": "a"})
    'corrupted while the model was evaluated'
    """
    stored = data.get("stored")
    if stored is None:
        return "corrupted while the model was evaluated"
    layout, encoder = (
        truncate(json.dumps(stored.get(key), ensure_ascii=False))
        for key in ("layout", "encoder")
    )
    return f"stored on disk, layout {layout}, encoder {encoder}"


def _data_line(identity: RunIdentity, track: Track) -> CheckItem:
    name, found = "fingerprint of the data", fingerprint_of(identity)
    if track.fingerprint is None:
        return unverified(name, f"{found[:16]}...; the track's is not known")
    return same_hash(name, found, track.fingerprint)


def _images_line(data: Mapping[str, Any], track: Track) -> CheckItem:
    """Whether the images are those of live evaluation: encoding with loss makes others."""
    name, told = "images", images_of(data)
    stored = data.get("stored")
    if stored is None:
        return CheckItem(name, "holds", told)
    if isinstance(stored.get("live_fingerprint"), str):
        return CheckItem(
            name, "holds", f"{told}: the run says they are those of live evaluation"
        )
    if track.mode == "released":  # published images are JPEG files
        return unverified(name, told)
    return failed(name, f"{told}: they are not known to be those of live evaluation")


def _differences(found: Mapping[str, Any], due: Mapping[str, Any]) -> str | None:
    """Which keys of two benchmarks differ, with both values."""
    keys = sorted({**found, **due})
    pairs = [(key, _json(found, key), _json(due, key)) for key in keys]
    told = [
        f"{truncate(key)} is {truncate(here)}, where {truncate(there)} is due"
        for key, here, there in pairs
        if here != there
    ]
    return "; ".join(told[:_SHOWN_DIFFERENCES]) or None


def _json(benchmark: Mapping[str, Any], key: str) -> str:
    if key not in benchmark:
        return _ABSENT
    return json.dumps(benchmark[key], ensure_ascii=False, sort_keys=True)
