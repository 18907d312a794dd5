"""A benchmark: `noctule evaluate … --benchmark vignettes`."""

from __future__ import annotations

from pathlib import Path

from noctule.benchmarks import BENCHMARKS

BENCHMARKS.add("vignettes", Path(__file__).with_name("vignettes.toml"), origin=__name__)
