"""Check every claim of a submission: settings, data and scores, recomputed from its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from noctule.benchmarks import Benchmark
from noctule.errors import InputError
from noctule.leaderboard.architecture import canonical, check_architecture
from noctule.leaderboard.check_items import (
    CheckItem,
    expect_equal,
    failed,
    passed,
    passed_unless,
    same_hash,
    truncate,
    unverified,
)
from noctule.leaderboard.submission import (
    CE_TOLERANCE,
    ERROR_TOLERANCE,
    Submission,
    list_files,
    read_starts,
    read_submission,
)
from noctule.leaderboard.tracks import Track, load_track
from noctule.metrics import Scores, score
from noctule.metrics.scores import RANKING
from noctule.scoring import published_reference
from noctule.store import RunIdentity, RunStore, flaws
from noctule.store.comparability import live_fingerprint
from noctule.store.identity import read_identity

_SHOWN_DIFFERENCES = 3
_ABSENT = "absent"


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        folder: The submission.
        submission: Its claims.
        track: Its track.
        identity: Identity of its run.
        items: The checked items, in order.
        table: Its rows; None if they are incomplete.
        starts: Provenance records of its run.
    """

    folder: Path
    submission: Submission
    track: Track
    identity: RunIdentity
    items: tuple[CheckItem, ...]
    table: pa.Table | None
    starts: tuple[dict[str, Any], ...]

    @property
    def holds(self) -> bool:
        """Whether no check failed."""
        return all(item.state != "does not hold" for item in self.items)

    def scores(self, *, resamples: int, seed: int = 0) -> Scores:
        """Scores of its rows on the track's benchmark."""
        if self.table is None:
            raise ValueError("incomplete rows have no scores")
        return score_rows(self.table, self.track, resamples=resamples, seed=seed)


def check_submission(folder: str | Path) -> CheckResult:
    """Recompute every number of a submission from its rows, and check its other claims.

    Raises:
        InputError: The folder is not a submission, or too damaged to be checked.
    """
    folder = Path(folder)
    files = list_files(folder)
    submission = read_submission(folder)
    track = load_track(submission.track, where=f"{folder}: track")
    identity = read_identity(files.run_folder)
    starts = read_starts(files.run_folder)
    benchmark = track.load_benchmark()
    conditions = [str(condition) for condition in benchmark.conditions]
    num_rows = track.images * len(conditions)
    rows = read_submitted(RunStore(files.run_folder, identity), num_rows)
    size = f"{len(files.slices):,} with rows, {files.num_bytes / 1e6:.1f} MB in total"
    items = [passed_unless("files", files.name_flaw(), size)]
    items += check_settings(identity, benchmark, track)
    complete = _complete(rows, conditions, track.images)
    items.append(complete)
    if rows.table is not None:
        items += _check_rows(rows.table, track)
    items += check_architecture(
        submission.architecture, submission.parameters, starts, identity.model, track.classes
    )
    items.append(_track_item(submission, track, items))
    table = rows.table if complete.state == "holds" else None
    items += _check_scores(submission, table, track, benchmark)
    return CheckResult(folder, submission, track, identity, tuple(items), table, tuple(starts))


def score_rows(
    table: pa.Table,
    track: Track,
    *,
    metrics: Sequence[str] | None = None,
    resamples: int,
    seed: int = 0,
) -> Scores:
    """Scores on the track's benchmark, relative to its published reference if there is one."""
    benchmark = track.load_benchmark()
    dataset = {"domain": track.domain, "num_images": track.images}
    image_ids = pc.unique(table["image_id"]).sort()
    known = published_reference(benchmark, dataset, track.seed, image_ids)
    return score(
        table,
        benchmark,
        reference=known.errors,
        reference_name=known.name,
        no_reference_reason=known.why_none,
        metrics=metrics,
        resamples=resamples,
        seed=seed,
    )


def _complete(rows: SubmittedRows, conditions: Sequence[str], images: int) -> CheckItem:
    name, expected = "completeness", images * len(conditions)
    if rows.skipped:
        return failed(name, f"{rows.skipped:,} images were skipped as unreadable")
    if rows.table is None:
        return failed(name, f"{rows.num_rows:,} rows, expected {expected:,}; none were read")
    flaw = flaws.completeness_flaw(rows.table, conditions, images)
    detail = f"{images:,} images under {len(conditions)} conditions, each once"
    return passed_unless(name, flaw, detail)


