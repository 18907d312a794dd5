"""Classifiers, their sources and their preprocessing."""

from __future__ import annotations

from noctule.models.classifier import Classifier, weights_sha256
from noctule.models.foreign import NumpyNetwork
from noctule.models.load import build_untrained, load_classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import (
    MODELS,
    ModelForm,
    ModelRequest,
    ModelSource,
    model_forms,
    model_source,
)

__all__ = [
    "MODELS",
    "Classifier",
    "ModelForm",
    "ModelRequest",
    "ModelSource",
    "NumpyNetwork",
    "Preprocessing",
    "build_untrained",
    "load_classifier",
    "model_forms",
    "model_source",
    "weights_sha256",
]
