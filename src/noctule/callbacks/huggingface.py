"""A callback of the Trainer of Hugging Face transformers."""

from __future__ import annotations

import math
from typing import Any

from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from noctule.callbacks.monitor import RobustnessMonitor


class RobustnessTrainerCallback(TrainerCallback):
    """Logs the robustness of a network at the end of every few epochs of training.

        trainer.add_callback(RobustnessTrainerCallback(trainer, data, limit=1000))

    The scores are logged with `trainer.log`, so that all loggers of `report_to` get them. If
    several processes train, the first evaluates.

    Args:
        trainer: The trainer.
        *arguments, **options: As of `noctule.callbacks.RobustnessMonitor`.

    Raises:
        InputError: See `RobustnessMonitor`.
    """

    def __init__(self, trainer: Trainer, *arguments: Any, **options: Any) -> None:
        self.trainer = trainer
        self.monitor = RobustnessMonitor(*arguments, **options)

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **others: Any,
    ) -> None:
        """Evaluate, if it is due, and log."""
        if not state.is_world_process_zero:
            return
        network = self.trainer.accelerator.unwrap_model(self.trainer.model)
        # An epoch that `max_steps` cuts short counts as one.
        scores = self.monitor(network, math.ceil((state.epoch or 1) - 1e-6))
        if scores:
            self.trainer.log(scores)
