"""`noctule show`: a contact sheet, or a local page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from noctule.cli.app import app
from noctule.cli.echo import echo
from noctule.cli.help import Command
from noctule.cli.options import (
    ClassesOption,
    Mode,
    ModelArgsOption,
    ModeOption,
    PromptsOption,
    TrustOption,
    WeightsKeyOption,
    WeightsOption,
    arg,
    model_options,
    names_in,
    opt,
)
from noctule.errors import InputError, NoctuleWarning, UnreadableImageError, unknown_name
from noctule.input_files import reject_special_files

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from noctule.benchmarks import Benchmark
    from noctule.models import Preprocessing
    from noctule.report.sheet import SheetTile


@app.command(cls=Command)
def show(
    photo: Annotated[str, arg("PHOTO")] = "astronaut",
    corruption: Annotated[str, opt("NAME", "--corruption", "-c")] = "all",
    benchmark: Annotated[
        str | None, opt("NAME", "--benchmark", "-b", complete=names_in("benchmarks"))
    ] = None,
    mode: ModeOption = None,
    severity: Annotated[int | None, opt("N")] = None,
    overview: Annotated[bool, opt("", "--overview")] = False,
    seed: Annotated[int, opt("N")] = 0,
    size_px: Annotated[int | None, opt("N", default="224")] = None,
    model: Annotated[str | None, opt("NAME")] = None,
    weights: WeightsOption = None,
    weights_key: WeightsKeyOption = None,
    model_args: ModelArgsOption = None,
    trust: TrustOption = False,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    image_id: Annotated[str | None, opt("ID", "--id", default="the file name")] = None,
    out: Annotated[Path | None, opt("PATH", "--out", "-o", default="noctule.png")] = None,
    serve: Annotated[bool, opt("", "--serve")] = False,
    port: Annotated[int | None, opt("N", default="8321 or the next free port")] = None,
    device: Annotated[str | None, opt("DEVICE", default="a GPU if there is one")] = None,
    open_browser: Annotated[bool | None, opt("", "--open/--no-open")] = None,
) -> None:
    """Draw a contact sheet: a photograph under one or all corruptions, at every severity.

    With --serve, a local page shows one corrupted image beside its original, with a model's
    predictions. Photographs can be added on the page. Ctrl-C stops it.

    Args:
        photo: An image file, or a class of photo-patches.
        corruption: Corruption to show, or all.
        benchmark: Show the corruptions of this benchmark, with its severity tables.
        severity: Show only this severity, 1 to 5.
        overview: Show one image per corruption, drawn from its full range.
        seed: Random seed for the corruptions.
        size_px: Side of the images in pixels. Not allowed with --model.
        model: Show images at this model's input size. With --serve, also show its predictions;
            photo-patches is then the default unless --size-px is given.
        image_id: Image id, which determines the random numbers together with the seed.
        out: PNG to write.
        serve: Open an interactive local page instead.
        port: Port of the local page; 0 takes any free port.
        device: Device of the model on the local page, such as cpu or cuda.
        open_browser: Open the local page in a browser.
    """
    if model is not None and size_px is not None:
        raise InputError(
            "cannot be combined with --model", where="--size-px", remedy="Omit one of them."
        )
    loading = model_options(
        model,
        weights=weights,
        weights_key=weights_key,
        model_args=model_args,
        trust=trust,
        classes=classes,
        prompts=prompts,
    )
    chosen, names = _benchmark(corruption, benchmark, mode)
    if serve:
        _refuse({"--out": out, "--overview": overview or None, "--id": image_id}, "without")
        from noctule.cli.page import serve_page, start_values, viewer_config

        name, image = _photograph(photo)
        viewer = viewer_config(
            chosen,
            benchmark,
            (photo, name, image) if Path(photo).exists() else None,
            model=model if model or size_px is not None else "photo-patches",
            loading=loading,
            size_px=size_px,
            device=device,
        )
        start = start_values(viewer, photo, names[0], severity, seed)
        serve_page(viewer, start, port, open_browser is not False)
        return
    _refuse({"--port": port, "--device": device, "--open/--no-open": open_browser}, "with")
    _refuse_to_replace(photo, out or Path("noctule.png"))
    name, image = _photograph(photo)
    prepared = _preprocessing(model, loading, size_px).prepare(image)
    rows = _rows(prepared, chosen, names, severity, overview, image_id or name, seed)
    _save(rows, out or Path("noctule.png"))
    shown = names[0] if len(names) == 1 else f"{len(names)} corruptions"
    echo(
        f"{out or 'noctule.png'}: {image_id or name} under {shown}",
        data={"image": out or "noctule.png", "id": image_id or name, "corruptions": names},
    )


def _preprocessing(
    model: str | None, loading: dict[str, Any], size_px: int | None
) -> Preprocessing:
    from noctule.cli.page import square
    from noctule.models import load_classifier

    if model is None:
        return square(size_px)
    return load_classifier(model, **loading).preprocessing


def _benchmark(
    name: str, benchmark: str | None, mode: Mode | None
) -> tuple[Benchmark, list[str]]:
    """The benchmark, or one of all corruptions, in a mode; and the corruptions to show."""
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
                "is not allowed here", where=name, remedy=f"Use it {when} --serve."
            )


def _rows(
    image: Tensor,
    benchmark: Benchmark,
    names: Sequence[str],
    severity: int | None,
    overview: bool,
    image_id: str,
    seed: int,
) -> list[list[SheetTile]]:
    from noctule.report import sheet

    applied = [sheet.Applied(name, benchmark) for name in names]
    if not overview and severity is None:
        return [
            sheet.severity_tiles(image, corruption, image_id=image_id, seed=seed)
            for corruption in applied
        ]
    tiles = sheet.overview_tiles(
        image, applied, image_id=image_id, seed=seed, severity=severity
    )
    return sheet.grid(tiles, columns=5)


def _save(rows: Sequence[Sequence[SheetTile]], out: Path) -> None:
    from noctule.report.sheet import contact_sheet
    from noctule.store.disk import output_errors, write_atomically

    buffer = io.BytesIO()
    contact_sheet(rows).save(buffer, format="PNG")
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, buffer.getvalue())


def _refuse_to_replace(photo: str, out: Path) -> None:
    """Reject an output path that is the photograph, or a file other than a PNG."""
    if not out.exists():
        return
    reject_special_files(out)
    with out.open("rb") as file:
        is_png = file.read(8) in (b"\x89PNG\r\n\x1a\n", b"")
    if not is_png or (Path(photo).exists() and out.samefile(photo)):
        raise InputError(
            "is the photograph" if is_png else "exists and is not a PNG",
            where=out,
            remedy="Use another file, such as noctule.png.",
        )


def _photograph(photo: str) -> tuple[str, Image]:
    """(id, image) of a file, or of an embedded photograph."""
    from noctule.data.decode import COMPOSITED, decode_file
    from noctule.data.sources.photo_patches import CLASS_NAMES, photograph

    path = Path(photo)
    if path.exists():
        # The id is hashed as UTF-8, which a file name need not be.
        image_id = path.name.encode("utf-8", "backslashreplace").decode()
        try:
            image = decode_file(path, path.name)
        except UnreadableImageError as error:  # its remedy is for datasets
            raise InputError(
                f"cannot read this image: {error.reason}",
                where=error.where,
                remedy="Use another photograph.",
            ) from error
        if COMPOSITED in image.info:
            warnings.warn(
                f"{path}: transparent image, shown on a white background",
                NoctuleWarning,
                stacklevel=2,
            )
        return image_id, image
    if photo not in CLASS_NAMES:
        raise unknown_name("photograph or file", photo, CLASS_NAMES)
    return photo, photograph(photo)
