"""Every claim of a submission against its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from noctule.benchmarks import Benchmark
from noctule.errors import InputError
from noctule.leaderboard import rows as rows_of
from noctule.leaderboard.architecture import architecture_lines, canonical
from noctule.leaderboard.folder import list_files, read_starts
from noctule.leaderboard.lines import CheckItem, failed, passed_unless, same_hash, unverified
from noctule.leaderboard.settings import settings_lines
from noctule.leaderboard.submission import (
    CE_TOLERANCE,
    ERROR_TOLERANCE,
    Submission,
    read_submission,
)
from noctule.leaderboard.tracks import Track, load_track
from noctule.metrics import Scores, score
from noctule.metrics.scores import RANKING
from noctule.scoring import published_reference
from noctule.store import RunIdentity, RunStore, flaws
from noctule.store.identity import read_identity


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        folder: the submission.
        submission: its claims.
        track: its track.
        identity: its run.
        lines: what was checked, in order.
        table: its rows; None if they are not all there.
        starts: its run's provenance.
    """

    folder: Path
    submission: Submission
    track: Track
    identity: RunIdentity
    lines: tuple[CheckItem, ...]
    table: pa.Table | None
    starts: tuple[dict[str, Any], ...]

    @property
    def holds(self) -> bool:
        """Whether no line does not hold."""
        return all(line.state != "does not hold" for line in self.lines)

    def scores(self, *, resamples: int, seed: int = 0) -> Scores:
        """Of its rows, by the track's benchmark."""
        if self.table is None:
            raise ValueError("rows that are not all there have no scores")
        return score_rows(self.table, self.track, resamples=resamples, seed=seed)


def check_submission(folder: str | Path) -> CheckResult:
    """Recompute every number of a submission from its rows, and look at all it says.

    Raises:
        InputError: it is not a submission, or too damaged to be looked at.
    """
    folder = Path(folder)
    files = list_files(folder)
    submission = read_submission(folder)
    track = load_track(submission.track, where=f"{folder}: track")
    identity = read_identity(files.run_folder)
    starts = read_starts(files.run_folder)
    benchmark = track.load_benchmark()
    conditions = [str(condition) for condition in benchmark.conditions]
    due = track.images * len(conditions)
    found = rows_of.read_submitted(RunStore(files.run_folder, identity), due)
    megabytes = files.num_bytes / 1e6
    told = f"{len(files.slices):,} of rows, {megabytes:.1f} MB in all"
    lines = [passed_unless("files", files.name_flaw(), told)]
    lines += settings_lines(identity, benchmark, track)
    complete = _complete(found, conditions, track.images)
    lines.append(complete)
    if found.table is not None:
        lines += _row_lines(found.table, track)
    noted = identity.model
    lines += architecture_lines(
        submission.architecture, submission.parameters, starts, noted, track.classes
    )
    lines.append(_track_line(submission, track, lines))
    table = found.table if complete.state == "holds" else None
    lines += _score_lines(submission, table, track, benchmark)
    return CheckResult(folder, submission, track, identity, tuple(lines), table, tuple(starts))


def score_rows(
    table: pa.Table,
    track: Track,
    *,
    metrics: Sequence[str] | None = None,
    resamples: int,
    seed: int = 0,
) -> Scores:
    """Scores by the track's benchmark, relative to its published reference if there is one."""
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


def _complete(
    found: rows_of.SubmittedRows, conditions: Sequence[str], images: int
) -> CheckItem:
    name, due = "completeness", images * len(conditions)
    if found.skipped:
        return failed(name, f"{found.skipped:,} images were skipped as unreadable")
    if found.table is None:
        return failed(name, f"{found.num_rows:,} rows, where {due:,} are due; none were read")
    flaw = flaws.completeness_flaw(found.table, conditions, images)
    told = f"{images:,} images under {len(conditions)} conditions, each once"
    return passed_unless(name, flaw, told)


def _row_lines(table: pa.Table, track: Track) -> Iterator[CheckItem]:
    agree = "one label for each image"
    yield passed_unless("labels agree between conditions", flaws.label_flaw(table), agree)
    found = rows_of.labels_sha256(table)
    if track.labels_sha256 is None:
        yield unverified(
            "images and labels of the data", f"hash {found[:16]}...; the track's is not known"
        )
    else:
        yield same_hash("images and labels of the data", found, track.labels_sha256)
    told = {
        "ranks": f"from 1 to {track.classes}, 1 where the prediction is the label",
        "confidence": f"from 1/{track.classes} to 1",
        "loss": "as confidence and rank allow",
    }
    for name, flaw in flaws.row_flaws(table, track.classes).items():
        yield passed_unless(name, flaw, told[name])


def _track_line(submission: Submission, track: Track, lines: Sequence[CheckItem]) -> CheckItem:
    """Whether the track admits the model: one of a fixed architecture wants it verified."""
    if track.architecture is None:
        return CheckItem("track", "holds", f"{track.name} is open to all architectures")
    if canonical(submission.architecture) != track.architecture:
        told = f"'{submission.architecture}', and the track {track.name} is for"
        return failed("track", f"the architecture is {told} {track.architecture}")
    state = next(line.state for line in lines if line.name == "architecture")
    if state == "holds":
        return CheckItem("track", "holds", f"{track.name} is for {track.architecture}")
    return failed(
        "track",
        f"the architecture {state}, and {track.name} is for {track.architecture} only: "
        "submit to an open track",
    )


def _score_lines(
    submission: Submission, table: pa.Table | None, track: Track, benchmark: Benchmark
) -> Iterator[CheckItem]:
    """Claimed scores against recomputed ones."""
    if table is None:
        yield unverified("scores", "the rows are not complete")
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
    if odd := sorted(set(claimed.corruptions) ^ set(benchmark.corruptions)):
        yield failed("corruptions", f"claims and benchmark differ in {', '.join(odd[:5])}")
    for name in benchmark.corruptions:
        if name in claimed.corruptions:
            yield _score(
                f"error under {name}", claimed.corruptions[name], errors[name], ERROR_TOLERANCE
            )


def _score(name: str, claimed: float, value: float | None, tolerance: float) -> CheckItem:
    if value is None:
        return failed(name, f"claimed {claimed!r}, and it is not defined here")
    digits = 4 if tolerance < CE_TOLERANCE else 2
    told = f"claimed {claimed!r}, recomputed {value:.{digits}f}"
    return CheckItem(
        name, "holds" if abs(claimed - value) <= tolerance else "does not hold", told
    )
