"""Programs of PyTorch in a file: "export:FILE.pt2" (torch.export), "torchscript:FILE.pt".

Reading them can run code. `torch.export.load` unpickles example inputs and constants, and
evaluates the sizes in the graph as Python; TorchScript is a program, which may write files. So
both need the user's consent.
"""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from noctule.errors import InputError
from noctule.input_files import reject_zip_bombs
from noctule.models.classifier import Classifier, make_classifier, refuse_unready
from noctule.models.preprocessing import Preprocessing
from noctule.models.program_files import (
    REMEDY,
    ImageInput,
    ShapedNetwork,
    agreed_classes,
    file_of,
    image_input,
)
from noctule.models.registry import ModelRequest, model_source

_NOTE = "The file records no preprocessing, and the images are in [0, 1]"


@model_source(
    "export",
    ("export:FILE.pt2", "written by torch.export.save (needs --trust)"),
    runs_code=True,
)
def load_export(request: ModelRequest) -> Classifier:
    """The classifier in a file of torch.export; see `load_classifier`."""
    path = _trusted_file(request)
    with _read(path, request.spec, "models/model.json", "torch.export.save"):
        program = torch.export.load(path)
    given = _input_of(program, request.spec)
    module = program.module()
    refuse_unready(module, request.spec)
    network = ShapedNetwork(module, given, request.spec)
    return _classifier(request, network, given.preprocessing, _classes_of(program))


@model_source(
    "torchscript",
    ("torchscript:FILE.pt", "written by torch.jit.save (needs --trust)"),
    runs_code=True,
)
def load_script(request: ModelRequest) -> Classifier:
    """The classifier in a TorchScript file; see `load_classifier`."""
    path = _trusted_file(request)
    with _read(path, request.spec, "constants.pkl", "torch.jit.save"):
        load: Any = torch.jit.load  # without types
        module = load(path, map_location="cpu")
    return _classifier(request, module, Preprocessing(), None)


def _classifier(
    request: ModelRequest, module: nn.Module, own: Preprocessing, classes: int | None
) -> Classifier:
    classifier = make_classifier(
        module,
        request.preprocessing or own,
        name=request.spec,
        architecture=str(getattr(module, "original_name", "exported program")),
        weights=f"file {Path(request.name).name}",
        num_classes=agreed_classes(request, classes),
        built_here=False,
    )
    note = "" if request.preprocessing else f"{_NOTE}. {REMEDY}"
    return replace(classifier, preprocessing_note=note)


def _trusted_file(request: ModelRequest) -> Path:
    path = file_of(request)
    if not request.trust:
        raise InputError(
            "such a file is a program, and reading it can run any code in it",
            where=request.spec,
            remedy="If you trust its author, pass --trust to noctule evaluate, or trust=True "
            "to noctule.load_classifier.",
        )
    reject_zip_bombs(path)
    return path


@contextmanager
def _read(path: Path, spec: str, entry: str, writer: str) -> Iterator[None]:
    """Read an archive with this entry; errors become an InputError.

    PyTorch logs tracebacks, and warns of its own deprecations.
    """
    logger = logging.getLogger("torch.export")
    was_disabled = logger.disabled
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith(f"/{entry}") for name in archive.namelist()):
                raise ValueError(f"it has no entry {entry}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.disabled = True
            yield
    except Exception as error:  # PyTorch can raise any exception for damaged files
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"not a file of {writer}, or damaged, or of another version of PyTorch than "
            f"{torch.__version__}: {reason}",
            where=spec,
            remedy="Use export:FILE for files of torch.export.save, torchscript:FILE for those "
            "of torch.jit.save, and --weights FILE for weights.",
        ) from error
    finally:
        logger.disabled = was_disabled


def _input_of(program: Any, spec: str) -> ImageInput:
    """The input of an exported program."""
    names = list(program.graph_signature.user_inputs)
    if len(names) != 1:
        raise InputError(
            f"it takes {len(names)} inputs ({', '.join(map(str, names))}), not one batch of "
            "images",
            where=spec,
        )
    return image_input(list(_shape_of(program, names[0]) or []), spec)


def _classes_of(program: Any) -> int | None:
    """The number of classes, if the program has one output with a fixed number."""
    names = list(program.graph_signature.user_outputs)
    shape = _shape_of(program, names[0]) if len(names) == 1 else None
    return shape[1] if shape and len(shape) == 2 and isinstance(shape[1], int) else None


def _shape_of(program: Any, name: object) -> tuple[Any, ...] | None:
    node = next((node for node in program.graph.nodes if node.name == name), None)
    return tuple(getattr(node.meta.get("val"), "shape", ())) if node is not None else None
