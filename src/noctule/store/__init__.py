"""Run folders: append-only, atomic, resumable by set difference.

    run.json            what determines the rows; written once
    provenance.jsonl    one line per start
    rows/000000.parquet all conditions of the first `slice_size` images, and so on

Every file but the provenance appears complete or not at all: it is written beside its place
under a temporary name, synced, and renamed. What is missing after a kill is the difference
between the slices a run has and the ones it should have.
"""

from noctule.store.identity import SCHEMA_VERSION, RunIdentity
from noctule.store.run import RunStore

__all__ = ["SCHEMA_VERSION", "RunIdentity", "RunStore"]
