"""The identity of a run: everything that determines its rows, and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noctule.arguments import choice, flag, seed_number, whole_number
from noctule.benchmarks import conditions_of
from noctule.errors import InputError
from noctule.input_files import read_text
from noctule.models import Preprocessing
from noctule.remote import AnyPath

SCHEMA_VERSION = 3
RUN_FILE = "run.json"
MOST_IMAGES = 10**9
MOST_SLICES = 10**6  # their names have six digits
MOST_CLASSES = 10**6
MOST_CORRUPTIONS = 1000
PRECISIONS = ("float32", "bfloat16", "float16", "float64")
_MOST_BYTES = 1024 * 1024
_MOST_NESTED = 32
_MOST_LETTERS = 300  # of a value in a message


@dataclass(frozen=True)
class RunIdentity:
    """What determines the rows of a run, and nothing else; JSON-ready throughout.

    Attributes:
        model: Name, weights and preprocessing of the classifier.
        benchmark: `Benchmark.to_dict()`.
        dataset: Name, domain, fingerprint, num_images, num_classes; of a stated subset also
            `Dataset.subset`; if there is one, `protocol`: its name, class map and outputs;
            `right_labels`: true if images may have several.
        seed: Seed of the corruptions.
        batch_size: Images per forward pass, which may change the last bits of a logit.
        slice_size: Images per Parquet file.
        precision: "float32" or "bfloat16", or the dtype of the network's weights.
        device_type: "cpu" or "cuda".
        on_unreadable: "stop" or "skip".
        schema_version: Version of the run folder's form.
    """

    model: Mapping[str, Any]
    benchmark: Mapping[str, Any]
    dataset: Mapping[str, Any]
    seed: int
    batch_size: int
    slice_size: int
    precision: str
    device_type: str
    on_unreadable: str
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain data as JSON gives it back: tuples are lists."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return data

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, as hex."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def model_title(self) -> str:
        """The model's name for tables: for a file its stem, in a study the network's name."""
        name = str(self.model["name"])
        if not name.endswith(".safetensors"):
            return name
        path = Path(name)
        return path.parent.name if path.name == "weights.safetensors" else path.stem

    @property
    def num_outputs(self) -> int | None:
        """Number of classes that are predicted: the model's, or those of the protocol."""
        known = self.dataset.get("protocol", {}).get("num_outputs")
        return known or self.model.get("num_classes")

    @property
    def num_slices(self) -> int:
        """Number of Parquet files of a complete run."""
        return -(-int(self.dataset["num_images"]) // self.slice_size)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the benchmark's conditions, clean first."""
        severities = self.benchmark["severities"]
        all_severities = None if severities == "full" else severities
        conditions = conditions_of(self.benchmark["corruptions"], all_severities)
        # Published corrupted images may come without the clean ones.
        lacks_clean = self.dataset.get("stored", {}).get("clean", "") is None
        return tuple(map(str, conditions[1:] if lacks_clean else conditions))

    def images_of(self, index: int) -> range:
        """Indices, in the dataset, of the images of one slice."""
        start = index * self.slice_size
        return range(start, min(start + self.slice_size, int(self.dataset["num_images"])))


def read_identity(folder: AnyPath) -> RunIdentity:
    """The identity in a folder's run.json, with every value checked.

    Raises:
        InputError: There is none, a value is invalid (the key is named), or another version of
            noctule wrote it.
    """
    path = folder / RUN_FILE
    if not path.exists():
        raise InputError(
            "is not a run folder: it has no run.json",
            where=folder,
            remedy="Pass the folder that `noctule evaluate MODEL DATA` printed.",
        )
    try:
        data = _read_json(path)
        _check_version(data["schema_version"], path)
        identity = RunIdentity(**data)
        _check(identity)
    except InputError as error:
        if error.where == str(path):
            raise
        raise _no_record(path, f"{error.where}: {error.what}") from error
    except KeyError as error:
        raise _no_record(path, f"it lacks {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _no_record(path, str(error)) from error
    return identity


def _no_record(path: AnyPath, reason: str) -> InputError:
    return InputError(
        f"is not a run's record: {reason[:_MOST_LETTERS]}",
        where=path,
        remedy="Restore the file, or evaluate the model again in a new folder.",
    )


def _read_json(path: AnyPath) -> Any:
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, and {_MOST_BYTES:,} are allowed")
    data = json.loads(read_text(path), parse_constant=_no_number, parse_float=_finite)
    check_depth(data)
    return data


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def check_depth(data: Any) -> None:
    """Raise ValueError if lists and tables are nested deeper than any run's."""
    inside = [data]
    for _ in range(_MOST_NESTED + 1):
        tables = [one for one in inside if isinstance(one, dict | list)]
        if not tables:
            return
        inside = [
            item for one in tables for item in (one.values() if isinstance(one, dict) else one)
        ]
    raise ValueError(f"more than {_MOST_NESTED} tables and lists, one in another")


def _check_version(version: object, path: AnyPath) -> None:
    number = whole_number(version, "schema_version", low=0, high=10**9)
    if number == SCHEMA_VERSION:
        return
    remedy = "Upgrade noctule." if number > SCHEMA_VERSION else (
        "Evaluate the model again in a new folder: this one lacks the hashes that its rows "
        "are checked against."
    )  # fmt: skip
    age = "a newer" if number > SCHEMA_VERSION else "an older"
    raise InputError(
        f"was written by {age} noctule (run folder version {number}, this one knows "
        f"{SCHEMA_VERSION})",
        where=path,
        remedy=remedy,
    )


def _check(identity: RunIdentity) -> None:
    """Refuse values that would crash a reader, or take it forever."""
    model, benchmark, data = identity.model, identity.benchmark, identity.dataset
    for name, table in (("model", model), ("benchmark", benchmark), ("dataset", data)):
        _check_kind(table, name, dict)
    _check_kind(model["name"], "model.name", str)
    if (classes := model.get("num_classes")) is not None:
        whole_number(classes, "model.num_classes", low=1, high=MOST_CLASSES)
    if "preprocessing" in model:
        _check_kind(model["preprocessing"], "model.preprocessing", dict)
        Preprocessing.from_dict(model["preprocessing"], where="model.preprocessing")
    _check_data(data)
    for name in ("batch_size", "slice_size"):
        whole_number(getattr(identity, name), name, low=1, high=MOST_IMAGES)
    whole_number(identity.num_slices, "number of slices", low=1, high=MOST_SLICES)
    seed_number(identity.seed)
    choice(identity.precision, "precision", PRECISIONS)
    choice(identity.on_unreadable, "on_unreadable", ("stop", "skip"))
    _check_kind(identity.device_type, "device_type", str)
    _check_conditions(benchmark)


def _check_data(data: Mapping[str, Any]) -> None:
    for name in ("name", "fingerprint"):
        _check_kind(data[name], f"dataset.{name}", str)
    if data["domain"] is not None:
        _check_kind(data["domain"], "dataset.domain", str)
    whole_number(data["num_images"], "dataset.num_images", low=1, high=MOST_IMAGES)
    whole_number(data["num_classes"], "dataset.num_classes", low=1, high=MOST_CLASSES)
    _check_kind(subset := data.get("subset", {}), "dataset.subset", dict)
    if subset:
        low = data["num_images"]
        whole_number(
            subset["num_images"], "dataset.subset.num_images", low=low, high=MOST_IMAGES
        )
    flag(data.get("right_labels", False), "dataset.right_labels")
    protocol = data.get("protocol", {"name": "", "num_outputs": 1})
    _check_kind(protocol, "dataset.protocol", dict)
    _check_kind(protocol["name"], "dataset.protocol.name", str)
    whole_number(
        protocol["num_outputs"], "dataset.protocol.num_outputs", low=1, high=MOST_CLASSES
    )
    _check_kind(protocol.get("class_map", {}), "dataset.protocol.class_map", dict)
    stored = data.get("stored", {})
    _check_kind(stored, "dataset.stored", dict)
    if "live_fingerprint" in stored:
        _check_kind(stored["live_fingerprint"], "dataset.stored.live_fingerprint", str)


def _check_conditions(benchmark: Mapping[str, Any]) -> None:
    names, severities = benchmark["corruptions"], benchmark["severities"]
    _check_kind(names, "benchmark.corruptions", list)
    if not names or len(names) > MOST_CORRUPTIONS:
        raise ValueError(f"benchmark.corruptions are not 1 to {MOST_CORRUPTIONS:,} names")
    for name in names:
        _check_kind(name, "benchmark.corruptions", str)
    if len(set(names)) != len(names):
        raise ValueError("benchmark.corruptions holds a name twice")
    if severities == "full":
        return
    _check_kind(severities, "benchmark.severities", list)
    for severity in severities:
        whole_number(severity, "benchmark.severities", low=1, high=5)
    if not severities or len(set(severities)) != len(severities):
        raise ValueError(
            'benchmark.severities is neither "full" nor a list of different severities'
        )


def _check_kind(value: object, name: str, kind: type[dict[str, Any] | list[Any] | str]) -> None:
    if not isinstance(value, kind):
        noun = "text" if kind is str else "a table" if kind is dict else "a list"
        raise ValueError(f"{name} is not {noun}")


def refuse_other(
    existing: Mapping[str, Any], wanted: Mapping[str, Any], folder: AnyPath, what: str = "run"
) -> None:
    """Raise InputError with every key in which two identities differ, and both values.

    Args:
        existing: What the folder holds, as plain JSON data.
        wanted: What it should hold.
        folder: The folder, for the message.
        what: "run" or "study", for the message.
    """
    if changes := differences(existing, wanted):
        texts = [f"{key} is {old} there and {new} here" for key, old, new in changes]
        raise another(what, texts, folder)


def differences(
    existing: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """(dotted key, existing value, wanted value) where plain data differ; values as JSON."""
    there, here = _flat(existing), _flat(wanted)
    pairs = {key: (there.get(key, "absent"), here.get(key, "absent")) for key in there | here}
    return [(key, old, new) for key, (old, new) in pairs.items() if old != new]


def another(what: str, texts: Sequence[str], folder: AnyPath) -> InputError:
    """The error for a folder that holds another run, study or stored set."""
    return InputError(
        f"holds another {what}: {'; '.join(texts)}",
        where=folder,
        remedy="Choose another folder, or use the same settings to resume it.",
    )


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted key -> JSON of the value."""
    flat: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat
