"""Benchmarks: TOML files with corruptions, severities and reference errors."""

from noctule.benchmarks.conditions import CLEAN, Condition, conditions_of
from noctule.benchmarks.files import (
    BENCHMARKS,
    benchmark_names,
    load_benchmark,
    write_benchmark,
    write_reference,
)
from noctule.benchmarks.parts import Selection, part_note
from noctule.benchmarks.references import Reference
from noctule.benchmarks.spec import Benchmark, Metric, why_no_reference

__all__ = [
    "BENCHMARKS",
    "CLEAN",
    "Benchmark",
    "Condition",
    "Metric",
    "Reference",
    "Selection",
    "benchmark_names",
    "conditions_of",
    "load_benchmark",
    "part_note",
    "why_no_reference",
    "write_benchmark",
    "write_reference",
]
