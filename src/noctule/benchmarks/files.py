"""Read and write benchmarks: registered ones by name, others by path."""

from __future__ import annotations

from pathlib import Path

from noctule.benchmarks.references import Reference
from noctule.benchmarks.spec import Benchmark
from noctule.config import read_named, registry_of_files, write_toml

BENCHMARKS = registry_of_files("benchmark", Path(__file__).parent)
"""The TOML files of benchmarks by name.

A plugin adds its own: `BENCHMARKS.add("mine", Path("…/mine.toml"), origin=__name__)`.
"""


def benchmark_names() -> tuple[str, ...]:
    """Names of the registered benchmarks, sorted.

    >>> benchmark_names()[:3]
    ('cifar10-c', 'cifar10-c-extra', 'imagenet-3dcc')
    """
    return tuple(sorted(BENCHMARKS))


def load_benchmark(name_or_path: str | Path) -> Benchmark:
    """Load a registered benchmark by name, or any benchmark from a TOML file.

    Raises:
        InputError: The name is unknown (the nearest is suggested), the file does not exist, or
            a key in it is invalid (the message names the file and the dotted key).
    """
    return read_named(name_or_path, BENCHMARKS, Benchmark)


def write_benchmark(benchmark: Benchmark, path: Path) -> None:
    """Write a benchmark as TOML; `load_benchmark(path)` reads it back.

    Raises:
        OutputError: The file cannot be written.
    """
    write_toml(benchmark.to_dict(), path)


def write_reference(reference: Reference, path: Path) -> None:
    """Write reference errors as TOML, like the files in `references/`.

    Raises:
        OutputError: The file cannot be written.
    """
    write_toml(reference.model_dump(mode="json", exclude_none=True), path)
