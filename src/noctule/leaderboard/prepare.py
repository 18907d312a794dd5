"""Prepare a submission from a run, so that nobody has to type numbers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from noctule.config import build_spec, to_toml
from noctule.errors import InputError
from noctule.leaderboard.architecture import recorded_parameters
from noctule.leaderboard.checks import score_rows
from noctule.leaderboard.submission import ROWS_FOLDER, RUN_FOLDER, SUBMISSION_FILE, Submission
from noctule.leaderboard.tracks import Track, load_track
from noctule.metrics import Scores
from noctule.metrics.scores import RANKING
from noctule.store import RunStore
from noctule.store.disk import (
    LOCK_FILE,
    TEMPORARY_SUFFIX,
    locked,
    output_errors,
    write_atomically,
)


def prepare_submission(
    run: str | Path,
    out: str | Path,
    *,
    track: str,
    title: str,
    architecture: str,
    training_data: str,
    **optional: Any,
) -> Submission:
    """Copy a finished run and write its claims, with scores recomputed from its rows.

    Args:
        run: The run folder.
        out: Folder of the submission, which must not exist.
        track: Name of the track.
        title: Name of the model on the site.
        architecture: Such as "torchvision:resnet50".
        training_data: Such as "ImageNet-1k".
        optional: `parameters` (by default those recorded in the run), `link` and `notes`; None
            values are omitted.

    Raises:
        InputError: The run is unfinished, lacks conditions of the track, or `out` exists.
        OutputError: The submission cannot be written.
    """
    store, out, chosen = RunStore.open(run), Path(out), load_track(track, where="--track")
    if out.exists():
        raise InputError("already exists", where=out, remedy="Choose a new folder.")
    optional.setdefault("parameters", None)
    if optional["parameters"] is None:
        optional["parameters"] = recorded_parameters(store.starts())
    described = {
        "title": title,
        "track": track,
        "architecture": architecture,
        "training_data": training_data,
        **{key: value for key, value in optional.items() if value is not None},
        "claimed": _claims(score_rows(store.rows(), chosen, metrics=RANKING, resamples=0)),
    }
    submission = build_spec(described, Submission, where="submission")
    _refuse_other_data(store, chosen)
    _write(store, out, to_toml(described))
    return submission


def _write(store: RunStore, out: Path, description: str) -> None:
    """Write the submission under a hidden name, and rename it once it is complete.

    After an interruption, the next call for the same submission replaces the hidden folder.
    """
    draft = out.with_name(f".{out.name}{TEMPORARY_SUFFIX}")
    if draft.is_symlink():
        raise InputError("is a link", where=draft, remedy="Remove it.")
    with output_errors(out), locked(draft, "preparing a submission in"):
        for left in (draft / SUBMISSION_FILE, draft / RUN_FOLDER):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        (draft / ROWS_FOLDER).mkdir(parents=True)
        for name, content in store.files():
            write_atomically(draft / RUN_FOLDER / name, content)
        write_atomically(draft / SUBMISSION_FILE, description.encode())
        (draft / LOCK_FILE).unlink()
        draft.rename(out)


def _refuse_other_data(store: RunStore, track: Track) -> None:
    domain = store.identity.dataset.get("domain")
    if domain != track.domain:
        raise InputError(
            f"is on {domain or 'unknown data'}, but the track {track.name} is on "
            f"{track.domain}",
            where=store.folder,
            remedy="Choose a track on the same data.",
        )


def _claims(scores: Scores) -> dict[str, Any]:
    """The claims: errors with four decimals, CEs with two."""
    claims: dict[str, Any] = {"mean_error": _rounded(scores.of("mean_error").value, 4)}
    if scores.has_clean:
        claims["clean_error"] = _rounded(scores.of("error", "clean").value, 4)
    for key in ("mce", "relative_mce"):
        if (value := scores.of(key).value) is not None:
            claims[key] = _rounded(value, 2)
    claims["corruptions"] = {
        name: _rounded(scores.of("error", name).value, 4) for name in scores.corruptions
    }
    return claims


def _rounded(value: float | None, digits: int) -> float:
    if value is None:
        raise ValueError("an error is always defined")
    return round(value, digits)
