"""A study on disk: what it is, its networks, and the rows of each.

study.json          what determines the results; written once
study.toml          the same study for people, ready to be run again
provenance.jsonl    a line for each start
models/NAME/        checkpoints in training, then weights.safetensors
runs/NAME/          outcome rows of the trained network, a run folder like any other
results/            matrix, figures and tables; made from the rows, at any time again
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from noctule.config import build_spec, to_toml
from noctule.data import Dataset
from noctule.errors import InputError
from noctule.input_files import read_text
from noctule.models.sources.trained import training_record
from noctule.store import RunStore
from noctule.store.disk import append_record, output_errors, read_records, write_atomically
from noctule.store.identity import RUN_FILE, refuse_other
from noctule.studies.spec import Member, Study
from noctule.studies.training.checkpoint import epochs_kept

SCHEMA_VERSION = 2
STUDY_FILE = "study.json"
WEIGHTS_FILE = "weights.safetensors"

# What determines the results beside the study itself, in its record.
_KINDS = {"train": dict, "test": dict, "device_type": str, "precision": str}
TEST_SEED = 0
"""Every network is shown the same corrupted test images, whatever its own seed."""

State = Literal["waiting", "training", "trained", "measured"]


class MemberStatus(NamedTuple):
    """How far one network is.

    Attributes:
        member: Which one.
        state: "waiting", "training", "trained" or "measured".
        epochs: Finished.
    """

    member: Member
    state: State
    epochs: int


@dataclass(frozen=True)
class StudyFolder:
    """One study folder.

    Attributes:
        folder: Where it is.
        study: The study.
        identity: All that determines its results, JSON-ready: the study, the data's
            fingerprints, the precision and the kind of device.
    """

    folder: Path
    study: Study
    identity: Mapping[str, Any]

    @classmethod
    def create_or_resume(cls, folder: Path, identity: Mapping[str, Any]) -> StudyFolder:
        """Start a study, or go on with the same one.

        Raises:
            InputError: The folder holds another study (every key that differs is listed), or
                something that is not a study.
            OutputError: It cannot be written.
        """
        with output_errors(folder):
            if not (folder / STUDY_FILE).exists():
                _refuse_foreign(folder)
                folder.mkdir(parents=True, exist_ok=True)
                text = to_toml(_without_none(identity["study"]))
                write_atomically(folder / "study.toml", text.encode())
                text = json.dumps(identity, indent=2) + "\n"
                write_atomically(folder / STUDY_FILE, text.encode())
        kept = cls.open(folder)
        refuse_other(_determining(kept.identity), _determining(identity), folder, "study")
        return kept

    @classmethod
    def open(cls, folder: Path) -> StudyFolder:
        """A study folder, complete or not.

        Raises:
            InputError: It is not one, or a newer noctule wrote it.
        """
        path = folder / STUDY_FILE
        if not path.exists():
            raise InputError(f"is not a study folder: it has no {STUDY_FILE}", where=folder)
        try:
            identity = json.loads(read_text(path))
            version, study = identity["schema_version"], identity["study"]
            # Another version may have other keys.
            for key, kind in _KINDS.items() if version == SCHEMA_VERSION else ():
                if not isinstance(identity[key], kind):
                    raise ValueError(f"{key} is not a {kind.__name__}")
        except KeyError as error:
            raise InputError(
                f"is not a study's record: it lacks {error}", where=path
            ) from error
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InputError(f"is not a study's record: {error}", where=path) from error
        if version != SCHEMA_VERSION:
            raise InputError(
                f"was written by another noctule (version {version} of the folder, this one "
                f"knows {SCHEMA_VERSION})",
                where=path,
                remedy="Use the noctule that wrote it, or start the study in a new folder.",
            )
        return cls(folder, build_spec(study, Study, where=path), identity)

    def _benchmark(self) -> dict[str, Any]:
        """The benchmark of the runs, whose plugins are those that the study began with."""
        recorded = {key: self.identity[key] for key in ("plugins",) if key in self.identity}
        return {**self.study.benchmark.to_dict(), **recorded}

    def model_folder(self, member: Member) -> Path:
        """Where checkpoints and weights of one network are."""
        return self.folder / "models" / str(member)

    def weights(self, member: Member) -> Path:
        """The trained network; `noctule evaluate` takes this file as a model."""
        return self.model_folder(member) / WEIGHTS_FILE

    def run_folder(self, member: Member) -> Path:
        """Where the rows of one network are."""
        return self.folder / "runs" / str(member)

    def open_run(self, member: Member) -> RunStore:
        """The rows of one network, which are of this study and of these weights.

        Raises:
            InputError: They are of something else, or damaged.
        """
        store = RunStore.open(self.run_folder(member))
        run, record = store.identity, training_record(self.weights(member))
        pairs = {
            "network": (run.model["name"], str(member)),
            "network in the weights file": (record.get("member"), str(member)),
            "study of the weights file": (record.get("study"), dict(self.identity)),
            "weights": (run.model.get("weights_sha256"), record["weights_sha256"]),
            "benchmark": (dict(run.benchmark), self._benchmark()),
            "test images": (run.dataset["fingerprint"], self.identity["test"]["fingerprint"]),
            "seed": (run.seed, TEST_SEED),
            "precision": (run.precision, self.identity["precision"]),
            "device": (run.device_type, self.identity["device_type"]),
        }
        for name, (found, expected) in pairs.items():
            if json.dumps(found, sort_keys=True) != json.dumps(expected, sort_keys=True):
                raise InputError(
                    f"is not the run of '{member}' in this study: it has another {name}",
                    where=store.folder,
                    remedy="Delete this folder, and resume the study: the network is measured "
                    "again. If its weights file is another network's, delete that, too.",
                )
        return store

    @property
    def results(self) -> Path:
        """Where matrix, figures and tables are."""
        return self.folder / "results"

    def status(self) -> list[MemberStatus]:
        """How far every network is."""
        return [MemberStatus(one, *self._state(one)) for one in self.study.members]

    def missing(self) -> list[Member]:
        """Those that are not measured yet."""
        return [one.member for one in self.status() if one.state != "measured"]

    def record_start(self, provenance: Mapping[str, Any]) -> None:
        """Append a line to provenance.jsonl."""
        path = self.folder / "provenance.jsonl"
        with output_errors(path):
            append_record(path, provenance)

    def starts(self) -> list[dict[str, Any]]:
        """The provenance of every start, the first one first."""
        return read_records(self.folder / "provenance.jsonl")

    def _state(self, member: Member) -> tuple[State, int]:
        if not self.weights(member).is_file():
            epochs = epochs_kept(self.model_folder(member))
            return ("training" if epochs else "waiting"), epochs
        epochs = self.study.recipe.epochs
        run = self.run_folder(member)
        if not (run / RUN_FILE).is_file() or self.open_run(member).missing_slices():
            return "trained", epochs
        return "measured", epochs


def study_identity(
    study: Study, train: Dataset, test: Dataset, *, device_type: str, precision: str
) -> dict[str, Any]:
    """All that determines the results of a study, JSON-ready."""

    def described(dataset: Dataset) -> dict[str, Any]:
        return {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint(),
            "num_images": len(dataset),
            "num_classes": len(dataset.class_names),
        }

    identity: dict[str, Any] = json.loads(
        json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "study": study.to_dict(),
                "train": described(train),
                "test": described(test),
                "device_type": device_type,
                "precision": precision,
                # Absent where all corruptions are noctule's own.
                **({"plugins": plugins} if (plugins := study.benchmark.plugins) else {}),
            }
        )
    )
    return identity


def _determining(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity without what is there for people, and without where the images lie."""
    told = ("title", "source", "train", "test")
    study = {key: value for key, value in identity["study"].items() if key not in told}
    # A dataset's name comes from its folder.
    images = {
        split: {key: value for key, value in identity[split].items() if key != "name"}
        for split in ("train", "test")
    }
    return {**identity, **images, "study": study}


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file, not a folder", where=folder, remedy="Choose another.")
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in found if name != "study.toml" and not name.startswith(".study")]
    if foreign:
        raise InputError(
            f"is not empty and not a study folder (it holds {foreign[0]})",
            where=folder,
            remedy="Choose an empty or new folder.",
        )


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no null: a key without a value is left out."""
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }
