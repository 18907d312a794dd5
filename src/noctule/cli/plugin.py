"""The option `--plugin` of every command: modules of the user's that add entries by name."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import typer


def with_plugin_option(command: Any) -> Any:
    """The command, which also takes `--plugin`; a group of commands as it is."""
    option = plugin_option()
    if not hasattr(command, "commands") and option not in command.params:
        command.params.append(option)
    return command


@functools.cache
def plugin_option() -> Any:
    """The option, as Typer builds it; its values are imported before the command runs."""
    app = typer.Typer()

    @app.command()
    def command(
        plugin: Annotated[
            list[str] | None,
            typer.Option(
                "--plugin",
                metavar="MODULE",
                callback=_load,
                is_eager=True,
                expose_value=False,
                help="A module or .py file that adds corruptions, models, data sources, "
                "metrics or benchmarks of your own; its code is run. Repeat for several.",
            ),
        ] = None,
    ) -> None: ...

    return typer.main.get_command(app).params[0]


def _load(names: list[str] | None) -> None:
    from noctule.plugins import load_plugin

    for name in names or ():
        load_plugin(name)
