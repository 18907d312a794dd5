"""Opening run folders: everything that can be checked before any long work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from noctule.arguments import run_path
from noctule.benchmarks import CLEAN, Benchmark
from noctule.errors import InputError, shown
from noctule.input_files import real_path
from noctule.remote import AnyPath
from noctule.store import RunStore
from noctule.store.comparability import check_reference, check_same_pixels


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        store: Its folder.
        benchmark: The benchmark that it was evaluated on.
        label: Name of the model, unique among the runs of a page.
    """

    store: RunStore
    benchmark: Benchmark
    label: str

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of its conditions, clean first if it is there."""
        return self.store.identity.conditions

    @property
    def corrupted(self) -> tuple[str, ...]:
        """Names of its conditions without the clean one."""
        return tuple(name for name in self.conditions if name != CLEAN)


def open_runs(
    folders: Sequence[str | AnyPath], reference: str | AnyPath | None = None
) -> list[Run]:
    """Open runs, and check everything that can be checked without reading rows.

    Raises:
        InputError: A folder is given twice or is no run, a run is unfinished or damaged, or
            the reference has other data or another seed than one of the runs.
    """
    _refuse_twice(folders)
    stores = [_opened(folder) for folder in folders]
    if reference is not None:
        other = _opened(reference)
        for store in stores:
            check_reference(store, other)
            check_same_pixels(store, other)
    _refuse_other_pixels(stores)
    labels = _labels(stores)
    return [
        Run(store, Benchmark.from_dict(store.identity.benchmark, where=store.folder), label)
        for store, label in zip(stores, labels, strict=True)
    ]


def _refuse_other_pixels(stores: Sequence[RunStore]) -> None:
    """Refuse runs on data of the same fingerprint that were shown different images."""
    first: dict[str, RunStore] = {}
    for store in stores:
        known = first.setdefault(store.identity.dataset["fingerprint"], store)
        if known is not store:
            check_same_pixels(known, store)


def _refuse_twice(folders: Sequence[str | AnyPath]) -> None:
    if not folders:
        raise InputError("no run is given", remedy="Pass at least one run folder.")
    seen: dict[AnyPath, str | AnyPath] = {}
    for folder in folders:
        path = run_path(folder, "RUN")
        path = real_path(path) if isinstance(path, Path) else path
        if path in seen:
            also = "" if str(seen[path]) == str(folder) else f", as {seen[path]} as well"
            raise InputError(
                f"this run is given twice{also}", where=folder, remedy="Pass it once."
            )
        seen[path] = folder


def _opened(folder: str | AnyPath) -> RunStore:
    store = RunStore.open(folder)
    if missing := store.missing_slices():
        raise InputError(
            f"{len(missing)} of {store.identity.num_slices} slices are missing",
            where=store.folder,
            remedy="Rerun the command that started this run to finish it.",
        )
    try:
        data = store.identity.dataset
        _ = data["fingerprint"], data["domain"], store.identity.model["name"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"its record does not say what was run: it lacks {error}", where=store.folder
        ) from error
    return store


def _labels(stores: Sequence[RunStore]) -> list[str]:
    """Titles of the models, with the run folder where several have the same title."""
    labels = titles = [shown(store.identity.model_title) for store in stores]
    folders = [store.folder.absolute() for store in stores]
    numbers = list(range(1, len(stores) + 1))
    # Each is more specific than the one before, and longer.
    for marks in ([one.name for one in folders], folders, numbers):
        often = Counter(labels)
        labels = [
            f"{title} ({shown(mark)})" if often[label] > 1 else label
            for label, title, mark in zip(labels, titles, marks, strict=True)
        ]
    return labels
