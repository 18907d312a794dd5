"""The command line: parse, call, print. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noctule._version import __version__
from noctule.errors import InputError, NoctuleError

if TYPE_CHECKING:
    from noctule.models import Classifier
    from noctule.store import RunStore

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Measure how image classifiers stand up to common corruptions.",
)

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


Format = Literal["table", "csv", "json", "markdown", "latex"]
FormatOption = Annotated[
    Format, typer.Option("--format", "-f", help="How to print the scores.")
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(help="Run folder of the model that CE is relative to, on the same data."),
]


def main() -> None:
    """Run the program; user errors go to stderr without a traceback, with exit status 2."""
    try:
        app()
    except NoctuleError as error:
        typer.echo(f"noctule: {error}", err=True)
        sys.exit(EXIT_USER_ERROR)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"noctule {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    del version


@app.command()
def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="torchvision:NAME, timm:NAME, package.module:function, or shipped"),
    ] = "photo-patches",
    data: Annotated[
        str,
        typer.Argument(help="An image folder, an .npz or .npy, torchvision:NAME, or embedded"),
    ] = "photo-patches",
    benchmark: Annotated[
        str, typer.Option("--benchmark", "-b", help="Name, or path of a TOML file.")
    ] = "imagenet-noc",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; by default one under runs/.")
    ] = None,
    reference: ReferenceOption = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Local weights: .safetensors, or .pt without pickled code."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels file for a flat folder or an .npy of images.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the corruptions' random numbers.")] = 0,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1; by default a GPU if any.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per forward pass.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode images.")] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="float32 on CPU, bfloat16 on GPU."),
    ] = None,
    on_unreadable: Annotated[
        Literal["stop", "skip"], typer.Option(help="For images that cannot be decoded.")
    ] = "stop",
    self_check: Annotated[bool, typer.Option(help="Look at a part of the data first.")] = True,
    resize: Annotated[int | None, typer.Option(help="Shorter side after resizing, px.")] = None,
    crop: Annotated[
        int | None, typer.Option(help="Side of the square centre crop, px.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Normalisation, as 0.485,0.456,0.406.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="Normalisation, as 0.229,0.224,0.225.")
    ] = None,
    format: FormatOption = "table",
) -> None:
    """Run a classifier over a benchmark: error, CE and mCE, with intervals.

    A run that was stopped goes on where it was when the same command is given again.
    """
    from noctule.benchmarks import load_benchmark
    from noctule.data import open_dataset
    from noctule.evaluation import Settings, default_folder, identify, run_benchmark
    from noctule.report.progress import progress_bar
    from noctule.scoring import check_reference, score_run
    from noctule.store import RunStore

    spec = load_benchmark(benchmark)
    dataset = open_dataset(data, labels_file=labels)
    classifier = _with_preprocessing(_classifier(model, weights), resize, crop, mean, std)
    settings = Settings(
        seed=seed,
        device=device,
        batch_size=batch_size,
        workers=workers,
        precision=precision,
        on_unreadable=on_unreadable,
        self_check=self_check,
    )
    identity = identify(classifier, dataset, spec, settings)
    folder = out or default_folder(identity)
    other = RunStore.open(reference) if reference else None
    if other:
        check_reference(RunStore(folder, identity), other)
        other.rows(columns=["label"])  # raises now if that run is unfinished
    try:
        with progress_bar(f"{classifier.name} on {dataset.name}") as advance:
            store = run_benchmark(
                classifier, dataset, spec, out=folder, settings=settings, progress=advance
            )
    except KeyboardInterrupt as error:
        typer.echo(f"noctule: stopped. Finished slices are kept in {folder}; "
                   "give the same command again to go on.", err=True)  # fmt: skip
        raise typer.Exit(EXIT_INTERRUPTED) from error
    _print_scores(store, format, score_run(store, reference=other))


@app.command()
def metrics(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    reference: ReferenceOption = None,
    format: FormatOption = "table",
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 1000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Score a finished run again from its stored rows; no model is run."""
    from noctule.scoring import score_run
    from noctule.store import RunStore

    store = RunStore.open(run)
    scores = score_run(
        store, reference=reference, seed=seed, resamples=resamples, confidence=confidence
    )
    _print_scores(store, format, scores)


