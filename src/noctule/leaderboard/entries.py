"""Runs, submissions and landmarks, grouped into those that may be ranked together."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from noctule.benchmarks import Benchmark, load_benchmark
from noctule.errors import InputError
from noctule.leaderboard.architecture import recorded_parameters
from noctule.leaderboard.check_items import CheckItem
from noctule.leaderboard.checks import check_submission
from noctule.leaderboard.submission import SUBMISSION_FILE, read_starts
from noctule.leaderboard.tracks import Landmark, Track
from noctule.metrics import Metric, Scores, headline_metric
from noctule.scoring import score_run
from noctule.store import RunStore
from noctule.store.comparability import (
    ImageIdentity,
    benchmark_facts,
    comparable_groups,
    live_fingerprint,
)
from noctule.store.identity import RunIdentity

UNKNOWN = "unknown"
_SLUG_LETTERS = 40


@dataclass(frozen=True)
class Entry:
    """One model on the site.

    Attributes:
        source: Folder it was read from.
        title: Name of the model.
        architecture: Architecture, as claimed or as recorded in the run.
        training_data: Training data as claimed, or "unknown".
        track: Its track; None for a run without a submission.
        identity: Identity of its run.
        scores: Scores recomputed from its rows.
        starts: Provenance records of its run.
        items: The checked items; none for a run without a submission.
        parameters: Number of parameters, as recorded in the run.
        link: An https address.
        notes: Further notes.
    """

    source: Path
    title: str
    architecture: str
    training_data: str
    track: Track | None
    identity: RunIdentity
    scores: Scores
    starts: Sequence[Mapping[str, Any]] = ()
    items: tuple[CheckItem, ...] = ()
    parameters: int | None = None
    link: str | None = None
    notes: str | None = None

    @property
    def status(self) -> str:
        """A summary of the checks."""
        if not self.items:
            return "not checked"
        unverified = sum(item.state == "cannot be verified" for item in self.items)
        return f"{unverified} unverified" if unverified else "all passed"

    @property
    def images(self) -> ImageIdentity:
        """The images of its run; the data are those a submission was checked against."""
        own = ImageIdentity.of(self.identity)
        return own if self.track is None else replace(own, data=frozenset([self.data]))

    @property
    def data(self) -> str:
        """The data a submission was checked against, or the data of a run."""
        if self.track is None:
            return f"fingerprint {live_fingerprint(self.identity.dataset)}"
        if self.track.fingerprint is None:
            return f"domain {self.track.domain}"
        return f"fingerprint {self.track.fingerprint}"

    @property
    def digest(self) -> str:
        """A digest of its benchmark."""
        return _digest(self.identity.benchmark)

    @property
    def track_title(self) -> str:
        """Title of its track; "" without one."""
        return "" if self.track is None else self.track.title

    @property
    def page(self) -> str:
        """File name of its page: a slug of the title and a digest that makes it unique."""
        parts = [self.title, self.track_title, self.training_data, self.identity.to_dict()]
        return f"{slug(self.title)}-{_digest(parts)[:10]}.html"


@dataclass(frozen=True)
class EntryGroup:
    """Entries on one benchmark and one set of images, best first, and landmarks.

    Attributes:
        benchmark: The benchmark.
        data: Name of the data.
        images: Number of images.
        seed: Seed of the corruptions; None for landmarks alone.
        entries: The models.
        landmarks: Published scores on the same benchmark and data.
    """

    benchmark: Benchmark
    data: str
    images: int
    seed: int | None
    entries: tuple[Entry, ...]
    landmarks: tuple[Landmark, ...] = field(default=())


def read_entry(path: Path, *, training_data: str, resamples: int) -> Entry:
    """Read a submission, if the folder holds submission.toml, or else a run.

    Raises:
        InputError: The folder is neither, is damaged, or is a submission with a failed check.
    """
    if (path / SUBMISSION_FILE).exists():
        return _submitted(path, resamples)
    if not (path / "run.json").is_file():
        raise InputError("is neither a submission nor a run folder", where=path)
    store = RunStore.open(path)
    try:
        scores = score_run(store, resamples=resamples)
    except InputError as error:
        raise InputError(f"cannot be scored: {error}", where=path) from error
    starts = read_starts(path)
    return Entry(
        source=path,
        title=store.identity.model_title or path.name,
        architecture=str(store.identity.model.get("architecture", UNKNOWN)),
        training_data=training_data,
        track=None,
        identity=store.identity,
        scores=scores,
        starts=starts,
        parameters=recorded_parameters(starts),
    )


def refuse_twice(entries: Iterable[Entry]) -> None:
    """Raise an InputError if two entries would have the same page."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        if entry.page in seen:
            raise InputError(
                f"is the same run as {seen[entry.page].source}, under the same title",
                where=entry.source,
                remedy="Pass it once, or change its title.",
            )
        seen[entry.page] = entry


