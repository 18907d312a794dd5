"""Which of several paths are finished runs: a pattern such as runs/* names more than those."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from noctule.errors import InputError, NoctuleWarning
from noctule.store.identity import RUN_FILE
from noctule.store.run import RunStore


def finished_runs(paths: Sequence[Path], *, also: str | None = None) -> list[Path]:
    """The paths without those that are no runs or unfinished; a NoctuleWarning names each.

    A single path is what the user means, and is returned as it is. So is a path with nothing
    there, and a damaged run: whoever opens it refuses it.

    Args:
        paths: What the user named.
        also: Name of a file whose folder is returned as well, though it is not a run.

    Raises:
        InputError: There are several paths, and none is a finished run.
    """
    if len(paths) == 1:
        return list(paths)
    reasons = {path: _why_not(path, also) for path in paths}
    kept = [path for path in paths if reasons[path] is None]
    if paths and not kept:
        raise InputError(
            f"none of these {len(paths)} paths is a finished run",
            where=paths[0],
            remedy=f"The first one {reasons[paths[0]]}.",
        )
    for path, reason in reasons.items():
        if reason is not None:
            warnings.warn(f"{path} is left out: it {reason}", NoctuleWarning, stacklevel=2)
    return kept


def _why_not(path: Path, also: str | None) -> str | None:
    """Why a path is left out, or None."""
    if not path.exists() or (also is not None and (path / also).exists()):
        return None
    if not (path / RUN_FILE).exists():
        is_study = (path / "study.json").exists()
        return "is a study, not a run" if is_study else f"has no {RUN_FILE}"
    store = RunStore.open(path)
    missing, total = len(store.missing_slices()), store.identity.num_slices
    return f"is unfinished: {missing} of {total} slices are missing" if missing else None
