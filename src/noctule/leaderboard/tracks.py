"""What is ranked together: one benchmark on one set of images with one seed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

from pydantic import Field

from noctule.benchmarks import Benchmark, load_benchmark
from noctule.config import Spec, read_spec
from noctule.corruptions import Mode
from noctule.errors import unknown_name

TRACKS_FILE = Path(__file__).parent / "tracks.toml"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Track(Spec):
    """One track.

    Attributes:
        name: as a submission gives it.
        title: what people read.
        benchmark: name of a benchmark that comes with noctule.
        mode: the mode it is evaluated in.
        domain: the data, as runs record it.
        images: how many.
        classes: how many.
        seed: of the corruptions.
        fingerprint: of the data, as runs record it; None where it is not known.
        labels_sha256: `rows.labels_sha256` of the data; None where it is not known.
        architecture: the one that every model must have; None leaves it open.
    """

    name: str
    title: str
    benchmark: str
    mode: Mode = "paper"
    domain: str
    images: Annotated[int, Field(ge=1)]
    classes: Annotated[int, Field(ge=2)]
    seed: int = 0
    fingerprint: Sha256 | None = None
    labels_sha256: Sha256 | None = None
    architecture: str | None = None

    def load_benchmark(self) -> Benchmark:
        """The benchmark, in the track's mode."""
        return load_benchmark(self.benchmark).in_mode(self.mode)


class _Tracks(Spec):
    tracks: tuple[Track, ...]


@functools.cache
def load_tracks() -> dict[str, Track]:
    """The tracks that come with the package, by name."""
    return {track.name: track for track in read_spec(TRACKS_FILE, _Tracks).tracks}


def load_track(name: str, *, where: object = None) -> Track:
    """One track.

    Raises:
        InputError: there is none of this name; the nearest is suggested.

    >>> load_track("photo-patches-open").images
    1024
    """
    tracks = load_tracks()
    if name not in tracks:
        raise unknown_name("track", name, tracks, where=where)
    return tracks[name]
