"""Classifiers in ONNX files: "onnx:FILE.onnx", computed by ONNX Runtime.

Reading one runs no code: it holds a graph of ONNX Runtime's own operators, and weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noctule.errors import InputError
from noctule.extras import require
from noctule.input_files import reject_special_files
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.foreign import ForeignNetwork
from noctule.models.program_files import (
    REMEDY,
    ImageInput,
    agreed_classes,
    file_of,
    image_input,
    in_batches,
)
from noctule.models.registry import ModelRequest, model_source

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_MAX_BYTES = 2**31
"""Larger graphs cannot be stored; their weights are in further files."""


@model_source(
    "onnx",
    ("onnx:FILE.onnx", "for ONNX Runtime (needs the extra noctule[onnx])"),
)
def load(request: ModelRequest) -> Classifier:
    """The classifier in an ONNX file; see `load_classifier`."""
    require("onnx")
    path = file_of(request)
    network = OnnxNetwork(path, request.spec)
    own = network.given.preprocessing
    note = "The file records no preprocessing, and the images are in [0, 1]"
    if network.dtype == np.uint8:
        own = replace(own, std=(1 / 255,) * own.channels)
        note = "The file records no preprocessing, and takes bytes, 0 to 255"
    classifier = make_classifier(
        network,
        request.preprocessing or own,
        name=request.spec,
        architecture=path.stem,
        weights=f"file {path.name}",
        num_classes=agreed_classes(request, network.num_classes),
        built_here=False,
    )
    note = "" if request.preprocessing else f"{note}. {REMEDY}"
    return replace(classifier, preprocessing_note=note)


class OnnxNetwork(ForeignNetwork):
    """A network computed by ONNX Runtime, on the device of its images.

    Args:
        path: The file.
        name: Name of the model, for messages.

    Attributes:
        given: Its input.
        dtype: NumPy's type of its input.
        num_classes: Number of classes; None if the graph leaves it open.

    Raises:
        InputError: The file is damaged, or not a graph from one batch of images to one tensor
            per image.
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self.path, self.name = path, name
        self.training = False
        self._sessions: dict[str, Any] = {}
        self._sha256 = _sha256(path)
        session = self._session(torch.device("cpu"))
        self._input, self.given = _input_of(session, name)
        self.dtype = _DTYPES[self._input.type]
        self._output = _output_of(session, name)
        shape = self._output.shape
        fixed = shape and len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 0
        self.num_classes = shape[1] if fixed else None
        self.precision = "float16" if self.dtype == np.float16 else "float32"

    def get_extra_state(self) -> dict[str, str]:
        """The hash of the file, which identifies the weights."""
        return {"sha256": self._sha256}

    def forward(self, images: Tensor) -> Tensor:
        """Outputs of normalised images (batch, channels, height, width)."""
        session = self._session(images.device)
        if self.given.layout == "NHWC":
            images = images.permute(0, 2, 3, 1)

        def run(batch: Tensor) -> object:
            array = batch.cpu().numpy()
            if self.dtype == np.uint8:
                array = array.round().clip(0, 255)
            array = np.ascontiguousarray(array, dtype=self.dtype)
            return session.run([self._output.name], {self._input.name: array})

        return in_batches(run, images, self.given.batch, self.name).to(images.device)

    def _session(self, device: torch.device) -> Any:
        """The session on a device, created on first use."""
        if str(device) not in self._sessions:
            self._sessions[str(device)] = _open(self.path, self.name, device)
        return self._sessions[str(device)]


def _open(path: Path, name: str, device: torch.device) -> Any:
    """A session of ONNX Runtime."""
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type != "cpu":
        wanted = "CUDAExecutionProvider"
        if device.type != "cuda" or wanted not in onnxruntime.get_available_providers():
            raise InputError(
                f"this ONNX Runtime cannot compute on {device}",
                where=name,
                remedy="Pass --device cpu, or for CUDA: pip install onnxruntime-gpu.",
            )
        providers.insert(0, (wanted, {"device_id": device.index or 0}))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    # ONNX Runtime's exceptions have no common base class but Exception.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"not an ONNX file, or ONNX Runtime {onnxruntime.__version__} cannot run it: "
            f"{reason[:300]}",
            where=name,
            remedy="Check it with onnx.checker.check_model; weights in further files belong "
            "beside it.",
        ) from error
    if device.type == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise InputError(
            "ONNX Runtime's CUDA libraries cannot be loaded",
            where=name,
            remedy="Pass --device cpu, or install the CUDA and cuDNN that it needs.",
        )
    return session


def _input_of(session: Any, name: str) -> tuple[Any, ImageInput]:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise InputError(
            f"it takes {len(inputs)} inputs ({names}), not one batch of images",
            where=name,
            remedy="Export a network that takes images only.",
        )
    if inputs[0].type not in _DTYPES:
        raise InputError(
            f"its input '{inputs[0].name}' has the type {inputs[0].type}",
            where=name,
            remedy=f"It must be one of {', '.join(_DTYPES)}.",
        )
    return inputs[0], image_input(inputs[0].shape, name)


def _output_of(session: Any, name: str) -> Any:
    """The output `logits`, or the first tensor."""
    outputs = [one for one in session.get_outputs() if one.type in _DTYPES]
    if not outputs:
        kinds = ", ".join(f"{one.name}: {one.type}" for one in session.get_outputs())
        raise InputError(f"it returns no tensor of numbers ({kinds})", where=name)
    return next((one for one in outputs if one.name == "logits"), outputs[0])


def _sha256(path: Path) -> str:
    """Hash of the file, and of files beside it that it names, which hold further weights."""
    if path.stat().st_size > _MAX_BYTES:
        raise InputError("is larger than an ONNX file can be", where=path)
    content = path.read_bytes()
    digest = hashlib.sha256(content)
    for other in sorted(path.parent.iterdir()):
        if other != path and not other.is_dir() and other.name.encode() in content:
            reject_special_files(other)
            with other.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
