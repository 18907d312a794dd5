"""Benchmarks on disk: the ones that come with the package, and the user's own."""

from __future__ import annotations

from pathlib import Path

from noctule.benchmarks.references import Reference
from noctule.benchmarks.spec import Benchmark
from noctule.config import names_in, read_named, write_toml

FOLDER = Path(__file__).parent


def benchmark_names() -> tuple[str, ...]:
    """Names of the benchmarks that come with the package, sorted.

    >>> benchmark_names()[:3]
    ('cifar10-c', 'cifar10-c-extra', 'imagenet-c')
    """
    return names_in(FOLDER)


def load_benchmark(name_or_path: str | Path) -> Benchmark:
    """A built-in benchmark by name, or one from a TOML file.

    Raises:
        InputError: no such name (the nearest is suggested) or file, or something in the file
            is wrong (with the file and the dotted key).
    """
    return read_named(name_or_path, FOLDER, Benchmark, "benchmark")


def write_benchmark(benchmark: Benchmark, path: Path) -> None:
    """Write a benchmark as TOML; `load_benchmark(path)` gives it back.

    Raises:
        OutputError: the file cannot be written.
    """
    write_toml(benchmark.to_dict(), path)


def write_reference(reference: Reference, path: Path) -> None:
    """Write reference errors as TOML, in the form of the files in `references/`.

    Raises:
        OutputError: the file cannot be written.
    """
    write_toml(reference.model_dump(mode="json", exclude_none=True), path)
