"""An evaluation: checks, then a model that is shown every image under every condition."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noctule.arguments import run_path
from noctule.benchmarks import Benchmark, Selection, load_benchmark
from noctule.benchmarks.parts import Names
from noctule.data import Dataset, open_dataset
from noctule.display import notebook_progress
from noctule.errors import (
    InputError,
    NoctuleWarning,
    UnreadableImageError,
    machine_errors,
    out_of_memory,
)
from noctule.evaluation.checks import check_run
from noctule.evaluation.lockstep import Lane, fill_runs
from noctule.evaluation.provenance import refuse_other_images
from noctule.evaluation.settings import Progress, Settings, checked_settings
from noctule.evaluation.sharing import Shard
from noctule.evaluation.sources import (
    TRIAL_IMAGES,
    ImageSource,
    LiveImages,
    to_device,
)
from noctule.models import Classifier, Preprocessing, load_classifier
from noctule.models.behaviour import behaviour_of, probe_images, refuse_other_behaviour
from noctule.models.borrowed import borrowed, input_dtype
from noctule.models.outputs import (
    PROBABILITIES,
    are_probabilities,
    log_probabilities,
    output_tensor,
)
from noctule.processes import end_if_unguarded
from noctule.remote import AnyPath
from noctule.scoring import Evaluation, score_run
from noctule.store import RunIdentity, RunStore
from noctule.store.comparability import open_reference
from noctule.store.disk import refuse_unwritable

WHOLE = Shard()
Fill = Callable[[AnyPath, RunIdentity, Shard, Progress | None], None]


@machine_errors()
def evaluate(
    model: str | nn.Module | Classifier | Callable[..., Any],
    data: str | Path | Dataset | tuple[Any, Any],
    benchmark: str | Path | Benchmark = "imagenet-noc",
    *,
    corruptions: Names = None,
    severities: Iterable[int] | None = None,
    skip: Names = None,
    name: str | None = None,
    out: str | AnyPath | None = None,
    reference: str | AnyPath | RunStore | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run a classifier over a benchmark, and score it.

    Args:
        model: A name such as "torchvision:resnet50" (see `noctule list`), a module that takes
            images in [0, 1], a `Classifier`, which has its own preprocessing, or a function of
            NumPy batches, float32 (batch, height, width, channels) in [0, 1].
        data: A name, a folder, an array file, a `Dataset`, or a pair (images, labels).
        benchmark: A name, the path of a TOML file, or a `Benchmark`.
        corruptions: Corruptions of the benchmark to evaluate, if not all; the run, its tables
            and its report state the part. See `noctule.benchmarks.Selection`.
        severities: Severities of the benchmark to evaluate, if not all.
        skip: Corruptions of the benchmark to leave out.
        name: What tables and the run folder call the model; by default its own name.
        out: The run folder, or an address such as s3://bucket/run; by default one under runs/
            named after the model, benchmark and data. If it holds an unfinished run of the
            same, the run is resumed.
        reference: A run on the same data that CE is relative to, if the benchmark has no
            reference errors for this data.
        settings: Device, seed and so on.
        progress: Called after each batch under each condition; by default a notebook shows a
            bar.

    Returns:
        The run and its scores. A reference that does not fit raises before anything is run.

    Raises:
        InputError: An argument cannot be used; see its message.
        OutputError: The run folder cannot be written; finished slices are kept.
    """
    source = live_images(
        model,
        data,
        benchmark,
        corruptions=corruptions,
        severities=severities,
        skip=skip,
        name=name,
        settings=settings,
    )
    return run_and_score(source, out=out, reference=reference, progress=progress)


def live_images(
    model: str | nn.Module | Classifier | Callable[..., Any],
    data: str | Path | Dataset | tuple[Any, Any],
    benchmark: str | Path | Benchmark,
    *,
    corruptions: Names = None,
    severities: Iterable[int] | None = None,
    skip: Names = None,
    name: str | None = None,
    settings: Settings | None = None,
) -> LiveImages:
    """The images for a model, opened; arguments and errors are those of `evaluate`."""
    end_if_unguarded()
    settings = checked_settings(settings)
    classifier, dataset = load_classifier(model).named(name), open_dataset(data)
    if not isinstance(benchmark, Benchmark):
        benchmark = load_benchmark(benchmark)
    benchmark = Selection(corruptions, severities, skip).of(benchmark)
    return LiveImages(classifier, dataset, benchmark, settings)


