"""`noctule report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noctule.cli.app import app
from noctule.cli.echo import echo
from noctule.errors import InputError


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders; or one study folder or overlap CSV."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path(
        "report.html"
    ),
    figures: Annotated[
        Path | None,
        typer.Option(help="Folder for figures (SVG, PNG, PDF) and tables (md, tex, csv)."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Run folder of the model that CE is relative to, on the same data."),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Images to show under each corruption, of each run.")
    ] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap of calibration errors.")] = 0,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
) -> None:
    """Write one run, or many side by side, as a page that opens offline; no model is run."""
    if len(runs) == 1 and _is_study(runs[0]):
        from noctule.report.study_page import write_study_page

        if reference is not None:
            raise InputError("a study has no CE", where="--reference", remedy="Leave it out.")
        write_study_page(runs[0], out, figures=figures, confidence=confidence, seed=seed)
    else:
        from noctule.report.run_page import write_report
        from noctule.store.finished import finished_runs

        write_report(
            finished_runs(runs),
            out,
            figures=figures,
            reference=reference,
            samples=samples,
            seed=seed,
            confidence=confidence,
        )
    echo(str(out))
    if figures is not None:
        echo(str(figures))


def _is_study(path: Path) -> bool:
    """A study folder, or the matrix of one."""
    return path.suffix == ".csv" or (path / "study.json").is_file()
