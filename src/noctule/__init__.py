"""noctule measures how image classifiers stand up to common corruptions.

>>> import noctule
>>> sorted(noctule.CORRUPTIONS)[:3]
['arlequin', 'artifacts', 'backlight']

`corrupt` and `CORRUPTIONS` make corrupted images, `evaluate` scores a classifier on a
benchmark and `evaluate_many` several, `export` writes one to disk and `evaluate_stored` reads
it; `load_run` and `rows` read a stored run, `score_runs` scores several again; `run_study`
trains a network per corruption, `overlap_of` says how much they overlap, and
`noctule.studies.design` makes benchmarks from that. Everything is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from noctule._version import __version__
from noctule.errors import (
    InputError,
    NoctuleError,
    NoctuleWarning,
    OutputError,
    UnreadableImageError,
)

if TYPE_CHECKING:
    from noctule.benchmarks import Benchmark, Condition, Reference, load_benchmark
    from noctule.comparison import Comparison, compare
    from noctule.corruptions import CORRUPTIONS, Corruption, corrupt, corruption
    from noctule.data import Dataset, open_dataset
    from noctule.evaluation.loop import evaluate
    from noctule.evaluation.settings import Settings
    from noctule.evaluation.zoo import evaluate_many
    from noctule.metrics import Estimate, Scores
    from noctule.models import Classifier, Preprocessing, load_classifier
    from noctule.scoring import Evaluation, load_run, rows, score_run, score_runs
    from noctule.store import RunStore
    from noctule.stored import evaluate_stored, export, open_stored, verify
    from noctule.studies.matrix import OverlapMatrix, read_matrix
    from noctule.studies.overlap import overlap_of
    from noctule.studies.run import run_study
    from noctule.studies.spec import Study, load_study

_HOMES = {
    "benchmarks": ("Benchmark", "Condition", "Reference", "load_benchmark"),
    "comparison": ("Comparison", "compare"),
    "corruptions": ("CORRUPTIONS", "Corruption", "corrupt", "corruption"),
    "data": ("Dataset", "open_dataset"),
    "evaluation.loop": ("evaluate",),
    "evaluation.settings": ("Settings",),
    "evaluation.zoo": ("evaluate_many",),
    "stored": ("evaluate_stored", "export", "open_stored", "verify"),
    "metrics": ("Estimate", "Scores"),
    "models": ("Classifier", "Preprocessing", "load_classifier"),
    "scoring": ("Evaluation", "load_run", "rows", "score_run", "score_runs"),
    "store": ("RunStore",),
    "studies.matrix": ("OverlapMatrix", "read_matrix"),
    "studies.overlap": ("overlap_of",),
    "studies.run": ("run_study",),
    "studies.spec": ("Study", "load_study"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CORRUPTIONS", "Benchmark", "Classifier", "Comparison", "Condition", "Corruption",
    "Dataset", "Estimate", "Evaluation", "InputError", "NoctuleError",
    "NoctuleWarning", "OutputError",
    "OverlapMatrix", "Preprocessing", "Reference", "RunStore", "Scores", "Settings", "Study",
    "UnreadableImageError", "__version__", "compare", "corrupt", "corruption", "evaluate",
    "evaluate_many", "evaluate_stored", "export", "load_benchmark", "load_classifier",
    "load_run", "load_study",
    "open_dataset", "open_stored", "overlap_of", "read_matrix", "rows", "run_study",
    "score_run", "score_runs", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'noctule' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"noctule.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