def run_and_score(
    source: ImageSource,
    *,
    out: str | AnyPath | None,
    reference: str | AnyPath | RunStore | None,
    progress: Progress | None,
) -> Evaluation:
    """Evaluate a classifier on a source of images; the arguments are those of `evaluate`."""
    if reference is not None:
        planned = RunStore(folder_of(source.identity, out), source.identity)
        reference = open_reference(reference, planned)
    title = f"{source.classifier.name} on {source.dataset.name}"
    with notebook_progress(progress, title) as advance:
        run = run_images(source, out=out, progress=advance)
    return Evaluation(run, score_run(run, reference=reference))


def run_images(
    source: ImageSource,
    *,
    out: str | AnyPath | None = None,
    progress: Progress | None = None,
    shard: Shard = WHOLE,
    fill: Fill | None = None,
    dry_run: bool = False,
) -> RunStore:
    """Fill a run folder with the outcomes that are missing, beside other processes.

    Args:
        source: The images, and the classifier.
        out: See `evaluate`.
        progress: See `evaluate`.
        shard: The part of the run to compute; the others may be missing afterwards.
        fill: Computes what is missing, after all checks; None for this process.
        dry_run: Whether to check everything and write nothing; the run may not exist then.
    """
    folder = folder_of(source.identity, out)
    with checked(source, folder, shard) as lane:
        if lane.is_finished:
            return RunStore.open(folder)
        if dry_run:
            refuse_unwritable(folder)
            return lane.run or RunStore(folder, source.identity)
        if fill is None:
            fill_runs([lane], shard, progress)
    if fill is not None:
        fill(folder, source.identity, shard, progress)
    return RunStore.open(folder)


@contextmanager
def checked(source: ImageSource, folder: AnyPath, shard: Shard = WHOLE) -> Iterator[Lane]:
    """A run that can be filled, after all checks. Its network is on the device meanwhile.

    Args:
        source: The images, and the classifier.
        folder: The run folder.
        shard: The part of the run to compute.

    Raises:
        InputError: Something does not fit, or would spoil the run.
    """
    source.classifier.warn_of_preprocessing()
    source.check()
    run = RunStore.find(folder, source.identity)
    if run is not None:
        refuse_other_images(run, source)
    with borrowed(source.classifier, source.settings.resolved_device()) as device:
        loop = Loop(source, device)
        lane = Lane(loop, folder, loop.checked_behaviour(run), run, shard)
        if not lane.is_finished and (run is None or not run.finished_slices()):
            loop.self_check()
        yield lane


def default_folder(identity: RunIdentity) -> Path:
    """runs/MODEL-BENCHMARK-DATA-DIGEST, so that the same command finds its own run again."""
    model = Path(str(identity.model["name"])).name  # the name may be the path of a file
    names = (model, identity.benchmark["name"], identity.dataset["name"])
    words = [re.sub(r"[^A-Za-z0-9]+", "-", str(name)).strip("-") for name in names]
    return Path("runs") / "-".join([*(word for word in words if word), identity.digest[:8]])


def folder_of(identity: RunIdentity, out: str | AnyPath | None) -> AnyPath:
    """The folder that is asked for, or the default one."""
    return default_folder(identity) if out is None else run_path(out, "out")


