"""Tracks, which define what is ranked together, and landmarks, which are published scores."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

from pydantic import Field

from noctule.benchmarks import Benchmark, Metric, load_benchmark
from noctule.config import Spec, read_spec
from noctule.corruptions import Mode
from noctule.errors import unknown_name

TRACKS_FILE = Path(__file__).parent / "tracks.toml"
LANDMARKS_FILE = Path(__file__).parent / "landmarks.toml"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Track(Spec):
    """One benchmark on one set of images with one seed.

    Attributes:
        name: Name used in submissions.
        title: Title shown on the site.
        benchmark: Name of a built-in benchmark.
        mode: Mode of the benchmark.
        domain: Name of the data, as runs record it.
        images: Number of images.
        classes: Number of classes.
        seed: Seed of the corruptions.
        fingerprint: Fingerprint of the data, as runs record it; None if unknown.
        labels_sha256: `checks.labels_sha256` of the data; None if unknown.
        architecture: Architecture that every model must have; None allows any.
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
    """The built-in tracks, by name."""
    return {track.name: track for track in read_spec(TRACKS_FILE, _Tracks).tracks}


def load_track(name: str, *, where: object = None) -> Track:
    """The track of this name.

    Raises:
        InputError: There is no such track; the nearest name is suggested.

    >>> load_track("photo-patches-open").images
    1024
    """
    tracks = load_tracks()
    if name not in tracks:
        raise unknown_name("track", name, tracks, where=where)
    return tracks[name]


class Landmark(Spec):
    """One published score, shown with its source and never recomputed.

    Attributes:
        title: Name of the model in the source.
        architecture: Architecture of the model.
        training_data: Training data of the model.
        benchmark: Name of the benchmark.
        mode: Mode of the images that the score was measured on.
        domain: Name of the data, as runs record it.
        images: Number of images.
        metric: The score's metric.
        value: The score in percent, as published.
        ces: CE by corruption in whole percent, in the benchmark's order; may be empty.
        source: Publication and table.
    """

    title: str
    architecture: str
    training_data: str
    benchmark: str
    mode: Mode = "paper"
    domain: str
    images: Annotated[int, Field(ge=1)]
    metric: Metric
    value: float
    ces: tuple[int, ...] = ()
    source: str


class _Landmarks(Spec):
    landmarks: tuple[Landmark, ...]


@functools.cache
def load_landmarks() -> tuple[Landmark, ...]:
    """The built-in landmarks.

    >>> [one.value for one in load_landmarks() if one.benchmark == "imagenet-noc"]
    [81.0]
    """
    return read_spec(LANDMARKS_FILE, _Landmarks).landmarks
