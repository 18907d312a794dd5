"""What a run is: everything that determines its rows, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noctule.benchmarks import conditions_of
from noctule.errors import InputError
from noctule.input_files import read_text

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
MOST_IMAGES = 10**9
MOST_SLICES = 10**6  # their files are numbered by six digits


@dataclass(frozen=True)
class RunIdentity:
    """What determines the rows of a run, and nothing else; JSON-ready throughout.

    Attributes:
        model: name, weights and preprocessing of the classifier.
        benchmark: `Benchmark.to_dict()`.
        dataset: name, domain, fingerprint, num_images, num_classes.
        seed: of the corruptions.
        batch_size: images per forward pass: it may change the last bits of a logit.
        slice_size: images per Parquet file.
        precision: "float32" or "bfloat16", or the type of the network's weights.
        device_type: "cpu" or "cuda".
        on_unreadable: "stop" or "skip".
        schema_version: of the run folder.
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
        """What to call the model; of a file its name alone, of one in a study its network's."""
        name = str(self.model["name"])
        if not name.endswith(".safetensors"):
            return name
        path = Path(name)
        return path.parent.name if path.name == "weights.safetensors" else path.stem

    @property
    def num_slices(self) -> int:
        """How many Parquet files a complete run has."""
        return -(-int(self.dataset["num_images"]) // self.slice_size)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the benchmark's conditions, clean first."""
        levels = self.benchmark["levels"]
        all_levels = None if levels == "full" else levels
        conditions = conditions_of(self.benchmark["corruptions"], all_levels)
        # Published corrupted pictures may come without the clean ones.
        lacks_clean = self.dataset.get("frozen", {}).get("clean", "") is None
        return tuple(map(str, conditions[1:] if lacks_clean else conditions))

    def images_of(self, index: int) -> range:
        """Indices, in the dataset, of the images of one slice."""
        start = index * self.slice_size
        return range(start, min(start + self.slice_size, int(self.dataset["num_images"])))


def read_identity(folder: Path) -> RunIdentity:
    """The identity in a folder's run.json.

    Raises:
        InputError: there is none, it is not one, or a newer noctule wrote it.
    """
    path = folder / RUN_FILE
    if not path.exists():
        raise InputError("is not a run folder: it has no run.json", where=folder)
    try:
        data = json.loads(read_text(path))
        newer = data["schema_version"] > SCHEMA_VERSION
        if not newer:
            identity = RunIdentity(**data)
            _check_numbers(identity)
            if not isinstance(identity.dataset.get("frozen", {}), Mapping):
                raise ValueError("dataset.frozen is no table")
            # These need the keys they are made from.
            _ = identity.num_slices, identity.conditions, identity.model_title
            return identity
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"is not a run's record: {error}", where=path) from error
    raise InputError(
        f"was written by a newer noctule (run folder version {data['schema_version']}, "
        f"this one knows {SCHEMA_VERSION})",
        where=path,
        remedy="Upgrade noctule.",
    )


def _check_numbers(identity: RunIdentity) -> None:
    images = identity.dataset["num_images"]
    numbers = {"dataset.num_images": images, "slice_size": identity.slice_size}
    for name, number in numbers.items():
        # Not even the largest sets have so many, and they would be counted up.
        if type(number) is not int or not 1 <= number <= MOST_IMAGES:
            raise ValueError(
                f"{name} is {number!r}, not a whole number from 1 to {MOST_IMAGES:,}"
            )
    if identity.num_slices > MOST_SLICES:
        raise ValueError(f"it has {identity.num_slices:,} slices, more than {MOST_SLICES:,}")
    if type(identity.seed) is not int or identity.seed < 0:
        raise ValueError(f"seed is {identity.seed!r}, not a whole number from 0")


def refuse_other(
    kept: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path, what: str = "run"
) -> None:
    """Raise InputError with every key in which two identities differ, and both values.

    Args:
        kept: what the folder holds, as plain JSON data.
        wanted: what it was to hold.
        folder: for the message.
        what: "run" or "study", for the message.
    """
    if found := differences(kept, wanted):
        texts = [f"{key} is {old} there and {new} here" for key, old, new in found]
        raise another(what, texts, folder)


def differences(
    kept: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """(dotted key, value kept, value wanted) wherever plain data differ; values as JSON."""
    there, here = _flat(kept), _flat(wanted)
    pairs = {key: (there.get(key, "absent"), here.get(key, "absent")) for key in there | here}
    return [(key, old, new) for key, (old, new) in pairs.items() if old != new]


def another(what: str, texts: Sequence[str], folder: Path) -> InputError:
    """The error for a folder that holds another run, study or frozen set."""
    return InputError(
        f"holds another {what}: {'; '.join(texts)}",
        where=folder,
        remedy="Choose another folder, or give the same settings to go on with it.",
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
