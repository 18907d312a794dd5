"""A run that takes a while, for tests that disturb it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from noctule import evaluate
from noctule.remote import AnyPath
from noctule.store import RunStore, leases
from stripes import LENIENT, QUICK, ChannelMeans, Stripes

IMAGES = 600  # three slices of two conditions and clean images


def network() -> torch.nn.Module:
    """For `sharing_runs:network`; NOCTULE_TEST_SLEEP_S makes each batch take longer."""
    return SlowMeans()


class SlowMeans(ChannelMeans):
    """ChannelMeans that takes its time."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(float(os.environ.get("NOCTULE_TEST_SLEEP_S", "0")))
        return super().forward(images)


def run(folder: str | AnyPath, **options: Any) -> RunStore:
    """Evaluate it in this process."""
    options = {"settings": LENIENT, **options}
    return evaluate(network(), Stripes(IMAGES), QUICK, out=folder, **options).run


def start(folder: str | AnyPath, sleep_s: float) -> subprocess.Popen[bytes]:
    """Evaluate it in another process, whose signs of life in a store are `quick_leases`."""
    command = "import sys; from sharing_runs import quick_leases, run; quick_leases(); "
    command += "run(sys.argv[1])"
    return subprocess.Popen(
        [sys.executable, "-c", command, str(folder)],
        env={**os.environ, "NOCTULE_TEST_SLEEP_S": str(sleep_s)},
    )


def quick_leases() -> None:
    """Let a process count as dead after seconds; a store's times are whole seconds."""
    leases.BEAT_S, leases.LIMIT_S = 0.5, 3.0


def remote_rows(address: str) -> dict[str, bytes]:
    """As `rows`, of a run in a store."""
    files = dict(RunStore.open(address).files())
    found = {Path(name).name: data for name, data in files.items() if name.startswith("rows/")}
    return {**found, "sums": b"\n".join(sorted(files["SHA256SUMS"].splitlines()))}


def rows(folder: Path) -> dict[str, bytes]:
    """The rows to the byte, and their recorded hashes; each slice has one."""
    sums = sorted((folder / "SHA256SUMS").read_bytes().splitlines())
    files = {path.name: path.read_bytes() for path in sorted((folder / "rows").iterdir())}
    return {**files, "sums": b"\n".join(sums)}


def wait_until(condition: Callable[[], object], limit_s: float = 120) -> None:
    """Wait for a condition; AssertionError if it does not come true."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
