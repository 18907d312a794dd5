"""Robustness in training loops: of one's own, of Accelerate, Lightning and Hugging Face."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import transformers
from accelerate import Accelerator
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import noctule
from noctule import Preprocessing, Settings
from noctule.callbacks import RobustnessMonitor
from noctule.callbacks.huggingface import RobustnessTrainerCallback
from noctule.callbacks.lightning import RobustnessCallback
from noctule.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = np.arange(12) % 3
IMAGES = np.zeros((12, 32, 32, 3), np.uint8)
IMAGES[np.arange(12), :, :, LABELS] = 200 - 5 * np.arange(12)[:, None, None]
NORMALISED = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
BATCH = (torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
PART: dict[str, Any] = {"corruptions": ["border", "brightness"]}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def monitor(**options: Any) -> RobustnessMonitor:
    return RobustnessMonitor((IMAGES, LABELS), preprocessing=NORMALISED, **PART, **options)


def test_the_scores_are_those_of_evaluate() -> None:
    model = network().train()
    scores = monitor()(model, 1)
    classifier = noctule.load_classifier(model, preprocessing=NORMALISED)
    part = noctule.evaluate(
        classifier, (IMAGES, LABELS), settings=Settings(device="cpu", self_check=False), **PART
    )
    wanted = part.scores.metrics()
    assert scores == {f"robustness/{name}": value for name, value in wanted.items()}
    assert {
        "robustness/mean_error",
        "robustness/mean_error/low",
        "robustness/error/border",
    } <= {*scores}


def test_the_network_comes_out_as_it_went_in() -> None:
    model = network().train()
    model[0].weight.requires_grad_(False)
    model(BATCH).sum().backward()
    before = copy.deepcopy(model)
    gradients = [copy.deepcopy(p.grad) for p in model.parameters()]
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    monitor(settings=Settings(workers=0))(model, 1)
    numbers = torch.rand(3), random.random(), np.random.rand()
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    assert torch.rand(3).equal(numbers[0])
    assert (random.random(), np.random.rand()) == numbers[1:]
    for (name, value), other in zip(
        model.state_dict().items(), before.state_dict().values(), strict=True
    ):
        assert value.equal(other), name
    assert all(m.training for m in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [
        p.requires_grad for p in before.parameters()
    ]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient is None or parameter.grad.equal(gradient)


def test_every_k_epochs_on_a_stated_subset_kept(tmp_path: Path) -> None:
    check = monitor(every_epochs=2, limit=6, out=tmp_path, prefix="")
    model = network()
    found = [check(model, epoch) for epoch in (1, 2, 3, 4)]
    assert [bool(scores) for scores in found] == [False, True, False, True]
    assert found[1] == found[3]  # the same images, corruptions and network
    runs = sorted(path.name for path in tmp_path.iterdir())
    assert runs == ["epoch-2", "epoch-4"]
    scores = noctule.load_run(tmp_path / "epoch-2").scores
    assert scores.metrics()["mean_error"] == found[1]["mean_error"]
    assert scores.population == 12  # of which 6: the interval knows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_epochs": 0}, "every_epochs"),
        ({"limit": 13}, "has 12 images"),
        ({"benchmark": "imagenet-nok"}, "unknown benchmark"),
        ({"corruptions": ["fogg"]}, "fogg"),
        ({"data": "/no/such/folder"}, "/no/such/folder"),
        ({"settings": {"seed": 1}}, "settings: is a dict"),
    ],
)
def test_errors_before_the_training(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RobustnessMonitor(**{"data": (IMAGES, LABELS), **options})


@pytest.mark.parametrize("epoch", [0, -1, 1.5, "1"])
def test_epochs_count_from_1(epoch: Any) -> None:
    with pytest.raises(InputError, match="epoch: "):
        monitor()(network(), epoch)


def test_settings_without_a_device_leave_that_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[Settings] = []

    def evaluate(*arguments: Any, settings: Settings, **options: Any) -> Any:
        used.append(settings)
        return noctule.evaluate(*arguments, settings=settings, **options)

    monkeypatch.setattr("noctule.callbacks.monitor.evaluate", evaluate)
    monitor(settings=Settings(batch_size=4))(network(), 1)
    assert (used[0].device, used[0].batch_size) == ("cpu", 4)


def test_a_network_of_other_classes() -> None:
    other = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(InputError, match="classes"):
        monitor()(other, 1)


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        return logits

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(BATCH, torch.from_numpy(LABELS)), batch_size=4)


@pytest.mark.filterwarnings("ignore")  # of Lightning
def test_lightning_logs_to_tensorboard_and_monitors(tmp_path: Path) -> None:
    callback = RobustnessCallback(
        (IMAGES, LABELS), preprocessing=NORMALISED, every_epochs=2, **PART
    )
    best = ModelCheckpoint(tmp_path / "best", monitor="robustness/mean_error", every_n_epochs=2)
    loggers = [TensorBoardLogger(str(tmp_path), "board"), CSVLogger(str(tmp_path), "table")]
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", logger=loggers, callbacks=[callback, best],
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    module = Module()
    trainer.fit(module, loader())
    board = EventAccumulator(loggers[0].log_dir).Reload()
    events = board.Scalars("robustness/mean_error")
    assert len(events) == 2
    wanted = monitor()(module, 1)["robustness/mean_error"]
    assert events[-1].value == pytest.approx(wanted)
    assert trainer.callback_metrics["robustness/mean_error/low"] <= wanted
    assert best.best_model_path
    assert "robustness/mean_error" in Path(loggers[1].log_dir, "metrics.csv").read_text("utf-8")


class Images(torch.utils.data.Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": BATCH[index], "labels": int(LABELS[index])}


def train_with_hugging_face(
    folder: Path, *, report_to: str, max_steps: int
) -> transformers.Trainer:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=8,
    )  # fmt: skip
    config.num_labels = 3
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=max_steps, per_device_train_batch_size=4,
        report_to=[report_to], use_cpu=True, disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=Images())
    callback = RobustnessTrainerCallback(
        trainer, (IMAGES, LABELS), preprocessing=NORMALISED, out=folder / "runs", **PART
    )
    trainer.add_callback(callback)
    trainer.train()
    return trainer


@pytest.mark.filterwarnings("ignore")  # of transformers
def test_the_trainer_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = train_with_hugging_face(tmp_path, report_to="tensorboard", max_steps=4)
    logged = [row for row in trainer.state.log_history if "robustness/mean_error" in row]
    assert [round(row["epoch"], 2) for row in logged] == [1, 1.33]
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"epoch-1", "epoch-2"}
    wanted = monitor()(trainer.model, 1)["robustness/mean_error"]
    assert logged[-1]["robustness/mean_error"] == pytest.approx(wanted)
    json.dumps(logged)  # plain numbers
    (events,) = {path.parent for path in tmp_path.rglob("events.out.tfevents*")}
    board = EventAccumulator(str(events)).Reload()
    (name,) = [n for n in board.Tags()["scalars"] if n.endswith("robustness/mean_error")]
    assert len(board.Scalars(name)) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of wandb
def test_a_loop_with_accelerate_logs_to_weights_and_biases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    accelerator = Accelerator(cpu=True, log_with="wandb")
    accelerator.init_trackers("robustness")
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer, batches = accelerator.prepare(model, optimizer, loader())
    check = monitor()
    for epoch in (1, 2):
        for images, labels in batches:
            accelerator.backward(nn.functional.cross_entropy(model(images), labels))
            optimizer.step()
            optimizer.zero_grad()
        scores = check(accelerator.unwrap_model(model), epoch)
        accelerator.log(scores, step=epoch, log_kwargs={"wandb": {"commit": True}})
    run = accelerator.get_tracker("wandb", unwrap=True)
    wanted = check(accelerator.unwrap_model(model), 1)["robustness/mean_error"]
    assert run.summary["robustness/mean_error"] == pytest.approx(wanted)
    accelerator.end_training()
    assert [*tmp_path.rglob("*.wandb")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow, Lightning and transformers
@pytest.mark.parametrize("how", ["own loop", "Lightning", "Hugging Face"])
def test_scores_go_to_mlflow(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow.set_tracking_uri(address)
    mlflow.set_experiment("robustness")
    if how == "own loop":
        model: Any = network()
        with mlflow.start_run():
            for epoch in (1, 2):
                mlflow.log_metrics(monitor()(model, epoch), step=epoch)
    elif how == "Lightning":
        model = Module()
        trainer = pl.Trainer(
            max_epochs=2, accelerator="cpu",
            logger=MLFlowLogger("robustness", tracking_uri=address),
            callbacks=[RobustnessCallback((IMAGES, LABELS), preprocessing=NORMALISED, **PART)],
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(model, loader())
    else:
        model = train_with_hugging_face(tmp_path, report_to="mlflow", max_steps=6).model
    (run,) = mlflow.search_runs(experiment_names=["robustness"], output_format="list")
    history = mlflow.MlflowClient(address).get_metric_history(
        run.info.run_id, "robustness/mean_error"
    )
    assert len(history) == 2
    wanted = monitor()(model, 1)["robustness/mean_error"]
    assert history[-1].value == pytest.approx(wanted)
