"""The trainer learns, repeats itself to the bit, and trains each network as if alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noctule.corruptions import corrupt
from noctule.data import Dataset, open_dataset
from noctule.errors import InputError, OutputError, UnreadableImageError
from noctule.models import Preprocessing, weights_sha256
from noctule.models.shipped import SHIPPED
from noctule.models.untrained import build_untrained
from noctule.training import photo_patches
from noctule.training.checkpoint import (
    checkpoints,
    epochs_kept,
    load_checkpoint,
    save_checkpoint,
)
from noctule.training.initial import initialised
from noctule.training.recipe import AdamW, OneCycleSchedule, Recipe, Sgd
from noctule.training.trainer import Course, Trainee, enrol, steps_per_epoch, train

SIDE_PX = 16
PREPROCESSING = Preprocessing(
    resize_px=(SIDE_PX, SIDE_PX), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)
VIEWS = {"standard": (None, None), "shear": (None, "shear"), "gaussian": (None, "gaussian")}

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(**changes: Any) -> Recipe:
    given: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "optimiser": AdamW(kind="adamw"),
        "schedule": OneCycleSchedule(kind="one-cycle"),
        "shift_px": 2,
    }
    return Recipe(**(given | changes))


@pytest.fixture(scope="module")
def few() -> Dataset:
    """64 crops, four of each class."""
    dataset = open_dataset("photo-patches/train")
    images = np.stack([np.asarray(dataset.read(i)) for i in range(64)])
    return open_dataset((images, dataset.labels[:64]))


def course(dataset: Dataset, **changes: Any) -> Course:
    given = {"recipe": recipe()} | changes
    return Course(dataset=dataset, preprocessing=PREPROCESSING, **given)


def enrolled(name: str, over: Course, architecture: str = "photo-patches") -> Trainee:
    views = VIEWS[name]
    return enrol(name, views, lambda: build_untrained(architecture, 16, SIDE_PX), over)


def trained(names: list[str], over: Course) -> dict[str, tuple[list[float], str]]:
    trainees = [enrolled(name, over) for name in names]
    train(trainees, over)
    return {one.name: (one.losses, weights_sha256(one.module.state_dict())) for one in trainees}


class Dropping(torch.nn.Module):
    """A network whose training depends on PyTorch's own generator."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Dropout(0.5),
            torch.nn.Linear(3 * SIDE_PX * SIDE_PX, 16),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def test_a_short_training_learns_and_repeats_itself(few: Dataset) -> None:
    over = course(few, recipe=recipe(epochs=5))
    (losses, weights) = trained(["shear"], over)["shear"]
    assert len(losses) == 5
    assert losses[-1] < 0.9 * losses[0]
    assert trained(["shear"], over)["shear"] == (losses, weights)
    other = course(few, recipe=recipe(epochs=5), seed=1)
    assert trained(["shear"], other)["shear"][0] != losses


def test_a_network_does_not_know_who_trains_beside_it(few: Dataset) -> None:
    over = course(few)
    together = trained(list(VIEWS), over)
    assert len({weights for _, weights in together.values()}) == 3
    for name, alone in ((name, trained([name], over)[name]) for name in VIEWS):
        assert together[name] == alone
    assert trained(list(reversed(VIEWS)), over) == together


def test_the_number_of_decoding_processes_does_not_matter(few: Dataset) -> None:
    over = course(few, recipe=recipe(epochs=1))
    with_workers = course(few, recipe=recipe(epochs=1), workers=2)
    assert trained(["shear"], over) == trained(["shear"], with_workers)


def test_dropout_does_not_depend_on_the_networks_beside_it(few: Dataset) -> None:
    over = course(few)

    def train_dropping(beside: list[str]) -> str:
        one = enrol("dropping", (None, None), Dropping, over)
        train([*(enrolled(name, over) for name in beside), one], over)
        return weights_sha256(one.module.state_dict())

    assert train_dropping([]) == train_dropping(["shear"])