def _check_rows(table: pa.Table, track: Track) -> Iterator[CheckItem]:
    detail = "one label per image"
    yield passed_unless("labels agree between conditions", flaws.label_flaw(table), detail)
    name, labels = "images and labels of the data", labels_sha256(table)
    if track.labels_sha256 is None:
        yield unverified(name, f"hash {labels[:16]}...; that of the track is unknown")
    else:
        yield same_hash(name, labels, track.labels_sha256)
    details = {
        "ranks": f"from 1 to {track.classes}, 1 where the prediction is the label",
        "confidence": f"from 1/{track.classes} to 1",
        "loss": "consistent with confidence and rank",
    }
    for name, flaw in flaws.row_flaws(table, track.classes).items():
        yield passed_unless(name, flaw, details[name])


def _track_item(submission: Submission, track: Track, items: Sequence[CheckItem]) -> CheckItem:
    """Check that the track admits the model; a fixed architecture must be verified."""
    if track.architecture is None:
        return passed("track", f"{track.name} allows all architectures")
    if canonical(submission.architecture) != track.architecture:
        claim = f"the architecture is '{submission.architecture}'"
        return failed("track", f"{claim}, but {track.name} is for {track.architecture}")
    state = next(item.state for item in items if item.name == "architecture")
    if state == "holds":
        return passed("track", f"{track.name} is for {track.architecture}")
    return failed(
        "track",
        f"the architecture {state}, but {track.name} is only for {track.architecture}: "
        "submit to an open track",
    )


def _check_scores(
    submission: Submission, table: pa.Table | None, track: Track, benchmark: Benchmark
) -> Iterator[CheckItem]:
    """Compare claimed scores with recomputed ones."""
    if table is None:
        yield unverified("scores", "the rows are incomplete")
        return
    try:
        scores = score_rows(table, track, metrics=RANKING, resamples=0)
    except InputError as error:
        yield failed("scores", f"cannot be computed: {error}")
        return
    claimed = submission.claimed
    clean = scores.of("error", "clean").value if scores.has_clean else None
    yield _score("mean error", claimed.mean_error, scores.of("error").value, ERROR_TOLERANCE)
    if claimed.clean_error is not None:
        yield _score("clean error", claimed.clean_error, clean, ERROR_TOLERANCE)
    for title, value, name in (
        ("mCE", claimed.mce, "mce"), ("relative mCE", claimed.relative_mce, "relative_mce")
    ):  # fmt: skip
        if value is not None:
            yield _score(title, value, scores.of(name).value, CE_TOLERANCE)
    errors = {name: scores.of("error", name).value for name in scores.corruptions}
    if differing := sorted(set(claimed.corruptions) ^ set(benchmark.corruptions)):
        yield failed("corruptions", f"claims and benchmark differ: {', '.join(differing[:5])}")
    for name in benchmark.corruptions:
        if name in claimed.corruptions:
            yield _score(
                f"error under {name}", claimed.corruptions[name], errors[name], ERROR_TOLERANCE
            )


def _score(name: str, claimed: float, value: float | None, tolerance: float) -> CheckItem:
    if value is None:
        return failed(name, f"claimed {claimed!r}, but it is undefined here")
    digits = 4 if tolerance < CE_TOLERANCE else 2
    detail = f"claimed {claimed!r}, recomputed {value:.{digits}f}"
    return (passed if abs(claimed - value) <= tolerance else failed)(name, detail)


def check_settings(
    identity: RunIdentity, benchmark: Benchmark, track: Track
) -> Iterator[CheckItem]:
    """Check benchmark, seed, data and images.

    Args:
        identity: The run.
        benchmark: The track's benchmark, in the track's mode.
        track: The track.
    """
    description = f"{benchmark.name}, mode {benchmark.mode}, with its severities and tables"
    differences = _differences(identity.benchmark, benchmark.to_dict())
    yield passed_unless("benchmark", differences, description)
    yield expect_equal("seed", identity.seed, track.seed)
    data = identity.dataset
    yield _check_data(identity, track)
    yield _check_images(data, track)
    yield expect_equal("domain of the data", data.get("domain"), track.domain)
    yield expect_equal("number of images", data["num_images"], track.images)
    yield expect_equal("number of classes", data["num_classes"], track.classes)
    classes = identity.model.get("num_classes")
    if classes is not None:  # it may be unknown for a user's own network
        yield expect_equal("classes of the model", classes, track.classes)


