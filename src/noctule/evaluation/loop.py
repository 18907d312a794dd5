"""The evaluation loop: decode once, corrupt many, keep every outcome."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import torch
from torch import Tensor, nn

from noctule.arguments import choice, flag, path_like, seed_number, whole_number
from noctule.benchmarks import Benchmark, load_benchmark
from noctule.corruptions.checks import MIN_SIDE_PX
from noctule.data import Dataset, open_dataset
from noctule.errors import InputError, UnreadableImageError, machine_errors
from noctule.evaluation.checks import check_run
from noctule.evaluation.execution import usable_cores
from noctule.evaluation.loading import Batch, load_batches
from noctule.evaluation.starts import record_start, refuse_other_images, started_run
from noctule.metrics import Scores
from noctule.models import Classifier, Preprocessing, load_classifier
from noctule.models.behaviour import behaviour_of, probe_images, refuse_other_behaviour
from noctule.models.borrowed import borrowed, input_dtype
from noctule.outcomes import SCHEMA, outcome_table
from noctule.processes import end_if_unguarded
from noctule.scoring import open_reference, score_run
from noctule.store import RunIdentity, RunStore

MIN_SLICE_SIZE = 256
MAX_BATCH_SIZE = 2**31 - 1
MAX_WORKERS = 1024
PRECISIONS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
ON_UNREADABLE: tuple[Literal["stop", "skip"], ...] = ("stop", "skip")
TRIAL_IMAGES = 32
Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


class Evaluation(NamedTuple):
    """A finished evaluation: where its rows are, and what they say."""

    run: RunStore
    scores: Scores


@dataclass(frozen=True)
class Settings:
    """How to evaluate; the defaults suit the device.

    Attributes:
        seed: Seed of the corruptions, a whole number from 0.
        device: "cpu", "cuda", "cuda:1" or a `torch.device`; None takes a GPU if there is one.
        batch_size: Images per forward pass; None is 32 on a CPU and 256 on a GPU.
        workers: Processes that decode; None is one per core, at most 8, for files.
        precision: None is float32 on a CPU and bfloat16 on a GPU. A network whose weights are
            of another type computes in that.
        on_unreadable: What to do about an image that cannot be decoded.
        self_check: Whether to look at a part of the data first, and to stop if something is
            badly wrong. The number of classes and their names are checked in any case.

    Raises:
        InputError: a value of another type, or out of range.
    """

    seed: int = 0
    device: str | torch.device | None = None
    batch_size: int | None = None
    workers: int | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    on_unreadable: Literal["stop", "skip"] = "stop"
    self_check: bool = True

    def __post_init__(self) -> None:
        if not (self.device is None or isinstance(self.device, str | torch.device)):
            raise InputError(
                f"{self.device!r} is no device", where="device", remedy="Use cpu, or cuda."
            )
        plain: dict[str, Any] = {
            "seed": seed_number(self.seed),
            "device": None if self.device is None else str(self.device),
            "on_unreadable": choice(self.on_unreadable, "on_unreadable", ON_UNREADABLE),
            "self_check": flag(self.self_check, "self_check"),
        }
        for name, low, high in (("batch_size", 1, MAX_BATCH_SIZE), ("workers", 0, MAX_WORKERS)):
            if (value := getattr(self, name)) is not None:
                plain[name] = whole_number(value, name, low=low, high=high)
        if self.precision is not None:
            plain["precision"] = choice(self.precision, "precision", PRECISIONS)
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def resolved_device(self) -> torch.device:
        """The device to run on.

        Raises:
            InputError: there is no such device.
        """
        name = (
            ("cuda" if torch.cuda.is_available() else "cpu")
            if self.device is None
            else self.device
        )
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"no device '{name}': {reason}", where="device", remedy="Use cpu, or cuda."
            ) from error
        return device


@machine_errors()
def evaluate(
    model: str | nn.Module | Classifier,
    data: str | Path | Dataset | tuple[Any, Any],
    benchmark: str | Path | Benchmark = "imagenet-noc",
    *,
    name: str | None = None,
    out: str | Path | None = None,
    reference: str | Path | RunStore | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run a classifier over a benchmark, and score it.

    Args:
        model: a name such as "torchvision:resnet50" (see `noctule list`), a module that takes
            images in [0, 1], or a `Classifier`, which says its own preprocessing.
        data: a name, a folder, an array file, a `Dataset`, or a pair (images, labels).
        benchmark: a name, the path of a TOML file, or a `Benchmark`.
        name: What tables and the run folder call the model; by default its own name.
        out: the run folder; by default one under runs/ named after what is run. If it holds an
            unfinished run of the same, that is continued.
        reference: a run on the same data that CE is relative to, if the benchmark brings no
            reference for this data.
        settings: device, seed and the like.
        progress: called after each batch.

    Returns:
        The run and its scores; a reference that does not fit raises before anything is run.

    Raises:
        InputError: something given cannot be used; see its message.
        OutputError: the run folder cannot be written; what is finished is kept.
    """
    end_if_unguarded()
    settings = checked_settings(settings)
    classifier, dataset = load_classifier(model).named(name), open_dataset(data)
    chosen = benchmark if isinstance(benchmark, Benchmark) else load_benchmark(benchmark)
    if reference is not None:
        identity = identify(classifier, dataset, chosen, settings)
        reference = open_reference(reference, RunStore(folder_of(identity, out), identity))
    run = run_benchmark(
        classifier, dataset, chosen, out=out, settings=settings, progress=progress
    )
    return Evaluation(run, score_run(run, reference=reference))


