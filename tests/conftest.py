"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: more threads only wait
    torch.set_num_threads(1)
HERE = Path(__file__).parent
# Programs that tests start can import the helpers, as the tests themselves can.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE / "helpers"), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores it, and so would the programs that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For many small operations: on a busy machine, threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
