"""A benchmark is a TOML file: conditions, levels, and reference errors with their source."""

from noctule.benchmarks.files import (
    benchmark_names,
    load_benchmark,
    write_benchmark,
    write_reference,
)
from noctule.benchmarks.spec import (
    CLEAN,
    Benchmark,
    Condition,
    Reference,
    conditions_of,
    why_no_reference,
)

__all__ = [
    "CLEAN",
    "Benchmark",
    "Condition",
    "Reference",
    "benchmark_names",
    "conditions_of",
    "load_benchmark",
    "why_no_reference",
    "write_benchmark",
    "write_reference",
]
