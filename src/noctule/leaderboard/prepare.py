"""A submission from a run, so that nobody types numbers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from noctule.config import build_spec, write_toml
from noctule.errors import InputError
from noctule.leaderboard.architecture import recorded_parameters
from noctule.leaderboard.checks import score_rows
from noctule.leaderboard.folder import ROWS_FOLDER, RUN_FOLDER
from noctule.leaderboard.submission import SUBMISSION_FILE, Submission
from noctule.leaderboard.tracks import Track, load_track
from noctule.metrics import Scores
from noctule.store import RunStore
from noctule.store.disk import output_errors
from noctule.store.run import PROVENANCE_FILE
from noctule.store.run import ROWS_FOLDER as STORE_ROWS


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
        run: the run folder.
        out: the submission, a new folder.
        track: name of the track.
        title: what the model is called on the site.
        architecture: such as "torchvision:resnet50".
        training_data: such as "ImageNet-1k".
        optional: `parameters` (by default as the run noted them), `link`, `notes`; None is
            left out.

    Raises:
        InputError: the run is unfinished, lacks conditions of the track, or the folder exists.
        OutputError: it cannot be written.
    """
    store, out, chosen = RunStore.open(run), Path(out), load_track(track, where="--track")
    if out.exists():
        raise InputError("is there already", where=out, remedy="Choose a new folder.")
    optional.setdefault("parameters", None)
    if optional["parameters"] is None:
        optional["parameters"] = recorded_parameters(store.starts())
    described = {
        "title": title,
        "track": track,
        "architecture": architecture,
        "training_data": training_data,
        **{key: value for key, value in optional.items() if value is not None},
        "claimed": _claims(score_rows(store.rows(), chosen, resamples=0)),
    }
    submission = build_spec(described, Submission, where="submission")
    _refuse_other_data(store, chosen)
    with output_errors(out):
        (out / ROWS_FOLDER).mkdir(parents=True)
        for name in ("run.json", PROVENANCE_FILE):
            if (store.folder / name).is_file():
                shutil.copyfile(store.folder / name, out / RUN_FOLDER / name)
        for index in store.finished_slices():
            path = store.slice_path(index)
            shutil.copyfile(path, out / RUN_FOLDER / STORE_ROWS / path.name)
        write_toml(described, out / SUBMISSION_FILE)
    return submission


def _refuse_other_data(store: RunStore, track: Track) -> None:
    domain = store.identity.dataset.get("domain")
    if domain != track.domain:
        raise InputError(
            f"is on {domain or 'data of unknown origin'}, and the track {track.name} is on "
            f"{track.domain}",
            where=store.folder,
        )


def _claims(scores: Scores) -> dict[str, Any]:
    """Errors with four decimals, CEs with two."""
    claims: dict[str, Any] = {"mean_error": _rounded(scores.mean_error.value, 4)}
    if scores.clean is not None:
        claims["clean_error"] = _rounded(scores.clean.error.value, 4)
    for key, estimate in (("mce", scores.mce), ("relative_mce", scores.relative_mce)):
        if estimate.value is not None:
            claims[key] = _rounded(estimate.value, 2)
    claims["corruptions"] = {
        one.corruption: _rounded(one.error.value, 4) for one in scores.corruptions
    }
    return claims


def _rounded(value: float | None, digits: int) -> float:
    if value is None:
        raise ValueError("an error is always defined")
    return round(value, digits)
