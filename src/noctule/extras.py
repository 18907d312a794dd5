"""Optional dependencies, grouped by the extras of pyproject.toml."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Final

from noctule.errors import InputError

_REPORT = ("altair", "jinja2", "vl_convert")

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "report": _REPORT,
    "serve": ("anyio", "jinja2", "starlette", "uvicorn"),
    "study": ("highspy", "sklearn", "threadpoolctl", *_REPORT),
    "photos": ("skimage", "sklearn"),
    "timm": ("timm",),
    "onnx": ("onnxruntime",),
    "hf": ("transformers", "datasets"),
    "openclip": ("open_clip",),
    "pandas": ("pandas",),
    "polars": ("polars",),
    "ray": ("ray",),
    "remote": ("fsspec", "s3fs"),
}
"""Modules of the packages in each extra."""


class MissingExtraError(InputError):
    """A package that an extra provides is not installed."""


def require(extra: str) -> None:
    """Raise an error if a package of an extra is not installed.

    Commands call this before any compute is spent.

    Raises:
        MissingExtraError: A package is missing; the message contains the pip command.
    """
    for package in EXTRAS[extra]:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"this needs the package {package}, which is not installed",
                remedy=f"Install it with: pip install 'noctule[{extra}]'",
            )