@pytest.mark.parametrize("optimiser", [AdamW(kind="adamw"), Sgd(kind="sgd", momentum=0.9)])
def test_an_interrupted_training_gives_the_same_weights(
    few: Dataset, tmp_path: Path, optimiser: AdamW | Sgd
) -> None:
    over = course(few, recipe=recipe(optimiser=optimiser, epochs=4))
    expected = trained(["shear"], over)["shear"]

    class Killed(Exception):
        pass

    def keep(trainee: Trainee) -> None:
        save_checkpoint(tmp_path, trainee)
        if len(trainee.losses) == 2:
            raise Killed

    with pytest.raises(Killed):
        train([enrolled("shear", over)], over, after_epoch=keep)
    assert epochs_kept(tmp_path) == 2
    assert [path.name for path in checkpoints(tmp_path)] == ["epoch-0002.pt"]
    (tmp_path / ".epoch-0003.pt.99.tmp").write_bytes(b"half")  # what a kill leaves
    resumed = enrolled("shear", over)
    load_checkpoint(tmp_path, resumed)
    assert not list(tmp_path.glob(".epoch*"))
    assert len(resumed.losses) == 2
    train([resumed], over)
    assert (resumed.losses, weights_sha256(resumed.module.state_dict())) == expected


def test_networks_at_different_epochs_go_on_together(few: Dataset, tmp_path: Path) -> None:
    over = course(few)
    expected = trained(["standard", "shear"], over)
    ahead = enrolled("shear", course(few))
    one_epoch = []

    class Stop(Exception):
        pass

    def stop(trainee: Trainee) -> None:
        one_epoch.append(trainee)
        raise Stop

    with pytest.raises(Stop):
        train([ahead], over, after_epoch=stop)
    behind = enrolled("standard", over)
    train([behind, ahead], over)
    for one in (behind, ahead):
        assert (one.losses, weights_sha256(one.module.state_dict())) == expected[one.name]


def test_a_damaged_checkpoint_is_named(few: Dataset, tmp_path: Path) -> None:
    over = course(few)
    save_checkpoint(tmp_path, enrolled("shear", over))
    (path,) = checkpoints(tmp_path)
    whole = path.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"nonsense" * 100):
        path.write_bytes(damage)
        with pytest.raises(InputError, match=r"epoch-0000\.pt: is damaged.*Delete it"):
            load_checkpoint(tmp_path, enrolled("shear", over))


def test_a_checkpoint_of_another_network_is_refused(few: Dataset, tmp_path: Path) -> None:
    over = course(few)
    save_checkpoint(tmp_path, enrolled("shear", over))
    other = enrol("other", (None, None), Dropping, over)
    with pytest.raises(InputError, match="is damaged, or of another network"):
        load_checkpoint(tmp_path, other)


