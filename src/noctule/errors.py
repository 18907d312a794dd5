"""One family of user-facing errors: what went wrong, where, and what to do about it.

The command line prints these without a traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
import errno
import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

# Controls, formats, surrogates, private and unassigned characters, and Unicode's line ends.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class NoctuleError(Exception):
    """Base of every error a user can cause or cure.

    Args:
        what: One sentence that says what is wrong, with the offending value.
        where: The file, key or argument it was found in.
        remedy: One sentence that says what to do.

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
    """What the user gave cannot be used: a name, a file, a key, a value."""


class OutputError(NoctuleError):
    """A result cannot be written; whatever was finished before is kept."""


class MachineError(NoctuleError):
    """The machine lacks what the work needs: memory, open files, or a process that ended."""


class UnreadableImageError(InputError):
    """One image of a dataset cannot be decoded.

    Args:
        image_id: The id of the image in its dataset, usually its relative path.
        reason: Why it cannot be decoded.
        where: The file on disk, if there is one; the id otherwise.
    """

    def __init__(self, image_id: str, reason: str, *, where: object = None) -> None:
        self.image_id = image_id
        self.reason = reason
        self.found_at = where
        super().__init__(
            f"cannot read this image: {reason}",
            where=image_id if where is None else where,
            remedy="Repair or remove the file, or skip and count such files with "
            "--on-unreadable skip; each makes another run, which needs a new --out.",
        )

    def __reduce__(self) -> tuple[Callable[..., UnreadableImageError], tuple[object, ...]]:
        # An exception is rebuilt from its message alone, unless it says otherwise.
        build = functools.partial(type(self), where=self.found_at)
        return (build, (self.image_id, self.reason))


class NoctuleWarning(UserWarning):
    """What the user should know, and which stops nothing: files left out, a choice made.

    The command line prints it as "noctule: …" on the standard error stream.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, capitals or not, or None if none is near.

    >>> nearest("sheer", ["shear", "rain"]), nearest("cifar_10", ["CIFAR10", "MNIST"])
    ('shear', 'CIFAR10')
    """
    by_lower_case = {one.lower(): one for one in known}
    matches = difflib.get_close_matches(str(name).lower(), list(by_lower_case), n=1, cutoff=0.5)
    return by_lower_case[matches[0]] if matches else None


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, where: object = None
) -> InputError:
    """The error for a name that is not in a registry, with the nearest one suggested.

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
    r"""Text with marks in the place of what cannot be seen or would turn the line about.

    >>> shown("a\u202eb\x00c")
    'a\ufffdb\ufffdc'
    >>> shown("one line\u2028\u2029")
    'one line\ufffd\ufffd'
    """
    return "".join(
        "\ufffd" if unicodedata.category(one) in _HIDDEN and one not in "\n\t" else one
        for one in str(text)
    )


_NO_MEMORY = re.compile(
    "out of memory|not enough memory|cannot allocate memory|can't allocate memory"
    "|unable to allocate|failed to map segment|bad_alloc|_ALLOC_FAILED"
    "|can't start new thread",
    re.IGNORECASE,
)
_MORE_MEMORY = (
    "Free memory or raise its limit, or use a smaller --batch-size and fewer --workers or "
    "--processes. What is finished is kept."
)


def machine_error(error: BaseException) -> MachineError | None:
    """The message for an error whose cause is the machine; None for any other error.

    Libraries report exhausted memory in their own ways, often as the cause of another error:
    NumPy and Arrow by a MemoryError, PyTorch by a RuntimeError, the loader by an ImportError.

    >>> print(machine_error(MemoryError()))
    the memory is exhausted. Free memory or raise its limit, or use a smaller --batch-size and
    fewer --workers or --processes. What is finished is kept.
    >>> machine_error(ValueError("another mistake"))
    """
    links: BaseException | None = error
    while links is not None:
        if isinstance(links, MachineError):
            return links
        if isinstance(links, OSError) and links.errno in (errno.EMFILE, errno.ENFILE):
            return MachineError(
                "too many files are open",
                remedy="Raise the limit (ulimit -n 1024), or use fewer --workers.",
            )
        if _is_memory(links):
            said = next(iter(str(links).strip().splitlines()), "")
            detail = f": {said[:200]}" if said else ""
            return MachineError(f"the memory is exhausted{detail}", remedy=_MORE_MEMORY)
        links = links.__cause__
    return None


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    known = isinstance(error, OSError | RuntimeError | ImportError)
    return known and bool(_NO_MEMORY.search(str(error)))


@contextmanager
def machine_errors() -> Iterator[None]:
    """Raise what `machine_error` recognises in its place; also a decorator."""
    try:
        yield
    except Exception as error:
        found = machine_error(error)
        if found is None or found is error:
            raise
        raise found from error
