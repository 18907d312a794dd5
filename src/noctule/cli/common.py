"""The options of every command: plugins, JSON, and what is shown of messages."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from noctule.cli import echo


def with_common_options(command: Any) -> Any:
    """The command, which also takes the common options; a group of commands as it is."""
    options = common_options()
    if not hasattr(command, "commands") and options[0] not in command.params:
        command.params.extend(options)
    return command


@functools.cache
def common_options() -> tuple[Any, ...]:
    """The options, as Typer builds them; they act before the command runs."""
    app = typer.Typer()

    @app.command()
    def command(
        json: Annotated[
            bool,
            _option("--json", callback=_name, help="Print one JSON object, and nothing else."),
        ] = False,
        log_file: Annotated[
            Path | None,
            _option(
                "--log-file", metavar="PATH", callback=_log, help="Append messages to a file."
            ),
        ] = None,
        quiet: Annotated[
            bool,
            _option("--quiet", "-q", callback=_hush, help="Show no messages but errors."),
        ] = False,
        verbose: Annotated[
            bool,
            _option("--verbose", "-v", callback=_explain, help="Show versions, times, errors."),
        ] = False,
        plugin: Annotated[
            list[str] | None,
            _option(
                "--plugin",
                metavar="MODULE",
                callback=_load,
                help="A module or .py file that adds corruptions, models, data sources, "
                "metrics or benchmarks of your own; its code is run. Repeat for several.",
            ),
        ] = None,
    ) -> None: ...

    return tuple(typer.main.get_command(app).params[:5])


def _option(*names: str, **described: Any) -> Any:
    return typer.Option(*names, is_eager=True, expose_value=False, **described)


def _name(context: typer.Context, value: bool) -> None:
    del value  # `main` has looked for the option: it counts for wrong options too
    echo.session.command = context.command_path.partition(" ")[2]


def _log(value: Path | None) -> None:
    if value is not None:
        echo.log_to(value)


def _hush(value: bool) -> None:
    if value:
        echo.hush()


def _explain(value: bool) -> None:
    echo.session.verbose = value


def _load(names: list[str] | None) -> None:
    from noctule.plugins import load_plugin

    for name in names or ():
        load_plugin(name)
