"""How far a run has come, and who works on it; nothing but names and times of files is read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from noctule.arguments import run_path
from noctule.remote import AnyPath
from noctule.store.identity import read_identity
from noctule.store.run import RunStore
from noctule.store.writers import failures_of, writers_of


class RunStatus(NamedTuple):
    """The state of a run.

    Attributes:
        slices: (finished, in all).
        images: Those of the slices: (finished, in all).
        conditions: Number of conditions that each image is shown under.
        writers: The processes that compute rows: host, pid, device, started_utc.
        failures: The processes that failed or were killed, oldest first: time_utc, host, pid,
            device, error.
        images_per_s: Images finished per second, under all conditions, since the first of the
            writers has started; None if nothing has been finished since.
        left_s: Seconds until the run is finished, at this rate; None without a rate.
    """

    slices: tuple[int, int]
    images: tuple[int, int]
    conditions: int
    writers: list[Mapping[str, Any]]
    failures: list[Mapping[str, Any]]
    images_per_s: float | None
    left_s: float | None


def run_status(folder: str | AnyPath) -> RunStatus:
    """The state of a run, which other processes may be writing.

    Raises:
        InputError: It is not a run folder.
    """
    folder = run_path(folder, "run")
    store = RunStore(folder, read_identity(folder))
    identity, finished = store.identity, store.finished_slices()
    present = writers_of(folder, now_s=time.time())
    killed = [
        {**writer.content, "time_utc": None, "error": "it was killed, or its machine failed"}
        for writer in present
        if not writer.is_alive
    ]
    writers = [one.content for one in present if one.is_alive and one.content.get("device")]
    rate = _images_per_s(store, finished, writers)
    total = int(identity.dataset["num_images"])
    done = sum(len(identity.images_of(index)) for index in finished)
    return RunStatus(
        slices=(len(finished), identity.num_slices),
        images=(done, total),
        conditions=len(identity.conditions),
        writers=writers,
        failures=[*failures_of(folder), *killed],
        images_per_s=rate,
        left_s=(total - done) / rate if rate else None,
    )


def _images_per_s(
    store: RunStore, finished: list[int], writers: list[Mapping[str, Any]]
) -> float | None:
    starts = [_seconds(writer.get("started_utc")) for writer in writers]
    known = [start for start in starts if start is not None]
    if not known:
        return None
    times = store.slice_times()
    recent = [index for index in finished if times[index] >= min(known)]
    images = sum(len(store.identity.images_of(index)) for index in recent)
    since_s = max((times[index] for index in recent), default=time.time()) - min(known)
    return images / since_s if images and since_s > 0 else None


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
