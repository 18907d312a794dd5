"""How `--help` looks: each option on a line of its own, its help indented below it.

An option's help is one or two sentences, usually from the docstring of its command. Its
choices, its default and whether it is required are appended here, so no help text repeats them.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from noctule.cli.common import common_options, with_common_options

HELP_NAMES = ("-h", "--help")


class Command(TyperCommand):
    """A command whose help has one block per argument and option.

    The docstring of its function describes them under "Args:".
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        paragraphs, descriptions = split_docstring(self.help or "")
        self.help = "\n\n".join(paragraphs)
        parameters: Any = self.params
        for parameter in parameters:
            parameter.help = parameter.help or descriptions.get(parameter.name)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words after the command's name in its usage line."""
        return _usage(self, ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        _write_parameters(self, ctx, formatter)


class CommandGroup(TyperGroup):
    """A group of commands; their summaries are not cut to one line."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command or None; its summary is the first paragraph of its help."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.short_help is None:
            command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        return None if command is None else with_common_options(command)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        _write_parameters(self, ctx, formatter)


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    parameters = [one for one in command.get_params(ctx) if not getattr(one, "hidden", False)]
    common = [one for one in parameters if one in common_options()]
    own = [one for one in parameters if one not in common]
    sections = {
        "Arguments": [one for one in own if one.param_type_name == "argument"],
        "Options": [one for one in own if one.param_type_name == "option"],
        "Options of every command": common,
    }
    for heading, entries in sections.items():
        if not entries:
            continue
        with formatter.section(heading):
            for parameter in entries:
                formatter.write_text(_term(parameter))
                with formatter.indentation(), formatter.indentation():
                    formatter.write_text(_description(parameter))


def _usage(command: Any, ctx: Any) -> list[str]:
    arguments = [one for one in command.get_params(ctx) if one.param_type_name == "argument"]
    return [
        "[OPTIONS]",
        *(_term(one) if one.required else f"[{_term(one)}]" for one in arguments),
    ]


def _term(parameter: Any) -> str:
    """An argument's metavar, or an option's names and metavar.

    >>> import typer
    >>> app = typer.Typer()
    >>> @app.command(cls=Command)
    ... def paint(colour: str = typer.Option("red", "--colour", "-c")) -> None: ...
    >>> print(_term(typer.main.get_command(app).params[0]))
    -c, --colour COLOUR
    """
    metavar = parameter.metavar or parameter.name.upper().replace("_", "-")
    if parameter.param_type_name == "argument":
        return str(metavar)
    names = ", ".join([*sorted(parameter.opts, key=len), *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {metavar}"


def _description(parameter: Any) -> str:
    """The help text and, in brackets, the choices and the default."""
    # Typer has described types itself since it stopped using click's.
    described = getattr(parameter, "type_descriptor", None) or parameter.type
    choices = getattr(described, "choices", None)
    notes = [f"one of: {', '.join(choices)}"] if choices else []
    if default := _default(parameter):
        notes.append(f"default: {default}")
    if parameter.param_type_name == "option" and parameter.required:
        notes.append("required")
    bracket = f"[{'; '.join(notes)}]" if notes else ""
    return f"{parameter.help or ''} {bracket}".strip()


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.param_type_name == "option" and parameter.is_flag:
        on, off = parameter.opts, parameter.secondary_opts
        is_shown = off and parameter.default is not None
        return str((on if parameter.default else off)[0]) if is_shown else ""
    is_shown = parameter.show_default and parameter.default is not None
    return str(parameter.default) if is_shown else ""


def split_docstring(text: str) -> tuple[list[str], dict[str, str]]:
    r"""The paragraphs of a docstring, and the descriptions of its arguments by name.

    >>> split_docstring("Shift.\n\nBlack fill.\n\nArgs:\n    dx, dy: Pixels,\n        (batch,)")
    (['Shift.', 'Black fill.'], {'dx': 'Pixels', 'dy': 'Pixels'})
    """
    body, _, tail = text.partition("\nArgs:\n")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", body) if part.strip()]
    tail = re.split(r"\n\S", tail)[0]
    arguments: dict[str, str] = {}
    for names, description in re.findall(
        r"^ {4}([\w, ]+): (.*(?:\n {5,}.*)*)", tail, re.MULTILINE
    ):
        without_shape = re.sub(r",? \(batch,\)\.?$", "", " ".join(description.split()))
        for name in names.split(","):
            arguments[name.strip()] = without_shape
    return paragraphs, arguments
