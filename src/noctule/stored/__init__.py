"""Stored sets: corrupted images that lie on disk, published by others or written by `export`.

layout.py        which published layout a folder has, and where its conditions lie
images.py      the stored images of one condition: files, an array, tar shards
scan.py          the files of one condition, listed and compared
read.py          a stored set: the same images under every condition
same.py          whether a benchmark asks for the images that were stored
evaluate.py      rows from a stored set, into a run folder like any other
folder.py        its folder while it is written
names.py         what files of a stored set are called
manifest.py      what a stored set was made from
sums.py          the hashes of its files, and whether they still have them
write.py         images to files, the same bytes each time
exporting.py      all images of a benchmark, by several processes, resumable
repair.py        what is damaged becomes unfinished, and so is written again
verification.py  whether a stored set is still what was written
"""

from noctule.stored.exporting import export
from noctule.stored.read import StoredSet, open_stored
from noctule.stored.source import StoredImages, evaluate_stored
from noctule.stored.verification import verify

__all__ = ["StoredImages", "StoredSet", "evaluate_stored", "export", "open_stored", "verify"]
