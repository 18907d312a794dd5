"""How to evaluate: device, batch size, precision, workers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from noctule.arguments import choice, flag, path_like, seed_number, whole_number
from noctule.data import Dataset
from noctule.errors import InputError
from noctule.evaluation.execution import usable_cores
from noctule.store.comparability import RESTRICTED

MAX_BATCH_SIZE = 2**31 - 1
MAX_WORKERS = 1024
PRECISIONS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
_ALL = re.compile(r"[1-9][0-9]{0,6}-way")
ON_UNREADABLE: tuple[Literal["stop", "skip"], ...] = ("stop", "skip")
Progress = Callable[[int, int], None]
"""Called with the number of images classified, and to be classified, over all conditions."""


@dataclass(frozen=True)
class Settings:
    """How to evaluate; the defaults suit the device.

    Attributes:
        seed: Seed of the corruptions, a whole number from 0.
        device: "cpu", "cuda", "cuda:1" or a `torch.device`; None takes a GPU if there is one.
        batch_size: Images per forward pass; None is 32 on a CPU and 256 on a GPU.
        workers: Processes that decode images; None is one per core, at most 8, for files.
        precision: None is float32 on a CPU and bfloat16 on a GPU. A network whose weights have
            another type computes in that type.
        on_unreadable: What to do about an image that cannot be decoded.
        protocol: How a model is scored that has more classes than the data: "1000-way" (all of
            its 1000 classes compete) or "restricted" (those that the data have); see
            `noctule.evaluation.protocols`. None if model and data have the same classes.
        class_map: With a protocol, the classes of the model that belong to each class of the
            data: a name or file, see `noctule.data.class_map`.
        cache: Folder in which decoded crops are kept for other models; None keeps none. See
            `noctule.evaluation.cache`.
        self_check: Whether to run sanity checks on a sample of the data first, and to stop if
            something is badly wrong. The classes are checked in any case.

    Raises:
        InputError: A value has the wrong type or is out of range.
    """

    seed: int = 0
    device: str | torch.device | None = None
    batch_size: int | None = None
    workers: int | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    on_unreadable: Literal["stop", "skip"] = "stop"
    self_check: bool = True
    protocol: str | None = None
    class_map: str | Path | None = None
    cache: str | Path | None = None

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
        if self.protocol is not None:
            plain["protocol"] = _protocol(self.protocol)
        if self.class_map is not None:
            plain["class_map"] = str(path_like(self.class_map, "class_map"))
            if self.protocol is None:
                raise InputError(
                    "is of use only with a protocol",
                    where="class_map",
                    remedy="Add --protocol restricted, or --protocol 1000-way.",
                )
        if self.cache is not None:
            plain["cache"] = path_like(self.cache, "cache")
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def resolved_device(self) -> torch.device:
        """The device to run on.

        Raises:
            InputError: There is no such device.
        """
        default = "cuda" if torch.cuda.is_available() else "cpu"
        name = default if self.device is None else self.device
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"no device '{name}': {reason}", where="device", remedy="Use cpu, or cuda."
            ) from error
        return device


def _protocol(value: Any) -> str:
    """The name of a protocol; InputError for something else."""
    if not isinstance(value, str) or not (value == RESTRICTED or _ALL.fullmatch(value)):
        raise InputError(
            f"{value!r:.80} is not a protocol",
            where="protocol",
            remedy=f"Use {RESTRICTED}, or 1000-way for a model with 1000 classes.",
        )
    return value


def checked_settings(settings: Settings | None) -> Settings:
    """The settings, or the defaults; InputError if they are something else."""
    if not (settings is None or isinstance(settings, Settings)):
        raise InputError(
            f"is a {type(settings).__name__}",
            where="settings",
            remedy="Use noctule.Settings(seed=1), for example.",
        )
    return settings or Settings()


def default_precision(device_type: str) -> Literal["float32", "bfloat16"]:
    """float32 on a CPU, bfloat16 on a GPU."""
    return "float32" if device_type == "cpu" else "bfloat16"


def workers_for(dataset: Dataset, workers: int | None, processes: int = 1) -> int:
    """The number of decoding processes: by default one per core for files, none for arrays.

    Args:
        dataset: The images.
        workers: The number if it is chosen.
        processes: Processes that share the cores, each with decoding processes of its own.
    """
    if workers is not None:
        return whole_number(workers, "workers", low=0, high=MAX_WORKERS)
    return 0 if dataset.in_memory else max(1, min(8, usable_cores() // processes))
