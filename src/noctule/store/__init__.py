"""Run folders: append-only, atomic, resumable by set difference, checked whenever read.

    run.json            what determines the rows; written once
    provenance.jsonl    one line per start
    SHA256SUMS          the hash of each slice, as `sha256sum -c SHA256SUMS` reads it
    rows/000000.parquet all conditions of the first `slice_size` images, and so on

run.json and the slices appear complete or not at all: they are written to a temporary file with
an unguessable name, synced, and renamed. After a kill, the missing slices are those that the
run should have and does not have.

The hash of a slice is recorded before the slice is written. A slice holds the digest of the
identity in run.json, its own number, the images that were skipped, and the hash of every
decoded image; its rows must be possible outputs of a classifier. `RunStore` checks all of this
for every reader and before a run is resumed, so accidents show: a changed, exchanged, lost or
foreign file, or an edited run.json. It is no defence against somebody who makes up rows and
recomputes the hashes.

Any number of processes may write one run folder, and may end at any moment; see `writers`.
"""

from noctule.store.identity import SCHEMA_VERSION, RunIdentity
from noctule.store.run import RunStore

__all__ = ["SCHEMA_VERSION", "RunIdentity", "RunStore"]
