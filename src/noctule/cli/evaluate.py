"""`noctule evaluate` and `noctule metrics`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noctule.cli.app import EXIT_INTERRUPTED, app
from noctule.cli.echo import echo, echo_message, echo_text
from noctule.errors import InputError
from noctule.formulas import FORMULAS

if TYPE_CHECKING:
    from noctule.benchmarks import Benchmark
    from noctule.data import Dataset
    from noctule.models import Classifier
    from noctule.store import RunStore
    from noctule.stored import StoredSet

Format = Literal["table", "csv", "json", "markdown", "latex"]
FormatOption = Annotated[
    Format, typer.Option("--format", "-f", help="How to print the scores.")
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(help="Run folder of the model that CE is relative to, on the same data."),
]


SCORES = (
    "Scores, with E_c the mean error over the severities of a corruption:\n\n"
    + "\n\n".join(FORMULAS.values())
)


@app.command(epilog=SCORES)
def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="torchvision:NAME, timm:NAME, package.module:function, or shipped"),
    ] = "photo-patches",
    data: Annotated[
        str | None,
        typer.Argument(
            help="An image folder, an .npz or .npy, torchvision:NAME, or embedded",
            show_default="photo-patches",
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark",
            "-b",
            help="Name, or path of a TOML file.",
            show_default="imagenet-noc",
        ),
    ] = None,
    stored: Annotated[
        Path | None,
        typer.Option(
            help="Corrupted images on disk: ImageNet-C, CIFAR-10-C, or a folder written by "
            "noctule export. DATA is the clean images then, where the folder has none."
        ),
    ] = None,
    mode: Annotated[
        Literal["paper", "released"] | None,
        typer.Option(
            help="What the paper says, or what the released code does, mistakes included; "
            "by default what the benchmark says: paper."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; by default one under runs/.")
    ] = None,
    reference: ReferenceOption = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Local weights: .safetensors, or .pt without pickled code."),
    ] = None,
    weights_key: Annotated[
        str | None,
        typer.Option(
            help="Which weights of the file, such as state_dict_ema; by default the plain ones."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What tables and the run folder call the model.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels file for a flat folder or an .npy of images.")
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            help="Colour behind transparent images, as white or #808080.", show_default="white"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Chooses the corruptions' random numbers; of --stored they are chosen.",
            show_default="0",
        ),
    ] = None,
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
    """Run a classifier over a benchmark: errors, mCE and relative mCE, with intervals.

    A run that was stopped goes on where it was when the same command is given again.
    """
    from noctule.evaluation.loop import Settings, default_folder, identify, run_benchmark
    from noctule.report.progress import progress_bar
    from noctule.scoring import open_reference, score_run
    from noctule.store import RunStore
    from noctule.stored import StoredSet, identify_stored, run_stored

    dataset, spec = _images(data, labels, background, benchmark, mode, stored)
    if isinstance(dataset, StoredSet):
        _check_seed(seed, dataset)
    classifier = _with_preprocessing(
        _classifier(model, weights, weights_key, name), resize, crop, mean, std
    )
    settings = Settings(
        seed=seed or 0,
        device=device,
        batch_size=batch_size,
        workers=workers,
        precision=precision,
        on_unreadable=on_unreadable,
        self_check=self_check,
    )
    if isinstance(dataset, StoredSet):
        identity = identify_stored(classifier, dataset, settings)
    else:
        identity = identify(classifier, dataset, spec, settings)
    folder = out or default_folder(identity)
    other = open_reference(reference, RunStore(folder, identity)) if reference else None
    try:
        with progress_bar(f"{classifier.name} on {dataset.name}") as advance:
            if isinstance(dataset, StoredSet):
                store = run_stored(
                    classifier, dataset, out=folder, settings=settings, progress=advance
                )
            else:
                store = run_benchmark(
                    classifier, dataset, spec, out=folder, settings=settings, progress=advance
                )
    except KeyboardInterrupt as error:
        echo_message(
            f"stopped. Finished slices are kept in {folder}; "
            "give the same command again to go on."
        )
        raise typer.Exit(EXIT_INTERRUPTED) from error
    _print_scores(store, format, score_run(store, reference=other))


@app.command(epilog=SCORES)
def metrics(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    reference: ReferenceOption = None,
    format: FormatOption = "table",
    resamples: Annotated[
        int, typer.Option(help="Bootstrap resamples for the calibration error.")
    ] = 1000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Score a finished run again from its stored rows; no model is run."""
    from noctule.scoring import score_run
    from noctule.store import RunStore

    store = RunStore.open(run)
    scores = score_run(
        store, reference=reference, seed=seed, resamples=resamples, confidence=confidence
    )
    _print_scores(store, format, scores)


