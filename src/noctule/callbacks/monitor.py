"""Evaluating a network between two epochs of its training."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from noctule.arguments import path_like, whole_number
from noctule.benchmarks import Benchmark, load_benchmark
from noctule.benchmarks.parts import Names, Selection
from noctule.data import Dataset, open_dataset
from noctule.data.subset import limited
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings, checked_settings
from noctule.models import Preprocessing, load_classifier
from noctule.sampling import random_state_kept

Data = str | Path | Dataset | tuple[Any, Any]


class RobustnessMonitor:
    """Evaluates a network on a benchmark every few epochs.

    The network comes out as it went in: its mode, weights, statistics, gradients, device and
    `requires_grad`; so do the random generators. The images and their corruptions are the same
    in every epoch, so that epochs can be compared.

    Args:
        data: Images to evaluate on, of the classes in the order of the network's outputs; see
            `noctule.evaluate`. They are opened once.
        benchmark: A name, the path of a TOML file, or a `Benchmark`.
        every_epochs: Epochs from one evaluation to the next; the first is after so many.
        preprocessing: What the network's inputs have been through, such as its normalisation;
            by default they are RGB in [0, 1].
        limit: Evaluate on this many of the images, the same share of each class.
        corruptions, severities, skip: A part of the benchmark, see `noctule.evaluate`.
        out: Folder for the runs, `epoch-1` and so on; by default they are temporary. Runs in it
            are not evaluated again.
        prefix: Start of the names in the logs.
        settings: Batch size, seed and so on; the device is the network's unless it is set.

    Raises:
        InputError: An argument cannot be used; see its message. The data and the benchmark are
            checked before the training starts.

    >>> import torch
    >>> images, labels = torch.zeros(8, 32, 32, 3, dtype=torch.uint8).numpy(), [0, 1] * 4
    >>> monitor = RobustnessMonitor((images, labels), corruptions=["border"], every_epochs=2)
    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    >>> monitor(network, epoch=1)
    {}
    >>> monitor(network, epoch=2)["robustness/error/clean"]
    0.5
    """

    def __init__(
        self,
        data: Data,
        benchmark: str | Path | Benchmark = "imagenet-noc",
        *,
        every_epochs: int = 1,
        preprocessing: Preprocessing | None = None,
        limit: int | None = None,
        corruptions: Names = None,
        severities: Iterable[int] | None = None,
        skip: Names = None,
        out: str | Path | None = None,
        prefix: str = "robustness/",
        settings: Settings | None = None,
    ) -> None:
        self.every_epochs = whole_number(every_epochs, "every_epochs", low=1)
        opened = open_dataset(data)
        self.data = opened if limit is None else limited(opened, limit)
        if not isinstance(benchmark, Benchmark):
            benchmark = load_benchmark(benchmark)
        self.benchmark = Selection(corruptions, severities, skip).of(benchmark)
        self.preprocessing = preprocessing
        self.out = None if out is None else path_like(out, "out")
        self.prefix = prefix
        # A network in training may fail sanity checks, which `Settings` asks for.
        settings = Settings(self_check=False) if settings is None else settings
        self.settings = checked_settings(settings)

    def __call__(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """Evaluate the network, if it is due after this epoch.

        Args:
            model: A network of images (batch, channels, height, width).
            epoch: Number of the epoch that ended, from 1.

        Returns:
            The scores as in `noctule.metrics.Scores.metrics`, with the prefix; empty between
            two evaluations.

        Raises:
            InputError: The network and the data do not fit together, or `epoch` is not a whole
                number from 1.
        """
        epoch = whole_number(epoch, "epoch", low=1)
        if epoch % self.every_epochs:
            return {}
        classifier = load_classifier(model, preprocessing=self.preprocessing)
        with tempfile.TemporaryDirectory(prefix="noctule-") as temporary, random_state_kept():
            evaluation = evaluate(
                classifier,
                self.data,
                self.benchmark,
                out=(self.out or Path(temporary)) / f"epoch-{epoch}",
                settings=self._settings_for(model),
            )
        scores = evaluation.scores.metrics()
        return {f"{self.prefix}{name}": value for name, value in scores.items()}

    def _settings_for(self, model: nn.Module) -> Settings:
        """On the device of the network."""
        parameter = next(model.parameters(), None)
        if self.settings.device is not None or parameter is None:
            return self.settings
        return replace(self.settings, device=parameter.device)
