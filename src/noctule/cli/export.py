"""`noctule export` and `noctule verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from noctule.cli.app import EXIT_INTERRUPTED, EXIT_USER_ERROR, app
from noctule.cli.echo import echo, echo_message
from noctule.errors import InputError

if TYPE_CHECKING:
    from noctule.models import Preprocessing


@app.command()
def export(
    benchmark: Annotated[str, typer.Argument(help="Name, or path of a TOML file.")],
    data: Annotated[
        str,
        typer.Argument(help="An image folder, an .npz or .npy, torchvision:NAME, or embedded"),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write, new or begun before.")],
    mode: Annotated[
        Literal["paper", "released"] | None,
        typer.Option(
            help="What the paper says, or what the released code does, mistakes included; "
            "by default what the benchmark says: paper."
        ),
    ] = None,
    format: Annotated[
        Literal["png", "jpeg", "webdataset", "npy"],
        typer.Option("--format", "-f", help="png and npy equal live evaluation to the bit."),
    ] = "png",
    quality: Annotated[
        int | None, typer.Option(help="Of JPEG, 1 to 100; with webdataset, JPEG in shards.")
    ] = None,
    resize: Annotated[
        int | None,
        typer.Option(
            help="Shorter side after resizing, px; 0 keeps the size. By default 256, and 224 "
            "the crop, for photographs; small images and arrays are kept."
        ),
    ] = None,
    crop: Annotated[
        int | None, typer.Option(help="Side of the square centre crop, px.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Resize and crop as this model does, so that its rows on the stored images "
            "equal those of live evaluation. The model is not run."
        ),
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
    seed: Annotated[int, typer.Option(help="Chooses the corruptions' random numbers.")] = 0,
    processes: Annotated[int | None, typer.Option(help="By default one for each core.")] = None,
) -> None:
    """Write every image of a benchmark once, for any framework to read.

    A command that was stopped goes on where it was when it is given again. Given again on a
    finished set, it compares every file with its hash and writes damaged and missing ones anew.
    """
    from noctule.benchmarks import load_benchmark
    from noctule.data import open_dataset
    from noctule.report.progress import progress_bar
    from noctule.stored import export as export_all
    from noctule.stored.plan import refuse_nested

    spec = load_benchmark(benchmark)
    spec = spec if mode is None else spec.in_mode(mode)
    refuse_nested(Path(data).expanduser(), out)
    dataset = open_dataset(data, labels_file=labels, background=background)
    try:
        with progress_bar(f"exporting {dataset.name}") as advance:
            manifest = export_all(
                spec,
                dataset,
                out,
                format=format,
                quality=quality,
                preprocessing=_preprocessing(resize, crop, model),
                seed=seed,
                processes=processes,
                progress=advance,
            )
    except KeyboardInterrupt as error:
        echo_message(
            f"stopped. Finished pieces are kept in {out}; give the same command again to go on."
        )
        raise typer.Exit(EXIT_INTERRUPTED) from error
    height, width = manifest.image_px
    echo(
        f"{len(dataset)} images of {height} × {width} px under every condition of "
        f"{manifest.benchmark['name']}: {out}"
    )
    echo(f"Check them with: noctule verify {out}")


@app.command()
def verify(
    out: Annotated[Path, typer.Argument(help="What `noctule export` wrote.")],
    again: Annotated[
        int, typer.Option(help="Also make so many images again, and compare every pixel.")
    ] = 0,
) -> None:
    """Compare every file with its hash; exit status 2 if anything is wrong."""
    from noctule.report.progress import progress_bar
    from noctule.stored import verify as verify_all
    from noctule.stored.sums import AGAIN

    with progress_bar("hashing") as advance:
        found = verify_all(out, again=again, progress=advance)
    for kind in ("missing", "changed", "extra", "differing"):
        for name in getattr(found, kind):
            echo(f"{kind}: {name}")
    if not found.is_good:
        counts = ", ".join(
            f"{len(getattr(found, kind))} {kind}"
            for kind in ("missing", "changed", "extra", "differing")
        )
        cures = []
        if found.missing or found.changed:
            cures.append(AGAIN)
        if found.extra:
            cures.append("Remove the extra files.")
        remedy = " ".join(cures)
        echo_message(f"{out}: of {found.num_files} files {counts}. {remedy}")
        raise typer.Exit(EXIT_USER_ERROR)
    remade = f", {found.num_remade} images made again alike" if found.num_remade else ""
    echo(f"{found.num_files} files are as they were written{remade}.")


def _preprocessing(
    resize: int | None, crop: int | None, model: str | None
) -> Preprocessing | None:
    """What the command line says of it; None leaves it to the data."""
    from noctule.models import Preprocessing, load_classifier

    if model is not None:
        if resize is not None or crop is not None:
            raise InputError(
                "a model and a size are given",
                where="--model",
                remedy="Leave out --model, or --resize and --crop.",
            )
        classifier = load_classifier(model)
        classifier.warn_of_preprocessing()
        return classifier.preprocessing
    if resize is None and crop is None:
        return None
    return Preprocessing(
        resize_px=resize or None, crop_px=(crop, crop) if crop is not None else None
    )
