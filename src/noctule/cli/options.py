"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from noctule.errors import InputError

NumberT = TypeVar("NumberT", int, float)


def names_in(folder: str) -> Callable[[str], list[str]]:
    """Completes the names of noctule's own TOML files in a folder, without loading anything."""

    def complete(incomplete: str) -> list[str]:
        names = sorted(path.name for path in (files("noctule") / folder).iterdir())
        stems = (name.removesuffix(".toml") for name in names if name.endswith(".toml"))
        return [stem for stem in stems if stem.startswith(incomplete)]

    return complete


def arg(
    metavar: str,
    *,
    help: str | None = None,
    default: str | bool = True,
    complete: Callable[[str], list[str]] | None = None,
) -> Any:
    """An argument of a command.

    Args:
        metavar: Its name in the help, in capitals.
        help: Its help; None if the command's docstring describes it under "Args:".
        default: The default as the help shows it; True shows the value.
        complete: Gives the values that a shell completes what is typed to.
    """
    return typer.Argument(
        metavar=metavar, help=help, show_default=default, autocompletion=complete
    )


def opt(
    metavar: str = "",
    *names: str,
    help: str | None = None,
    default: str | bool = True,
    min: int | None = None,
    complete: Callable[[str], list[str]] | None = None,
) -> Any:
    """An option of a command, as `arg`; flags and choices need no metavar."""
    return typer.Option(
        *names,
        metavar=metavar or None,
        help=help,
        show_default=default,
        min=min,
        autocompletion=complete,
    )


DRY_RUN = "Everything is checked, and nothing is written. The command would compute:"
Format = Literal["table", "csv", "markdown", "latex"]
Mode = Literal["paper", "released"]

RunArgument = Annotated[Path, arg("RUN", help="Folder of a finished run.")]
BenchmarkArgument = Annotated[
    str,
    arg(
        "BENCHMARK",
        help="Name from `noctule list benchmarks`, or path of a TOML file.",
        complete=names_in("benchmarks"),
    ),
]
DryRunOption = Annotated[
    bool,
    opt("", "--dry-run", help="Check everything and print the plan; write nothing."),
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
CorruptionsOption = Annotated[
    str | None,
    opt("NAMES", help="Evaluate only these corruptions of the benchmark, such as fog,snow."),
]
SeveritiesOption = Annotated[
    str | None,
    opt("NUMBERS", help="Evaluate only these severities of the benchmark, such as 1,3,5."),
]
SkipOption = Annotated[
    list[str] | None,
    opt("NAME", help="Leave out a corruption of the benchmark; may be repeated."),
]
RightLabelsOption = Annotated[
    Path | None,
    opt(
        "PATH", help="JSON file with several right labels per image, such as ReaL's real.json."
    ),
]
_DEVICE_HELP = (
    "Device such as cpu, cuda or cuda:1, or all for every GPU. Give it several times to start "
    "a process on each device; --device cpu --device cpu starts two on the CPU."
)


def device_option(default: str) -> Any:
    """The option --device; its default as the help shows it."""
    return opt("DEVICE", "--device", help=_DEVICE_HELP, default=default)


ResizeOption = Annotated[int | None, opt("N", help="Resize the shorter side to N pixels.")]
CropOption = Annotated[int | None, opt("N", help="Crop the central N × N pixels.")]
WeightsOption = Annotated[
    Path | None,
    opt("PATH", help="Local weights: a .safetensors file, or a .pt file without pickled code."),
]
WeightsKeyOption = Annotated[
    str | None,
    opt(
        "KEY",
        help="Entry of the weights file to load, such as state_dict_ema. By default, the plain "
        "weights, not a moving average of them.",
    ),
]
ClassesOption = Annotated[
    str | None,
    opt(
        "FILE",
        help="Names of the classes for CLIP and SigLIP, one per line, in the order of the "
        "data's classes; or a list in a package, such as open_clip:IMAGENET_CLASSNAMES.",
    ),
]
PromptsOption = Annotated[
    str | None,
    opt(
        "FILE",
        help="Prompts for CLIP and SigLIP, one per line, with {} for the name; or "
        "a list in a package, such as open_clip:OPENAI_IMAGENET_TEMPLATES; or one prompt.",
        default="'a photo of a {}.'",
    ),
]
ModelArgsOption = Annotated[
    str | None,
    opt(
        "JSON",
        help="Arguments of the function package.module:function, such as '{\"width\": 64}'.",
    ),
]
TrustOption = Annotated[
    bool,
    opt(
        "",
        "--trust",
        help="Trust a file that can run any code: a model file that is a program, or a study "
        "or trained network whose architecture is a function.",
    ),
]
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


def model_options(
    model: str | None,
    *,
    weights: Path | None = None,
    weights_key: str | None = None,
    model_args: str | None = None,
    trust: bool = False,
    classes: str | None = None,
    prompts: str | None = None,
) -> dict[str, Any]:
    """The keyword arguments of `load_classifier` that the options of a command set.

    Args:
        model: Name of the model; None if the command names none.
        weights, weights_key, model_args, trust, classes, prompts: The options, as given.

    Raises:
        InputError: There is no model for an option, or `model_args` is not a JSON object.

    >>> model_options("my.models:small", model_args='{"width": 64}')
    {'model_args': {'width': 64}}
    """
    options = {
        "weights": None if weights is None else str(weights),
        "weights_key": weights_key,
        "model_args": None if model_args is None else parse_model_args(model_args),
        "trust": trust or None,
        "classes": classes,
        "prompts": prompts,
    }
    options = {key: value for key, value in options.items() if value is not None}
    if options and model is None:
        option = f"--{next(iter(options)).replace('_', '-')}"
        raise InputError(
            "there is no model for it", where=option, remedy=f"Add --model, or omit {option}."
        )
    return options


def parse_model_args(text: str) -> dict[str, Any]:
    """The arguments in a JSON object.

    Raises:
        InputError: The text is something else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        value = f"not JSON: {error}"
    if not isinstance(value, dict):
        what = value if isinstance(value, str) else "not a JSON object"
        raise InputError(
            f"{text!r:.80} is {what}",
            where="--model-args",
            remedy="Use a JSON object, such as '{\"width\": 64}'.",
        )
    return value
