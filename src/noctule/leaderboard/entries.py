"""Runs, submissions and landmarks, grouped by what may be ranked together."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from noctule.benchmarks import Benchmark, load_benchmark
from noctule.errors import InputError
from noctule.leaderboard.architecture import recorded_parameters
from noctule.leaderboard.checks import check_submission
from noctule.leaderboard.folder import read_starts
from noctule.leaderboard.landmarks import Landmark
from noctule.leaderboard.lines import CheckItem
from noctule.leaderboard.settings import fingerprint_of
from noctule.leaderboard.submission import SUBMISSION_FILE
from noctule.leaderboard.tracks import Track
from noctule.metrics import Metric, Scores, headline_metric
from noctule.scoring import score_run
from noctule.store import RunStore
from noctule.store.identity import RunIdentity

UNKNOWN = "unknown"
_SLUG_LETTERS = 40


class Ranked(NamedTuple):
    """What scores must share to be ranked together.

    Attributes:
        benchmark: digest of all that it is made of.
        data: "fingerprint ..." of the data; for submissions to a track whose fingerprint is
            not known, "domain ...".
        images: how many were evaluated.
        seed: of the corruptions.
        reference: whose errors CE is relative to.
    """

    benchmark: str
    data: str
    images: int
    seed: int
    reference: str | None


@dataclass(frozen=True)
class Entry:
    """One model on the site.

    Attributes:
        source: the folder it is from.
        title: what it is called.
        architecture: as claimed, or as the run says.
        training_data: as claimed, or "unknown".
        track: its track; None for a plain run.
        identity: its run.
        scores: recomputed from its rows.
        starts: its run's provenance.
        lines: what was checked; none for a plain run.
        parameters: of the network, as the run noted it.
        link: an https address.
        notes: what else there is to say.
    """

    source: Path
    title: str
    architecture: str
    training_data: str
    track: Track | None
    identity: RunIdentity
    scores: Scores
    starts: Sequence[Mapping[str, Any]] = ()
    lines: tuple[CheckItem, ...] = ()
    parameters: int | None = None
    link: str | None = None
    notes: str | None = None

    @property
    def status(self) -> str:
        """What was verified, in a few words."""
        if not self.lines:
            return "a run"
        unverified = sum(line.state == "cannot be verified" for line in self.lines)
        return f"all but {unverified} lines" if unverified else "all lines"

    @property
    def ranked(self) -> Ranked:
        """What it may be ranked with."""
        return Ranked(
            _digest(self.identity.benchmark),
            self._data,
            self.scores.num_images,
            self.identity.seed,
            self.scores.reference,
        )

    @property
    def _data(self) -> str:
        """What a submission was checked for, whatever else its run.json says."""
        if self.track is None:
            return f"fingerprint {fingerprint_of(self.identity)}"
        if self.track.fingerprint is None:
            return f"domain {self.track.domain}"
        return f"fingerprint {self.track.fingerprint}"

    @property
    def track_title(self) -> str:
        """Of its track; "" for a plain run."""
        return "" if self.track is None else self.track.title

    @property
    def page(self) -> str:
        """The name of its page: a readable part, and a digest that makes it its own.

        Letters, digits and hyphens only, whatever the title is.
        """
        parts = [self.title, self.track_title, self.training_data, self.identity.to_dict()]
        return f"{slug(self.title)}-{_digest(parts)[:10]}.html"


@dataclass(frozen=True)
class Group:
    """Entries on one benchmark and one set of images, best first, and landmarks.

    Attributes:
        benchmark: the benchmark.
        data: name of the data.
        images: how many.
        seed: of the corruptions; None where there are landmarks only.
        entries: the models.
        landmarks: published scores on the same benchmark and data.
    """

    benchmark: Benchmark
    data: str
    images: int
    seed: int | None
    entries: tuple[Entry, ...]
    landmarks: tuple[Landmark, ...] = field(default=())


def read_entry(path: Path, *, training_data: str, resamples: int) -> Entry:
    """A submission, if the folder holds submission.toml, or else a run.

    Raises:
        InputError: neither, damaged, or a submission of which a line does not hold.
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
    """InputError if two entries would have the same page."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        if entry.page in seen:
            raise InputError(
                f"is the same run as {seen[entry.page].source}, under the same title",
                where=entry.source,
                remedy="Give it once, or give it another title.",
            )
        seen[entry.page] = entry


def grouped(entries: Sequence[Entry], landmarks: Sequence[Landmark]) -> list[Group]:
    """Groups in the order of their titles; landmarks go where their images are the same."""
    by_key: dict[Ranked, list[Entry]] = {}
    for entry in entries:
        by_key.setdefault(entry.ranked, []).append(entry)
    groups = [_group(members, landmarks) for members in by_key.values()]
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
            group.entries[0].ranked.data if group.entries else "",
        ),
    )  # fmt: skip


def headline(entries: Sequence[Entry]) -> Metric:
    """The score that ranks: the benchmark's own, or the next that every entry has."""
    return headline_metric([one.scores for one in entries])


def slug(text: str) -> str:
    """Lower-case letters, digits and hyphens, at most 40; "model" if nothing is left.

    >>> slug("../../Étoile: <b>"), slug("…")
    ('etoile-b', 'model')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return words[:_SLUG_LETTERS].strip("-") or "model"


def _submitted(path: Path, resamples: int) -> Entry:
    found = check_submission(path)
    if not found.holds:
        line = next(one for one in found.lines if one.state == "does not hold")
        raise InputError(
            f"does not hold: {line.name}: {line.detail}",
            where=path,
            remedy=f"See all of it with: noctule leaderboard check {path}",
        )
    told = found.submission
    return Entry(
        source=path,
        title=told.title,
        architecture=told.architecture,
        training_data=told.training_data,
        track=found.track,
        identity=found.identity,
        scores=found.scores(resamples=resamples),
        starts=found.starts,
        lines=found.lines,
        parameters=recorded_parameters(found.starts) or told.parameters,
        link=told.link,
        notes=told.notes,
    )


def _group(members: Sequence[Entry], landmarks: Sequence[Landmark]) -> Group:
    first = members[0]
    benchmark = Benchmark.from_dict(first.identity.benchmark, where=first.source)
    name = headline(members).name
    ordered = sorted(members, key=lambda one: (one.scores.of(name).value, one.title))
    return Group(
        benchmark=benchmark,
        data=str(first.identity.dataset.get("domain") or first.identity.dataset.get("name")),
        images=first.scores.num_images,
        seed=first.identity.seed,
        entries=tuple(ordered),
        landmarks=tuple(one for one in landmarks if _is_of(one, benchmark, first)),
    )


def _is_of(landmark: Landmark, benchmark: Benchmark, entry: Entry) -> bool:
    """Whether a landmark's images are those of an entry's group."""
    data = entry.identity.dataset
    published = load_benchmark(landmark.benchmark).in_mode(landmark.mode).to_dict()
    return (
        benchmark.to_dict() == published
        and data.get("domain") == landmark.domain
        and entry.scores.num_images == landmark.images
        and entry.scores.metric == landmark.metric
    )


def _landmarks_alone(members: Sequence[Landmark]) -> Group:
    first = members[0]
    benchmark = load_benchmark(first.benchmark).in_mode(first.mode)
    ordered = tuple(sorted(members, key=lambda one: one.value))
    return Group(benchmark, first.domain, first.images, None, (), ordered)


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.sha256(text.encode()).hexdigest()