def checked_settings(settings: Settings | None) -> Settings:
    """The settings, or the default ones; InputError if they are something else."""
    if not (settings is None or isinstance(settings, Settings)):
        raise InputError(
            f"is a {type(settings).__name__}",
            where="settings",
            remedy="Use noctule.Settings(seed=1), for example.",
        )
    return settings or Settings()


def run_benchmark(
    classifier: Classifier,
    dataset: Dataset,
    benchmark: Benchmark,
    *,
    out: str | Path | None = None,
    settings: Settings,
    progress: Progress | None = None,
    argv: Sequence[str] | None = None,
) -> RunStore:
    """Fill a run folder with the outcomes that are missing; the arguments are `evaluate`'s."""
    classifier.warn_of_preprocessing()
    _check_corruptions(classifier, benchmark)
    device = settings.resolved_device()
    identity = identify(classifier, dataset, benchmark, settings)
    folder = folder_of(identity, out)
    workers = workers_for(dataset, settings.workers)
    found = RunStore.find(folder, identity)
    if found is not None:
        refuse_other_images(
            found,
            dataset.ids,
            lambda chosen: _hashes_of(dataset, classifier, chosen, workers),
        )
    with borrowed(classifier, device) as device:
        loop = Loop(classifier, dataset, benchmark, identity, device)
        behaviour = loop.checked_behaviour(found)
        if found is not None and not found.missing_slices():
            return found
        if not (found and found.finished_slices()):
            loop.self_check(thorough=settings.self_check)
        with started_run(folder, identity) as store:
            record_start(store, classifier.module, dataset, device, argv, behaviour)
            loop.run(store, store.missing_slices(), workers, progress)
    return store


def _hashes_of(
    dataset: Dataset, classifier: Classifier, chosen: Sequence[int], workers: int
) -> dict[str, str]:
    """Hash of each image that can be read, by its id."""
    plan = [chosen[start : start + 32] for start in range(0, len(chosen), 32)]
    batches = load_batches(dataset, classifier.preprocessing, plan, workers)
    return {
        key: one for batch in batches for key, one in zip(batch.ids, batch.hashes, strict=True)
    }


