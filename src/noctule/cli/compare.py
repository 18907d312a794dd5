"""`noctule compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from noctule.cli.app import app
from noctule.cli.echo import EXIT_NO, echo, echo_failure, echo_text
from noctule.cli.help import Command
from noctule.cli.options import FormatOption, ReferenceOption, arg, opt


@app.command(cls=Command)
def compare(
    run_a: Annotated[Path, arg("RUN_A")],
    run_b: Annotated[Path, arg("RUN_B")],
    reference: ReferenceOption = None,
    by: Annotated[Literal["corruption", "condition"], opt()] = "corruption",
    fail_if_worse: Annotated[float | None, opt("POINTS")] = None,
    format: FormatOption = "table",
    confidence: Annotated[float, opt("P")] = 0.95,
) -> None:
    """Test whether two models differ: a paired comparison, image by image, from stored rows.

    RUN_A and RUN_B are finished runs on the same images with the same seed. No model is run.

    Args:
        run_a: Run folder of the baseline.
        run_b: Run folder of the candidate, on the same data.
        by: Test each corruption, severities pooled, or each condition separately.
        fail_if_worse: Exit with status 1 if B is shown to be worse than A by more than POINTS
            percentage points, in its mean error, its clean error, or its error under any
            corruption. If B is not
            worse, status 1 occurs with probability at most 1 − confidence.
        confidence: Confidence level of the intervals. A difference is called significant if p <
            1 − P.
    """
    from noctule.comparison import compare as compare_runs
    from noctule.comparison import reasons_it_is_worse
    from noctule.report.comparison import comparison_table, render_comparison, verdict

    result = compare_runs(run_a, run_b, reference=reference, by=by, confidence=confidence)
    reasons = [] if fail_if_worse is None else reasons_it_is_worse(result, fail_if_worse)
    data = {"verdict": verdict(result), **result.to_dict(), "worse": reasons}
    if format == "table":
        echo(comparison_table(result), data=data)
    else:
        echo_text(render_comparison(result, format), data=data)
    for reason in reasons:
        echo_failure(f"{run_b} is worse than {run_a}: {reason}")
    if reasons:
        raise typer.Exit(EXIT_NO)
