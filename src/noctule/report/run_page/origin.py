"""What a run's numbers came from; records may have been edited by anybody."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from noctule.report.run_page.opening import Run
from noctule.report.web.text import shown

NOT_RECORDED = "not recorded"


def starts_of(run: Run) -> list[Mapping[str, Any]]:
    """The records of every start that can be read, the first one first."""
    try:
        starts = run.store.starts()
    except (OSError, ValueError):  # such as bytes that are no text
        return []
    return [one for one in starts if isinstance(one, Mapping)]


def class_names(run: Run) -> dict[int, str]:
    """The names of the classes by index, as the last start that has them records them.

    Those that several classes have are told apart by the index.
    """
    found = [one["class_names"] for one in starts_of(run) if _is_names(one.get("class_names"))]
    names = [shown(name) for name in found[-1]] if found else []
    often = Counter(names)
    return {
        index: f"{name} [{index}]" if often[name] > 1 else name
        for index, name in enumerate(names)
    }


def _is_names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(one, str) for one in names)


def facts(run: Run) -> list[tuple[str, str]]:
    """Term and description, for a definition list."""
    identity = run.store.identity
    model, data, benchmark = identity.model, identity.dataset, identity.benchmark
    starts = starts_of(run)
    first: Mapping[str, Any] = starts[0] if starts else {}
    return [
        ("Model", _said(model.get("name"))),
        ("Architecture", _said(model.get("architecture"))),
        ("Weights", _said(model.get("weights"))),
        ("Weights, SHA-256", _said(model.get("weights_sha256"))),
        ("Preprocessing", _preprocessing(model.get("preprocessing"))),
        ("Data", f"{_said(data.get('name'))}, {_images(data)}"),
        ("Data, fingerprint", _said(data.get("fingerprint"))),
        ("Read from", _place(starts)),
        ("Not readable", _unreadable(run)),
        ("Benchmark", f"{_said(benchmark.get('title'))} ({_said(benchmark.get('name'))})"),
        ("Source", _said(benchmark.get("source"))),
        ("Mode", str(benchmark.get("mode", "paper"))),
        ("Seed", str(identity.seed)),
        ("Precision", f"{identity.precision} on {identity.device_type}"),
        ("Batch size", str(identity.batch_size)),
        ("Started", _dates(starts)),
        ("Device", f"{_said(first.get('device'))} ({_said(first.get('device_name'))})"),
        ("Commit", _commit(first)),
        ("Versions", _versions(first)),
        ("Platform", _said(first.get("platform"))),
        ("Run folder", str(run.store.folder)),
    ]


def command(run: Run) -> str:
    """The command of the first start, as a shell takes it."""
    starts = starts_of(run)
    arguments = starts[0].get("argv") if starts else None
    if not isinstance(arguments, list) or not arguments:
        return NOT_RECORDED
    return shlex.join(map(str, arguments))


def _said(value: object) -> str:
    return NOT_RECORDED if value is None else str(value)


def _images(data: Mapping[str, Any]) -> str:
    images, classes = _said(data.get("num_images")), _said(data.get("num_classes"))
    return f"images: {images}, classes: {classes}"


def _preprocessing(record: object) -> str:
    if not isinstance(record, Mapping):
        return NOT_RECORDED
    return ", ".join(f"{key} {value}" for key, value in record.items() if value is not None)


def _place(starts: list[Mapping[str, Any]]) -> str:
    found = [one["data"] for one in starts if isinstance(one.get("data"), Mapping)]
    if not found:
        return NOT_RECORDED
    return ", ".join(f"{value}" for value in found[-1].values())


def _unreadable(run: Run) -> str:
    skipped = run.store.unreadable()
    if not skipped:
        return "none"
    return f"{len(skipped)} images, which are not counted; the first is {skipped[0][0]}"


def _dates(starts: list[Mapping[str, Any]]) -> str:
    return ", ".join(_said(one.get("started_utc")) for one in starts) or NOT_RECORDED


def _commit(start: Mapping[str, Any]) -> str:
    if not start.get("commit"):
        return "none: not run from a checkout" if start else NOT_RECORDED
    return f"{start['commit']}{', with changes' if start.get('dirty') else ''}"


def _versions(start: Mapping[str, Any]) -> str:
    packages = start.get("packages")
    found = [f"noctule {_said(start.get('noctule'))}", f"Python {_said(start.get('python'))}"]
    if isinstance(packages, Mapping):
        found += [f"{name} {version}" for name, version in packages.items() if version]
    return ", ".join(found)
