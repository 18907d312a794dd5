"""A callback of Lightning."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from noctule.callbacks.monitor import RobustnessMonitor


class RobustnessCallback(Callback):
    """Logs the robustness of a network at the end of every few epochs of training.

    The scores are logged with `log_dict`, so that every logger of the trainer gets them, and
    `ModelCheckpoint` and `EarlyStopping` can monitor "robustness/mean_error". If several
    processes train, the first evaluates and the others wait.

    Args:
        *arguments, **options: As of `noctule.callbacks.RobustnessMonitor`. The network is the
            Lightning module, as in its `forward`.

    Raises:
        InputError: See `RobustnessMonitor`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.monitor = RobustnessMonitor(*arguments, **options)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, if it is due, and log."""
        scores: dict[str, float] = {}
        if trainer.is_global_zero:
            scores = self.monitor(pl_module, trainer.current_epoch + 1)
        pl_module.log_dict(trainer.strategy.broadcast(scores))
