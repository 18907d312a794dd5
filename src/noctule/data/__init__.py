"""Datasets and their sources: images with stable ids and labels."""

from __future__ import annotations

from noctule.data.dataset import Dataset
from noctule.data.open import open_dataset
from noctule.data.registry import (
    DATA,
    DataRequest,
    DatasetForm,
    DataSource,
    data_source,
    dataset_forms,
)

__all__ = [
    "DATA",
    "DataRequest",
    "DataSource",
    "Dataset",
    "DatasetForm",
    "data_source",
    "dataset_forms",
    "open_dataset",
]