def _images(
    data: str | None,
    labels: Path | None,
    background: str | None,
    benchmark: str | None,
    mode: Literal["paper", "released"] | None,
    stored: Path | None,
) -> tuple[Dataset, Benchmark]:
    """What is evaluated, and under which conditions."""
    from noctule.benchmarks import load_benchmark
    from noctule.data import open_dataset
    from noctule.stored import open_stored

    spec = None
    if stored is None or benchmark is not None:
        spec = load_benchmark("imagenet-noc" if benchmark is None else benchmark)
        spec = spec if mode is None else spec.in_mode(mode)
    if stored is None:
        assert spec is not None
        name = "photo-patches" if data is None else data
        return open_dataset(name, labels_file=labels, background=background), spec
    for option, value in (("--labels", labels), ("--background", background)):
        if data is None and value is not None:
            raise InputError(
                "there is no DATA for it to go with",
                where=option,
                remedy=f"Name the uncorrupted images, or leave {option} out.",
            )
    clean = (
        None if data is None else open_dataset(data, labels_file=labels, background=background)
    )
    found = open_stored(stored, spec, clean)
    if mode not in (None, found.benchmark.mode):
        raise InputError(
            f"is in mode '{found.benchmark.mode}', not '{mode}'",
            where=stored,
            remedy="Leave --mode out, or export it in that mode.",
        )
    return found, found.benchmark


def _check_seed(seed: int | None, stored: StoredSet) -> None:
    """Refuse a seed that the images on disk were not made with."""
    own = None if stored.manifest is None else stored.manifest.seed
    if seed in (None, own):
        return
    made = "were published, with no seed" if own is None else f"were made with seed {own}"
    raise InputError(
        f"the images of {stored.name} {made}, not {seed}",
        where="--seed",
        remedy="Leave --seed out, or export with that seed.",
    )


def _classifier(
    model: str, weights: Path | None, weights_key: str | None, name: str | None
) -> Classifier:
    from noctule.models import load_classifier

    return load_classifier(model, weights=weights, weights_key=weights_key).named(name)


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
    note = classifier.preprocessing_note
    return replace(
        classifier,
        preprocessing=replace(classifier.preprocessing, **changes),
        preprocessing_note=note
        and "Images are prepared as the options say, and otherwise as "
        "the network's own preprocessing or noctule's default does",
    )


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"'{text}' is not numbers", where=option, remedy="Use such as 0.5,0.5,0.5."
        ) from error


def _print_scores(store: RunStore, format: Format, scores: Any) -> None:
    from noctule.report import tables

    model, data = store.identity.model_title, store.identity.dataset["name"]
    title = f"{model} on {data}, {store.identity.benchmark['title']}"
    if store.identity.benchmark.get("mode") == "released":
        title += ", as published"
    if format == "table":
        echo(tables.score_table(scores, title), f"Rows and provenance: {store.folder}")
    else:
        echo_text(tables.render(scores, format, title=title))
    if skipped := store.unreadable():
        echo_message(
            f"{len(skipped)} images could not be read and are not counted, the first "
            f"'{skipped[0][0]}': {skipped[0][1]}"
        )
