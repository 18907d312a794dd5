"""Compiling the loops of corruptions with Numba, and keeping the compiled code on disk.

A loop is a function of one image:

    @loop("uint8")
    def brightness(image, out, change):
        ...

`image` and `out` are C-contiguous arrays (channels, height, width) of the same dtype; `image`
is read-only and `out` has undefined values. Then come the parameters of the torch kernel, in
its order: a float64 for a `Uniform` and a `PerSeverity` of reals, an int64 for an `Integer`, a
`Choice` and a `PerSeverity` of integers, and for a `NoiseField` its key, two uint32. Then
`released`, if the kernel has it, and then the loop's tables.

Compiled functions do floating-point arithmetic in the order in which it is written, without
fused operations, so that they give the same bytes on every machine.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import itertools
import os
import pickle
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numba
import numpy as np
from numba.core import compiler, serialize
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from noctule.cache_folder import VARIABLE, cache_folder
from noctule.corruptions.draws import NoiseField
from noctule.corruptions.loops.fingerprint import describe
from noctule.corruptions.registry import CORRUPTIONS
from noctule.errors import NoctuleWarning, OutputError

F = TypeVar("F", bound=Callable[..., Any])
Table = Callable[..., NDArray[Any]]

NOTICE_AFTER_S = 1.0
_REMEDY = f"Set {VARIABLE} to a directory that can be written to."
# "numpy" divides by zero without an exception, whose test would stop vectorisation.
_OPTIONS: Any = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

_compiler: Any = compiler  # Numba's internals have no types
_serialize: Any = serialize

LOOPS: dict[tuple[str, str], CompiledLoop] = {}
"""The loops by corruption and dtype."""


def compiled(function: F) -> F:
    """Compile a function that loops call; its code is kept as a part of theirs."""
    return cast(F, numba.njit(**_OPTIONS)(function))


def loop(
    *dtypes: str,
    name: str | None = None,
    tables: Mapping[str, Table] | None = None,
    in_python: bool = False,
) -> Callable[[F], F]:
    """Register the decorated function as the compiled loop of a corruption.

    Args:
        *dtypes: "uint8", "float32" or both.
        name: Name of the corruption; by default, that of the function.
        tables: A function for each of the loop's last parameters, which makes an array, always
            with the same dtype and number of axes. Its own parameters are any of `channels`,
            `height` and `width` of the image, `released` and the corruption's parameters. It
            should keep its results, because it is called for every batch.
        in_python: Whether to leave the function as it is, because it calls other libraries
            between functions that are `cached`.
    """

    def register(function: F) -> F:
        corruption = name or function.__name__
        for dtype in dtypes:
            LOOPS[corruption, dtype] = CompiledLoop(
                corruption, dtype, function, dict(tables or {}), in_python
            )
        return function

    return register


@dataclass(frozen=True)
class CompiledLoop:
    """The compiled loop of a corruption for images of one dtype.

    Attributes:
        corruption: Name of the corruption.
        dtype: "uint8" or "float32".
        function: The loop, before it is compiled.
        tables: Functions that make its last parameters.
        in_python: Whether the function is not compiled as a whole.
    """

    corruption: str
    dtype: str
    function: Callable[..., Any] = field(repr=False)
    tables: Mapping[str, Table] = field(repr=False)
    in_python: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Its key in `LOOPS`."""
        return self.corruption, self.dtype

    @functools.cached_property
    def table_parameters(self) -> dict[str, list[str]]:
        """The names of the parameters of each table's function."""
        return {
            name: list(inspect.signature(table).parameters)
            for name, table in self.tables.items()
        }

    @functools.cached_property
    def table_columns(self) -> dict[str, int]:
        """The draws on which tables depend, and their positions among all draws."""
        wanted = {*itertools.chain.from_iterable(self.table_parameters.values())}
        draws = CORRUPTIONS[self.corruption].draws
        return {name: column for column, name in enumerate(draws) if name in wanted}

    def make_tables(self, arguments: Mapping[str, Any]) -> list[NDArray[Any]]:
        """The last parameters of the loop, for values of the parameters of tables."""
        return [
            table(**{name: arguments[name] for name in self.table_parameters[key]})
            for key, table in self.tables.items()
        ]

    @functools.cached_property
    def run(self) -> Callable[..., int]:
        """The compiled loop over the images of a batch.

        Its arguments are: images and out, C-contiguous (batch, channels, height, width), or, if
        `interleaved`, (batch, height, width, 3); values, float64 (batch, draws); keys, uint32
        (batch, draws, 2); which, the indices of the images to change, int64 (images,);
        counters, see `noctule.corruptions.loops.sharing`; interleaved; released; and the
        tables. It returns the number of images that it changed.
        """
        from noctule.corruptions.loops import layout, sharing  # which import this module

        body, has_modes = self._arguments()
        arguments = [*body, *(["released"] if has_modes else []), *self.tables]
        tables = "".join(f", {name}" for name in self.tables)
        parameters = "images, out, values, keys, which, counters, interleaved, released"
        source = (
            f"def run({parameters}{tables}):\n"
            f"    planes, done = room(images, interleaved), 0\n"
            f"    for number in range(len(which)):\n"
            f"        k = {'number' if self.in_python else 'take(counters, number)'}\n"
            f"        if k >= len(which):\n"
            f"            break\n"
            f"        i = which[k]\n"
            f"        image, result = images[i], out[i]\n"
            f"        if interleaved:\n"
            f"            image, result = planes[0], planes[1]\n"
            f"            split(images[i].reshape(-1), image.reshape(3, -1))\n"
            f"        loop({', '.join(['image', 'result', *arguments])})\n"
            f"        if interleaved:\n"
            f"            interleave(result.reshape(3, -1), out[i].reshape(-1))\n"
            f"        done += 1\n"
            f"        {'' if self.in_python else 'finish(counters)'}\n"
            f"    return done\n"
        )
        function = self.function if self.in_python else compiled(self.function)
        space: dict[str, Any] = {"loop": function, "int64": np.int64}
        space |= {name: getattr(layout, name) for name in ("room", "split", "interleave")}
        space |= {name: getattr(sharing, name) for name in ("take", "finish")}
        space["__name__"] = self.function.__module__  # Numba imports it when it loads the code
        exec(compile(source, f"<loop of {self.corruption}>", "exec"), space)
        run: Callable[..., int] = space["run"]
        if self.in_python:
            return run
        return cached(run, f"{self.corruption}-{self.dtype}")

    def _arguments(self) -> tuple[list[str], bool]:
        """The draws as expressions of the batch's arrays, and whether there are modes."""
        corruption = CORRUPTIONS[self.corruption]
        expressions = []
        for column, draw in enumerate(corruption.draws.values()):
            value = f"values[i, {column}]"
            if isinstance(draw, NoiseField):
                value = f"(keys[i, {column}, 0], keys[i, {column}, 1])"
            elif draw.whole:
                value = f"int64({value})"
            expressions.append(value)
        expected = [*corruption.draws, *(["released"] if corruption.has_modes else [])]
        found = [*inspect.signature(self.function).parameters][2:]
        if found != [*expected, *self.tables]:
            raise ValueError(
                f"the loop of {self.corruption} takes {found}, not {[*expected, *self.tables]}"
            )
        return expressions, corruption.has_modes


