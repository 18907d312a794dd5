"""Training recipes as data, read from TOML and stored with the weights."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from noctule.config import Spec, SpecValueError
from noctule.studies.training.initial import Rule

Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class Sgd(Spec):
    """Stochastic gradient descent.

    Attributes:
        momentum: Momentum of the moving average of gradients.
        nesterov: Whether to use Nesterov momentum.
        weight_decay: Factor of the weights that is added to the gradient.
    """

    kind: Literal["sgd"]
    momentum: Share = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 0.0

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise SpecValueError(
                "nesterov needs momentum, which is 0", "Use a momentum above 0."
            )
        return self

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of one network; its learning rate is set at every step."""
        return torch.optim.SGD(
            module.parameters(),
            lr=0.0,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


class AdamW(Spec):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Attributes:
        betas: Decay rates of the moving averages of gradients and of their squares.
        weight_decay: Factor of learning rate times weights that is subtracted in each step.
    """

    kind: Literal["adamw"]
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: NotNegative = 0.01

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of one network; its learning rate is set at every step."""
        return torch.optim.AdamW(
            module.parameters(), lr=0.0, betas=self.betas, weight_decay=self.weight_decay
        )


class StepSchedule(Spec):
    """Multiply the learning rate by a factor after some epochs.

    Attributes:
        factor: Factor of the learning rate.
        after_epochs: Numbers of epochs after which it is applied.
    """

    kind: Literal["step"]
    factor: Positive = 0.1
    after_epochs: tuple[Count, ...]

    @property
    def last_change(self) -> float:
        """Number of epochs after which the schedule last changes its rule."""
        return max(self.after_epochs, default=0)

    def multiplier(self, epoch: float, epochs: int) -> float:
        """Factor of the recipe's learning rate, `epoch` (a real number) epochs after the start.

        >>> schedule = StepSchedule(kind="step", after_epochs=(20, 30))
        >>> [round(schedule.multiplier(epoch, 40), 6) for epoch in (0, 19.9, 20, 30)]
        [1.0, 1.0, 0.1, 0.01]
        """
        del epochs
        passed = sum(epoch >= after for after in self.after_epochs)
        return float(self.factor**passed)


class CosineSchedule(Spec):
    """A linear warm-up, then half a cosine down to 0.

    Attributes:
        warmup_epochs: Length of the warm-up in epochs.
    """

    kind: Literal["cosine"]
    warmup_epochs: NotNegative = 0.0

    @property
    def last_change(self) -> float:
        """Number of epochs after which the schedule last changes its rule."""
        return self.warmup_epochs

    def multiplier(self, epoch: float, epochs: int) -> float:
        """Factor of the recipe's learning rate, `epoch` (a real number) epochs after the start.

        >>> schedule = CosineSchedule(kind="cosine", warmup_epochs=2)
        >>> [round(schedule.multiplier(epoch, 10), 3) for epoch in (0, 1, 2, 6, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
        """
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        done = (epoch - self.warmup_epochs) / (epochs - self.warmup_epochs)
        return 0.5 * (1 + math.cos(math.pi * done))


class OneCycleSchedule(Spec):
    """A linear rise, then a linear fall to 0.

    After Smith & Topin 2018, "Super-Convergence". Departure: the momentum is constant.

    Attributes:
        rise: Length of the rise as a share of the training, in (0, 1).
    """

    kind: Literal["one-cycle"]
    rise: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2

    @property
    def last_change(self) -> float:
        """Number of epochs after which the schedule last changes its rule; scales with them."""
        return 0

    def multiplier(self, epoch: float, epochs: int) -> float:
        """Factor of the recipe's learning rate, `epoch` (a real number) epochs after the start.

        >>> schedule = OneCycleSchedule(kind="one-cycle", rise=0.25)
        >>> [schedule.multiplier(epoch, 4) for epoch in (0, 0.5, 1, 2.5, 4)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
        """
        done = epoch / epochs
        return done / self.rise if done < self.rise else (1 - done) / (1 - self.rise)


Optimiser = Annotated[Sgd | AdamW, Field(discriminator="kind")]
Schedule = Annotated[
    StepSchedule | CosineSchedule | OneCycleSchedule, Field(discriminator="kind")
]


class Recipe(Spec):
    """The training of a network.

    Attributes:
        epochs: Number of passes over the images; there is no early stopping.
        batch_size: Number of images in a step. An image that is shown twice, clean and
            corrupted, counts twice. The incomplete last batch of an epoch is dropped.
        learning_rate: Highest learning rate, which the schedule multiplies.
        optimiser: Optimiser; its `kind` is "sgd" or "adamw".
        schedule: Learning-rate schedule; its `kind` is "step", "cosine" or "one-cycle".
        initial_weights: "architecture" for the initial weights of the architecture, "xavier"
            for those of the NOC study, see `noctule.studies.training.initial`.
        flip: Whether to mirror images horizontally with probability ½.
        shift_px: Largest shift along each axis, with reflected edges, in pixels of the image.
        label_smoothing: Share of a label that is distributed over all classes.
    """

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    optimiser: Optimiser
    schedule: Schedule
    initial_weights: Rule = "architecture"
    flip: bool = True
    shift_px: Annotated[int, Field(ge=0)] = 0
    label_smoothing: Share = 0.0

    @field_validator("batch_size")
    @classmethod
    def _holds_two(cls, batch_size: int) -> int:
        if batch_size < 2:
            raise SpecValueError(
                "batch normalisation needs more than one image", "Use 2 or more."
            )
        return batch_size

    @model_validator(mode="after")
    def _schedule_fits(self) -> Recipe:
        if self.schedule.last_change >= self.epochs:
            raise SpecValueError(
                f"the schedule changes the learning rate after {self.schedule.last_change:g} "
                f"epochs, but there are only {self.epochs}",
                "Use more epochs, or another schedule.",
            )
        return self

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate `epoch` (a real number) epochs after the start."""
        return self.learning_rate * self.schedule.multiplier(epoch, self.epochs)