class Loop:
    """One classifier on one device, `borrowed`, and the source of its images."""

    def __init__(self, source: ImageSource, device: torch.device) -> None:
        self.source = source
        self.classifier = source.classifier
        self.identity = source.identity
        self.device = device
        self.dtype = input_dtype(source.classifier.module)
        dataset = source.dataset
        self.right_labels = dict(zip(dataset.ids, dataset.right_labels or (), strict=False))
        self.gives_probabilities = source.classifier.outputs == PROBABILITIES
        self.most_images = self.identity.batch_size  # halved if the memory is exhausted

    # Not in inference mode: a network may keep a tensor, which training could not use then.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def forward(
        self, images: Tensor, preprocessing: Preprocessing | None = None, *, raw: bool = False
    ) -> Tensor:
        """float32 logits (batch, classes) on the device, of uint8 images there.

        Of a model that gives probabilities, their logarithms. A protocol is applied.

        Args:
            images: (batch, channels, height, width).
            preprocessing: How they are normalised; None for the classifier's own.
            raw: Whether to return what the model does.
        """
        if len(images) > self.most_images:
            parts = torch.split(images, self.most_images)
            return torch.cat([self.forward(part, preprocessing, raw=raw) for part in parts])
        low = self.identity.precision == "bfloat16" and self.dtype == torch.float32
        is_exhausted = False
        try:
            normalise = (preprocessing or self.classifier.preprocessing).normalise
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
                returned = self.classifier.module(normalise(images).to(self.dtype).contiguous())
        except Exception as error:
            is_exhausted = len(images) > 1 and out_of_memory(error)
            if not is_exhausted and isinstance(error, InputError):
                raise
            if not is_exhausted:
                raise model_error(error, images, self.classifier.name) from error
        if is_exhausted:  # the exception, which holds what has filled the memory, is gone
            self._halve(len(images))
            return self.forward(images, preprocessing, raw=raw)
        outputs = output_tensor(returned, self.classifier.name)
        if raw:
            return outputs
        if self.gives_probabilities:
            outputs = log_probabilities(outputs)
        protocol = self.source.protocol
        return outputs if protocol is None else protocol.outputs(outputs)

    def _halve(self, images: int) -> None:
        """Show the model half as many images at once, from here on; it is said."""
        self.most_images = -(-images // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        warnings.warn(
            f"{self.classifier.name}: the memory is exhausted by {images:,} images at once; "
            f"going on with {self.most_images:,}. A smaller --batch-size avoids this.",
            NoctuleWarning,
            stacklevel=3,
        )

    def probed(self, images: Tensor) -> Tensor:
        """What the model returns for probes, from and to the CPU; see `checked_behaviour`."""
        outputs = self.forward(to_device(images, self.device), raw=True).cpu()
        if self.classifier.outputs is None and are_probabilities(outputs):
            self.gives_probabilities = True
            warnings.warn(
                f"{self.classifier.name}: its outputs are not negative and sum to 1; they are "
                "used as probabilities.",
                NoctuleWarning,
                stacklevel=4,
            )
        return outputs

    def logits(self, images: Tensor, preprocessing: Preprocessing | None = None) -> Tensor:
        """As `forward`, from and to the CPU."""
        return self.forward(to_device(images, self.device), preprocessing).cpu()

    def self_check(self) -> None:
        """Stop if something is badly wrong; see `noctule.evaluation.checks.check_run`."""
        classifier = replace(self.classifier, preprocessing=self.source.preprocessing)
        dataset, protocol = self.source.dataset, self.source.protocol
        if protocol is not None:
            names = protocol.class_names
            classifier = replace(classifier, class_names=names, num_classes=len(names))
            dataset = protocol.named(dataset)
        check_run(
            classifier,
            dataset,
            self.logits,
            batch_size=self.identity.batch_size,
            on_unreadable=self.identity.on_unreadable,
            thorough=self.source.settings.self_check,
        )

    def checked_behaviour(self, run: RunStore | None) -> list[list[float]]:
        """The network's answers to fixed images, as large as the first that can be read.

        They show whether it gives probabilities, unless the classifier says so.

        Args:
            run: The run to be resumed, if there is one.

        Raises:
            InputError: The run was started with a network that answers differently.

        Warns:
            NoctuleWarning: The network gives probabilities.
        """
        dataset, preprocessing = self.source.dataset, self.source.preprocessing
        for index in range(min(TRIAL_IMAGES, len(dataset))):
            with suppress(UnreadableImageError):
                shape = preprocessing.prepare(dataset.read(index)).shape
                break
        else:
            return []
        behaviour = behaviour_of(self.probed, probe_images(self.identity.batch_size, *shape))
        if run is not None:
            refuse_other_behaviour(
                run.starts(),
                behaviour,
                precision=self.identity.precision,
                name=self.classifier.name,
                where=run.folder,
            )
        return behaviour


def model_error(error: Exception, images: Tensor, name: str) -> InputError:
    """The error for a model that has failed on a batch."""
    shape = " × ".join(map(str, images.shape))
    return InputError(
        f"the model failed on a batch of {shape}: {type(error).__name__}: {error}",
        where=name,
        remedy="Check what size of image and batch it takes (--crop, --batch-size), "
        "and whether it runs on this device (--device).",
    )
