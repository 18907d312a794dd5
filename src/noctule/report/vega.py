"""Calls of `vl_convert`, which draws charts, in a process of its own."""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

from noctule.errors import MachineError

_PROGRAM = Path(__file__).with_name("vega_process.py")
_LIMIT_S: Final = 60
_one_at_a_time = threading.Lock()


def vega(function: str, *arguments: Any, **options: Any) -> Any:
    """Call a function of `vl_convert`.

    Raises:
        MachineError: The process ended, most likely because it ran out of memory, or took too
            long.
        ValueError: The chart is flawed.
    """
    with _one_at_a_time:
        try:
            process = _process(os.getpid())
        except OSError as error:
            raise MachineError(
                f"charts cannot be drawn: no process can be started: {error.strerror}"
            ) from error
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(_LIMIT_S, process.kill)
        timer.start()
        try:
            pickle.dump((function, arguments, options), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise _ended(process) from error
        except BaseException:  # Ctrl-C: the answer to this call must not become the next one's
            _end(process)
            raise
        finally:
            timer.cancel()
    if isinstance(answer, Exception):
        raise answer
    return answer


@functools.lru_cache(maxsize=1)
def _process(parent: int) -> subprocess.Popen[bytes]:
    """The child of this process, and not of the one that it was forked from."""
    del parent
    process = subprocess.Popen(
        [sys.executable, "-P", str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # V8's own account of its end
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    _process.cache_clear()
    atexit.unregister(_end)
    process.kill()
    process.communicate()


def _ended(process: subprocess.Popen[bytes]) -> MachineError:
    _end(process)
    return MachineError(
        f"charts cannot be drawn: Vega's process ended with status {process.returncode}",
        remedy="Its JavaScript engine reserves much address space: remove the limit "
        "(ulimit -v unlimited), or free memory.",
    )
