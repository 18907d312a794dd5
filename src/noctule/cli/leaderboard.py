"""`noctule leaderboard`: prepare, check, build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from noctule.cli.app import app
from noctule.cli.echo import EXIT_NO, EXIT_USER_ERROR, echo, echo_text
from noctule.cli.help import Command, CommandGroup
from noctule.cli.options import ResamplesOption, RunArgument, arg, opt
from noctule.errors import InputError
from noctule.extras import require

leaderboard_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Prepare submissions, check them, and build a leaderboard site.",
)
app.add_typer(leaderboard_app, name="leaderboard")


@leaderboard_app.command(cls=Command)
def prepare(
    run: RunArgument,
    out: Annotated[Path, arg("FOLDER")],
    track: Annotated[str, opt("NAME")],
    title: Annotated[str, opt("TEXT")],
    architecture: Annotated[str, opt("NAME")],
    training_data: Annotated[str, opt("TEXT")],
    parameters: Annotated[int | None, opt("N", default="as recorded in the run")] = None,
    link: Annotated[str | None, opt("URL")] = None,
    notes: Annotated[str | None, opt("TEXT")] = None,
) -> None:
    """Copy a run and write its submission.toml, with scores recomputed from the rows.

    Args:
        out: Folder of the submission, which must not exist yet.
        track: Leaderboard track, such as photo-patches-open.
        title: Name of the model.
        architecture: Such as torchvision:resnet50.
        training_data: Training data, such as ImageNet-1k.
        parameters: Number of parameters.
        link: An https address with more information.
        notes: Further notes.
    """
    from noctule.leaderboard import prepare_submission

    prepare_submission(
        run,
        out,
        track=track,
        title=title,
        architecture=architecture,
        training_data=training_data,
        parameters=parameters,
        link=link,
        notes=notes,
    )
    check_it = f"Check it with: noctule leaderboard check {out}"
    echo(f"{out}", check_it, data={"submission": out})


@leaderboard_app.command(cls=Command)
def check(
    submissions: Annotated[list[Path], arg("FOLDER...")],
    format: Annotated[Literal["table", "markdown"], opt("", "--format", "-f")] = "table",
) -> None:
    """Recompute all numbers of a submission from its rows, and verify its other claims.

    Claimed errors may differ by 0.00005 and claimed CEs by 0.005: half of the last digit that
    `prepare` writes. Exit status: 0 if nothing fails, 1 if a check fails, 2 if a folder is
    damaged or not a submission. No code from a submission is executed.

    Args:
        submissions: Submission folders.
        format: Output format. Markdown suits a pull request comment.
    """
    from noctule.leaderboard import check_submission
    from noctule.leaderboard.check_report import Checked, markdown_text, table_of

    results = []
    for folder in submissions:
        try:
            results.append(Checked(str(folder), check_submission(folder)))
        except InputError as error:
            results.append(Checked(str(folder), error))
        except OSError as error:  # the other folders are to be checked all the same
            refused = InputError(f"cannot be read: {error.strerror or error}")
            results.append(Checked(str(folder), refused))
    echo(data={"submissions": [one.to_record() for one in results]})
    if format == "markdown":
        echo_text(markdown_text(results))
    else:
        for one in results:
            verdict = f"{one.folder}: {one.verdict}"
            echo(verdict) if (table := table_of(one)) is None else echo(table, verdict)
    if any(isinstance(one.result, InputError) for one in results):
        raise typer.Exit(EXIT_USER_ERROR)
    if not all(not isinstance(one.result, InputError) and one.result.holds for one in results):
        raise typer.Exit(EXIT_NO)


@leaderboard_app.command(cls=Command)
def build(
    sources: Annotated[list[Path], arg("FOLDER...")],
    out: Annotated[Path, opt("PATH", "--out", "-o")],
    title: Annotated[str, opt("TEXT")] = "Leaderboard",
    training_data: Annotated[str, opt("TEXT")] = "unknown",
    resamples: ResamplesOption = 1000,
    landmarks: Annotated[bool, opt("", "--landmarks")] = False,
) -> None:
    """Write a static site with a table of models and a page for each. It works offline.

    Args:
        sources: Submissions and run folders.
        out: Folder for the site.
        title: Title of the site.
        training_data: Training data of runs without a submission.
        landmarks: Also show published scores, with their source.
    """
    require("report")
    from noctule.arguments import path_like
    from noctule.leaderboard.site import build_site
    from noctule.leaderboard.submission import SUBMISSION_FILE
    from noctule.store.finished import finished_runs

    folders = [path_like(source, "FOLDER") for source in sources]
    pages = build_site(
        [Path(str(one)) for one in finished_runs(folders, also=SUBMISSION_FILE)],
        out,
        title=title,
        training_data=training_data,
        resamples=resamples,
        landmarks=landmarks,
    )
    site = out / "index.html"
    echo(
        f"{len(pages)} pages. Open {site} in a browser.",
        data={"site": site, "pages": len(pages)},
    )