def images_of(data: Mapping[str, Any]) -> str:
    """The source of the evaluated images.

    Args:
        data: The `dataset` of a run.

    >>> images_of({"name": "a"})
    'corrupted during evaluation'
    """
    stored = data.get("stored")
    if stored is None:
        return "corrupted during evaluation"
    layout, encoder = (
        truncate(json.dumps(stored.get(key), ensure_ascii=False))
        for key in ("layout", "encoder")
    )
    return f"stored on disk, layout {layout}, encoder {encoder}"


def _check_data(identity: RunIdentity, track: Track) -> CheckItem:
    name, actual = "fingerprint of the data", live_fingerprint(identity.dataset)
    if track.fingerprint is None:
        return unverified(name, f"{actual[:16]}...; that of the track is unknown")
    return same_hash(name, actual, track.fingerprint)


def _check_images(data: Mapping[str, Any], track: Track) -> CheckItem:
    """Check that the images equal those of live evaluation; lossy encoding changes them."""
    name, source = "images", images_of(data)
    stored = data.get("stored")
    if stored is None:
        return passed(name, source)
    if isinstance(stored.get("live_fingerprint"), str):
        return passed(name, f"{source}: recorded as equal to live evaluation")
    if track.mode == "released":  # published images are JPEG files
        return unverified(name, source)
    return failed(name, f"{source}: not known to equal live evaluation")


def _differences(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """The keys in which two benchmarks differ, with both values."""
    keys = sorted({**actual, **expected})
    pairs = [(key, _json(actual, key), _json(expected, key)) for key in keys]
    texts = [
        f"{truncate(key)} is {truncate(here)}, expected {truncate(there)}"
        for key, here, there in pairs
        if here != there
    ]
    return "; ".join(texts[:_SHOWN_DIFFERENCES]) or None


def _json(benchmark: Mapping[str, Any], key: str) -> str:
    if key not in benchmark:
        return _ABSENT
    return json.dumps(benchmark[key], ensure_ascii=False, sort_keys=True)


class SubmittedRows(NamedTuple):
    """The rows of a submission, or their number if there are too many to read.

    Attributes:
        table: Outcome rows in `outcomes.SCHEMA`; None if they were not read.
        num_rows: Number of rows according to the file footers.
        skipped: Number of unreadable images according to the file footers.
    """

    table: pa.Table | None
    num_rows: int
    skipped: int


def read_submitted(store: RunStore, max_rows: int) -> SubmittedRows:
    """Read the rows, unless there are more than `max_rows`. Their values are not checked yet.

    Raises:
        InputError: A file is damaged, differs from its recorded hash, belongs to another run,
            or would unpack to an implausible size.
    """
    notes = store.notes()
    num_rows = sum(note.num_rows for note in notes)
    skipped = sum(len(note.unreadable) for note in notes)
    table = None if num_rows > max_rows else store.unchecked_rows()
    return SubmittedRows(table, num_rows, skipped)


def labels_sha256(table: pa.Table) -> str:
    r"""SHA-256 (hex) of all distinct pairs of image id and label, independent of their order.

    The hashed text has a line `"ID" LABEL` per pair (the id as JSON), sorted by id and label.

    >>> rows = pa.table({"image_id": ["b", "a", "b"], "label": [1, 0, 1]})
    >>> labels_sha256(rows) == hashlib.sha256(b'"a" 0\n"b" 1\n').hexdigest()
    True
    """
    pairs = table.select(["image_id", "label"]).group_by(["image_id", "label"]).aggregate([])
    listed = sorted(zip(pairs["image_id"].to_pylist(), pairs["label"].to_pylist(), strict=True))
    text = "".join(f"{json.dumps(image_id)} {label}\n" for image_id, label in listed)
    return hashlib.sha256(text.encode()).hexdigest()
