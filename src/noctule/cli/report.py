"""`noctule report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from noctule.cli.app import app
from noctule.cli.echo import echo
from noctule.cli.help import Command
from noctule.cli.options import BootstrapSeedOption, ConfidenceOption, ReferenceOption, arg, opt
from noctule.errors import InputError
from noctule.extras import require


@app.command(cls=Command)
def report(
    runs: Annotated[list[Path], arg("RUN...")],
    out: Annotated[Path, opt("PATH", "--out", "-o")] = Path("report.html"),
    figures: Annotated[Path | None, opt("PATH")] = None,
    reference: ReferenceOption = None,
    samples: Annotated[int, opt("N")] = 2,
    seed: BootstrapSeedOption = 0,
    confidence: ConfidenceOption = 0.95,
) -> None:
    """Write an HTML report of one or more runs that opens offline. No model is run.

    Args:
        runs: Run folders, or one study folder or overlap CSV.
        out: HTML file to write.
        figures: Folder for figures (SVG, PNG, PDF) and tables (Markdown, LaTeX, CSV).
        samples: Sample images per corruption and run.
    """
    require("report")
    if len(runs) == 1 and _is_study(runs[0]):
        from noctule.report.study import write_study_page

        if reference is not None:
            raise InputError("a study has no CE", where="--reference", remedy="Omit it.")
        write_study_page(runs[0], out, figures=figures, confidence=confidence, seed=seed)
    else:
        from noctule.report.run import write_report
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
    lines = [f"Open {out} in a browser."]
    lines += [] if figures is None else [f"Figures and tables: {figures}"]
    echo(*lines, data={"report": out, "figures": figures})


def _is_study(path: Path) -> bool:
    """Whether a path is a study folder or an overlap matrix."""
    return path.suffix == ".csv" or (path / "study.json").is_file()
