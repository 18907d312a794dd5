"""Everything that the compiled code of a function depends on, as text for the key of a cache.

Neither the file of a function nor its modification time will do: what it calls may stand in
another file, a file may change after it was imported, and a notebook has none. So functions are
described as Python holds them in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.types import Type

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, Type)
_VERSIONED = (
    "numpy",
    "numba",
    "math",
    "builtins",
)  # their versions are in the directory's name


def describe(function: Callable[..., Any]) -> str:
    """Instructions and constants of a function, and of all functions that it may call.

    >>> ONE = 1
    >>> def one(): return ONE
    >>> def use(): return one()
    >>> before = describe(use)
    >>> ONE = 1.0
    >>> describe(use) == before
    False
    """
    pending, known, lines = [_as_python(function)], set[FunctionType](), list[str]()
    while pending:
        current = pending.pop()
        if current is None or current in known:
            continue
        known.add(current)
        codes = [*_codes(current.__code__)]
        for code in codes:
            constants = [_text(value) for value in code.co_consts]
            lines.append(repr((code.co_code, constants, code.co_names, code.co_varnames)))
        for name, value in _references(current, codes):
            lines.append(f"{name} = {_text(value)}")
            pending.append(_as_python(value))
    return "\n".join(lines)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function and of those that are defined in it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _codes(value)


def _references(function: FunctionType, codes: list[CodeType]) -> Iterator[tuple[str, Any]]:
    """What stands outside of a function and is named in it: globals and values of a closure.

    Of a module, its attributes with the names of any attributes in the function.
    """
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()):
        yield "default", value
    for name, cell in zip(
        function.__code__.co_freevars, function.__closure__ or (), strict=True
    ):
        yield name, cell.cell_contents
    names = sorted({name for code in codes for name in code.co_names})
    for name in names:
        value = function.__globals__.get(name)
        yield name, value
        if isinstance(value, ModuleType) and not _is_versioned(value.__name__):
            yield from ((f"{name}.{key}", getattr(value, key, None)) for key in names)


def _as_python(value: Any) -> FunctionType | None:
    """The function that is to be described in turn, compiled or not, or None."""
    function = getattr(value, "py_func", getattr(value, "_defn", value))  # or an intrinsic
    if isinstance(function, FunctionType) and not _is_versioned(function.__module__ or ""):
        return function
    return None


def _is_versioned(module: str) -> bool:
    return module.partition(".")[0] in _VERSIONED


def _text(value: Any) -> str:
    """A constant as text that is the same in every process; functions are described apart."""
    if isinstance(value, tuple | list | frozenset):
        texts = [_text(item) for item in value]
        return (
            f"{type(value).__name__}{sorted(texts) if isinstance(value, frozenset) else texts}"
        )
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {value!r}"
    return getattr(value, "__qualname__", type(value).__qualname__)
