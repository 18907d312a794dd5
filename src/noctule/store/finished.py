"""Select the finished runs among several paths, such as those of runs/*."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from noctule.arguments import run_path
from noctule.errors import InputError, NoctuleWarning
from noctule.remote import AnyPath
from noctule.store.identity import RUN_FILE
from noctule.store.run import RunStore


def finished_runs(paths: Sequence[AnyPath], *, also: str | None = None) -> list[AnyPath]:
    """The paths of finished runs; a NoctuleWarning names each of the others.

    A single path is returned as it is. So are missing paths and damaged runs, which are refused
    when they are opened.

    Args:
        paths: The paths that the user named.
        also: Name of a file; folders that hold it are returned as well.

    Raises:
        InputError: There are several paths, and none is a finished run.
    """
    paths = [run_path(path, "RUN") for path in paths]
    if len(paths) == 1:
        return paths
    reasons = {path: _why_not(path, also) for path in paths}
    finished = [path for path in paths if reasons[path] is None]
    if paths and not finished:
        raise InputError(
            f"none of these {len(paths)} paths is a finished run",
            where=paths[0],
            remedy=f"The first one {reasons[paths[0]]}.",
        )
    for path, reason in reasons.items():
        if reason is not None:
            warnings.warn(f"{path} is left out: it {reason}", NoctuleWarning, stacklevel=2)
    return finished


def _why_not(path: AnyPath, also: str | None) -> str | None:
    """Why a path is left out, or None."""
    if not path.exists() or (also is not None and (path / also).exists()):
        return None
    if not (path / RUN_FILE).exists():
        is_study = (path / "study.json").exists()
        return "is a study, not a run" if is_study else f"has no {RUN_FILE}"
    store = RunStore.open(path)
    missing, total = len(store.missing_slices()), store.identity.num_slices
    return f"is unfinished: {missing} of {total} slices are missing" if missing else None
