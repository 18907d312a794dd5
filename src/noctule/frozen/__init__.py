"""Frozen sets: corrupted pictures that lie on disk, published by others or written by `freeze`.

layout.py        which published layout a folder has, and where its conditions lie
pictures.py      the stored pictures of one condition: files, an array, tar shards
scan.py          the files of one condition, listed and compared
read.py          a frozen set: the same images under every condition
same.py          whether a benchmark asks for the pictures that were frozen
evaluate.py      rows from a frozen set, into a run folder like any other
folder.py        its folder while it is written
names.py         what files of a frozen set are called
manifest.py      what a frozen set was made from
sums.py          the hashes of its files, and whether they still have them
write.py         pictures to files, the same bytes each time
freezing.py      all pictures of a benchmark, by several processes, resumable
repair.py        what is damaged becomes unfinished, and so is written again
verification.py  whether a frozen set is still what was written
"""

from noctule.frozen.evaluate import evaluate_frozen, identify_frozen, run_frozen
from noctule.frozen.freezing import freeze
from noctule.frozen.read import FrozenSet, open_frozen
from noctule.frozen.verification import verify

__all__ = [
    "FrozenSet", "evaluate_frozen", "freeze", "identify_frozen", "open_frozen", "run_frozen",
    "verify",
]  # fmt: skip
