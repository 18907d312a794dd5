"""`noctule evaluate` and `noctule metrics`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from noctule.cli.app import app
from noctule.cli.echo import (
    echo,
    echo_message,
    echo_text,
    echo_warning,
    interruptible,
    session,
)
from noctule.cli.help import Command
from noctule.cli.options import (
    DRY_RUN,
    BackgroundOption,
    BootstrapSeedOption,
    ClassesOption,
    ConfidenceOption,
    CorruptionsOption,
    CropOption,
    DryRunOption,
    Format,
    FormatOption,
    IdsOption,
    LabelsOption,
    LimitOption,
    Mode,
    ModelArgsOption,
    ModeOption,
    PromptsOption,
    ReferenceOption,
    ResizeOption,
    RightLabelsOption,
    RunArgument,
    SeveritiesOption,
    SkipOption,
    TrustOption,
    WeightsKeyOption,
    WeightsOption,
    arg,
    device_option,
    model_options,
    names_in,
    opt,
    parse_numbers,
)
from noctule.errors import InputError, NoctuleWarning
from noctule.metrics import METRICS

if TYPE_CHECKING:
    from noctule.benchmarks import Benchmark, Selection
    from noctule.data import Dataset
    from noctule.evaluation.loop import Fill
    from noctule.evaluation.sharing import Rank, Shard
    from noctule.evaluation.sources import ImageSource
    from noctule.models import Classifier
    from noctule.remote import AnyPath
    from noctule.store import RunStore
    from noctule.stored import StoredSet

SCORES = (
    "Scores, where E_c is the mean error over the severities of corruption c:\n\n"
    + "\n\n".join(one.formula for one in METRICS.loaded().values())
)


@app.command(cls=Command, epilog=SCORES)
def evaluate(
    model: Annotated[str | None, arg("MODEL", default="photo-patches")] = None,
    data: Annotated[str | None, arg("DATA", default="photo-patches")] = None,
    benchmark: Annotated[
        str | None,
        opt(
            "NAME", "--benchmark", "-b", default="imagenet-noc", complete=names_in("benchmarks")
        ),
    ] = None,
    stored: Annotated[Path | None, opt("PATH")] = None,
    mode: ModeOption = None,
    corruptions: CorruptionsOption = None,
    severities: SeveritiesOption = None,
    skip: SkipOption = None,
    out: Annotated[Path | None, opt("PATH", "--out", "-o", default="under runs/")] = None,
    reference: ReferenceOption = None,
    weights: WeightsOption = None,
    weights_key: WeightsKeyOption = None,
    model_args: ModelArgsOption = None,
    trust: TrustOption = False,
    classes: ClassesOption = None,
    prompts: PromptsOption = None,
    name: Annotated[str | None, opt("NAME")] = None,
    labels: LabelsOption = None,
    background: BackgroundOption = None,
    limit: LimitOption = None,
    ids: IdsOption = None,
    right_labels: RightLabelsOption = None,
    protocol: Annotated[str | None, opt("NAME")] = None,
    class_map: Annotated[str | None, opt("NAME")] = None,
    models: Annotated[Path | None, opt("FILE")] = None,
    models_at_once: Annotated[int | None, opt("N", default="all that fit")] = None,
    seed: Annotated[int | None, opt("N", default="0")] = None,
    device: Annotated[list[str] | None, device_option("a GPU if there is one")] = None,
    shard: Annotated[str | None, opt("K/N")] = None,
    on: Annotated[str | None, opt("CLUSTER")] = None,
    batch_size: Annotated[int | None, opt("N", default="32 on a CPU, 256 on a GPU")] = None,
    workers: Annotated[int | None, opt("N", default="one per CPU core, at most 8")] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        opt(default="float32 on a CPU, bfloat16 on a GPU"),
    ] = None,
    on_unreadable: Annotated[Literal["stop", "skip"], opt("ACTION")] = "stop",
    self_check: Annotated[bool, opt()] = True,
    cache: Annotated[Path | None, opt("PATH")] = None,
    resize: ResizeOption = None,
    crop: CropOption = None,
    interpolation: Annotated[str | None, opt("FILTER")] = None,
    image_mode: Annotated[Literal["RGB", "L"] | None, opt()] = None,
    mean: Annotated[str | None, opt("R,G,B")] = None,
    std: Annotated[str | None, opt("R,G,B")] = None,
    outputs: Annotated[
        Literal["logits", "probabilities"] | None, opt(default="recognised")
    ] = None,
    format: FormatOption = "table",
    dry_run: DryRunOption = False,
) -> None:
    """Evaluate a classifier on a benchmark: error, mCE and relative mCE, with 95 % CIs.

    If a run is interrupted, rerun the same command to resume it.

    Args:
        model: photo-patches, torchvision:NAME, timm:NAME, or package.module:function. See
            `noctule list models`.
        data: Image folder, CSV list, archive, arrays, torchvision:NAME, or an embedded
            dataset. See `noctule list datasets`.
        benchmark: Name from `noctule list benchmarks`, or path of a TOML file.
        stored: Evaluate corrupted images on disk: ImageNet-C, CIFAR-10-C, a folder written by
            `noctule export`, or any NAME/SEVERITY/CLASS/IMAGE or NAME/CLASS/IMAGE. Pass DATA
            only if the folder has no clean images; DATA then supplies them.
        out: Run folder, or an address such as s3://bucket/run.
        name: Name of the model in tables and the run folder.
        protocol: How to score a model with more classes than DATA: 1000-way (all of its 1000
            classes compete) or restricted (those of DATA only). Classes are matched by WordNet
            id or name.
        class_map: Classes of the model that belong to each class of DATA: laion-c, objectnet,
            or a JSON or CSV file. Probabilities are summed.
        models: TOML file with many models, in place of MODEL; those with equal preprocessing
            share decoded and corrupted images. Run folders are named after them, under --out.
        models_at_once: Largest number of models on the device at the same time.
        seed: Random seed for the corruptions. Not allowed with --stored, whose images are
            fixed.
        shard: Compute part K of N only, as in a job array. The part that finishes last prints
            the scores.
        on: Compute on a Ray cluster: ray (the one of RAY_ADDRESS, or this machine), or
            ray://HOST:PORT. All its machines must see the run folder and the data.
        batch_size: Images per forward pass.
        workers: Processes that decode image files. Arrays need none.
        precision: Precision of the forward pass.
        on_unreadable: What to do with images that cannot be decoded.
        self_check: Run sanity checks on a sample of the data first.
        cache: Folder for decoded and cropped images. A second model with equal preprocessing
            decodes none.
        interpolation: Filter for resizing: nearest, bilinear, bicubic, lanczos, box or hamming.
        image_mode: Colour or grey (L) images.
        mean: Normalization mean, such as 0.485,0.456,0.406; one number for grey images.
        std: Normalization standard deviation, such as 0.229,0.224,0.225.
        outputs: What the model returns.
    """
    from noctule.benchmarks import Selection
    from noctule.cli.models import Many
    from noctule.evaluation.machines import chosen_devices
    from noctule.evaluation.sharing import Shard, launched_rank

    numbers = None if severities is None else parse_numbers("--severities", severities, int)
    selection = Selection(corruptions, numbers, skip or None)
    loading = model_options(
        model or "photo-patches",
        weights=weights,
        weights_key=weights_key,
        model_args=model_args,
        trust=trust,
        classes=classes,
        prompts=prompts,
    )
    part, rank = Shard() if shard is None else Shard.parse(shard), launched_rank()
    if rank.number > 0:
        session.prints = False
        warnings.simplefilter("ignore", NoctuleWarning)  # rank 0 shows them
    devices = chosen_devices(device or [], rank)
    _check_cluster(on, devices, models)
    images = (data, labels, background, limit, ids, right_labels)
    corrupted = (benchmark, selection, mode, stored)
    settings = {
        "seed": seed,
        "batch_size": batch_size,
        "workers": workers,
        "precision": precision,
        "on_unreadable": on_unreadable,
        "self_check": self_check,
        "protocol": protocol,
        "class_map": class_map,
        "cache": cache,
    }
    network = (model or "photo-patches", loading, name, outputs)
    preprocessing = (resize, crop, interpolation, image_mode, mean, std)
    if models is not None:
        of_one = (model, *network[1:], *preprocessing)
        Many(models, models_at_once, devices, part, rank, out, reference, format).evaluate(
            images, corrupted, of_one, settings, dry_run=dry_run
        )
        return
    if models_at_once is not None:
        raise InputError(
            "there is one model", where="--models-at-once", remedy="Add --models, or omit it."
        )
    reopen = functools.partial(
        _source,
        images=images,
        corrupted=corrupted,
        network=network,
        preprocessing=preprocessing,
        settings=settings,
    )
    _evaluate_one(reopen, devices, part, rank, on, out, reference, format, dry_run=dry_run)


@app.command(cls=Command, epilog=SCORES)
def metrics(
    run: RunArgument,
    reference: ReferenceOption = None,
    format: FormatOption = "table",
    resamples: Annotated[int, opt("N")] = 1000,
    confidence: ConfidenceOption = 0.95,
    seed: BootstrapSeedOption = 0,
) -> None:
    """Recompute the scores of a finished run from its stored rows. The model is not run.

    Args:
        resamples: Bootstrap resamples for the calibration error.
    """
    from noctule.scoring import score_run
    from noctule.store import RunStore

    store = RunStore.open(run)
    scores = score_run(
        store, reference=reference, seed=seed, resamples=resamples, confidence=confidence
    )
    _print_scores(store, format, scores)


def _evaluate_one(
    reopen: Callable[[str], ImageSource],
    devices: Sequence[str],
    part: Shard,
    rank: Rank,
    on: str | None,
    out: Path | None,
    reference: Path | None,
    format: Format,
    *,
    dry_run: bool,
) -> None:
    """Evaluate one model, and print its scores."""
    from noctule.evaluation.loop import folder_of, run_images
    from noctule.scoring import score_run
    from noctule.store import RunStore
    from noctule.store.comparability import open_reference

    source = reopen(devices[0])
    classifier = source.classifier
    if rank.number == 0:
        _print_preprocessing(classifier)
    folder = folder_of(source.identity, out)
    planned = RunStore(folder, source.identity)
    reference_run = open_reference(reference, planned) if reference else None
    if dry_run:
        run_images(source, out=folder, dry_run=True)
        _print_plan(source, folder, devices)
        return
    fill = _filling(reopen, devices, on)
    store = _run(source, folder, part, fill, shows=rank.number == 0)
    if missing := len(store.missing_slices()):
        _print_missing(store, str(part), missing)
    elif rank.number == 0:
        _print_scores(store, format, score_run(store, reference=reference_run), is_new=True)


def _check_cluster(on: str | None, devices: Sequence[str], models: Path | None) -> None:
    """Check what can be checked of --on before anything is loaded."""
    if on is None:
        return
    from noctule.evaluation.ray_cluster import check_address
    from noctule.extras import require

    if models is not None:
        raise InputError(
            "several models are not evaluated on Ray",
            where="--on",
            remedy="Pass one MODEL in each command, or leave out --on.",
        )
    if len(devices) > 1:
        raise InputError(
            "Ray chooses the devices", where="--device", remedy="Pass cpu or cuda once."
        )
    require("ray")
    check_address(on)


def _filling(
    reopen: Callable[[str], ImageSource], devices: Sequence[str], on: str | None
) -> Fill | None:
    """How the run folder is filled; None for this process alone."""
    if on is None:
        from noctule.evaluation.machines import Processes

        return Processes(reopen, devices).fill if len(devices) > 1 else None
    from noctule.evaluation.ray_cluster import RayTasks

    return RayTasks(reopen, devices[0].partition(":")[0], on).fill


def _source(
    device: str,
    *,
    images: tuple[Any, ...],
    corrupted: tuple[Any, ...],
    network: tuple[Any, ...],
    preprocessing: tuple[Any, ...],
    settings: dict[str, Any],
) -> ImageSource:
    """The source of a run's images with its classifier, from the command's options.

    It depends on nothing else, so that every process of a run can open its own.
    """
    opened = open_images(images, corrupted, settings)
    return shown_to(_classifier(*network, *preprocessing), opened, device, settings)


def _classifier(
    model: str,
    loading: dict[str, Any],
    name: str | None,
    outputs: str | None,
    resize: int | None,
    crop: int | None,
    interpolation: str | None,
    image_mode: str | None,
    mean: str | None,
    std: str | None,
) -> Classifier:
    """The classifier, with the options for its outputs and preprocessing applied."""
    from noctule.models import load_classifier
    from noctule.models.overrides import with_preprocessing

    classifier = with_preprocessing(
        load_classifier(model, **loading).named(name),
        resize=resize,
        crop=crop,
        interpolation=interpolation,
        image_mode=image_mode,
        mean=None if mean is None else parse_numbers("--mean", mean, float),
        std=None if std is None else parse_numbers("--std", std, float),
    )
    return classifier if outputs is None else replace(classifier, outputs=outputs)


def open_images(
    images: tuple[Any, ...], corrupted: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[Dataset, Benchmark]:
    """The images to evaluate and their benchmark, from the command's options."""
    from noctule.stored import StoredSet

    data, *values = images
    keys = ("labels_file", "background", "limit", "ids_file", "right_labels_file")
    dataset, spec = _images(data, dict(zip(keys, values, strict=True)), *corrupted)
    if isinstance(dataset, StoredSet):
        _check_seed(settings["seed"], dataset)
    return dataset, spec


