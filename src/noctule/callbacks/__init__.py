"""Robustness while a network is trained: every few epochs, to whatever logger runs.

`RobustnessMonitor` is for training loops of one's own, also with Accelerate. The callbacks of
Lightning and of the Trainer of Hugging Face, which call it, are in `.lightning` and
`.huggingface`.
"""

from __future__ import annotations

from noctule.callbacks.monitor import RobustnessMonitor

__all__ = ["RobustnessMonitor"]
