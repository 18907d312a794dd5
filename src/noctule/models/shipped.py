"""The classifiers inside the package: "photo-patches" and, weaker, "photo-patches-reference".

Both are trained on photo-patches/train by `python -m noctule.training.photo_patches`, which
writes the files read here. The reference is to photo-patches what AlexNet is to ImageNet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from torch import nn

from noctule.errors import InputError
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.small_nets import ARCHITECTURES
from noctule.models.weights_file import load_into, read_state_dict

SHIPPED: Final = {"photo-patches": "PatchResNet", "photo-patches-reference": "PatchAlexNet"}
"""Architecture by name."""

PREPROCESSING: Final = Preprocessing(
    resize_px=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)

# One key only: safetensors writes several in an order that differs from run to run.
_RECORD_KEY = "noctule"


def load(
    name: str,
    weights: Path | None = None,
    preprocessing: Preprocessing | None = None,
    num_classes: int | None = None,
) -> Classifier:
    """The shipped classifier `name`, a key of `SHIPPED`; see `load_classifier`.

    A `weights` file has to be one that `save_trained` wrote: it holds the class names too.
    """
    if weights is None:
        with shipped_file(name) as path:
            return _load(name, path, preprocessing, num_classes, "shipped with noctule")
    path = Path(weights)
    return _load(name, path, preprocessing, num_classes, f"file {path.name}")


@contextmanager
def shipped_file(name: str) -> Iterator[Path]:
    """The path of a shipped weights file while the context lasts."""
    with as_file(files("noctule.models") / "assets" / f"{name}.safetensors") as path:
        yield path


def save_trained(path: Path, module: nn.Module, record: Mapping[str, Any]) -> None:
    """Writes weights and their training record; the same ones give the same bytes.

    Args:
        path: a .safetensors file, replaced if it exists.
        module: one of `ARCHITECTURES`.
        record: JSON values; at least "class_names", in the order of the logits.
    """
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    text = json.dumps(record, sort_keys=True)
    path.write_bytes(save(state, {_RECORD_KEY: text}))


def training_record(path: Path) -> dict[str, Any]:
    """What `save_trained` wrote beside the weights.

    Raises:
        InputError: not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})[_RECORD_KEY]
    except (SafetensorError, OSError, KeyError) as error:
        raise InputError(
            "not a weights file written by noctule.training",
            where=path,
            remedy="For weights from elsewhere name the architecture: torchvision:NAME, "
            "timm:NAME or package.module:function.",
        ) from error
    record: dict[str, Any] = json.loads(text)
    return record


def _load(
    name: str,
    path: Path,
    preprocessing: Preprocessing | None,
    num_classes: int | None,
    weights: str,
) -> Classifier:
    class_names = tuple(training_record(path)["class_names"])
    if num_classes not in (None, len(class_names)):
        raise InputError(
            f"'{name}' has {len(class_names)} classes, not {num_classes}", where=path
        )
    architecture = SHIPPED[name]
    module = ARCHITECTURES[architecture](len(class_names))
    load_into(module, read_state_dict(path), path)
    return make_classifier(
        module,
        preprocessing or PREPROCESSING,
        name=name,
        architecture=architecture,
        weights=weights,
        class_names=class_names,
        num_classes=len(class_names),
    )
