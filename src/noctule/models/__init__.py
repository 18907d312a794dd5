"""Where classifiers come from; preprocessing is data."""

from __future__ import annotations

from noctule.models.classifier import Classifier, weights_sha256
from noctule.models.load import ModelForm, load_classifier, model_forms
from noctule.models.preprocessing import Preprocessing

__all__ = [
    "Classifier",
    "ModelForm",
    "Preprocessing",
    "load_classifier",
    "model_forms",
    "weights_sha256",
]