@app.command()
def show(
    photo: Annotated[
        str, typer.Argument(help="An image file, or a class of photo-patches.")
    ] = "astronaut",
    corruption: Annotated[
        str, typer.Option("--corruption", "-c", help="One name, or all.")
    ] = "all",
    level: Annotated[
        int | None, typer.Option(help="Only this level of all corruptions, 1 to 5.")
    ] = None,
    overview: Annotated[
        bool, typer.Option(help="One picture of each corruption, over its full range.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.")] = 0,
    size_px: Annotated[int, typer.Option(help="Side of the pictures.")] = 224,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path(
        "noctule.png"
    ),
) -> None:
    """Draw a contact sheet: a photograph under one or all corruptions, over the levels."""
    from noctule.corruptions import CORRUPTIONS
    from noctule.models import Preprocessing
    from noctule.report import sheet

    names = list(CORRUPTIONS) if corruption == "all" else [CORRUPTIONS[corruption].name]
    prepare = Preprocessing(resize_px=size_px, crop_px=(size_px, size_px))
    image_id, image = _photograph(photo)
    picture = prepare.picture(image)
    if overview or level is not None:
        tiles = sheet.overview_tiles(picture, names, image_id=image_id, seed=seed, level=level)
        rows = sheet.grid(tiles, columns=5)
    else:
        rows = [sheet.level_tiles(picture, one, image_id=image_id, seed=seed) for one in names]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.contact_sheet(rows).save(out, format="PNG")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", where=out) from error
    what = names[0] if len(names) == 1 else f"{len(names)} corruptions"
    typer.echo(f"{out}: {image_id} under {what}")


@app.command(name="list")
def list_(
    what: Annotated[
        Literal["all", "corruptions", "benchmarks", "datasets", "models"],
        typer.Argument(help="What to list."),
    ] = "all",
) -> None:
    """List corruptions, benchmarks, datasets and models."""
    from rich.console import Console

    from noctule.report.listings import listings

    console = Console(markup=False, highlight=False)
    for name, table in listings().items():
        if what in ("all", name):
            console.print(table)


def _classifier(model: str, weights: Path | None) -> Classifier:
    from noctule.models import load_classifier

    return load_classifier(model, weights=weights)


def _with_preprocessing(
    classifier: Classifier,
    resize: int | None,
    crop: int | None,
    mean: str | None,
    std: str | None,
) -> Classifier:
    """The classifier with what the command line says of its preprocessing."""
    from dataclasses import replace

    changes: dict[str, Any] = {}
    if resize is not None:
        changes["resize_px"] = resize
    if crop is not None:
        changes["crop_px"] = (crop, crop)
    if mean is not None:
        changes["mean"] = _numbers("--mean", mean)
    if std is not None:
        changes["std"] = _numbers("--std", std)
    if not changes:
        return classifier
    return replace(classifier, preprocessing=replace(classifier.preprocessing, **changes))


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"'{text}' is not numbers", where=option, remedy="Use such as 0.5,0.5,0.5."
        ) from error


def _photograph(photo: str) -> tuple[str, Any]:
    """(id, PIL image) of a file, or of an embedded photograph."""
    from noctule.data.decode import decode_file
    from noctule.data.photo_patches import PhotoPatches, photograph
    from noctule.errors import unknown_name

    path = Path(photo)
    if path.exists():
        return path.name, decode_file(path, path.name)
    known = PhotoPatches("test").class_names
    if photo not in known:
        raise unknown_name("photograph or file", photo, known)
    return photo, photograph(photo)


def _print_scores(store: RunStore, format: Format, scores: Any) -> None:
    from noctule.report import tables

    model, data = store.identity.model["name"], store.identity.dataset["name"]
    title = f"{model} on {data}, {store.identity.benchmark['title']}"
    if format == "table":
        from rich.console import Console

        console = Console(highlight=False)
        console.print(tables.rich_table(tables.score_table(scores, title)))
        console.print(f"Rows and provenance: {store.folder}", markup=False)
    else:
        typer.echo(tables.render(scores, format, title=title), nl=False)
    if skipped := store.unreadable():
        typer.echo(
            f"noctule: {len(skipped)} images could not be read and are not counted, the first "
            f"'{skipped[0][0]}': {skipped[0][1]}",
            err=True,
        )
