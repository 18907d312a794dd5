"""Networks trained by noctule: .safetensors files with weights and a training record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from noctule.errors import InputError
from noctule.input_files import reject_special_files
from noctule.models.classifier import Classifier, make_classifier, weights_sha256
from noctule.models.load import build_untrained, runs_code
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest, model_source
from noctule.models.weights_file import load_into, read_state_dict

# A single key, because the order in which safetensors writes several is not deterministic.
_RECORD_KEY = "noctule"


def trained_bytes(module: nn.Module, record: Mapping[str, Any]) -> bytes:
    """The content of a .safetensors file with weights and their training record; deterministic.

    The hash of the weights is added to the record as "weights_sha256".

    Args:
        module: The network.
        record: JSON values, including "architecture" (a `spec` of `build_untrained`),
            "class_names" in the order of the logits, "preprocessing", and "model_args" if the
            architecture takes arguments.
    """
    from safetensors.torch import save

    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()
    }
    complete = {**record, "weights_sha256": weights_sha256(state)}
    data: bytes = save(state, {_RECORD_KEY: json.dumps(complete, sort_keys=True)})
    return data


def training_record(path: Path) -> dict[str, Any]:
    """The training record in a file from `trained_bytes`.

    Raises:
        InputError: The file was not written by noctule.
    """
    from safetensors import SafetensorError, safe_open

    reject_special_files(path)
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})[_RECORD_KEY]
        record: dict[str, Any] = json.loads(text)
        _check_record(record)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            "not a weights file written by noctule",
            where=path,
            remedy="For other weights, use --weights with the name of the architecture: "
            "torchvision:NAME, timm:NAME or package.module:function.",
        ) from error
    return record


def _check_record(record: Any) -> None:
    """Raise ValueError, KeyError or TypeError for an invalid record."""
    kinds = {
        "architecture": str, "class_names": list, "preprocessing": dict, "weights_sha256": str,
    }  # fmt: skip
    for key, kind in kinds.items():
        if not isinstance(record[key], kind):
            raise ValueError(f"{key} is not a {kind.__name__}")
    if not isinstance(record.get("model_args", {}), dict):
        raise ValueError("model_args is not a dict")


def _is_weights_file(spec: str) -> bool:
    return spec.casefold().endswith(".safetensors")


@model_source(
    "trained",
    ("FILE.safetensors", "a network that noctule has trained, as in a study"),
    claims=_is_weights_file,
)
def load(request: ModelRequest) -> Classifier:
    """The classifier in a file written by noctule; see `load_classifier`."""
    if request.weights is not None:
        raise InputError(
            "is a weights file itself, so other weights cannot be loaded into it",
            where=request.spec,
            remedy="Leave out --weights, or use an architecture's name instead of this file.",
        )
    return load_trained(
        Path(request.spec),
        preprocessing=request.preprocessing,
        num_classes=request.num_classes,
        trust=request.trust,
    )


def load_trained(
    path: Path,
    *,
    name: str | None = None,
    architecture: str | None = None,
    trust: bool = False,
    weights: str | None = None,
    weights_key: str | None = None,
    preprocessing: Preprocessing | None = None,
    num_classes: int | None = None,
) -> Classifier:
    """The classifier in a file from `trained_bytes`, with its preprocessing and class names.

    Args:
        path: The file.
        name: Name of the classifier; by default the path.
        architecture: Architecture to build; by default the recorded one.
        trust: Whether the recorded architecture may be a function, which is then called.
        weights: Description of the origin of the weights.
        weights_key: Must be None, because the file contains one network.
        preprocessing: Preprocessing used instead of the recorded one.
        num_classes: Expected number of classes, or None.

    Raises:
        InputError: The file was not written by noctule, has another number of classes, or
            records a function and `trust` is False; or `weights_key` is set.
    """
    record = training_record(path)
    _refuse_changed(path, record)
    class_names = tuple(map(str, record["class_names"]))
    if num_classes not in (None, len(class_names)):
        raise InputError(f"has {len(class_names)} classes, not {num_classes}", where=path)
    own = Preprocessing.from_dict(record["preprocessing"], where=path)
    side_px = own.resize_px[0] if isinstance(own.resize_px, tuple) else 224
    if architecture is None:
        architecture = str(record["architecture"])
        if not trust:
            _refuse_code(architecture, path)
    module = build_untrained(architecture, len(class_names), side_px, record.get("model_args"))
    load_into(module, read_state_dict(path, weights_key), path)
    return make_classifier(
        module,
        preprocessing or own,
        name=name or str(path),
        architecture=architecture,
        weights=weights or f"file {path.name}",
        class_names=class_names,
        num_classes=len(class_names),
        built_here=not runs_code(architecture),
    )


def _refuse_changed(path: Path, record: Mapping[str, Any]) -> None:
    """Raise InputError if the weights do not match the hash in the record."""
    from safetensors.torch import load_file

    if weights_sha256(load_file(path)) != record["weights_sha256"]:
        raise InputError(
            "is damaged: the SHA-256 hash of its weights is not the one recorded",
            where=path,
            remedy="Restore the file, or train the network again.",
        )


def _refuse_code(architecture: str, path: Path) -> None:
    """Raise InputError if an architecture runs the user's code."""
    if runs_code(architecture):
        raise InputError(
            f"its architecture is the function '{architecture}', which would be imported and "
            "run",
            where=path,
            remedy="If you trust its author, add --trust (in Python, trust=True).",
        )
