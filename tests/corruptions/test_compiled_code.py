"""Compiling on first use, and keeping the code: other processes, bad files, full disks."""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target

from noctule.corruptions.loops import compiling
from noctule.corruptions.loops.compiling import (
    cached,
    check_directory,
    code_directory,
    compiled,
)
from noctule.errors import NoctuleWarning, OutputError
from repository import ROOT


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory."""
    monkeypatch.setenv("NOCTULE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def twice(value: Any) -> Any:
    return value * 2


def use() -> bool:
    """Call a function that no process has compiled before; whether its code was on disk."""
    function: Any = cached(twice, "twice")
    assert function(21) == 42
    return bool(sum(function._cache_hits.values()))


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


# ------------------------------------------------------------------------------ the directory


def test_code_is_kept(directory: Path) -> None:
    assert not use()
    assert use()
    (path,) = files(directory)
    assert path.parent == code_directory()
    # Another user can read what one user compiles, as for a container.
    assert path.stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:4],
        lambda data: data[:-1],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: b"not code" * 1000,
    ],
    ids=["empty", "cut in the checksum", "cut", "one bit", "something else"],
)
def test_a_damaged_file_is_compiled_again(directory: Path, damage: Any) -> None:
    use()
    (path,) = files(directory)
    path.write_bytes(damage(path.read_bytes()))
    assert not use()
    assert use()
    assert files(directory) == [path]


CHANGES = {
    "numba": lambda patch: patch.setattr(numba, "__version__", "0.1"),
    "llvmlite": lambda patch: patch.setattr(llvmlite, "__version__", "0.1"),
    "numpy": lambda patch: patch.setattr(np, "__version__", "0.1"),
    "Python": lambda patch: patch.setattr(sys, "version", "3.99"),
    "processor": lambda patch: patch.setattr(
        type(cpu_target.target_context.codegen()), "magic_tuple", lambda self: ("x",)
    ),
    "source": lambda patch: patch.setattr(Path, "read_bytes", lambda self: b"changed"),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_other_versions_and_processors_have_other_directories(
    changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_directory()
    with monkeypatch.context() as patch:
        CHANGES[changed](patch)
        compiling._version_key.cache_clear()
        changed_to = code_directory()
    compiling._version_key.cache_clear()
    assert changed_to != before == code_directory()
    assert changed_to.parent == before.parent


def test_the_directory_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOCTULE_CACHE_DIR")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert code_directory().parent == tmp_path / "xdg" / "noctule"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, by its specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert code_directory().parent == tmp_path / ".cache" / "noctule"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert code_directory().parent == tmp_path / "Library" / "Caches" / "noctule"


# ----------------------------------------------------------------------------------- the parts


@compiled
def level(value: Any) -> Any:
    if value > 200:
        raise ValueError("too bright", value)
    return np.uint8(value)


@compiled
def put(out: Any, i: int, value: Any) -> None:
    out[i] = np.uint8(min(value, np.uint8(200)))


def use_level(value: float) -> Any:
    return level(value)


def put_all(image: Any, out: Any) -> None:
    for i in range(len(image)):
        put(out, i, image[i])


def test_a_part_has_no_machine_code() -> None:
    function: Any = cached(use_level, "use_level")
    assert function(100.0) == 100
    part: Any = level
    (result,) = part.overloads.values()
    assert result.library.get_pointer_to_function(result.fndesc.llvm_func_name) == 0
    with pytest.raises(TypeError, match="level can be called by compiled functions only"):
        level(100.0)


def test_a_loop_of_parts_vectorises() -> None:
    function: Any = cached(put_all, "put_all")
    image, out = np.arange(256, dtype=np.uint8), np.empty(256, np.uint8)
    function(image, out)
    np.testing.assert_array_equal(out, np.minimum(image, 200))
    (text,) = function.inspect_llvm().values()
    assert " x i8>" in text


def test_a_part_raises_when_compiled_and_when_loaded() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="too bright") as error:
            cached(use_level, "use_level")(201.0)
        assert error.value.args == ("too bright", 201.0)


# ------------------------------------------------------------------------ where none is kept


@contextlib.contextmanager
def not_kept(*reasons: str) -> Iterator[None]:
    """Functions work, with one warning."""
    compiling._warn_once.cache_clear()
    with pytest.warns(NoctuleWarning) as warnings:
        yield
    (message,) = {str(one.message) for one in warnings}
    assert "Set NOCTULE_CACHE_DIR to a directory that can be written to." in message
    assert any(reason in message for reason in reasons), message
    assert len(warnings) == 1


def test_a_file_in_the_way(directory: Path) -> None:
    directory.write_text("")
    with not_kept(f"{code_directory()}: Not a directory"):
        assert not use()
        assert not use()


def test_a_directory_in_the_way(directory: Path) -> None:
    use()
    (path,) = files(directory)
    path.unlink()
    path.mkdir()
    with not_kept("Is a directory"):
        assert not use()
    assert files(directory) == []


def test_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOCTULE_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])  # an unknown user
    with not_kept("There is no home directory"):
        assert not use()
        assert not use()
    with pytest.raises(OutputError, match="There is no home directory"):
        check_directory()
    assert files(tmp_path) == []


def test_a_limit_of_file_sizes(directory: Path) -> None:
    """Half of the file is written before the system refuses, as on a full disk."""
    code_directory().mkdir(parents=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with not_kept(f"{code_directory()}: File too large"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            assert not use()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(directory) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one page."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(tiny_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCTULE_CACHE_DIR", str(tiny_disk))
    with not_kept("No space left on device"):
        assert not use()
    assert files(tiny_disk) == []


def test_a_read_only_disk(tiny_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    monkeypatch.setenv("NOCTULE_CACHE_DIR", str(tiny_disk))
    with not_kept("Read-only file system"):
        assert not use()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_without_permission(directory: Path) -> None:
    code_directory().mkdir(parents=True)
    code_directory().chmod(0o500)
    with not_kept("Permission denied"):
        assert not use()


# ------------------------------------------------------------------------------ being told so


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_compiling_for_long_is_mentioned_once_on_a_terminal(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr(compiling, "NOTICE_AFTER_S", 0.0)
    compiling._say_once.cache_clear()
    use()
    use()
    time.sleep(0.1)
    expected = "Compiling corruptions for this processor, once.\n" * (stream is Terminal)
    assert sys.stderr.getvalue() == expected  # type: ignore[attr-defined]


# -------------------------------------------------------------------------- threads, processes


def test_threads_that_call_at_once(directory: Path) -> None:
    function = cached(twice, "twice")
    start = threading.Barrier(8)

    def call(value: int) -> Any:
        start.wait()
        return function(value)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [2 * value for value in range(8)]
    assert len(files(directory)) == 1


def start(program: str, cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"NOCTULE_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), str(ROOT / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    )
    command = [
        sys.executable,
        "-c",
        f"import compiled_code_runs; compiled_code_runs.{program}()",
    ]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def output(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    return out.split("\n")[:-1]


@pytest.mark.slow
def test_processes(directory: Path) -> None:
    """Two compile at once; a third forks and spawns others, which all load the code."""
    first = [output(process) for process in [start("audited", directory) for _ in range(2)]]
    kept = files(directory)
    assert {path.suffix for path in kept} == {".code"}
    (result,) = {lines[0] for lines in first}
    assert output(start("in_children", directory)) == [f"{result} 1"] * 3
    assert sorted(files(directory)) == sorted(kept)
    # Nothing is written elsewhere, so that the package may be read-only.
    written = {Path(path) for lines in first for path in lines[1:]}
    assert all(path.is_relative_to(directory) for path in written - {Path(os.devnull)})
    assert code_directory() in written
