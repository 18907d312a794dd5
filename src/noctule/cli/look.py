"""`noctule show` and `noctule list`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noctule.cli.app import app
from noctule.errors import InputError, unknown_name

if TYPE_CHECKING:
    from noctule.corruptions import Corruption


@app.command()
def show(
    photo: Annotated[
        str, typer.Argument(help="An image file, or a class of photo-patches.")
    ] = "astronaut",
    corruption: Annotated[
        str, typer.Option("--corruption", "-c", help="One name, or all.")
    ] = "all",
    benchmark: Annotated[
        str | None,
        typer.Option("--benchmark", "-b", help="A benchmark's corruptions, with its tables."),
    ] = None,
    mode: Annotated[
        Literal["corrected", "published"] | None,
        typer.Option(help="What the paper says, or what the released code does."),
    ] = None,
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
    from noctule.models import Preprocessing
    from noctule.report import sheet

    chosen = _corruptions(corruption, benchmark, mode)
    prepare = Preprocessing(resize_px=size_px, crop_px=(size_px, size_px))
    image_id, image = _photograph(photo)
    picture = prepare.picture(image)
    if overview or level is not None:
        tiles = sheet.overview_tiles(picture, chosen, image_id=image_id, seed=seed, level=level)
        rows = sheet.grid(tiles, columns=5)
    else:
        rows = [sheet.level_tiles(picture, one, image_id=image_id, seed=seed) for one in chosen]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.contact_sheet(rows).save(out, format="PNG")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", where=out) from error
    what = chosen[0].name if len(chosen) == 1 else f"{len(chosen)} corruptions"
    typer.echo(f"{out}: {image_id} under {what}")


@app.command(name="list")
def list_(
    what: Annotated[
        Literal["all", "corruptions", "benchmarks", "studies", "datasets", "models"],
        typer.Argument(help="What to list."),
    ] = "all",
) -> None:
    """List corruptions, benchmarks, studies, datasets and models."""
    from rich.console import Console

    from noctule.report.listings import listings

    console = Console(markup=False, highlight=False)
    for name, table in listings().items():
        if what in ("all", name):
            console.print(table)


def _corruptions(
    name: str, benchmark: str | None, mode: Literal["corrected", "published"] | None
) -> list[Corruption]:
    """One or all, of a benchmark if one is named, in the mode asked for."""
    from noctule.benchmarks import load_benchmark
    from noctule.corruptions import CORRUPTIONS

    known: Mapping[str, Corruption] = CORRUPTIONS
    if benchmark is not None:
        known = load_benchmark(benchmark).bound
    if name != "all":
        proper = CORRUPTIONS[name].name
        if proper not in known:
            raise unknown_name("corruption", name, known, where=benchmark)
        known = {proper: known[proper]}
    return [one if mode is None else one.in_mode(mode) for one in known.values()]


def _photograph(photo: str) -> tuple[str, Any]:
    """(id, PIL image) of a file, or of an embedded photograph."""
    from noctule.data.decode import decode_file
    from noctule.data.photo_patches import PhotoPatches, photograph

    path = Path(photo)
    if path.exists():
        return path.name, decode_file(path, path.name)
    known = PhotoPatches("test").class_names
    if photo not in known:
        raise unknown_name("photograph or file", photo, known)
    return photo, photograph(photo)