def identify(
    classifier: Classifier, dataset: Dataset, benchmark: Benchmark, settings: Settings
) -> RunIdentity:
    """Everything that determines the rows of a run."""
    device_type = settings.resolved_device().type
    batch_size = settings.batch_size or (32 if device_type == "cpu" else 256)
    precision = _precision(classifier, settings, device_type)
    batches_per_slice = -(-MIN_SLICE_SIZE // batch_size)
    return RunIdentity(
        model=classifier.to_dict(),
        benchmark=benchmark.to_dict(),
        dataset={
            "name": dataset.name,
            "domain": dataset.domain,
            "fingerprint": dataset.fingerprint(),
            "num_images": len(dataset),
            "num_classes": len(dataset.class_names),
            "background": dataset.background,
        },
        seed=settings.seed,
        batch_size=batch_size,
        slice_size=batches_per_slice * batch_size,
        precision=precision,
        device_type=device_type,
        on_unreadable=settings.on_unreadable,
    )


def _precision(classifier: Classifier, settings: Settings, device_type: str) -> str:
    """The precision that the network computes in, for the record.

    Raises:
        InputError: another was asked for than that of the network's weights.
    """
    own = str(input_dtype(classifier.module)).removeprefix("torch.")
    if own == "float32":
        return settings.precision or default_precision(device_type)
    if settings.precision not in (None, own):
        raise InputError(
            f"is {settings.precision}, and the network's weights are {own}",
            where="precision",
            remedy="Convert the network with float(), or leave the precision out.",
        )
    return own


def default_precision(device_type: str) -> Literal["float32", "bfloat16"]:
    """float32 on a CPU, bfloat16 on a GPU."""
    return "float32" if device_type == "cpu" else "bfloat16"


def default_folder(identity: RunIdentity) -> Path:
    """runs/MODEL-BENCHMARK-DATA-DIGEST, so that the same command finds its own run again."""
    model = Path(str(identity.model["name"])).name  # the name may be the path of a file
    names = (model, identity.benchmark["name"], identity.dataset["name"])
    words = [re.sub(r"[^A-Za-z0-9]+", "-", str(name)).strip("-") for name in names]
    return Path("runs") / "-".join([*(word for word in words if word), identity.digest[:8]])


def folder_of(identity: RunIdentity, out: str | Path | None) -> Path:
    """The folder that is asked for, or the default one."""
    return default_folder(identity) if out is None else path_like(out, "out")


def workers_for(dataset: Dataset, workers: int | None) -> int:
    """How many processes decode: by default one per core for files, none for arrays."""
    if workers is not None:
        return whole_number(workers, "workers", low=0, high=MAX_WORKERS)
    return 0 if dataset.in_memory else min(8, usable_cores())


def _check_corruptions(classifier: Classifier, benchmark: Benchmark) -> None:
    """Apply each to a few small images: what is missing shows now, not after hours."""
    channels = classifier.preprocessing.channels
    # So many that every texture of frost is drawn.
    shape = (TRIAL_IMAGES, channels, MIN_SIDE_PX, MIN_SIDE_PX)
    images = torch.zeros(shape, dtype=torch.uint8)
    for condition in benchmark.conditions:
        benchmark.corrupt(condition, images, ids=range(TRIAL_IMAGES), seed=0)


class Loop:
    """One classifier on one device, `borrowed`, and what it is to be shown."""

    def __init__(
        self,
        classifier: Classifier,
        dataset: Dataset,
        benchmark: Benchmark,
        identity: RunIdentity,
        device: torch.device,
    ) -> None:
        self.classifier = classifier
        self.dataset = dataset
        self.benchmark = benchmark
        self.identity = identity
        self.device = device
        self.dtype = input_dtype(classifier.module)

    # Not in inference mode: a network may keep a tensor, which training could not use then.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def logits(self, images: Tensor, preprocessing: Preprocessing | None = None) -> Tensor:
        """float32 (batch, classes) on the CPU, for uint8 images (batch, channels, H, W).

        Args:
            images: The images.
            preprocessing: How they are normalised; None for the classifier's own.
        """
        preprocessing = preprocessing or self.classifier.preprocessing
        inputs = preprocessing.normalise(images.to(self.device))
        low = self.identity.precision == "bfloat16" and self.dtype == torch.float32
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
            logits = self._forward(inputs.to(self.dtype).contiguous())
        if not isinstance(logits, Tensor):
            raise InputError(
                f"the model returned a {type(logits).__name__}",
                where=self.classifier.name,
                remedy="It must return a tensor of logits, (batch, classes).",
            )
        return logits.float().cpu()

    def _forward(self, inputs: Tensor) -> object:
        try:
            return self.classifier.module(inputs)
        except Exception as error:
            shape = " × ".join(map(str, inputs.shape))
            raise InputError(
                f"the model failed on a batch of {shape}: {type(error).__name__}: {error}",
                where=self.classifier.name,
                remedy="Check what size of image and batch it takes (--crop, --batch-size), "
                "and whether it runs on this device (--device).",
            ) from error

    def clean_images(self) -> Dataset:
        """The images that a self-check looks at."""
        return self.dataset

    def self_check(self, *, thorough: bool) -> None:
        """Stop if something is badly wrong; see `noctule.evaluation.checks.check_run`."""
        check_run(
            self.classifier,
            self.clean_images(),
            self.logits,
            batch_size=self.identity.batch_size,
            on_unreadable=self.identity.on_unreadable,
            thorough=thorough,
        )

    def checked_behaviour(self, found: RunStore | None) -> list[list[float]]:
        """What the network answers to fixed images of the size that it will be shown.

        Args:
            found: The run so far.

        Raises:
            InputError: the run was begun with a network that answers otherwise.
        """
        size = self._image_px()
        if size is None:
            return []
        channels = self.classifier.preprocessing.channels
        probes = probe_images(self.identity.batch_size, channels, *size)
        behaviour = behaviour_of(self.logits, probes)
        if found is not None:
            refuse_other_behaviour(
                found.starts(),
                behaviour,
                precision=self.identity.precision,
                name=self.classifier.name,
                where=found.folder,
            )
        return behaviour

    def _image_px(self) -> tuple[int, int] | None:
        """Height and width of the first image that can be read, as the network sees it."""
        for index in range(min(TRIAL_IMAGES, len(self.dataset))):
            with suppress(UnreadableImageError):
                shape = self.classifier.preprocessing.prepare(self.dataset.read(index)).shape
                return int(shape[1]), int(shape[2])
        return None

    def run(
        self, store: RunStore, missing: Sequence[int], workers: int, progress: Progress | None
    ) -> None:
        """Compute the missing slices, in order."""
        total = self.identity.dataset["num_images"]
        done = total - sum(len(self.identity.images_of(index)) for index in missing)
        tables: list[pa.Table] = []
        unreadable: list[tuple[str, str]] = []
        hashes: dict[str, str] = {}
        for index, batch, is_last in self._batches(missing, workers):
            self._refuse_unreadable(batch)
            unreadable += batch.unreadable
            hashes |= zip(batch.ids, batch.hashes, strict=True)
            tables += self._outcomes(batch)
            done += len(batch)
            if is_last:
                store.write_slice(index, concatenated(tables), unreadable, hashes)
                tables, unreadable, hashes = [], [], {}
            if progress:
                progress(done, total)

    def _batches(
        self, missing: Sequence[int], workers: int
    ) -> Iterator[tuple[int, Batch, bool]]:
        """(slice, batch, whether it is the slice's last)."""
        size = self.identity.batch_size
        plan = [
            (index, images[start : start + size], start + size >= len(images))
            for index in missing
            for images in [self.identity.images_of(index)]
            for start in range(0, len(images), size)
        ]
        loaded = load_batches(
            self.dataset,
            self.classifier.preprocessing,
            [images for _, images, _ in plan],
            workers,
        )
        for (index, _, is_last), batch in zip(plan, loaded, strict=True):
            yield index, batch, is_last

    def _refuse_unreadable(self, batch: Batch) -> None:
        if batch.unreadable and self.identity.on_unreadable == "stop":
            image_id, reason = batch.unreadable[0]
            raise UnreadableImageError(image_id, reason)

    def _outcomes(self, batch: Batch) -> list[pa.Table]:
        if not batch.ids:
            return []
        images = batch.images.to(self.device)
        return [
            outcome_table(
                batch.ids,
                str(condition),
                batch.labels,
                self.logits(
                    self.benchmark.corrupt(
                        condition, images, ids=batch.ids, seed=self.identity.seed
                    )
                ),
            )
            for condition in self.benchmark.conditions
        ]


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Outcome rows as one table, in order; no tables give an empty one."""
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks()
