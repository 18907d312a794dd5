"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from noctule.errors import InputError

NumberT = TypeVar("NumberT", int, float)


def arg(metavar: str, *, help: str | None = None, default: str | bool = True) -> Any:
    """An argument of a command.

    Args:
        metavar: Its name in the help, in capitals.
        help: Its help; None if the command's docstring describes it under "Args:".
        default: The default as the help shows it; True shows the value.
    """
    return typer.Argument(metavar=metavar, help=help, show_default=default)


def opt(
    metavar: str = "",
    *names: str,
    help: str | None = None,
    default: str | bool = True,
    min: int | None = None,
) -> Any:
    """An option of a command, as `arg`; flags and choices need no metavar."""
    return typer.Option(
        *names, metavar=metavar or None, help=help, show_default=default, min=min
    )


Format = Literal["table", "csv", "json", "markdown", "latex"]
Mode = Literal["paper", "released"]

RunArgument = Annotated[Path, arg("RUN", help="Folder of a finished run.")]
BenchmarkArgument = Annotated[
    str,
    arg("BENCHMARK", help="Name from `noctule list benchmarks`, or path of a TOML file."),
]
FormatOption = Annotated[Format, opt("", "--format", "-f", help="Output format.")]
ReferenceOption = Annotated[
    Path | None,
    opt(
        "RUN",
        help="Run folder of the reference model for CE and relative CE, on the same data.",
    ),
]
ModeOption = Annotated[
    Mode | None,
    opt(
        "",
        help="Corrupt as the paper describes, or as the authors' released code does, "
        "mistakes included. By default, the mode that the benchmark sets.",
        default=False,
    ),
]
LabelsOption = Annotated[
    Path | None,
    opt(
        "PATH", help="Labels file, for a folder without class subfolders or an .npy of images."
    ),
]
BackgroundOption = Annotated[
    str | None,
    opt(
        "COLOUR",
        help="Colour behind transparent images, such as white or #808080.",
        default="white",
    ),
]
LimitOption = Annotated[
    int | None,
    opt(
        "N", help="Use N images only, of all classes in equal proportion, chosen by their ids."
    ),
]
IdsOption = Annotated[
    Path | None, opt("PATH", "--ids", help="Use only the images whose ids this file lists.")
]
ResizeOption = Annotated[int | None, opt("N", help="Resize the shorter side to N pixels.")]
CropOption = Annotated[int | None, opt("N", help="Crop the central N × N pixels.")]
ConfidenceOption = Annotated[float, opt("P", help="Confidence level of the intervals.")]
ResamplesOption = Annotated[int, opt("N", help="Number of bootstrap resamples.")]
BootstrapSeedOption = Annotated[int, opt("N", help="Random seed of the bootstrap.")]


def parse_numbers(option: str, text: str, kind: type[NumberT]) -> tuple[NumberT, ...]:
    """A comma-separated list of numbers.

    Raises:
        InputError: A part is not a number of this kind.

    >>> parse_numbers("--seeds", "0,1,2", int)
    (0, 1, 2)
    """
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        noun, example = (
            ("whole numbers", "0,1,2") if kind is int else ("numbers", "0.5,0.5,0.5")
        )
        raise InputError(
            f"'{text}' is not a list of {noun}",
            where=option,
            remedy=f"Use a value such as {example}.",
        ) from error
