"""Validation of arguments, which are converted to plain Python values or rejected.

Every public function passes its arguments through these functions, so that they are treated
alike everywhere: as an integer, `np.int64(3)` is 3, while 3.0, "3" and True are rejected.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeVar

from noctule.errors import InputError, unknown_name
from noctule.remote import AnyPath, RemotePath, address_of

ChoiceT = TypeVar("ChoiceT", bound=str)

MAX_SEED = 2**63 - 1
MAX_SHOWN = 80


def whole_number(
    value: Any, where: str, *, low: int, high: int | None = None, remedy: str | None = None
) -> int:
    """Convert an integer of Python, NumPy or PyTorch to an `int`.

    Args:
        value: Value to check.
        where: Name of the argument, for error messages.
        low: Smallest value allowed.
        high: Largest value allowed; None for no limit.
        remedy: Remedy in error messages, if the range alone does not suffice.

    Raises:
        InputError: `value` is not an integer (bool, float and str are not), or is out of range.

    >>> import numpy as np
    >>> whole_number(np.int64(3), "seed", low=0)
    3
    >>> whole_number(3.0, "seed", low=0)
    Traceback (most recent call last):
    noctule.errors.InputError: seed: 3.0 is a float, not a whole number. Use a whole number,
    0 or more.
    """
    if type(value) is int and low <= value and (high is None or value <= high):
        return value  # without the message below, for callers in a hurry
    allowed = remedy or _allowed("whole number", low, high)
    if is_bool(value):
        raise _wrong_type(value, where, "a whole number", allowed)
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _wrong_type(value, where, "a whole number", allowed) from error
    if number < low or (high is not None and number > high):
        raise InputError(f"{short_repr(number)} is out of range", where=where, remedy=allowed)
    return number


def seed_number(value: Any, where: str = "seed") -> int:
    """A seed: a whole number from 0 to 2**63 − 1; errors as in `whole_number`."""
    return whole_number(value, where, low=0, high=MAX_SEED)


def real_number(
    value: Any,
    where: str,
    *,
    low: float,
    high: float,
    open_ends: bool = False,
    remedy: str | None = None,
) -> float:
    """Convert a finite number of Python, NumPy or PyTorch to a `float`.

    Args:
        value: Value to check.
        where: Name of the argument, for error messages.
        low: Smallest value allowed.
        high: Largest value allowed.
        open_ends: Whether `low` and `high` themselves are out of range.
        remedy: Remedy in error messages, if the range alone does not suffice.

    Raises:
        InputError: `value` is not a number (bool and str are not), is not finite, or is out of
            range.

    >>> real_number(1, "confidence", low=0, high=1, open_ends=True)
    Traceback (most recent call last):
    noctule.errors.InputError: confidence: 1 is out of range. Use a number between 0 and 1.
    """
    allowed = f"Use a number {'between' if open_ends else 'from'} {low:g} "
    allowed = remedy or f"{allowed}{'and' if open_ends else 'to'} {high:g}."
    if isinstance(value, str | bytes) or is_bool(value):
        raise _wrong_type(value, where, "a number", allowed)
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    except (TypeError, ValueError, RuntimeError) as error:
        raise _wrong_type(value, where, "a number", allowed) from error
    inside = low < number < high if open_ends else low <= number <= high
    if not (inside and math.isfinite(number)):
        raise InputError(f"{short_repr(value)} is out of range", where=where, remedy=allowed)
    return number


def is_sequence(value: Any) -> bool:
    """Whether a value is a list, a tuple, an array with one axis, or the like, but not a text.

    >>> is_sequence((1, 2)), is_sequence({1, 2}), is_sequence("12")
    (True, False, False)
    """
    if type(value) is list:  # the usual one, without the slower tests below
        return True
    is_flat = hasattr(value, "__len__") and getattr(value, "ndim", 1) == 1
    return is_flat and not isinstance(value, str | bytes | Mapping | Set)


def image_ids(ids: Any, where: str = "ids") -> list[str | int]:
    """Convert image ids to a list of strings and ints.

    The type of an id does not matter: 4711 and "4711" are the same id.

    Args:
        ids: A sequence, or a one-dimensional array or tensor.
        where: Name of the argument, for error messages.

    Raises:
        InputError: `ids` is not a sequence, or an id is neither a string nor a whole number.

    >>> import numpy as np
    >>> image_ids(np.array([5, 6])), image_ids(["a", 5])
    ([5, 6], ['a', 5])
    """
    remedy = "Use a string or a whole number for each image."
    if not is_sequence(ids):
        raise _wrong_type(ids, where, "a sequence", remedy)
    return [
        str(id_) if isinstance(id_, str) else _image_number(id_, where, remedy) for id_ in ids
    ]


def _image_number(value: Any, where: str, remedy: str) -> int:
    if type(value) is int:
        return value
    if is_bool(value):
        raise _wrong_type(value, where, "an image id", remedy)
    try:
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _wrong_type(value, where, "an image id", remedy) from error


def choice(value: Any, where: str, choices: Sequence[ChoiceT]) -> ChoiceT:
    """Check that a value is one of `choices`.

    Raises:
        InputError: It is not; the nearest choice is suggested.
    """
    for known in choices:
        if isinstance(value, str) and value == known:
            return known
    text = value if isinstance(value, str) else short_repr(value)
    raise unknown_name("value", text[:MAX_SHOWN], choices, where=where)


def is_bool(value: Any) -> bool:
    """Whether a value is a bool, or an array or tensor of bools."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def flag(value: Any, where: str) -> bool:
    """Convert True or False, of Python or NumPy, to a `bool`.

    Raises:
        InputError: `value` is anything else, such as 0, 1 or "no".
    """
    if is_bool(value) and getattr(value, "ndim", 0) == 0:
        return bool(value)
    raise _wrong_type(value, where, "True or False", "Use True or False.")


