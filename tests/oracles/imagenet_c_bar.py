"""Slow forms of corruptions of ImageNet-C-bar, from their definitions."""

from __future__ import annotations

from oracles.oracle import Oracle

ORACLES: dict[str, Oracle] = {}
