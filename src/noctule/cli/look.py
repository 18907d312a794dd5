"""`noctule show` and `noctule list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from noctule.cli.app import app
from noctule.errors import InputError


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