def grouped(entries: Sequence[Entry], landmarks: Sequence[Landmark]) -> list[EntryGroup]:
    """EntryGroup entries, ordered by title; landmarks join the group with the same images."""

    def also(entry: Entry) -> tuple[str, int, str | None]:
        facts = benchmark_facts(entry.identity.benchmark)
        return facts, entry.scores.num_images, entry.scores.reference

    ranked = comparable_groups(entries, lambda entry: entry.images, also)
    groups = [_group(members, landmarks) for members in ranked]
    placed = {id(one) for group in groups for one in group.landmarks}
    left = [one for one in landmarks if id(one) not in placed]
    alone: dict[tuple[str, str], list[Landmark]] = {}
    for one in left:
        alone.setdefault((one.benchmark, one.domain), []).append(one)
    groups += [_landmarks_alone(members) for members in alone.values()]
    return sorted(
        groups,
        key=lambda group: (
            not group.entries, group.benchmark.title, group.data, group.seed or 0,
            group.entries[0].data if group.entries else "",
        ),
    )  # fmt: skip


def headline(entries: Sequence[Entry]) -> Metric:
    """The score that ranks: the benchmark's own, or the next that every entry has."""
    return headline_metric([one.scores for one in entries])


def slug(text: str) -> str:
    """Up to 40 lower-case letters, digits and hyphens; "model" if nothing is left.

    >>> slug("../../Étoile: <b>"), slug("…")
    ('etoile-b', 'model')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return words[:_SLUG_LETTERS].strip("-") or "model"


def _submitted(path: Path, resamples: int) -> Entry:
    result = check_submission(path)
    if not result.holds:
        failed = next(item for item in result.items if item.state == "does not hold")
        raise InputError(
            f"does not hold: {failed.name}: {failed.detail}",
            where=path,
            remedy=f"For all checks, run: noctule leaderboard check {path}",
        )
    claims = result.submission
    return Entry(
        source=path,
        title=claims.title,
        architecture=claims.architecture,
        training_data=claims.training_data,
        track=result.track,
        identity=result.identity,
        scores=result.scores(resamples=resamples),
        starts=result.starts,
        items=result.items,
        parameters=recorded_parameters(result.starts) or claims.parameters,
        link=claims.link,
        notes=claims.notes,
    )


def _group(members: Sequence[Entry], landmarks: Sequence[Landmark]) -> EntryGroup:
    first = members[0]
    benchmark = Benchmark.from_dict(first.identity.benchmark, where=first.source)
    name = headline(members).name
    dataset = first.identity.dataset
    whole = dataset.get("domain") if "subset" not in dataset else None
    ordered = sorted(members, key=lambda one: (one.scores.of(name).value, one.title))
    return EntryGroup(
        benchmark=benchmark,
        data=str(whole or dataset.get("name")),
        images=first.scores.num_images,
        seed=first.identity.seed,
        entries=tuple(ordered),
        landmarks=tuple(one for one in landmarks if _is_of(one, benchmark, first)),
    )


def _is_of(landmark: Landmark, benchmark: Benchmark, entry: Entry) -> bool:
    """Whether a landmark was measured on the images of an entry."""
    data = entry.identity.dataset
    published = load_benchmark(landmark.benchmark).in_mode(landmark.mode).to_dict()
    return (
        benchmark.to_dict() == published
        and data.get("domain") == landmark.domain
        and entry.scores.num_images == landmark.images
        and entry.scores.metric == landmark.metric
    )


def _landmarks_alone(members: Sequence[Landmark]) -> EntryGroup:
    first = members[0]
    benchmark = load_benchmark(first.benchmark).in_mode(first.mode)
    ordered = tuple(sorted(members, key=lambda one: one.value))
    return EntryGroup(benchmark, first.domain, first.images, None, (), ordered)


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.sha256(text.encode()).hexdigest()
