"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["table", "csv", "json", "markdown", "latex"]
Mode = Literal["paper", "released"]

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
BenchmarkArgument = Annotated[
    str,
    typer.Argument(
        metavar="BENCHMARK",
        help="Name from `noctule list benchmarks`, or path of a TOML file.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="Output format.")]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Run folder of the reference model for CE and relative CE, on the same data.",
    ),
]
ModeOption = Annotated[
    Mode | None,
    typer.Option(
        help="Corrupt as the paper describes, or as the authors' released code does, mistakes "
        "included. By default, the mode that the benchmark sets.",
        show_default=False,
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Labels file, for a folder without class subfolders or an .npy of images.",
    ),
]
BackgroundOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLOUR",
        help="Colour behind transparent images, such as white or #808080.",
        show_default="white",
    ),
]
ResizeOption = Annotated[
    int | None, typer.Option(metavar="N", help="Resize the shorter side to N pixels.")
]
CropOption = Annotated[
    int | None, typer.Option(metavar="N", help="Crop the central N × N pixels.")
]
ConfidenceOption = Annotated[
    float, typer.Option(metavar="P", help="Confidence level of the intervals.")
]
ResamplesOption = Annotated[
    int, typer.Option(metavar="N", help="Number of bootstrap resamples.")
]
BootstrapSeedOption = Annotated[
    int, typer.Option(metavar="N", help="Random seed of the bootstrap.")
]