def shown_to(
    classifier: Classifier,
    opened: tuple[Dataset, Benchmark],
    device: str,
    settings: dict[str, Any],
) -> ImageSource:
    """The images for one classifier."""
    from noctule.evaluation.settings import Settings
    from noctule.evaluation.sources import LiveImages
    from noctule.stored import StoredImages, StoredSet

    dataset, spec = opened
    chosen = Settings(device=device, **{**settings, "seed": settings["seed"] or 0})
    if isinstance(dataset, StoredSet):
        return StoredImages(classifier, dataset, chosen)
    return LiveImages(classifier, dataset, spec, chosen)


def _images(
    data: str | None,
    opening: dict[str, Any],
    benchmark: str | None,
    selection: Selection,
    mode: Mode | None,
    stored: Path | None,
) -> tuple[Dataset, Benchmark]:
    """The images to evaluate, opened with the given options, and their benchmark."""
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
        return open_dataset(name, **opening), selection.of(spec)
    if opening["right_labels_file"] is not None:
        raise InputError(
            "stored images have one label each",
            where="--right-labels",
            remedy="Omit --right-labels, or evaluate the images live.",
        )
    for key, option in (("labels_file", "--labels"), ("background", "--background")):
        value = opening[key]
        if data is None and value is not None:
            raise InputError(
                "there is no DATA for it to describe",
                where=option,
                remedy=f"Pass the clean images as DATA, or omit {option}.",
            )
    part = {key: opening.pop(key) for key in ("limit", "ids_file")}
    clean = None if data is None else open_dataset(data, **opening)
    images = open_stored(stored, spec, clean, selection, **part)
    if mode not in (None, images.benchmark.mode):
        raise InputError(
            f"its images are in mode '{images.benchmark.mode}', not '{mode}'",
            where=stored,
            remedy="Omit --mode, or export the images in that mode.",
        )
    return images, images.benchmark


