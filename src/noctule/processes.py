"""Processes that noctule starts: they begin, fail and end in one way.

A new process reads this file first, which imports nothing heavy: it ties itself to the process
that started it, and only then imports what it works with. Messages go through sockets, not
through shared memory, of which a container has little.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any, Final, NamedTuple

from noctule.errors import MachineError, NoctuleError, machine_error

SILENCE_LIMIT_S: Final = 60
"""Seconds that a process may take to send anything, before it counts as stuck."""

Work = Callable[[Connection, Any], None]
"""What a process does: send messages through a connection, given one argument."""

_STARTING = "NOCTULE_STARTING"  # set in the environment while a process is being started
_UNGUARDED_EXIT = 97
_KEPT = "What is finished is kept: rerun the same command to resume."
_PR_SET_PDEATHSIG = 1


class CannotStartError(NoctuleError):
    """Processes cannot be started here; the work may still be done in this one."""


class Alive:
    """A message that says only that a process makes progress."""


class _Started:
    """A message that says that a process has what it needs."""


class _Failure(NamedTuple):
    """A message that holds what was raised."""

    error: BaseException


class Child:
    """A process that was started.

    Attributes:
        process: The process.
        connection: Its messages arrive here.
    """

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        self.process = process
        self.connection = connection

    def send(self, message: object) -> None:
        """Send a message; errors as of `receive`."""
        try:
            self.connection.send(message)
        except BlockingIOError as error:
            raise self.stuck() from error
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> Any:
        """The next message, which may be `Alive`.

        Raises:
            MachineError: The process ended, or was silent for `SILENCE_LIMIT_S`.
            BaseException: What the process raised.
        """
        message = self._next(self.connection.recv)
        if isinstance(message, _Failure):
            raise message.error
        return message

    def receive_into(self, buffer: memoryview) -> None:
        """The next message, of which the bytes are put into a buffer; errors as above."""
        self._next(lambda: self.connection.recv_bytes_into(buffer))

    def _next(self, read: Callable[[], Any]) -> Any:
        try:
            # One second at a time: while this process is stopped, no time passes for it.
            if not any(self.connection.poll(1) for _ in range(SILENCE_LIMIT_S)):
                raise self.stuck()
            return read()
        except BlockingIOError as error:
            raise self.stuck() from error
        except (EOFError, OSError) as error:
            raise self._ended() from error

    def stuck(self) -> MachineError:
        """The error for a process that is silent."""
        return MachineError(
            f"a worker process has done nothing for {SILENCE_LIMIT_S} s",
            remedy=f"Check that the data can be read, or use --workers 0. {_KEPT}",
        )

    def _ended(self) -> MachineError:
        self.process.join(10)
        code = self.process.exitcode
        if code == -9:
            return MachineError(
                "a worker process was killed (signal 9)",
                remedy="If nobody killed it, the memory was exhausted: use fewer --workers, "
                f"--processes or --models-at-once, or a smaller --batch-size. {_KEPT}",
            )
        how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        return MachineError(
            f"a worker process ended {how}", remedy=f"Use --workers 0 to see why. {_KEPT}"
        )


@contextmanager
def started(
    work: Work, arguments: Sequence[Any], method: str | None = None, *, daemon: bool
) -> Iterator[list[Child]]:
    """Processes that are ready, one for each argument; they are ended with the block.

    Args:
        work: A function of a module, called as `work(connection, argument)`.
        arguments: One for each process. Unless processes are forked, they are pickled.
        method: "fork", "spawn" or "forkserver"; None for the user's.
        daemon: Whether the processes start none of their own.

    Raises:
        CannotStartError: One of them cannot be started, and none remains.
    """
    children: list[Child] = []
    try:
        try:
            _refuse_children()
            context = multiprocessing.get_context(method or _users_start_method())
            forked = context.get_start_method() == "fork"
            tasks = [
                (work, one) if forked else bytes(ForkingPickler.dumps((work, one)))
                for one in arguments
            ]
            for task in tasks:
                children.append(_start(context, task, daemon))
            for child, task in zip(children, tasks, strict=True):
                _expect_start(child, task)
        except Exception as error:
            raise _cannot_start(error, children) from error
        yield children
    finally:
        for child in children:
            # SIGKILL, which also ends a stopped process and runs no handler of the user's.
            child.process.kill()
            child.connection.close()
        for child in children:
            child.process.join(10)  # longer only if a file system holds it
            if child.process.exitcode is not None:
                child.process.close()


def _users_start_method() -> str:
    """The start method set by the user, or the default, which stays open to be set."""
    found = multiprocessing.get_start_method(allow_none=True)
    return found or multiprocessing.get_all_start_methods()[0]


def end_if_unguarded() -> None:
    """End a process that runs a script again only because noctule started it.

    Where processes are not forked, and need what the script defines, such as a `Dataset`, a
    new one imports the script. If that calls noctule outside of `if __name__ == "__main__":`,
    this process would start processes of its own, and so on. Every public function that starts
    processes calls this first.
    """
    if _STARTING in os.environ and _is_importing_script():
        os._exit(_UNGUARDED_EXIT)


def _is_importing_script() -> bool:
    return getattr(multiprocessing.current_process(), "_inheriting", False)


def _refuse_children() -> None:
    if multiprocessing.current_process().daemon:
        raise CannotStartError(
            "this is a daemonic process, such as a worker of multiprocessing.Pool, which may "
            "not start others"
        )
    if _is_importing_script():
        raise CannotStartError(_UNGUARDED)


_UNGUARDED = "the script lacks the guard `if __name__ == '__main__':`"


def _start(context: BaseContext, task: Any, daemon: bool) -> Child:
    ours, theirs = context.Pipe()
    try:
        _limit_waits(ours)
        given = None if isinstance(task, bytes) else task
        process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_begin, args=(theirs, given), daemon=daemon
        )
        # Of what is pickled, only what a script defines needs the script.
        hide = isinstance(task, bytes) and b"_main__" not in task
        with _interrupts_held(), _marked(), _hidden_script(hide), warnings.catch_warnings():
            # Python warns of forks beside threads; a process here uses none of its parent's.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Child(process, ours)


def _expect_start(child: Child, task: Any) -> None:
    if isinstance(task, bytes):
        try:
            child.connection.send_bytes(task)
        except BlockingIOError as error:
            raise child.stuck() from error
        except OSError:
            pass  # it has ended; receiving says how
    child.receive()


def _cannot_start(error: Exception, children: Sequence[Child]) -> CannotStartError:
    if isinstance(error, CannotStartError):
        return error
    for child in children:
        if child.process.exitcode == _UNGUARDED_EXIT:
            return CannotStartError(_UNGUARDED)
    known = machine_error(error)
    said = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return CannotStartError(known.what if known else f"{said or type(error).__name__}")


@contextmanager
def _marked() -> Iterator[None]:
    os.environ[_STARTING] = "1"
    try:
        yield
    finally:
        os.environ.pop(_STARTING, None)


@contextmanager
def _hidden_script(hide: bool) -> Iterator[None]:
    """A process started meanwhile does not import the script: it needs no guard, nor time."""
    script = sys.modules["__main__"]
    if hide:
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _limit_waits(connection: Connection) -> None:
    """Let the operating system end a wait for, or on, a process that is stopped midway."""
    if os.name == "posix":
        with socket.socket(fileno=os.dup(connection.fileno())) as one:
            limit = struct.pack("@ll", SILENCE_LIMIT_S, 0)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits meanwhile; a process that is started inherits this for good."""
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(connection: Connection, task: tuple[Work, Any] | None) -> None:
    """The life of a process that was started."""
    # Ctrl-C reaches every process of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    os.environ.pop(_STARTING, None)
    try:
        work, argument = pickle.loads(connection.recv_bytes()) if task is None else task
        connection.send(_Started())
        work(connection, argument)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)  # whoever started this process is gone
    except BaseException as error:
        with suppress(OSError):
            connection.send(_Failure(_portable(error)))


def _portable(error: BaseException) -> BaseException:
    """What was raised, as it can be sent: with its traceback, unless the user caused it."""
    if known := machine_error(error):
        return known
    if not isinstance(error, NoctuleError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        restored = pickle.loads(pickle.dumps(error))
    except Exception:
        restored = None
    same = type(restored) is type(error)
    return error if same else RuntimeError(f"{type(error).__name__}: {error}")


def end_with_parent() -> None:
    """From now on this process ends when the one that started it does, however that happens."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux" and os.getppid() == parent.pid:  # not if a server forked it
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:
            os._exit(1)

    def wait_for_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_it, daemon=True).start()
