"""Worker processes: how they start, report errors and end.

A new process imports this file first, which imports nothing heavy, and makes sure that it ends
with its parent before it imports what it needs for its work. Messages use sockets instead of
shared memory, which is scarce in containers.
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

from noctule import plugins
from noctule.errors import MachineError, NoctuleError, machine_error

SILENCE_LIMIT_S: Final = 60
"""Seconds without a message after which a process counts as stuck."""

Work = Callable[[Connection, Any], None]
"""The function of a process: it is passed a connection, to send messages, and one argument."""

_STARTING = "NOCTULE_STARTING"  # set in the environment while a process is being started
_UNGUARDED_EXIT = 97
_HOW_TO_RESUME = "Finished work is kept: rerun the same command to resume."
_PR_SET_PDEATHSIG = 1


class CannotStartError(NoctuleError):
    """Processes cannot be started here; the work can still be done in this process."""


class Alive:
    """A message without content, which shows that a process makes progress."""


class _Started:
    """The message that a process has started and has its arguments."""


class _Failure(NamedTuple):
    """The message that a process has raised an exception."""

    error: BaseException


class Child:
    """A started process.

    Attributes:
        process: The process.
        connection: Connection on which its messages arrive.
    """

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        self.process = process
        self.connection = connection

    def send(self, message: object) -> None:
        """Send a message; the errors are those of `receive`."""
        try:
            self.connection.send(message)
        except BlockingIOError as error:
            raise self.stuck() from error
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> Any:
        """Wait for the next message, which may be `Alive`.

        Raises:
            MachineError: The process has ended, or was silent for `SILENCE_LIMIT_S`.
            BaseException: The process has raised this exception.
        """
        message = self._next(self.connection.recv)
        if isinstance(message, _Failure):
            raise message.error
        return message

    def receive_into(self, buffer: memoryview) -> None:
        """Wait for the next message and copy its bytes to a buffer; errors as in `receive`."""
        self._next(lambda: self.connection.recv_bytes_into(buffer))

    def _next(self, read: Callable[[], Any]) -> Any:
        try:
            # In steps of one second, so that time in which this process is stopped does not
            # count.
            if not any(self.connection.poll(1) for _ in range(SILENCE_LIMIT_S)):
                raise self.stuck()
            return read()
        except BlockingIOError as error:
            raise self.stuck() from error
        except (EOFError, OSError) as error:
            raise self._ended() from error

    def stuck(self) -> MachineError:
        """The error for a silent process."""
        return MachineError(
            f"a worker process has done nothing for {SILENCE_LIMIT_S} s",
            remedy=f"Check that the data can be read, or use --workers 0. {_HOW_TO_RESUME}",
        )

    def _ended(self) -> MachineError:
        self.process.join(10)
        code = self.process.exitcode
        if code == -9:
            return MachineError(
                "a worker process was killed (signal 9)",
                remedy="If nobody killed it, the memory was exhausted: use fewer --workers, "
                f"--processes or --models-at-once, or a smaller --batch-size. {_HOW_TO_RESUME}",
            )
        how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        return MachineError(
            f"a worker process ended {how}",
            remedy=f"Use --workers 0 to see why. {_HOW_TO_RESUME}",
        )


@contextmanager
def started(
    work: Work, arguments: Sequence[Any], method: str | None = None, *, daemon: bool
) -> Iterator[list[Child]]:
    """Start one process for each argument, and end them at the end of the block.

    Args:
        work: A module's function, called as `work(connection, argument)`.
        arguments: One argument for each process; they are pickled unless processes are forked.
        method: "fork", "spawn" or "forkserver"; None for the user's setting.
        daemon: Whether the processes are daemonic, which may not start processes themselves.

    Raises:
        CannotStartError: A process cannot be started; the others have been ended.
        PluginError: A plugin cannot be imported in one of them, or has changed.
    """
    children: list[Child] = []
    try:
        try:
            _reject_if_impossible()
            context = multiprocessing.get_context(method or _users_start_method())
            forked = context.get_start_method() == "fork"
            tasks = [
                (work, argument) if forked else bytes(ForkingPickler.dumps((work, argument)))
                for argument in arguments
            ]
            for task in tasks:
                children.append(_start(context, task, daemon))
            for child, task in zip(children, tasks, strict=True):
                _expect_start(child, task)
        except plugins.PluginError:
            raise
        except Exception as error:
            raise _cannot_start(error, children) from error
        yield children
    finally:
        for child in children:
            # SIGKILL also ends stopped processes, and runs no handlers of the user.
            child.process.kill()
            child.connection.close()
        for child in children:
            child.process.join(10)  # it takes longer only if a file system blocks it
            if child.process.exitcode is not None:
                child.process.close()


def _users_start_method() -> str:
    """The start method that the user has set, or the default, without setting it."""
    method = multiprocessing.get_start_method(allow_none=True)
    return method or multiprocessing.get_all_start_methods()[0]


def end_if_unguarded() -> None:
    """End this process if it is a worker that runs the user's script again.

    Processes that are not forked import the script if they need objects that it defines, such
    as a `Dataset`. If the script calls noctule outside `if __name__ == "__main__":`, the worker
    would start workers itself, and so on. Every public function that starts processes calls
    this function first.
    """
    if _STARTING in os.environ and _is_importing_script():
        os._exit(_UNGUARDED_EXIT)


def _is_importing_script() -> bool:
    return getattr(multiprocessing.current_process(), "_inheriting", False)


def _reject_if_impossible() -> None:
    if multiprocessing.current_process().daemon:
        raise CannotStartError(
            "this is a daemonic process, such as a worker of multiprocessing.Pool, which may "
            "not start processes"
        )
    if _is_importing_script():
        raise CannotStartError(_UNGUARDED)


_UNGUARDED = "the script lacks the guard `if __name__ == '__main__':`"


def _start(context: BaseContext, task: Any, daemon: bool) -> Child:
    ours, theirs = context.Pipe()
    try:
        _limit_waits(ours)
        is_forked = not isinstance(task, bytes)
        needed = () if is_forked else plugins.in_use()  # a forked process has them
        process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_begin, args=(theirs, task if is_forked else None, needed), daemon=daemon
        )
        # A pickled task needs the script only if the script defines objects in it, or plugins.
        by_script = any(plugin.module in plugins.SCRIPTS for plugin in needed)
        hide = not is_forked and b"_main__" not in task and not by_script
        with _interrupts_blocked(), _marked(), _hidden_script(hide), warnings.catch_warnings():
            # Python warns of forks of processes with threads; these use none of their parent's.
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
            pass  # the process has ended; receive() raises the error
    child.receive()


def _cannot_start(error: Exception, children: Sequence[Child]) -> CannotStartError:
    if isinstance(error, CannotStartError):
        return error
    for child in children:
        if child.process.exitcode == _UNGUARDED_EXIT:
            return CannotStartError(_UNGUARDED)
    known = machine_error(error)
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return CannotStartError(known.what if known else reason or type(error).__name__)


@contextmanager
def _marked() -> Iterator[None]:
    os.environ[_STARTING] = "1"
    try:
        yield
    finally:
        os.environ.pop(_STARTING, None)


@contextmanager
def _hidden_script(hide: bool) -> Iterator[None]:
    """Processes that are started in the block do not import the script."""
    script = sys.modules["__main__"]
    if hide:
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _limit_waits(connection: Connection) -> None:
    """Set a timeout on the socket, in case the other process stops in the middle of a
    message.
    """
    if os.name == "posix":
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            limit = struct.pack("@ll", SILENCE_LIMIT_S, 0)
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C during the block; processes started in it inherit this permanently."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(
    connection: Connection, task: tuple[Work, Any] | None, needed: Sequence[plugins.Plugin]
) -> None:
    """The main function of a worker process, which needs these plugins."""
    # Ctrl-C reaches every process of a terminal; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    os.environ.pop(_STARTING, None)
    try:
        plugins.load_in_worker(needed)
        work, argument = pickle.loads(connection.recv_bytes()) if task is None else task
        connection.send(_Started())
        work(connection, argument)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)  # the parent is gone
    except BaseException as error:
        with suppress(OSError):
            connection.send(_Failure(_portable(error)))


def _portable(error: BaseException) -> BaseException:
    """The exception as it can be pickled, with its traceback unless it is a user error."""
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
    """Make this process end when its parent ends, even if the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux" and os.getppid() == parent.pid:  # not if forked by a forkserver
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:
            os._exit(1)

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
