"""Claims in an object store, which has no locks: they end with their holder's signs of life.

A process puts its record again every `BEAT_S`; if it does not for `LIMIT_S`, it counts as dead,
and so do its claims. Only times that the store has given are compared, never those of two
machines. As with locks, claims only save work: a process that was stopped, and wakes up to find
its slice taken, writes the same bytes as who took it.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from noctule.remote import RemoteError, RemotePath

BEAT_S = 10.0
LIMIT_S = 60.0


def living(folder: RemotePath, now_s: float | None = None) -> dict[str, bool]:
    """Names of the records of processes, and whether each is alive.

    Args:
        folder: Where the records are.
        now_s: The time; None for that of the latest record, which is right for a process that
            has one itself.
    """
    times = {name: at for name, at in folder.times().items() if name.endswith(".json")}
    latest = max(times.values(), default=0.0)
    now = latest if now_s is None else max(latest, now_s)
    return {name: now - at <= LIMIT_S for name, at in times.items()}


class Leases:
    """The claims of this process, and its signs of life.

    Args:
        record: Where its record is.
        content: The record.
    """

    def __init__(self, record: RemotePath, content: bytes) -> None:
        self._record, self._content = record, content
        self._ended = threading.Event()
        record.write_bytes(content)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def acquire(self, path: RemotePath) -> bool:
        """Claim something; whether no living process has."""
        for _ in range(2):
            if path.create(self._record.name.encode()):
                return True
            try:
                holder = path.read_bytes().decode("utf-8", "replace")
            except FileNotFoundError:  # released a moment ago
                continue
            if living(self._record.parent).get(holder, False):
                return False
            path.unlink(missing_ok=True)
        return False

    def release(self, path: RemotePath) -> None:
        """Give up a claim."""
        with suppress(RemoteError):  # it ends with this process
            path.unlink(missing_ok=True)

    def end(self) -> None:
        """Give no more signs of life; without the record, all claims have ended."""
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(RemoteError):  # the next one may be heard
                self._record.write_bytes(self._content)
