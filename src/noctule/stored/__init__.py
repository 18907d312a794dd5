"""Stored sets: corrupted images that lie on disk, published by others or written by `export`.

manifest.py      what an exported set was made from, and its list of images
layout.py        how files are named, and where the conditions of a published layout lie
found.py         the benchmark of a folder whose corruptions noctule does not know
listing.py       the files of one condition, matched with other conditions and with the data
images.py        the stored images of one condition: files, an array, tar shards
published.py     sets that others published
read.py          a stored set: the same images under every condition
source.py        stored images as a source of an evaluation
field_of_view.py whether clean images from elsewhere show the same part of the scene
plan.py          what is to be exported, checked before anything is written
write.py         images to files, the same bytes each time
exporting.py     export by several processes; resumed, or repaired, by the same call
verification.py  whether a set is still what was written
"""

from noctule.stored.exporting import export
from noctule.stored.read import StoredSet, open_stored
from noctule.stored.source import StoredImages, evaluate_stored
from noctule.stored.verification import verify

__all__ = ["StoredImages", "StoredSet", "evaluate_stored", "export", "open_stored", "verify"]
