"""A study on disk: its specification, its networks, and the outcome rows of each.

study.json          everything that determines the results; written once
study.toml          the specification in TOML, which can be run again
provenance.jsonl    one line for each start
models/NAME/        checkpoints during training, then weights.safetensors
runs/NAME/          outcome rows of the trained network, as an ordinary run folder
results/            matrix, figures and tables, which can be rebuilt from the rows
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
from noctule.studies.matrix import Form
from noctule.studies.spec import Member, Study
from noctule.studies.training.checkpoint import epochs_saved

SCHEMA_VERSION = 2
STUDY_FILE = "study.json"
WEIGHTS_FILE = "weights.safetensors"

# Keys of study.json beside the specification.
_KINDS = {"train": dict, "test": dict, "device_type": str, "precision": str}
TEST_SEED = 0
"""Seed of the corrupted test images, which are the same for all networks."""

State = Literal["waiting", "training", "trained", "measured"]


class MemberStatus(NamedTuple):
    """The progress of one network.

    Attributes:
        member: The network.
        state: "waiting", "training", "trained" or "measured".
        epochs: Number of finished epochs.
    """

    member: Member
    state: State
    epochs: int


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study.

    Attributes:
        folder: Path of the folder.
        study: Specification of the study.
        identity: Everything that determines the results, as in study.json: the specification,
            fingerprints of the data, precision and device type.
    """

    folder: Path
    study: Study
    identity: Mapping[str, Any]

    @classmethod
    def create_or_resume(cls, folder: Path, identity: Mapping[str, Any]) -> StudyFolder:
        """Create the folder of a study, or resume the same study.

        Raises:
            InputError: The folder contains another study (the message lists all keys that
                differ), or files that are not a study.
            OutputError: The folder cannot be written.
        """
        if (existing := cls.find(folder, identity)) is not None:
            return existing
        with output_errors(folder):
            if not (folder / STUDY_FILE).exists():
                folder.mkdir(parents=True, exist_ok=True)
                text = to_toml(_without_none(identity["study"]))
                write_atomically(folder / "study.toml", text.encode())
                text = json.dumps(identity, indent=2) + "\n"
                write_atomically(folder / STUDY_FILE, text.encode())
        return cls.open(folder)

    @classmethod
    def find(cls, folder: Path, identity: Mapping[str, Any]) -> StudyFolder | None:
        """The study of this identity in a folder, or None if it may be started there.

        Nothing is written. The errors are those of `create_or_resume`.
        """
        if not (folder / STUDY_FILE).exists():
            with output_errors(folder):
                _reject_foreign(folder)
            return None
        existing = cls.open(folder)
        refuse_other(_determining(existing.identity), _determining(identity), folder, "study")
        return existing

    @classmethod
    def open(cls, folder: Path) -> StudyFolder:
        """Open the folder of a study, finished or not.

        Raises:
            InputError: The folder is not a study, or was written by another version of noctule.
        """
        path = folder / STUDY_FILE
        if not path.exists():
            raise InputError(
                f"is not a study folder: it has no {STUDY_FILE}",
                where=folder,
                remedy="Pass the folder that `noctule study run STUDY` printed.",
            )
        try:
            identity = json.loads(read_text(path))
            version, study = identity["schema_version"], identity["study"]
            # Other versions may have other keys.
            for key, kind in _KINDS.items() if version == SCHEMA_VERSION else ():
                if not isinstance(identity[key], kind):
                    raise ValueError(f"{key} is not a {kind.__name__}")
        except KeyError as error:
            raise InputError(
                f"is not the record of a study: it lacks {error}", where=path
            ) from error
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InputError(f"is not the record of a study: {error}", where=path) from error
        if version != SCHEMA_VERSION:
            raise InputError(
                f"was written by another version of noctule (folder version {version}, not "
                f"{SCHEMA_VERSION})",
                where=path,
                remedy="Use that version of noctule, or start the study in a new folder.",
            )
        return cls(folder, build_spec(study, Study, where=path), identity)

    def _benchmark(self) -> dict[str, Any]:
        """The benchmark of the runs, whose plugins are those that the study began with."""
        recorded = {key: self.identity[key] for key in ("plugins",) if key in self.identity}
        return {**self.study.benchmark.to_dict(), **recorded}

    def model_folder(self, member: Member) -> Path:
        """Folder of the checkpoints and weights of a network."""
        return self.folder / "models" / str(member)

    def weights(self, member: Member) -> Path:
        """Weights file of a trained network, which `noctule evaluate` accepts as a model."""
        return self.model_folder(member) / WEIGHTS_FILE

    def run_folder(self, member: Member) -> Path:
        """Run folder of a network."""
        return self.folder / "runs" / str(member)

    def open_run(self, member: Member) -> RunStore:
        """Open the run of a network, and check that it belongs to this study and these weights.

        Raises:
            InputError: The run belongs to something else, or is damaged.
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
        for name, (actual, expected) in pairs.items():
            if json.dumps(actual, sort_keys=True) != json.dumps(expected, sort_keys=True):
                raise InputError(
                    f"is not the run of '{member}' in this study: it has another {name}",
                    where=store.folder,
                    remedy="Delete this folder and resume the study to measure the network "
                    "again. If the weights file belongs to another network, delete it too.",
                )
        return store

    @property
    def results(self) -> Path:
        """Folder of the matrix, figures and tables."""
        return self.results_in("robustness")

    def results_in(self, form: Form) -> Path:
        """Folder of the results in one form of the overlap, so that both forms are kept."""
        return self.folder / ("results" if form == "robustness" else f"results-{form}")

    def status(self) -> list[MemberStatus]:
        """Progress of every network."""
        return [MemberStatus(member, *self._state(member)) for member in self.study.members]

    def missing(self) -> list[Member]:
        """Networks that are not measured yet."""
        return [status.member for status in self.status() if status.state != "measured"]

    def record_start(self, provenance: Mapping[str, Any]) -> None:
        """Append a line to provenance.jsonl."""
        path = self.folder / "provenance.jsonl"
        with output_errors(path):
            append_record(path, provenance)

    def starts(self) -> list[dict[str, Any]]:
        """Provenance of every start, in order."""
        return read_records(self.folder / "provenance.jsonl")

    def _state(self, member: Member) -> tuple[State, int]:
        if not self.weights(member).is_file():
            epochs = epochs_saved(self.model_folder(member))
            return ("training" if epochs else "waiting"), epochs
        epochs = self.study.recipe.epochs
        run = self.run_folder(member)
        if not (run / RUN_FILE).is_file() or self.open_run(member).missing_slices():
            return "trained", epochs
        return "measured", epochs


def study_identity(
    study: Study, train: Dataset, test: Dataset, *, device_type: str, precision: str
) -> dict[str, Any]:
    """Everything that determines the results of a study, as in study.json."""

    def describe(dataset: Dataset) -> dict[str, Any]:
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
                "train": describe(train),
                "test": describe(test),
                "device_type": device_type,
                "precision": precision,
                # Absent where all corruptions are noctule's own.
                **({"plugins": plugins} if (plugins := study.benchmark.plugins) else {}),
            }
        )
    )
    return identity


def _determining(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity without its descriptive keys and without the locations of the images."""
    descriptive = ("title", "source", "train", "test")
    study = {key: value for key, value in identity["study"].items() if key not in descriptive}
    # The name of a dataset may be that of its folder.
    images = {
        split: {key: value for key, value in identity[split].items() if key != "name"}
        for split in ("train", "test")
    }
    return {**identity, **images, "study": study}


def _reject_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file, not a folder", where=folder, remedy="Use another path.")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if name != "study.toml" and not name.startswith(".study")]
    if foreign:
        raise InputError(
            f"is neither empty nor a study folder (it contains {foreign[0]})",
            where=folder,
            remedy="Use an empty or new folder.",
        )


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """Remove keys whose value is None, because TOML has no null."""
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }
