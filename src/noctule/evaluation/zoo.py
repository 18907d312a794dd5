"""Many models on the same images: those with equal preprocessing share one stream of images."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from noctule.arguments import path_like, run_path, whole_number
from noctule.benchmarks import Benchmark, Selection, load_benchmark
from noctule.benchmarks.parts import Names
from noctule.config import Spec, read_spec
from noctule.data import Dataset, open_dataset
from noctule.display import notebook_progress
from noctule.errors import (
    InputError,
    NoctuleError,
    NoctuleWarning,
    machine_error,
    machine_errors,
    out_of_memory,
)
from noctule.evaluation.lockstep import Lane, fill_runs
from noctule.evaluation.loop import WHOLE, checked, folder_of
from noctule.evaluation.settings import Progress, Settings, checked_settings
from noctule.evaluation.sharing import Shard
from noctule.evaluation.sources import ImageSource, LiveImages
from noctule.models import Classifier, load_classifier
from noctule.models.classifier import MAX_NAME
from noctule.models.overrides import with_preprocessing
from noctule.processes import end_if_unguarded
from noctule.remote import AnyPath
from noctule.scoring import Evaluation, score_run
from noctule.store import RunStore
from noctule.store.comparability import open_reference
from noctule.store.disk import refuse_unwritable

MAX_MODELS = 10_000


class ZooModel(Spec):
    """One model of a zoo: what `noctule evaluate` takes for a model.

    Attributes:
        model: Name of the model, as for `load_classifier`.
        weights, weights_key, model_args, trust, classes, prompts: See `load_classifier`.
        outputs: What the model returns; recognised by default.
        resize, crop, interpolation, image_mode, mean, std: See `with_preprocessing`.
    """

    model: str
    weights: str | None = None
    weights_key: str | None = None
    model_args: dict[str, Any] | None = None
    trust: bool = False
    classes: str | tuple[str, ...] | None = None
    prompts: str | tuple[str, ...] | None = None
    outputs: Literal["logits", "probabilities"] | None = None
    resize: int | None = None
    crop: int | None = None
    interpolation: str | None = None
    image_mode: Literal["RGB", "L"] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def load(self, name: str) -> Classifier:
        """The model, under a name."""
        classifier = load_classifier(
            self.model,
            weights=self.weights,
            weights_key=self.weights_key,
            model_args=None if self.model_args is None else _with_lists(self.model_args),
            trust=self.trust,
            classes=self.classes,
            prompts=self.prompts,
        ).named(name)
        if self.outputs is not None:
            classifier = replace(classifier, outputs=self.outputs)
        return with_preprocessing(
            classifier,
            resize=self.resize,
            crop=self.crop,
            interpolation=self.interpolation,
            image_mode=self.image_mode,
            mean=self.mean,
            std=self.std,
        )


class Zoo(Spec):
    """The models of a file, by name."""

    models: dict[str, ZooModel] = Field(min_length=1, max_length=MAX_MODELS)


class Evaluations(NamedTuple):
    """The evaluations of many models.

    Attributes:
        finished: Each evaluation, by the name of its model.
        failed: Why a model could not be evaluated, by its name.
    """

    finished: dict[str, Evaluation]
    failed: dict[str, NoctuleError]


def load_zoo(path: str | Path) -> dict[str, Callable[[], Classifier]]:
    """The models of a TOML file, by name; each is loaded when it is called.

    Raises:
        InputError: The file cannot be read, or has unknown, missing or wrong keys, which are
            all named; or names of models cannot be used, see `check_names`.
    """
    path = path_like(path, "models")
    zoo = read_spec(path, Zoo)
    check_names(zoo.models, path)
    return {
        name: lambda name=name, model=model: model.load(name)  # type: ignore[misc]
        for name, model in zoo.models.items()
    }


def check_names(names: Iterable[str], where: object) -> None:
    """Check that names of models can be names of run folders.

    Raises:
        InputError: There is none; one has neither letters nor digits, or is too long; or two
            differ only in other characters or in case.
    """
    folders: dict[str, str] = {}
    for name in names:
        folder = folder_name(name) if isinstance(name, str) else ""
        if not folder or len(name) > MAX_NAME:
            raise InputError(
                f"{name!r:.80} is not a name for a model",
                where=where,
                remedy=f"Use letters and digits, at most {MAX_NAME} characters.",
            )
        if other := folders.get(folder.lower()):
            raise InputError(
                f"'{other}' and '{name}' would have the same run folder, {folder}",
                where=where,
                remedy="Rename one of them.",
            )
        folders[folder.lower()] = name
    if not folders:
        raise InputError("there is no model", where=where, remedy="Name at least one.")


def folder_name(name: str) -> str:
    """The run folder of a model.

    >>> folder_name("ResNet-50 (v2)")
    'ResNet-50-v2'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")


@machine_errors()
def evaluate_many(
    models: str | Path | Mapping[str, Any],
    data: str | Path | Dataset | tuple[Any, Any],
    benchmark: str | Path | Benchmark = "imagenet-noc",
    *,
    corruptions: Names = None,
    severities: Iterable[int] | None = None,
    skip: Names = None,
    out: str | AnyPath | None = None,
    reference: str | AnyPath | RunStore | None = None,
    settings: Settings | None = None,
    models_at_once: int | None = None,
    progress: Progress | None = None,
) -> Evaluations:
    """Evaluate many models; images are decoded and corrupted once for all with equal crops.

    Each run is the one that `evaluate` writes for its model. Finished runs are skipped. A model
    that fails does not stop the others.

    Args:
        models: The path of a TOML file, or models by name, each as for `evaluate`.
        data, benchmark, corruptions, severities, skip, reference, settings: See `evaluate`.
        out: Folder of the run folders, which are named after the models; by default each run
            has the folder that `evaluate` gives it.
        models_at_once: Largest number of models on the device at the same time; None for all
            that fit.
        progress: Called with the number of images classified, and to be classified.

    Raises:
        InputError: Something that concerns all models cannot be used.
    """
    end_if_unguarded()
    settings, dataset = checked_settings(settings), open_dataset(data)
    if not isinstance(benchmark, Benchmark):
        benchmark = load_benchmark(benchmark)
    benchmark = Selection(corruptions, severities, skip).of(benchmark)
    if isinstance(models, Mapping):
        check_names(models, "models")
        loaders: dict[str, Callable[[], Classifier]] = {
            name: lambda name=name, model=model: load_classifier(model).named(name)  # type: ignore[misc]
            for name, model in models.items()
        }
    else:
        loaders = load_zoo(models)
    openers = {
        name: lambda load=load: LiveImages(load(), dataset, benchmark, settings)
        for name, load in loaders.items()
    }
    with notebook_progress(progress, f"{len(openers)} models on {dataset.name}") as advance:
        runs, errors = run_models(
            openers,
            out=out,
            models_at_once=models_at_once,
            reference=reference,
            progress=advance,
        )
    finished = {
        name: Evaluation(run, score_run(run, reference=reference)) for name, run in runs.items()
    }
    return Evaluations(finished, {name: as_noctule_error(one) for name, one in errors.items()})


class _Planned(NamedTuple):
    """A run of a zoo.

    Attributes:
        name: Name of the model.
        reopen: Opens the images and the classifier.
        source: These, if they are kept.
        outcomes: Number of images times conditions.
    """

    name: str
    reopen: Callable[[], ImageSource]
    source: ImageSource | None
    outcomes: int


def run_models(
    models: Mapping[str, Callable[[], ImageSource]],
    *,
    out: str | AnyPath | None = None,
    shard: Shard = WHOLE,
    models_at_once: int | None = None,
    reference: str | AnyPath | RunStore | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, RunStore], dict[str, Exception]]:
    """Fill the run folder of each model; the arguments are those of `evaluate_many`.

    Args:
        models: Opens the images and the classifier of each model.
        out, models_at_once, progress: See `evaluate_many`.
        shard: See `run_images`.
        reference: A run that CE is relative to; it is checked for each model.

    Returns:
        The runs, and the errors of the models that failed, in the order of the models.
    """
    if models_at_once is not None:
        models_at_once = whole_number(models_at_once, "models_at_once", low=1, high=MAX_MODELS)
    folder = _checked_folder(out)
    zoo = _ZooRun(folder, shard, models_at_once or len(models), reference, progress)
    for members in zoo.plan(models).values():
        while members:
            at_once = members[: zoo.models_at_once]
            members = zoo.run_group(at_once) + members[zoo.models_at_once :]
    runs = {name: RunStore.open(zoo.folders[name]) for name in models if name not in zoo.errors}
    return runs, {name: zoo.errors[name] for name in models if name in zoo.errors}


class PlannedRun(NamedTuple):
    """What `--dry-run` prints of a model.

    Attributes:
        name: Name of the model.
        preprocessing: How its images are prepared.
        folder: Its run folder.
        stream: Number of the stream of images that it shares, from 1.
        finished: Number of finished slices.
        slices: Number of slices.
    """

    name: str
    preprocessing: str
    folder: AnyPath
    stream: int
    finished: int
    slices: int


