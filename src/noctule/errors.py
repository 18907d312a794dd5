"""User-facing errors, which describe what is wrong, where, and how to correct it.

The command line prints them without a traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
import errno
import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

# Control, format, surrogate, private and unassigned characters, and line and paragraph ends.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class NoctuleError(Exception):
    """Base of every error that a user can cause or correct.

    Args:
        what: One sentence that describes what is wrong, with the offending value.
        where: File, key or argument with the mistake.
        remedy: One sentence that describes how to correct it.

    >>> print(NoctuleError("severity is 9", where="--severity", remedy="use 1 to 5"))
    --severity: severity is 9. use 1 to 5
    """

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        text = what if self.where is None else f"{self.where}: {what}"
        if remedy:
            text = f"{text.rstrip('.')}. {remedy}"
        super().__init__(text)


class InputError(NoctuleError):
    """A name, file, key or value from the user cannot be used."""


class OutputError(NoctuleError):
    """A result cannot be written; results that were finished before are kept."""


class MachineError(NoctuleError):
    """The machine ran out of a resource, such as memory or open files, or a process ended."""


class UnreadableImageError(InputError):
    """One image of a dataset cannot be decoded.

    Args:
        image_id: Id of the image in its dataset, usually its relative path.
        reason: Reason why it cannot be decoded.
        where: File on disk; by default the id.
    """

    def __init__(self, image_id: str, reason: str, *, where: object = None) -> None:
        self.image_id = image_id
        self.reason = reason
        self.file = where
        super().__init__(
            f"cannot read this image: {reason}",
            where=image_id if where is None else where,
            remedy="Repair or remove the file, or use --on-unreadable skip to skip and count "
            "such files. Either gives a different run, which needs a new --out.",
        )

    def __reduce__(self) -> tuple[Callable[..., UnreadableImageError], tuple[object, ...]]:
        # By default, an exception is unpickled from its message alone.
        build = functools.partial(type(self), where=self.file)
        return (build, (self.image_id, self.reason))


class NoctuleWarning(UserWarning):
    """Something the user should know that is not an error, such as files that are left out.

    The command line prints it as "noctule: …" on standard error.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The most similar known name, ignoring case; None if none is similar.

    >>> nearest("sheer", ["shear", "rain"]), nearest("cifar_10", ["CIFAR10", "MNIST"])
    ('shear', 'CIFAR10')
    """
    by_lower_case = {known_name.lower(): known_name for known_name in known}
    matches = difflib.get_close_matches(str(name).lower(), list(by_lower_case), n=1, cutoff=0.5)
    return by_lower_case[matches[0]] if matches else None


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, where: object = None
) -> InputError:
    """The error for an unknown name, which suggests the most similar known name.

    >>> print(unknown_name("corruption", "sheer", ["shear", "rain"]))
    unknown corruption 'sheer'. Did you mean 'shear'? Known: rain, shear.
    """
    names = sorted(known)
    guess = nearest(name, names)
    hint = f"Did you mean '{guess}'? " if guess else ""
    return InputError(
        f"unknown {kind} '{name}'", where=where, remedy=f"{hint}Known: {', '.join(names)}."
    )


def shown(text: object) -> str:
    r"""Replace invisible and bidirectional control characters with U+FFFD.

    >>> shown("a\u202eb\x00c")
    'a\ufffdb\ufffdc'
    >>> shown("one line\u2028\u2029")
    'one line\ufffd\ufffd'
    """
    return "".join(
        "\ufffd" if unicodedata.category(char) in _HIDDEN and char not in "\n\t" else char
        for char in str(text)
    )


def listed(items: Iterable[object]) -> str:
    """Items in a sentence.

    >>> listed(["a"]), listed([1, 3, 5])
    ('a', '1, 3 and 5')
    """
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last


_NO_MEMORY = re.compile(
    "out of memory|not enough memory|cannot allocate memory|can't allocate memory"
    "|unable to allocate|failed to map segment|bad_alloc|_ALLOC_FAILED"
    "|can't start new thread",
    re.IGNORECASE,
)
_MORE_MEMORY = (
    "Free memory or raise its limit, or use a smaller --batch-size and fewer --workers or "
    "--processes. Finished work is kept."
)


def machine_error(error: BaseException) -> MachineError | None:
    """The user-facing error for an exception that the machine causes; None for any other.

    Libraries report exhausted memory differently, often as the cause of another exception:
    NumPy and Arrow raise a MemoryError, PyTorch a RuntimeError, the dynamic loader an
    ImportError.

    >>> print(machine_error(MemoryError()))
    the memory is exhausted. Free memory or raise its limit, or use a smaller --batch-size and
    fewer --workers or --processes. Finished work is kept.
    >>> machine_error(ValueError("another mistake"))
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MachineError):
            return cause
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return MachineError(
                "too many files are open",
                remedy="Raise the limit (ulimit -n 1024), or use fewer --workers.",
            )
        if _lacks_memory(cause):
            message = next(iter(str(cause).strip().splitlines()), "")
            detail = f": {message[:200]}" if message else ""
            return MachineError(f"the memory is exhausted{detail}", remedy=_MORE_MEMORY)
        cause = cause.__cause__
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or what caused it, is that the memory is exhausted.

    >>> out_of_memory(RuntimeError("CUDA out of memory.")), out_of_memory(ValueError())
    (True, False)
    """
    cause: BaseException | None = error
    while cause is not None and not _lacks_memory(cause):
        cause = cause.__cause__
    return cause is not None


def _lacks_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    known = isinstance(error, OSError | RuntimeError | ImportError)
    return known and bool(_NO_MEMORY.search(str(error)))


@contextmanager
def machine_errors() -> Iterator[None]:
    """Replace exceptions that the machine causes by a `MachineError`; also a decorator."""
    try:
        yield
    except Exception as error:
        known = machine_error(error)
        if known is None or known is error:
            raise
        raise known from error