def path_like(value: Any, where: str) -> Path:
    """Convert a string or an `os.PathLike` object to a `Path`.

    Raises:
        InputError: `value` is neither, is empty, contains a zero byte, or is an address such as
            s3://bucket/key.
    """
    try:
        text = os.fspath(value)
    except TypeError as error:
        raise _wrong_type(value, where, "a path", "Use a str or a pathlib.Path.") from error
    if not isinstance(text, str):
        raise _wrong_type(value, where, "a path", "Use a str or a pathlib.Path.")
    if not text or "\0" in text:
        raise InputError(
            f"{text!r} is not a path", where=where, remedy="Pass the path of a file."
        )
    if address_of(text) is not None:
        raise InputError(
            f"'{text}' is an address, but a file or folder is needed",
            where=where,
            remedy="Mount the store, or copy to and from a disk.",
        )
    return Path(text)


def run_path(value: Any, where: str) -> AnyPath:
    """Convert what names a run folder: a path as in `path_like`, or an address.

    Raises:
        InputError: It is neither, or its store cannot keep a run; see `RemotePath.parse`.
    """
    if isinstance(value, RemotePath):
        return value
    address = address_of(value)
    if address is not None and address[0] in ("file", "local"):
        return Path(f"/{address[1]}")
    return path_like(value, where) if address is None else RemotePath.parse(address, where)


def _allowed(noun: str, low: int, high: int | None) -> str:
    if high is None:
        return f"Use a {noun}, {low} or more."
    return f"Use a {noun} from {low} to {high:,}."


def _wrong_type(value: Any, where: str, noun: str, allowed: str) -> InputError:
    name = type(value).__name__
    article = "an" if name[:1] in "aeiou" else "a"
    return InputError(
        f"{short_repr(value)} is {article} {name}, not {noun}", where=where, remedy=allowed
    )


def short_repr(value: Any) -> str:
    """The value in an error message: truncated, and without raising errors of its own."""
    try:
        text = repr(value)
    except Exception:
        return "a value that cannot be shown"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
