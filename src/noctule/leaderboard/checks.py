"""Check every claim of a submission against its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from noctule.benchmarks import Benchmark
from noctule.errors import InputError
from noctule.leaderboard.architecture import architecture_lines, canonical
from noctule.leaderboard.lines import (
    CheckItem,
    failed,
    passed,
    passed_unless,
    same_hash,
    unverified,
)
from noctule.leaderboard.rows import SubmittedRows, labels_sha256, read_submitted
from noctule.leaderboard.settings import settings_lines
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
from noctule.store.identity import read_identity


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        folder: The submission.
        submission: Its claims.
        track: Its track.
        identity: Identity of its run.
        lines: The checked items, in order.
        table: Its rows; None if they are incomplete.
        starts: Provenance records of its run.
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
        """Whether no check failed."""
        return all(line.state != "does not hold" for line in self.lines)

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
    lines = [passed_unless("files", files.name_flaw(), size)]
    lines += settings_lines(identity, benchmark, track)
    complete = _complete(rows, conditions, track.images)
    lines.append(complete)
    if rows.table is not None:
        lines += _row_lines(rows.table, track)
    lines += architecture_lines(
        submission.architecture, submission.parameters, starts, identity.model, track.classes
    )
    lines.append(_track_line(submission, track, lines))
    table = rows.table if complete.state == "holds" else None
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


def _row_lines(table: pa.Table, track: Track) -> Iterator[CheckItem]:
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


def _track_line(submission: Submission, track: Track, lines: Sequence[CheckItem]) -> CheckItem:
    """Check that the track admits the model; a fixed architecture must be verified."""
    if track.architecture is None:
        return passed("track", f"{track.name} allows all architectures")
    if canonical(submission.architecture) != track.architecture:
        claim = f"the architecture is '{submission.architecture}'"
        return failed("track", f"{claim}, but {track.name} is for {track.architecture}")
    state = next(line.state for line in lines if line.name == "architecture")
    if state == "holds":
        return passed("track", f"{track.name} is for {track.architecture}")
    return failed(
        "track",
        f"the architecture {state}, but {track.name} is only for {track.architecture}: "
        "submit to an open track",
    )


def _score_lines(
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