def plan_models(
    models: Mapping[str, Callable[[], ImageSource]],
    *,
    out: str | AnyPath | None,
    reference: str | AnyPath | None,
) -> tuple[list[PlannedRun], dict[str, Exception]]:
    """As `run_models`, but everything is only checked, and nothing is written."""
    folder = _checked_folder(out)
    zoo = _ZooRun(folder, WHOLE, 1, reference, None)
    plans = []
    for stream, members in enumerate(zoo.plan(models).values(), start=1):
        for one in members:
            try:
                source, where = one.reopen(), zoo.folders[one.name]
                with checked(source, where) as lane:
                    refuse_unwritable(where)
                    finished = 0 if lane.run is None else len(lane.run.finished_slices())
                used = source.classifier.preprocessing.describe()
                slices = source.identity.num_slices
                plans.append(PlannedRun(one.name, used, where, stream, finished, slices))
            except Exception as error:
                zoo.errors[one.name] = error
    return plans, zoo.errors


def _checked_folder(out: str | AnyPath | None) -> AnyPath | None:
    """The folder of the run folders, before any model is loaded."""
    if out is None:
        return None
    folder = run_path(out, "out")
    refuse_unwritable(folder)
    return folder


class _ZooRun:
    """A run of many models, and what has become of each."""

    def __init__(
        self,
        out: AnyPath | None,
        shard: Shard,
        models_at_once: int,
        reference: str | AnyPath | RunStore | None,
        progress: Progress | None,
    ) -> None:
        self.out, self.shard, self.models_at_once = out, shard, models_at_once
        self.progress = progress
        self.reference = None
        if reference is not None:  # one that is no run is no fault of a model
            self.reference = (
                reference if isinstance(reference, RunStore) else RunStore.open(reference)
            )
        self.folders: dict[str, AnyPath] = {}
        self.errors: dict[str, Exception] = {}
        self._before = self._planned = 0

    def plan(
        self, models: Mapping[str, Callable[[], ImageSource]]
    ) -> dict[str, list[_Planned]]:
        """Open each model once: those that share a stream, and errors of the others."""
        groups: dict[str, list[_Planned]] = {}
        keeps = len(models) <= self.models_at_once
        for name, reopen in models.items():
            try:
                source = reopen()
                identity = source.identity
                named = None if self.out is None else self.out / folder_name(name)
                folder = self.folders[name] = folder_of(identity, named)
                if self.reference is not None:
                    open_reference(self.reference, RunStore(folder, identity))
                outcomes = len(source.dataset) * len(identity.conditions)
                planned = _Planned(name, reopen, source if keeps else None, outcomes)
                groups.setdefault(source.stream_key, []).append(planned)
                self._planned += outcomes
            except Exception as error:
                self._fail(name, error)
        return groups

    def run_group(self, members: Sequence[_Planned]) -> list[_Planned]:
        """Fill runs in lockstep.

        Returns:
            Those that did not fit into the memory beside others.
        """
        later: list[_Planned] = []
        with ExitStack() as stack:
            lanes: dict[Lane, str] = {}
            for one in members:
                try:
                    source = one.source or one.reopen()
                    folder = self.folders[one.name]
                    with ExitStack() as own:
                        lane = own.enter_context(checked(source, folder, self.shard))
                        if not lane.is_finished:
                            lanes[lane] = one.name
                            stack.push(own.pop_all())
                except Exception as error:
                    if lanes and out_of_memory(error):
                        later.append(one)
                    else:
                        self._fail(one.name, error)
            fill_runs(
                list(lanes),
                self.shard,
                self._report if self.progress else None,
                lambda lane, error: self._fail(lanes[lane], error),
            )
        self._before += sum(one.outcomes for one in members if one not in later)
        return later

    def _report(self, done: int, total: int) -> None:
        assert self.progress is not None
        self.progress(min(self._before + done, self._planned), self._planned)

    def _fail(self, name: str, error: Exception) -> None:
        warnings.warn(f"{name}: {as_noctule_error(error)}", NoctuleWarning, stacklevel=3)
        self.errors[name] = error


def as_noctule_error(error: Exception) -> NoctuleError:
    """An exception in words, with its place in the code if that is what it takes."""
    known = machine_error(error) or error
    if isinstance(known, NoctuleError):
        return known
    place = traceback.extract_tb(error.__traceback__)
    where = f"{Path(place[-1].filename).name}, line {place[-1].lineno}" if place else None
    return NoctuleError(f"{type(error).__name__}: {error}", where=where)


def _with_lists(value: Any) -> Any:
    """Plain data with lists in place of tuples, as in JSON."""
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, list | tuple) else value