def test_a_checkpoint_that_cannot_be_written_says_so(few: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save_checkpoint(tmp_path / "absent", enrolled("shear", course(few)))


def test_every_view_is_what_its_corruption_makes_of_it(few: Dataset) -> None:
    """One epoch of a network that only listens, against corruptions applied by hand."""
    seen: list[torch.Tensor] = []

    class Listening(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(16))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images.detach().clone())
            return self.weight.expand(len(images), 16)

    still = recipe(epochs=2, flip=False, shift_px=0, batch_size=16)
    over = course(few, recipe=still, seed=3)
    train([enrol("rain", (None, "rain"), Listening, over)], over)
    assert len(seen) == 2 * (64 // 8)
    assert all(len(batch) == 16 for batch in seen)
    pictures = torch.stack([PREPROCESSING.picture(few.read(i)) for i in range(64)])
    for number in range(2):
        batches = seen[8 * number : 8 * number + 8]
        clean = torch.cat([batch[:8] for batch in batches])
        rainy = torch.cat([batch[8:] for batch in batches])
        ids = [f"epoch {number}/{image_id}" for image_id in few.ids]
        expected = PREPROCESSING.normalise(corrupt(pictures, "rain", ids=ids, seed=3))
        order = [
            next(i for i in range(64) if torch.equal(PREPROCESSING.normalise(pictures[i]), one))
            for one in clean
        ]
        assert sorted(order) == list(range(64))
        assert order != list(range(64))
        assert torch.equal(rainy, expected[order])


def test_the_learning_rate_follows_the_schedule(few: Dataset) -> None:
    rates: list[float] = []
    over = course(few, recipe=recipe(epochs=2, batch_size=64))
    trainee = enrolled("standard", over)
    step = trainee.optimiser.step

    def spied(*args: Any) -> Any:
        rates.append(trainee.optimiser.param_groups[0]["lr"])
        return step(*args)

    trainee.optimiser.step = spied  # type: ignore[method-assign]
    train([trainee], over)
    # 32 images a batch make 2 steps an epoch; the middle of step k is at (k + ½) / 4 of the
    # whole. One cycle: up to 0.003 at 0.2, down to 0 at 1.
    expected = [
        0.003 * (t / 0.2 if t < 0.2 else (1 - t) / 0.8) for t in (0.125, 0.375, 0.625, 0.875)
    ]
    assert rates == pytest.approx(expected)


def test_a_loss_that_is_not_finite_stops_with_a_name(few: Dataset) -> None:
    over = course(few, recipe=recipe(learning_rate=1e30, optimiser=Sgd(kind="sgd")))
    with pytest.raises(InputError, match="the loss of 'shear' is not finite in epoch"):
        train([enrolled("shear", over)], over)


def test_an_unreadable_image_stops_with_its_name(few: Dataset) -> None:
    class Torn(type(few)):  # type: ignore[misc]
        def read(self, index: int) -> Any:
            if index == 5:
                raise UnreadableImageError(self.ids[5], "torn")
            return super().read(index)

    torn = Torn.__new__(Torn)
    torn.__dict__ = dict(few.__dict__)
    over = course(torn)
    trainee = enrolled("shear", over)
    with pytest.raises(UnreadableImageError, match=f"{few.ids[5]}.*torn"):
        train([trainee], over)


def test_pytorchs_generator_is_left_as_it_was(few: Dataset) -> None:
    before = torch.random.get_rng_state()
    over = course(few, recipe=recipe(epochs=1))
    train([enrol("dropping", (None, None), Dropping, over)], over)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_too_few_images_for_a_batch_are_refused(few: Dataset) -> None:
    assert steps_per_epoch(64, recipe(batch_size=64), views=2) == 2
    with pytest.raises(InputError, match="64 images, each shown 2 times, do not fill a batch"):
        steps_per_epoch(64, recipe(batch_size=130), views=2)


def test_bfloat16_trains_too(few: Dataset) -> None:
    low = course(few, precision="bfloat16")
    losses, weights = trained(["shear"], low)["shear"]
    full, full_weights = trained(["shear"], course(few))["shear"]
    assert weights != full_weights
    assert losses == pytest.approx(full, rel=0.1)


@pytest.mark.parametrize("rule", ["architecture", "xavier"])
def test_initial_weights_depend_on_the_seed_only(rule: Any) -> None:
    def digest(seed: int) -> str:
        module = initialised(lambda: build_untrained("photo-patches", 16, 64), seed, rule)
        return weights_sha256(module.state_dict())

    torch.manual_seed(1)
    first = digest(0)
    torch.manual_seed(2)
    assert digest(0) == first != digest(1)


def test_the_xavier_rule_has_the_published_spread() -> None:
    module = initialised(lambda: build_untrained("torchvision:resnet18", 100, 64), 0, "xavier")
    weight = module.layer4[1].conv2.weight
    # Xavier uniform: ±√(6 / (fan in + fan out)), 512 · 9 each way.
    bound = (6 / (2 * 512 * 9)) ** 0.5
    assert weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    scales = torch.cat([part.weight for part in norms])
    # 4,800 draws of N(1, 0.02): five standard errors of mean and spread.
    assert scales.mean().item() == pytest.approx(1, abs=5 * 0.02 / len(scales) ** 0.5)
    assert scales.std().item() == pytest.approx(0.02, rel=5 / (2 * len(scales)) ** 0.5)
    assert module.fc.bias.unique().tolist() == pytest.approx([0.01])


def test_accuracy_by_hand() -> None:
    # The logits are the mean of each channel; picture i is brightest in channel i mod 3.
    pictures = np.zeros((300, 16, 16, 3), np.uint8)
    labels = np.arange(300) % 3
    pictures[np.arange(300), :, :, labels] = 255
    labels[:30] = (labels[:30] + 1) % 3

    class Brightest(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    dataset = open_dataset((pictures, labels))
    assert photo_patches.accuracy(Brightest(), dataset, Preprocessing()) == 270 / 300


def test_both_shipped_classifiers_have_a_recipe() -> None:
    assert set(photo_patches.RECIPES) == set(SHIPPED)
    with pytest.raises(SystemExit):
        photo_patches.main(["--only", "another"])
