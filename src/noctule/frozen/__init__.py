"""Frozen sets: corrupted pictures that lie on disk, published by others or written by `freeze`.

layout.py    which published layout a folder has, and where its conditions lie
pictures.py  the stored pictures of one condition: files, an array, tar shards
scan.py      the files of one condition, listed and compared
read.py      a frozen set: the same images under every condition
evaluate.py  rows from a frozen set, into a run folder like any other
names.py     what files of a frozen set are called
manifest.py  what a frozen set was made from
write.py     pictures to files, the same bytes each time
freeze.py    all pictures of a benchmark, by several processes, resumable
verify.py    whether a frozen set is still what was written
"""

from noctule.frozen.evaluate import evaluate_frozen, identify_frozen, run_frozen
from noctule.frozen.freeze import freeze
from noctule.frozen.read import FrozenSet, open_frozen
from noctule.frozen.verify import verify

__all__ = [
    "FrozenSet", "evaluate_frozen", "freeze", "identify_frozen", "open_frozen", "run_frozen",
    "verify",
]  # fmt: skip
