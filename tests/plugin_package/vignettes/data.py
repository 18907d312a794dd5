"""A source of images: "grays:32" is 32 images of noise around four gray values."""

from __future__ import annotations

import numpy as np

from noctule.data import DataRequest, Dataset, data_source
from noctule.data.sources.arrays import ArrayDataset

CLASSES = 4


def make(count: int) -> Dataset:
    """Images of 32 × 32 px, their class known by their mean value."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    values = (labels + 0.5) * 255 / CLASSES
    noise = random.normal(0, 20, (count, 32, 32, 3))
    images = (values[:, None, None, None] + noise).clip(0, 255).astype(np.uint8)
    # Worker processes make the images again instead of receiving them.
    return ArrayDataset(f"grays:{count}", images, labels, reopen=(make, (count,)))


@data_source("grays", ("grays:COUNT", "noise around four gray values"))
def open_grays(request: DataRequest) -> Dataset:
    """The data set of this size."""
    return make(int(request.text.partition(":")[2]))
