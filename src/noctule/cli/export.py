"""`noctule export` and `noctule verify`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noctule.cli.app import app
from noctule.cli.echo import EXIT_NO, echo, echo_failure, interruptible
from noctule.cli.help import Command
from noctule.cli.options import (
    DRY_RUN,
    BackgroundOption,
    BenchmarkArgument,
    ClassesOption,
    CropOption,
    DryRunOption,
    LabelsOption,
    ModelArgsOption,
    ModeOption,
    PromptsOption,
    TrustOption,
    WeightsKeyOption,
    WeightsOption,
    arg,
    device_option,
    model_options,
    opt,
)
from noctule.errors import InputError

if TYPE_CHECKING:
    from noctule.models import Preprocessing


@app.command(cls=Command)
def export(
    benchmark: BenchmarkArgument,
    data: Annotated[str, arg("DATA")],
    out: Annotated[Path, arg("FOLDER")],
    mode: ModeOption = None,
    format: Annotated[
        Literal["png", "jpeg", "webdataset", "npy"], opt("", "--format", "-f")
    ] = "png",
    quality: Annotated[int | None, opt("N")] = None,
    resize: Annotated[int | None, opt("N")] = None,
    crop: CropOption = None,
    model: Annotated[str | None, opt("NAME")] = None,
    weights: WeightsOption = None,
    weights_key: WeightsKeyOption = None,
    model_args: ModelArgsOption = None,
    trust: TrustOption = False,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    labels: LabelsOption = None,
    background: BackgroundOption = None,
    seed: Annotated[int, opt("N")] = 0,
    device: Annotated[list[str] | None, device_option("cpu")] = None,
    processes: Annotated[
        int | None, opt("N", default="one per device, or per CPU core without --device")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Write all corrupted images of a benchmark to disk, for use in any framework.

    If an export is interrupted, rerun the same command to resume it. Rerun on a finished
    folder, it checks every file against its hash and rewrites damaged and missing files.

    Args:
        data: Image folder, CSV list, archive, arrays, torchvision:NAME, or an embedded
            dataset. See `noctule list datasets`.
        out: Folder to write: a new one, or one from an earlier export.
        format: File format. Images stored as png or npy equal those of live evaluation bit for
            bit.
        quality: JPEG quality, 1 to 100. With webdataset, stores JPEG files in the shards.
        resize: Resize the shorter side to N pixels; 0 keeps the size. By default, photographs
            are resized to 256 and cropped to 224; small images and arrays keep their size.
        model: Resize and crop as this model does, so that its results on the stored images
            equal those of live evaluation. The model is not run.
        seed: Random seed for the corruptions.
        processes: Processes.
    """
    from noctule.benchmarks import load_benchmark
    from noctule.data import open_dataset
    from noctule.report.progress import progress_bar
    from noctule.stored import export as export_all
    from noctule.stored.plan import refuse_nested

    loading = model_options(
        model,
        weights=weights,
        weights_key=weights_key,
        model_args=model_args,
        trust=trust,
        classes=classes,
        prompts=prompts,
    )
    spec = load_benchmark(benchmark)
    spec = spec if mode is None else spec.in_mode(mode)
    refuse_nested(Path(data).expanduser(), out)
    dataset = open_dataset(data, labels_file=labels, background=background)
    message = f"Finished work is kept in {out}; rerun the same command to resume."
    with interruptible(message), progress_bar(f"exporting {dataset.name}") as advance:
        manifest = export_all(
            spec,
            dataset,
            out,
            format=format,
            quality=quality,
            preprocessing=_preprocessing(resize, crop, model, loading),
            seed=seed,
            devices=device or (),
            processes=processes,
            progress=advance,
            dry_run=dry_run,
        )
    height, width = manifest.image_px
    name, conditions = manifest.benchmark["name"], len(spec.conditions)
    stored = {"folder": out, "benchmark": name, "format": format, "seed": seed,
              "images": len(dataset), "conditions": conditions, "height_px": height,
              "width_px": width}  # fmt: skip
    what = f"{len(dataset):,} images of {height} × {width} px under every condition of {name}"
    if dry_run:
        stored["bytes_as_pixels"] = 3 * height * width * len(dataset) * conditions
        size = stored["bytes_as_pixels"] / 2**30
        count = len(dataset) * conditions
        echo(
            DRY_RUN,
            f"{out}: {what}, {count:,} in all, as {format}; {size:,.3g} GiB as pixels",
            data={"plan": stored},
        )
        return
    echo(f"{out}: {what}", f"Check the files with: noctule verify {out}", data=stored)


@app.command(cls=Command)
def verify(
    out: Annotated[Path, arg("FOLDER")],
    again: Annotated[int, opt("N")] = 0,
) -> None:
    """Check every exported file against its hash. Exits with status 1 on any mismatch.

    Args:
        out: Folder written by `noctule export`.
        again: Also corrupt N images again and compare every pixel.
    """
    from noctule.report.progress import progress_bar
    from noctule.stored import verify as verify_all
    from noctule.stored.manifest import AGAIN

    with progress_bar("hashing") as advance:
        result = verify_all(out, again=again, progress=advance)
    problems = {
        kind: getattr(result, kind) for kind in ("missing", "changed", "extra", "differing")
    }
    echo(
        *(f"{kind}: {name}" for kind, names in problems.items() for name in names),
        data={
            "folder": out,
            "files": result.num_files,
            "remade": result.num_remade,
            **problems,
        },
    )
    if not result.is_good:
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in problems.items())
        remedies = [AGAIN] if result.missing or result.changed else []
        remedies += ["Remove the extra files."] if result.extra else []
        echo_failure(f"{out}: of {result.num_files} files {counts}. {' '.join(remedies)}")
        raise typer.Exit(EXIT_NO)
    again_text = f"; {result.num_remade} images corrupted again, all identical"
    echo(f"{result.num_files} files unchanged{again_text if result.num_remade else ''}.")


def _preprocessing(
    resize: int | None, crop: int | None, model: str | None, loading: Mapping[str, Any] = {}
) -> Preprocessing | None:
    """The preprocessing that the options describe; None leaves it to the data."""
    from noctule.models import Preprocessing, load_classifier

    if model is not None:
        if resize is not None or crop is not None:
            raise InputError(
                "cannot be combined with --resize or --crop",
                where="--model",
                remedy="Omit --model, or omit --resize and --crop.",
            )
        classifier = load_classifier(model, **loading)
        classifier.warn_of_preprocessing()
        return classifier.preprocessing
    if resize is None and crop is None:
        return None
    return Preprocessing(
        resize_px=resize or None, crop_px=(crop, crop) if crop is not None else None
    )
