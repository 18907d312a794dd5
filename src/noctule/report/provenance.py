"""Where a run's numbers come from, for its page; anybody may have edited the records."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from noctule.errors import shown
from noctule.report.loading import Run
from noctule.scoring import IMAGENET

NOT_RECORDED = "not recorded"
_PROGRAM = ("noctule", "__main__.py", "noctule.exe")


def starts_of(run: Run) -> list[Mapping[str, Any]]:
    """The records of all starts that can be read, in order."""
    try:
        starts = run.store.starts()
    except (OSError, ValueError):  # such as bytes that are no text
        return []
    return [one for one in starts if isinstance(one, Mapping)]


def class_names(run: Run) -> dict[int, str]:
    """The names of the classes by index: ImageNet's, or those that the last start records.

    A name that several classes have is followed by the index.
    """
    recorded = [start.get("class_names") for start in starts_of(run)]
    lists = [names for names in recorded if _is_names(names)]
    names = list(map(shown, _imagenet_names(run) or (lists[-1] if lists else [])))
    often = Counter(names)
    return {
        index: f"{name} [{index}]" if often[name] > 1 else name
        for index, name in enumerate(names)
    }


def _is_names(names: object) -> TypeGuard[list[str]]:
    return isinstance(names, list) and all(isinstance(one, str) for one in names)


def _imagenet_names(run: Run) -> list[str]:
    """ImageNet's names; its folders are named by numbers of WordNet."""
    data = run.store.identity.dataset
    if (data["domain"], data.get("num_classes")) != (IMAGENET, 1000):
        return []
    from torchvision.models import ResNet50_Weights

    return list(ResNet50_Weights.DEFAULT.meta["categories"])


def facts(run: Run) -> list[tuple[str, str]]:
    """Term and description, for a definition list."""
    identity = run.store.identity
    model, data, benchmark = identity.model, identity.dataset, identity.benchmark
    starts = starts_of(run)
    first: Mapping[str, Any] = starts[0] if starts else {}
    return [
        ("Model", recorded(model.get("name"))),
        ("Architecture", recorded(model.get("architecture"))),
        ("Weights", recorded(model.get("weights"))),
        ("Weights, SHA-256", recorded(model.get("weights_sha256"))),
        ("Preprocessing", _preprocessing(model.get("preprocessing"))),
        ("Data", f"{recorded(data.get('name'))}, {_images(data)}"),
        ("Data, fingerprint", recorded(data.get("fingerprint"))),
        ("Read from", _data_source(starts)),
        ("Not readable", _unreadable(run)),
        (
            "Benchmark",
            f"{recorded(benchmark.get('title'))} ({recorded(benchmark.get('name'))})",
        ),
        ("Source", recorded(benchmark.get("source"))),
        ("Mode", str(benchmark.get("mode", "paper"))),
        ("Seed", str(identity.seed)),
        ("Precision", f"{identity.precision} on {identity.device_type}"),
        ("Batch size", str(identity.batch_size)),
        ("Started", _dates(starts)),
        ("Device", f"{recorded(first.get('device'))} ({recorded(first.get('device_name'))})"),
        ("Commit", commit_text(first)),
        ("Versions", _versions(first)),
        ("Platform", recorded(first.get("platform"))),
        ("Run folder", str(run.store.folder)),
    ]


def command(run: Run) -> str:
    """The command of the first start."""
    starts = starts_of(run)
    return command_text(starts[0].get("argv") if starts else None)


def command_text(argv: object) -> str:
    """A recorded command, quoted for a shell.

    >>> command_text(["/usr/bin/noctule", "evaluate", "a model"])
    "noctule evaluate 'a model'"
    """
    if not isinstance(argv, list) or not argv:
        return NOT_RECORDED
    program, *arguments = map(str, argv)
    program = "noctule" if Path(program).name in _PROGRAM else program
    return shlex.join([program, *arguments])


def recorded(value: object) -> str:
    """A recorded value, or that there is none."""
    return NOT_RECORDED if value is None else str(value)


def _images(data: Mapping[str, Any]) -> str:
    images, classes = recorded(data.get("num_images")), recorded(data.get("num_classes"))
    return f"images: {images}, classes: {classes}"


def _preprocessing(record: object) -> str:
    if not isinstance(record, Mapping):
        return NOT_RECORDED
    return ", ".join(f"{key} {value}" for key, value in record.items() if value is not None)


def _data_source(starts: list[Mapping[str, Any]]) -> str:
    sources = [one["data"] for one in starts if isinstance(one.get("data"), Mapping)]
    return ", ".join(map(str, sources[-1].values())) if sources else NOT_RECORDED


def _unreadable(run: Run) -> str:
    skipped = run.store.unreadable()
    if not skipped:
        return "none"
    return f"{len(skipped)} images, which are not counted; the first is {skipped[0][0]}"


def _dates(starts: list[Mapping[str, Any]]) -> str:
    return ", ".join(recorded(one.get("started_utc")) for one in starts) or NOT_RECORDED


def commit_text(start: Mapping[str, Any]) -> str:
    """The commit of noctule that a start records."""
    if not start.get("commit"):
        return "none: not run from a checkout" if start else NOT_RECORDED
    return f"{start['commit']}{', with changes' if start.get('dirty') else ''}"


def _versions(start: Mapping[str, Any]) -> str:
    packages = start.get("packages")
    versions = [
        f"noctule {recorded(start.get('noctule'))}",
        f"Python {recorded(start.get('python'))}",
    ]
    if isinstance(packages, Mapping):
        versions += [f"{name} {version}" for name, version in packages.items() if version]
    return ", ".join(versions)
