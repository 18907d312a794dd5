"""What the tests of the viewer share."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image

from noctule.benchmarks import Benchmark
from noctule.corruptions import CORRUPTIONS, SEVERITIES

ALL = Benchmark(
    name="all",
    title="All",
    source="noctule",
    corruptions=tuple(CORRUPTIONS),
    severities=SEVERITIES,
)


def pixels(address: str) -> torch.Tensor:
    """The image in a data: address, uint8 (channels, height, width)."""
    kind, _, data = address.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)
