"""`noctule show`, a sheet or a page, and `noctule list`."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from noctule.cli.app import app
from noctule.cli.echo import echo
from noctule.errors import InputError, NoctuleWarning, UnreadableImageError, unknown_name
from noctule.input_files import reject_special_files

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from noctule.benchmarks import Benchmark
    from noctule.models import Preprocessing
    from noctule.report.sheet import Tile


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
        Literal["paper", "released"] | None,
        typer.Option(help="What the paper says, or what the released code does."),
    ] = None,
    severity: Annotated[
        int | None, typer.Option(help="Only this severity of all corruptions, 1 to 5.")
    ] = None,
    overview: Annotated[
        bool, typer.Option(help="One image of each corruption, over its full range.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Chooses the random numbers.")] = 0,
    size_px: Annotated[
        int | None,
        typer.Option(help="Side of the images, without a model.", show_default="224"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Images of the size that this model sees. With --serve, its answers too, "
            "and photo-patches unless --size-px is given."
        ),
    ] = None,
    image_id: Annotated[
        str | None,
        typer.Option("--id", help="The image's id, on which its random numbers depend."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The PNG to write.", show_default="noctule.png"),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Open a local page instead, to try photographs on.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(help="Of the page; 0 is any free one.", show_default="8321 or the next"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Of the page's model: cpu, cuda; by default a GPU if any."),
    ] = None,
    open_browser: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = None,
) -> None:
    """Draw a contact sheet: a photograph under one or all corruptions, over the severities.

    With --serve, a page of this machine shows one image at a time beside the original, with
    a model's answers; photographs can be added there. Ctrl-C ends it.
    """
    if model is not None and size_px is not None:
        raise InputError(
            "contradicts --model", where="--size-px", remedy="A model has its own size."
        )
    chosen, names = _benchmark(corruption, benchmark, mode)
    if serve:
        _refuse({"--out": out, "--overview": overview or None, "--id": image_id}, "without")
        from noctule.cli.page import scene_of, serve_page, start_of

        found, image = _photograph(photo)
        viewer = scene_of(
            chosen,
            benchmark,
            (photo, found, image) if Path(photo).exists() else None,
            model=model if model or size_px is not None else "photo-patches",
            size_px=size_px,
            device=device,
        )
        start = start_of(viewer, photo, names[0], severity, seed)
        serve_page(viewer, start, port, open_browser is not False)
        return
    _refuse({"--port": port, "--device": device, "--open/--no-open": open_browser}, "with")
    _refuse_to_replace(photo, out or Path("noctule.png"))
    found, image = _photograph(photo)
    shown = _preprocessing(model, size_px).prepare(image)
    rows = _rows(shown, chosen, names, severity, overview, image_id or found, seed)
    _save(rows, out or Path("noctule.png"))
    what = names[0] if len(names) == 1 else f"{len(names)} corruptions"
    echo(f"{out or 'noctule.png'}: {image_id or found} under {what}")


@app.command(name="list")
def list_(
    what: Annotated[
        Literal["all", "corruptions", "benchmarks", "studies", "datasets", "models"],
        typer.Argument(help="What to list."),
    ] = "all",
) -> None:
    """List corruptions, benchmarks, studies, datasets and models."""
    from noctule.report.listings import listings

    echo(*(table for name, table in listings().items() if what in ("all", name)))


def _preprocessing(model: str | None, size_px: int | None) -> Preprocessing:
    from noctule.cli.page import square
    from noctule.models import load_classifier

    return square(size_px) if model is None else load_classifier(model).preprocessing


def _benchmark(
    name: str, benchmark: str | None, mode: Literal["paper", "released"] | None
) -> tuple[Benchmark, list[str]]:
    """The benchmark in the mode asked for, or one of all corruptions; and those to show."""
    from noctule.benchmarks import Benchmark, load_benchmark
    from noctule.corruptions import CORRUPTIONS, SEVERITIES

    if benchmark is not None:
        known = load_benchmark(benchmark)
    else:
        known = Benchmark(
            name="all",
            title="All corruptions",
            source="noctule",
            corruptions=tuple(CORRUPTIONS),
            severities=SEVERITIES,
        )
    if mode is not None:
        known = known.in_mode(mode)
    if name == "all":
        return known, list(known.corruptions)
    proper = CORRUPTIONS[name].name
    if proper not in known.corruptions:
        raise unknown_name("corruption", name, known.corruptions, where=benchmark)
    return known, [proper]


def _refuse(options: Mapping[str, object], when: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(
                "has no meaning here", where=name, remedy=f"Use it {when} --serve."
            )


def _rows(
    image: Tensor,
    benchmark: Benchmark,
    names: Sequence[str],
    severity: int | None,
    overview: bool,
    image_id: str,
    seed: int,
) -> list[list[Tile]]:
    from noctule.report import sheet

    applied = [sheet.Applied(name, benchmark) for name in names]
    if not overview and severity is None:
        return [
            sheet.severity_tiles(image, one, image_id=image_id, seed=seed) for one in applied
        ]
    tiles = sheet.overview_tiles(
        image, applied, image_id=image_id, seed=seed, severity=severity
    )
    return sheet.grid(tiles, columns=5)


def _save(rows: Sequence[Sequence[Tile]], out: Path) -> None:
    from noctule.report.sheet import contact_sheet
    from noctule.store.disk import output_errors, write_atomically

    buffer = io.BytesIO()
    contact_sheet(rows).save(buffer, format="PNG")
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, buffer.getvalue())


def _refuse_to_replace(photo: str, out: Path) -> None:
    """Refuse an output that is the photograph, or no image of an earlier command."""
    if not out.exists():
        return
    reject_special_files(out)
    with out.open("rb") as file:
        is_png = file.read(8) in (b"\x89PNG\r\n\x1a\n", b"")
    if not is_png or (Path(photo).exists() and out.samefile(photo)):
        raise InputError(
            "is the photograph" if is_png else "is there already, and is no PNG",
            where=out,
            remedy="Name another file, such as noctule.png.",
        )


def _photograph(photo: str) -> tuple[str, Image]:
    """(id, image) of a file, or of an embedded photograph."""
    from noctule.data.decode import COMPOSITED, decode_file
    from noctule.data.photo_patches import CLASS_NAMES, photograph

    path = Path(photo)
    if path.exists():
        # A name that is not UTF-8 has no bytes to hash.
        image_id = path.name.encode("utf-8", "backslashreplace").decode()
        try:
            image = decode_file(path, path.name)
        except UnreadableImageError as error:  # its remedy is one for a set of images
            raise InputError(
                f"cannot read this image: {error.reason}",
                where=error.where,
                remedy="Name another photograph.",
            ) from error
        if COMPOSITED in image.info:
            warnings.warn(
                f"{path}: a transparent image, shown on white", NoctuleWarning, stacklevel=2
            )
        return image_id, image
    if photo not in CLASS_NAMES:
        raise unknown_name("photograph or file", photo, CLASS_NAMES)
    return photo, photograph(photo)
