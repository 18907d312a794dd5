"""Data that a classifier without weights gets right: stripes of three colours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

import noctule
from noctule.benchmarks import Benchmark
from noctule.data import Dataset
from noctule.evaluation.settings import Settings

SIDE = 32
QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear", "gaussian")
)
LENIENT = Settings(device="cpu", batch_size=16, self_check=False)


class Stripes(Dataset):
    """Class k: stripes of its own colour on noise; the mean of its channel is the highest."""

    in_memory = True

    def __init__(self, count: int = 300, broken: frozenset[int] = frozenset()) -> None:
        labels = [k % 3 for k in range(count)]
        super().__init__(
            "stripes", ["r", "g", "b"], [f"s/{k:04d}" for k in range(count)], labels
        )
        self.broken = broken

    def read(self, index: int) -> Image.Image:
        if index in self.broken:
            raise noctule.UnreadableImageError(self.ids[index], "it is broken")
        noise = np.random.default_rng(index).integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
        noise[..., int(self.labels[index])] += 100
        return Image.fromarray(noise)

    def content(self) -> Iterator[bytes]:
        yield repr((len(self), sorted(self.broken))).encode()


class ChannelMeans(torch.nn.Module):
    """A classifier whose logits are ten times the channels' means."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 10 * images.mean(dim=(2, 3))


class Uneven(Stripes):
    """The last image is wider than the others."""

    def read(self, index: int) -> Image.Image:
        image = super().read(index)
        return image.resize((SIDE + 1, SIDE)) if index == len(self) - 1 else image
