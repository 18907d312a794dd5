"""What run.json says of a run's settings, against a track."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from noctule.benchmarks import Benchmark
from noctule.leaderboard.lines import (
    Line,
    brief,
    failed,
    flawless,
    judged,
    same_hash,
    unverified,
)
from noctule.leaderboard.tracks import Track
from noctule.store.identity import RunIdentity

_SHOWN_DIFFERENCES = 3
_ABSENT = "absent"


def settings_lines(identity: RunIdentity, benchmark: Benchmark, track: Track) -> Iterator[Line]:
    """Benchmark, seed, data and the pictures that were evaluated.

    Args:
        identity: the run.
        benchmark: the track's, in its mode.
        track: the track.
    """
    named = f"{benchmark.name}, mode {benchmark.mode}, with its levels and tables"
    differences = _differences(identity.benchmark, benchmark.to_dict())
    yield flawless("benchmark", differences, named)
    yield judged("seed", identity.seed, track.seed)
    data = identity.dataset
    yield _data_line(identity, track)
    yield _pictures_line(data, track)
    yield judged("domain of the data", data.get("domain"), track.domain)
    yield judged("number of images", data["num_images"], track.images)
    yield judged("number of classes", data["num_classes"], track.classes)
    classes = identity.model.get("num_classes")
    if classes is not None:  # of an own network it may be unknown
        yield judged("classes of the model", classes, track.classes)


def fingerprint_of(identity: RunIdentity) -> str:
    """That of the data; for pictures on disk that live evaluation also sees, the live one's."""
    live = identity.dataset.get("frozen", {}).get("live_fingerprint")
    return str(live or identity.dataset.get("fingerprint"))


def pictures_of(data: Mapping[str, Any]) -> str:
    """Where the pictures came from that were evaluated.

    Args:
        data: a run's `dataset`.

    >>> pictures_of({"name": "a"})
    'corrupted while the model was evaluated'
    """
    frozen = data.get("frozen")
    if frozen is None:
        return "corrupted while the model was evaluated"
    layout, encoder = (
        brief(json.dumps(frozen.get(key), ensure_ascii=False)) for key in ("layout", "encoder")
    )
    return f"stored on disk, layout {layout}, encoder {encoder}"


def _data_line(identity: RunIdentity, track: Track) -> Line:
    name, found = "fingerprint of the data", fingerprint_of(identity)
    if track.fingerprint is None:
        return unverified(name, f"{found[:16]}...; the track's is not known")
    return same_hash(name, found, track.fingerprint)


def _pictures_line(data: Mapping[str, Any], track: Track) -> Line:
    """Whether the pictures are those of live evaluation: encoding with loss makes others."""
    name, told = "pictures", pictures_of(data)
    frozen = data.get("frozen")
    if frozen is None:
        return Line(name, "holds", told)
    if isinstance(frozen.get("live_fingerprint"), str):
        return Line(name, "holds", f"{told}: the run says they are those of live evaluation")
    if track.mode == "published":  # published pictures are JPEG files
        return unverified(name, told)
    return failed(name, f"{told}: they are not known to be those of live evaluation")


def _differences(found: Mapping[str, Any], due: Mapping[str, Any]) -> str | None:
    """Which keys of two benchmarks differ, with both values."""
    keys = sorted({**found, **due})
    pairs = [(key, _json(found, key), _json(due, key)) for key in keys]
    told = [
        f"{brief(key)} is {brief(here)}, where {brief(there)} is due"
        for key, here, there in pairs
        if here != there
    ]
    return "; ".join(told[:_SHOWN_DIFFERENCES]) or None


def _json(benchmark: Mapping[str, Any], key: str) -> str:
    if key not in benchmark:
        return _ABSENT
    return json.dumps(benchmark[key], ensure_ascii=False, sort_keys=True)
