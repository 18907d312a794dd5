"""Compiling on first use, and keeping the code: other processes, bad files, full disks."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pwd
import resource
import signal
import subprocess
import sys
import threading
import time
import types
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


# ------------------------------------------------------------------------------- helpers


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


def test_a_loop_vectorises_with_its_helpers() -> None:
    function: Any = cached(put_all, "put_all")
    image, out = np.arange(256, dtype=np.uint8), np.empty(256, np.uint8)
    function(image, out)
    np.testing.assert_array_equal(out, np.minimum(image, 200))
    (text,) = function.inspect_llvm().values()
    assert " x i8>" in text


def test_a_helper_raises_when_compiled_and_when_loaded() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="too bright") as error:
            cached(use_level, "use_level")(201.0)
        assert error.value.args == ("too bright", 201.0)


@pytest.mark.parametrize("named", ["kept/here", "", None])
def test_the_variable_may_be_relative_or_empty(
    named: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A relative directory is meant from the working directory; an empty name is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if named is None:
        monkeypatch.delenv("NOCTULE_CACHE_DIR")
    else:
        monkeypatch.setenv("NOCTULE_CACHE_DIR", named)
    assert (use(), use()) == (False, True)
    (path,) = files(tmp_path)
    assert path.parents[1] == tmp_path / (named or "xdg/noctule")


# -------------------------------------------------------------- what the compiled code is of


HELPER = "@compiled\ndef helper(v): return v * {}\ndef use(v): return helper(v)"
DEFINITIONS = {
    "the function": "def use(v): return v * {}",
    "a helper": HELPER,
    "a helper's helper": HELPER.replace("use", "by") + "\nby = compiled(by)\n"
    "def use(v): return by(v)",
    "a constant": "FACTOR = {}\ndef use(v): return v * FACTOR",
    "a tuple": "FACTORS = 1, ({},)\ndef use(v): return v * FACTORS[1][0]",
    "an array": "FACTORS = np.arange(9) * {}\ndef use(v): return v * FACTORS[1]",
    "a default": "def use(v, factor={}): return v * factor",
    "a closure": "def make(factor):\n def use(v): return v * factor\n return use\n"
    "use = make({})",
    "a function of a module": "helpers = types.ModuleType('helpers')\n"
    + HELPER.replace("return helper", "return helpers.helper")
    + "\nhelpers.helper = helper",
    "a function in a function": "def use(v):\n def twice(w): return w * {}\n return twice(v)",
}


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_code_is_that_of_all_that_is_called(definition: str) -> None:
    """Of functions without a file, as in a notebook, and defined again."""

    def define(factor: int) -> Any:
        space: dict[str, Any] = {"compiled": compiling.compiled, "np": np, "types": types}
        space["__name__"] = __name__
        exec(compile(definition.format(factor), "<stdin>", "exec"), space)
        return cached(space["use"], "use")

    for factor, hits in ((2, 0), (3, 0), (2, 1)):
        function = define(factor)
        assert function(21) == 21 * factor
        assert sum(function._cache_hits.values()) == hits


def test_a_module_that_is_edited_and_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of helpers, beside that of the function, which does not change."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    helpers = "from noctule.corruptions.loops.compiling import compiled\n" + HELPER
    (tmp_path / "edited_helpers.py").write_text(helpers.format(2))
    (tmp_path / "edited_user.py").write_text(
        "from edited_helpers import helper\ndef use(v): return helper(v)\n"
    )
    modules = [importlib.import_module(name) for name in ("edited_helpers", "edited_user")]
    assert cached(modules[1].use, "use")(21) == 42
    (tmp_path / "edited_helpers.py").write_text(helpers.format(3))
    assert cached(modules[1].use, "use")(21) == 42  # not what stands in the file
    modules = [importlib.reload(module) for module in modules]
    assert cached(modules[1].use, "use")(21) == 63


NOTEBOOK = """
import torch
from noctule.corruptions import corrupt, corruption
from noctule.corruptions.draws import Uniform
from noctule.corruptions.loops.compiling import loop

@corruption(family="color", source="none", draws={{"change": Uniform(0, 1)}})
def dimmed(images, *, change):
    "Dim."
    return images // {0}

@loop("uint8")
def dimmed(image, out, change):
    out[...] = image // {0}

print(corrupt(torch.full((1, 1, 16, 16), 60, dtype=torch.uint8), "dimmed")[0, 0, 0, 0].item())
"""


@pytest.mark.slow
def test_a_corruption_is_defined_again_in_a_notebook(directory: Path) -> None:
    program = NOTEBOOK.format(2) + NOTEBOOK.format(3)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-"],
            input=program,
            env=environment(directory),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["30", "20"]


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


def test_an_interrupt_ends_the_announcement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of compiling for long, which has ended."""

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(compiling, "NOTICE_AFTER_S", 0.2)
    compiling._say_once.cache_clear()
    function: Any = cached(twice, "twice")
    with monkeypatch.context() as patch:
        patch.setattr(function._compiler, "compile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            function(21)
    function._cache._notice.join(5)
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    assert function(21) == 42


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


def environment(cache: Path) -> dict[str, str]:
    variables = os.environ | {"NOCTULE_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    variables["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), str(ROOT / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    )
    return variables


def start(program: str, cache: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-c",
        f"import compiled_code_runs; compiled_code_runs.{program}()",
    ]
    return subprocess.Popen(
        command,
        env=environment(cache),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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


def test_a_process_that_is_killed_while_it_writes(directory: Path) -> None:
    """Leaves nothing that another would take for code."""
    program = (
        "import os, signal\n"
        "from test_compiled_code import cached, twice\n"
        "from pathlib import Path\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "cached(twice, 'twice')(21)\n"
    )
    variables = environment(directory)
    variables["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", program], env=variables, check=False)
    assert done.returncode == -signal.SIGKILL
    assert {path.suffix for path in files(directory)} == {""}
    assert (use(), use()) == (False, True)
