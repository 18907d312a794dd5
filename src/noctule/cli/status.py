"""`noctule status`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from noctule.cli.app import app
from noctule.cli.echo import echo
from noctule.cli.help import Command
from noctule.cli.options import arg


@app.command(cls=Command)
def status(
    run: Annotated[Path, arg("RUN")],
) -> None:
    """Show how far a run has come: progress, rate, time left, processes and failures.

    Args:
        run: Folder of a run, finished or not.
    """
    from noctule.arguments import run_path
    from noctule.report.progress import duration
    from noctule.store.status import run_status

    folder = run_path(run, "RUN")
    state = run_status(folder)
    (slices, all_slices), (images, all_images) = state.slices, state.images
    lines = [
        f"{folder}: {images:,} of {all_images:,} images under {state.conditions} conditions "
        f"({100 * images // all_images} %), {slices:,} of {all_slices:,} slices"
    ]
    if slices < all_slices:
        names = ", ".join(map(_process, state.writers))
        count = len(state.writers)
        lines.append(
            f"{count} process{'es' * (count > 1)}: {names}"
            if count
            else "no process is working on it; rerun the command that started it to resume"
        )
        if state.images_per_s and state.left_s is not None:
            left = duration(state.left_s)
            lines.append(f"{state.images_per_s:,.3g} images per second, about {left} left")
    if state.failures:
        last = state.failures[-1]
        count, when = len(state.failures), last.get("time_utc")
        lines.append(
            f"{count} failure{'s' * (count > 1)}, the last {f'at {when}, ' if when else ''}of "
            f"{_process(last)}: {last.get('error')}"
        )
    echo(*lines, data=state._asdict())


def _process(content: Mapping[str, Any]) -> str:
    return f"{content.get('host')} (process {content.get('pid')}) on {content.get('device')}"