def _check_seed(seed: int | None, stored: StoredSet) -> None:
    """Reject a seed other than the one that the stored images were made with."""
    stored_seed = None if stored.manifest is None else stored.manifest.seed
    if seed in (None, stored_seed):
        return
    made = "have no seed" if stored_seed is None else f"were made with seed {stored_seed}"
    raise InputError(
        f"the images of {stored.name} {made}, not {seed}",
        where="--seed",
        remedy="Omit --seed, or export the images with that seed.",
    )


def _print_preprocessing(classifier: Classifier) -> None:
    if not classifier.preprocessing_note:  # otherwise a warning shows it
        echo_message(f"{classifier.name}: images {classifier.preprocessing.describe()}.")


def _run(
    source: ImageSource, folder: AnyPath, part: Shard, fill: Fill | None, *, shows: bool
) -> RunStore:
    """Fill the run folder, and show the progress."""
    from noctule.evaluation.loop import run_images
    from noctule.report.progress import progress_bar

    resume = f"Finished work is kept in {folder}; rerun the same command to resume."
    title = f"{source.classifier.name} on {source.dataset.name}"
    with interruptible(resume), progress_bar(title, shows) as advance:
        return run_images(source, out=folder, progress=advance, shard=part, fill=fill)


def _print_plan(source: ImageSource, folder: AnyPath, devices: Sequence[str]) -> None:
    """What a run would compute, after all checks."""
    from noctule.report.table import text_table
    from noctule.store import RunStore

    identity, classifier = source.identity, source.classifier
    run = RunStore.find(folder, identity)
    slices = [] if run is None else run.finished_slices()
    finished = sum(len(identity.images_of(index)) for index in slices)
    images, conditions = len(source.dataset), len(identity.conditions)
    passes = (images - finished) * conditions
    facts = {
        "model": classifier.name,
        "images": f"{images:,} of {source.dataset.name}",
        "preprocessing": classifier.preprocessing.describe(),
        "benchmark": str(identity.benchmark["title"]),
        "conditions": f"{conditions}: {', '.join(identity.conditions)}",
        "device": ", ".join(devices) or identity.device_type,
        "precision": identity.precision,
        "run folder": str(folder),
        "finished": f"{finished:,} of {images:,} images",
        "forward passes left": f"{passes:,}, in batches of {identity.batch_size}",
    }
    data = {**facts, "images": images, "conditions": list(identity.conditions)}
    data |= {"finished": finished, "forward passes left": passes}
    echo(
        text_table(DRY_RUN, ("", ""), facts.items()),
        data={"plan": {key.replace(" ", "_"): value for key, value in data.items()}},
    )


def _print_missing(store: RunStore, shard: str, missing: int) -> None:
    echo(data={"run": store.folder, "missing_slices": missing})
    echo_message(
        f"shard {shard} is finished; {missing} of {store.identity.num_slices} slices of the "
        "run are missing. The shard that finishes last prints the scores."
    )


def _print_scores(
    store: RunStore, format: Format, scores: Any, *, is_new: bool = False
) -> None:
    from noctule.report.scores import render, score_table

    title = store.title
    skipped = store.unreadable()
    data = {"run": store.folder, "title": title, **scores.to_dict(), "skipped": len(skipped)}
    if format == "table":
        next_step = [f"Write a report with: noctule report {store.folder}"] if is_new else []
        where = f"Rows and provenance: {store.folder}"
        echo(score_table(scores, title), where, *next_step, data=data)
    else:
        echo_text(render(scores, format, title=title), data=data)
    if skipped:
        echo_warning(
            f"{len(skipped)} unreadable images were skipped and are not counted; the first is "
            f"'{skipped[0][0]}': {skipped[0][1]}"
        )
