"""`noctule leaderboard`: prepare, check, build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from noctule.cli.app import EXIT_USER_ERROR, Group, app
from noctule.cli.echo import echo, echo_text
from noctule.errors import InputError

EXIT_DOES_NOT_HOLD = 1

leaderboard_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Submit results, check what is submitted, and build a site of them.",
)
app.add_typer(leaderboard_app, name="leaderboard")


@leaderboard_app.command()
def prepare(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    out: Annotated[Path, typer.Argument(help="The submission's folder, a new one.")],
    track: Annotated[str, typer.Option(help="Such as photo-patches-open.")],
    title: Annotated[str, typer.Option(help="What the model is called.")],
    architecture: Annotated[str, typer.Option(help="Such as torchvision:resnet50.")],
    training_data: Annotated[str, typer.Option(help="Such as ImageNet-1k.")],
    parameters: Annotated[
        int | None, typer.Option(help="By default as the run noted them.")
    ] = None,
    link: Annotated[str | None, typer.Option(help="An https address.")] = None,
    notes: Annotated[str | None, typer.Option(help="What else there is to say.")] = None,
) -> None:
    """Copy a run and write submission.toml, with the scores recomputed from its rows."""
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
    echo(f"{out}: check it with: noctule leaderboard check {out}")


@leaderboard_app.command()
def check(
    submissions: Annotated[list[Path], typer.Argument(help="Folders of submissions.")],
    format: Annotated[
        Literal["table", "json", "markdown"],
        typer.Option("--format", "-f", help="Markdown is for a comment on a pull request."),
    ] = "table",
) -> None:
    """Recompute every number of a submission from its rows, and verify what can be verified.

    Claimed errors may be off by 0.00005 and claimed CEs by 0.005: half of the last digit that
    `prepare` writes. Exit status: 0 if nothing fails, 1 if a line does not hold, 2 if a folder
    is not a submission or is damaged. Nothing of a submission is executed.
    """
    from noctule.leaderboard import check_submission
    from noctule.leaderboard.text import Checked, json_text, markdown_text, table_of

    results = []
    for folder in submissions:
        try:
            results.append(Checked(str(folder), check_submission(folder)))
        except InputError as error:
            results.append(Checked(str(folder), error))
        except OSError as error:  # the other folders are to be checked all the same
            refused = InputError(f"cannot be read: {error.strerror or error}")
            results.append(Checked(str(folder), refused))
    if format == "json":
        echo_text(json_text(results))
    elif format == "markdown":
        echo_text(markdown_text(results))
    else:
        for one in results:
            verdict = f"{one.folder}: {one.verdict}"
            echo(verdict) if (table := table_of(one)) is None else echo(table, verdict)
    if any(isinstance(one.found, InputError) for one in results):
        raise typer.Exit(EXIT_USER_ERROR)
    if not all(not isinstance(one.found, InputError) and one.found.holds for one in results):
        raise typer.Exit(EXIT_DOES_NOT_HOLD)


@leaderboard_app.command()
def build(
    sources: Annotated[list[Path], typer.Argument(help="Submissions and run folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The site's folder.")],
    title: Annotated[str, typer.Option(help="Of the site.")] = "Leaderboard",
    training_data: Annotated[str, typer.Option(help="Of runs that are no submission.")] = (
        "unknown"
    ),
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 1000,
    landmarks: Annotated[
        bool, typer.Option(help="Show published scores for orientation.")
    ] = True,
) -> None:
    """Write a static site: tables of models, and a page for each; nothing needs the network."""
    from noctule.leaderboard import build_site
    from noctule.leaderboard.submission import SUBMISSION_FILE
    from noctule.store.finished import finished_runs

    pages = build_site(
        finished_runs(sources, also=SUBMISSION_FILE),
        out,
        title=title,
        training_data=training_data,
        resamples=resamples,
        landmarks=landmarks,
    )
    echo(f"{len(pages)} pages: {out / 'index.html'}")