def cached(function: F, name: str) -> F:
    """Compile a function when it is first called, and keep its code on disk.

    Args:
        function: The function.
        name: A name for its file.
    """
    dispatcher: Any = numba.njit(**_OPTIONS)(function)
    # Numba's own cache does not notice changes of functions that are called, cannot keep code
    # without a source file, and fails on a full disk.
    cache = dispatcher._cache = CodeCache(name, function)
    compile_now = dispatcher.compile

    def compile_and_end(signature: Any) -> Any:
        try:
            return compile_now(signature)
        finally:  # also after an error or an interrupt
            cache.cancel_notice()

    dispatcher.compile = compile_and_end
    return cast(F, dispatcher)


class CodeCache:
    """Compiled code of one function, in the form in which Numba asks for it and hands it over.

    A file that is missing, damaged, or made for another version or processor is compiled again.
    A directory that cannot be written to is mentioned once, and the code is used all the same.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self._notice: threading.Timer | None = None

    @property
    def cache_path(self) -> str:
        """The directory of the code."""
        return str(code_directory())

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled function, or None if it must be compiled."""
        target_context.refresh()
        with contextlib.suppress(OSError):
            data = self._file(signature).read_bytes()
            digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
            if _digest(body) == digest:
                return _compiler.CompileResult._rebuild(target_context, *pickle.loads(body))
        self._notice = threading.Timer(NOTICE_AFTER_S, _say_once)
        self._notice.daemon = True
        self._notice.start()
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled function."""
        body: bytes = _serialize.dumps(result._reduce())
        try:
            path = self._file(signature)
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, _digest(body) + body)
        except OSError as error:
            _warn_once(f"{error.filename or code_directory()}: {error.strerror}")

    def cancel_notice(self) -> None:
        """Do not mention that a function is being compiled, because that has ended."""
        if self._notice:
            self._notice.cancel()

    @functools.cached_property
    def _description(self) -> str:
        # Of the time at which it is first compiled. Numba keeps to it.
        return describe(self.function)

    def _file(self, signature: Any) -> Path:
        key = _digest(f"{signature} {self._description}".encode())
        return code_directory() / f"{self.name}-{key.hex()}.code"


def _write(path: Path, data: bytes) -> None:
    """Write a file as a whole, so that other processes never read a part of it."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)  # one user may compile for others, as for a container
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_directory() -> None:
    """Check that compiled code can be kept.

    Raises:
        OutputError: The directory cannot be written to.
    """
    try:
        directory = code_directory()
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        problem = f"compiled code cannot be kept: {error.strerror}"
        raise OutputError(problem, where=str(error.filename), remedy=_REMEDY) from error


@functools.cache
def _say_once() -> None:
    if sys.stderr.isatty():
        print("Compiling corruptions for this processor, once.", file=sys.stderr)  # noqa: T201


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"Compiled code of corruptions cannot be kept. {reason}. Every process compiles it "
        f"again. {_REMEDY}",
        NoctuleWarning,
        stacklevel=2,
    )


_DIGEST_BYTES = 16


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def code_directory() -> Path:
    """The directory of compiled code for these versions of the compiler and this machine.

    Raises:
        OSError: There is no directory for it.
    """
    return cache_folder() / f"loops-{_version_key()}"


@functools.cache
def _version_key() -> str:
    """A hash of what all compiled code depends on: the compiler and the processor."""
    processor = cpu_target.target_context.codegen().magic_tuple()
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    options = sorted(_OPTIONS.items())
    return _digest(repr((processor, versions, options)).encode()).hex()
