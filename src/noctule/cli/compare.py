"""`noctule compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from noctule.cli.app import app
from noctule.cli.echo import echo, echo_message, echo_text
from noctule.cli.evaluate import FormatOption, ReferenceOption

EXIT_WORSE = 1


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder of the baseline.")],
    run_b: Annotated[
        Path, typer.Argument(help="Run folder of the candidate, on the same data.")
    ],
    reference: ReferenceOption = None,
    by: Annotated[
        Literal["corruption", "condition"],
        typer.Option(help="Test corruptions, their severities together, or every condition."),
    ] = "corruption",
    fail_if_worse: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Exit with status 1 if B's mean error, or its error on clean images or under "
            "any corruption, is shown to be worse than A's by more than this many percentage "
            "points. If it is not, the chance of status 1 is at most 1 − confidence.",
        ),
    ] = None,
    format: FormatOption = "table",
    confidence: Annotated[
        float,
        typer.Option(
            help="Confidence of the intervals; a difference is called real if p < 1 − this."
        ),
    ] = 0.95,
) -> None:
    """Is a difference between two models real? Paired, image by image, from stored rows.

    RUN_A and RUN_B are finished runs on the same images, with the same seed. No model is run.
    """
    from noctule.comparison import compare as compare_runs
    from noctule.comparison import reasons_it_is_worse
    from noctule.report.comparison import comparison_table, render_comparison

    found = compare_runs(run_a, run_b, reference=reference, by=by, confidence=confidence)
    reasons = [] if fail_if_worse is None else reasons_it_is_worse(found, fail_if_worse)
    if format == "table":
        echo(comparison_table(found))
    else:
        echo_text(render_comparison(found, format))
    for reason in reasons:
        echo_message(f"{run_b} is worse than {run_a}: {reason}")
    if reasons:
        raise typer.Exit(EXIT_WORSE)
