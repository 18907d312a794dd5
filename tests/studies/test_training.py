"""The trainer learns, repeats itself to the bit, and trains each network as if alone."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from noctule.corruptions import corrupt
from noctule.data import Dataset, open_dataset
from noctule.errors import InputError, OutputError, UnreadableImageError
from noctule.models import Preprocessing, build_untrained, weights_sha256
from noctule.models.sources.shipped import SHIPPED
from noctule.studies.training import photo_patches
from noctule.studies.training.checkpoint import (
    checkpoints,
    epochs_saved,
    load_checkpoint,
    save_checkpoint,
)
from noctule.studies.training.initial import initialised
from noctule.studies.training.recipe import AdamW, OneCycleSchedule, Recipe, Sgd
from noctule.studies.training.stream import augmented, draw_epoch
from noctule.studies.training.trainer import (
    TrainingConfig,
    TrainingRun,
    init_run,
    steps_per_epoch,
    train,
)

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


class Viewing(nn.Module):
    """As a user may write it: a convolution, flattened with `view`, and a 5-D parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, stride=8), nn.Linear(16, 16)
        self.bias = nn.Parameter(torch.zeros(1, 1, 1, 1, 16))

    def forward(self, images: Tensor) -> Tensor:
        images.view(len(images), -1)
        features = self.conv(images)
        logits: Tensor = self.head(features.view(len(features), -1)) + self.bias[0, 0, 0]
        return logits


def test_a_users_network_trains_in_the_layout_it_has(few: Dataset) -> None:
    run = init_run("own", (None,), Viewing, config(few, channels_last=False))
    assert not train([run], config(few, channels_last=False))
    assert len(run.losses) == recipe().epochs


def config(dataset: Dataset, **changes: Any) -> TrainingConfig:
    given = {"recipe": recipe()} | changes
    return TrainingConfig(dataset=dataset, preprocessing=PREPROCESSING, **given)


def initialized(
    name: str, over: TrainingConfig, architecture: str = "photo-patches"
) -> TrainingRun:
    views = VIEWS[name]
    return init_run(name, views, lambda: build_untrained(architecture, 16, SIDE_PX), over)


def trained(names: list[str], over: TrainingConfig) -> dict[str, tuple[list[float], str]]:
    runs = [initialized(name, over) for name in names]
    train(runs, over)
    return {one.name: (one.losses, weights_sha256(one.module.state_dict())) for one in runs}


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
    over = config(few, recipe=recipe(epochs=5))
    (losses, weights) = trained(["shear"], over)["shear"]
    assert len(losses) == 5
    assert losses[-1] < 0.9 * losses[0]
    assert trained(["shear"], over)["shear"] == (losses, weights)
    other = config(few, recipe=recipe(epochs=5), seed=1)
    assert trained(["shear"], other)["shear"][0] != losses


def test_a_network_does_not_know_who_trains_beside_it(few: Dataset) -> None:
    over = config(few)
    together = trained(list(VIEWS), over)
    assert len({weights for _, weights in together.values()}) == 3
    for name, alone in ((name, trained([name], over)[name]) for name in VIEWS):
        assert together[name] == alone
    assert trained(list(reversed(VIEWS)), over) == together


def test_the_number_of_decoding_processes_does_not_matter(few: Dataset) -> None:
    over = config(few, recipe=recipe(epochs=1))
    with_workers = config(few, recipe=recipe(epochs=1), workers=2)
    assert trained(["shear"], over) == trained(["shear"], with_workers)


def test_dropout_does_not_depend_on_the_networks_beside_it(few: Dataset) -> None:
    over = config(few)

    def train_dropping(beside: list[str]) -> str:
        one = init_run("dropping", (None, None), Dropping, over)
        train([*(initialized(name, over) for name in beside), one], over)
        return weights_sha256(one.module.state_dict())

    assert train_dropping([]) == train_dropping(["shear"])


@pytest.mark.parametrize("optimiser", [AdamW(kind="adamw"), Sgd(kind="sgd", momentum=0.9)])
def test_an_interrupted_training_gives_the_same_weights(
    few: Dataset, tmp_path: Path, optimiser: AdamW | Sgd
) -> None:
    over = config(few, recipe=recipe(optimiser=optimiser, epochs=4))
    expected = trained(["shear"], over)["shear"]

    class Killed(Exception):
        pass

    def keep(run: TrainingRun) -> None:
        save_checkpoint(tmp_path, run, "shear")
        if len(run.losses) == 2:
            raise Killed

    with pytest.raises(Killed):
        train([initialized("shear", over)], over, after_epoch=keep)
    assert epochs_saved(tmp_path) == 2
    assert [path.name for path in checkpoints(tmp_path)] == ["epoch-0002.pt"]
    resumed = initialized("shear", over)
    load_checkpoint(tmp_path, resumed, "shear")
    assert len(resumed.losses) == 2
    steps: list[int] = []
    train([resumed], over, after_step=steps.append)
    assert len(steps) == 2 * 4  # two epochs were left
    assert (resumed.losses, weights_sha256(resumed.module.state_dict())) == expected


def test_networks_at_different_epochs_go_on_together(few: Dataset, tmp_path: Path) -> None:
    over = config(few)
    expected = trained(["standard", "shear"], over)
    ahead = initialized("shear", config(few))
    one_epoch = []

    class Stop(Exception):
        pass

    def stop(run: TrainingRun) -> None:
        one_epoch.append(run)
        raise Stop

    with pytest.raises(Stop):
        train([ahead], over, after_epoch=stop)
    behind = initialized("standard", over)
    train([behind, ahead], over)
    for one in (behind, ahead):
        assert (one.losses, weights_sha256(one.module.state_dict())) == expected[one.name]


def test_a_damaged_checkpoint_is_named(few: Dataset, tmp_path: Path) -> None:
    over = config(few)
    save_checkpoint(tmp_path, initialized("shear", over), "shear")
    (path,) = checkpoints(tmp_path)
    whole = path.read_bytes()
    odd = []
    for content in ({"losses": "abc"}, {"optimiser": 5}, {"losses": [1.0]}):
        buffer = io.BytesIO()
        torch.save(torch.load(path, weights_only=True) | content, buffer)
        odd.append(buffer.getvalue())
    for damage in (b"", whole[: len(whole) // 2], b"nonsense" * 100, *odd):
        path.write_bytes(damage)
        with pytest.raises(InputError, match=r"epoch-0000\.pt: is damaged.*Delete it"):
            load_checkpoint(tmp_path, initialized("shear", over), "shear")


def test_no_flipped_bit_of_a_checkpoint_goes_unseen(few: Dataset, tmp_path: Path) -> None:
    over = config(few)
    run = initialized("shear", over)
    save_checkpoint(tmp_path, run, "shear")
    (path,) = checkpoints(tmp_path)
    whole = path.read_bytes()
    tables = [one for one in run.module.state_dict().values() if one.ndim == 2]
    largest = max(tables, key=torch.Tensor.numel).numpy().tobytes()
    first = whole.index(largest)  # stored as they are, without compression
    for place in (first, first + len(largest) // 2, first + len(largest) - 1):
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(InputError, match="SHA-256 hash has changed"):
            load_checkpoint(tmp_path, initialized("shear", over), "shear")
    path.write_bytes(whole)
    with pytest.raises(InputError, match="written for another network"):
        load_checkpoint(tmp_path, initialized("shear", over), "rain")


def test_checkpoints_are_ordered_by_their_number(tmp_path: Path) -> None:
    for number in ("9999", "10000", "0007"):
        (tmp_path / f"epoch-{number}.pt").touch()
    assert epochs_saved(tmp_path) == 10000


def test_a_checkpoint_of_another_network_is_refused(few: Dataset, tmp_path: Path) -> None:
    over = config(few)
    save_checkpoint(tmp_path, initialized("shear", over), "shear")
    other = init_run("other", (None, None), Dropping, over)
    with pytest.raises(InputError, match="is damaged or belongs to another network"):
        load_checkpoint(tmp_path, other, "shear")


def test_a_checkpoint_that_cannot_be_written_says_so(few: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save_checkpoint(tmp_path / "absent", initialized("shear", config(few)), "shear")


class Listening(torch.nn.Module):
    """Keeps what it is shown, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(16))
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.detach().clone())
        return self.weight.expand(len(images), 16)


def test_every_view_is_what_its_corruption_makes_of_it(few: Dataset) -> None:
    """Two epochs of a network that only listens, against moves and corruptions by hand."""
    over = config(few, recipe=recipe(epochs=2, shift_px=2, batch_size=16), seed=3)
    run = init_run("rain", (None, "rain"), Listening, over)
    assert isinstance(run.module, Listening)
    train([run], over)
    seen = run.module.seen
    assert len(seen) == 2 * (64 // 8)
    assert all(len(batch) == 16 for batch in seen)
    images = torch.stack([PREPROCESSING.prepare(few.read(i)) for i in range(64)])
    for number in range(2):
        epoch = draw_epoch(over.recipe, 3, number, few.ids, views=2)
        first, second = (
            augmented(images, augmentations) for augmentations in epoch.augmentations
        )
        assert not torch.equal(first, second)
        ids = [f"epoch {number}/{image_id}" for image_id in few.ids]
        rainy = corrupt(second, "rain", ids=ids, seed=3)
        batches = seen[8 * number : 8 * number + 8]
        for view, expected in ((slice(0, 8), first), (slice(8, 16), rainy)):
            shown = torch.cat([batch[view] for batch in batches])
            assert torch.equal(shown, PREPROCESSING.normalise(expected[epoch.order]))


def test_networks_train_in_training_mode(few: Dataset) -> None:
    over = config(few, recipe=recipe(epochs=1))
    run = initialized("standard", over)
    (norm,) = [part for name, part in run.module.named_modules() if name == "stem.1"]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    train([run], over)
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 4  # 64 images in batches of 16, shown twice
    assert norm.running_mean is not None
    assert norm.running_mean.abs().max() > 0


def test_dropout_is_drawn_anew_in_every_step_and_epoch(few: Dataset) -> None:
    masks: list[torch.Tensor] = []

    class Masked(Listening):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            ones = torch.nn.functional.dropout(torch.ones(64), 0.5, self.training)
            masks.append(ones)
            return super().forward(images)

    over = config(few, recipe=recipe(epochs=2))
    train([init_run("masked", (None, None), Masked, over)], over)
    assert len(masks) == 8
    assert len({tuple(mask.tolist()) for mask in masks}) == 8


def test_a_loss_by_hand_with_smoothed_labels(few: Dataset) -> None:
    class Sure(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(images), 16)
            logits[:, 0] = 1.0
            return logits + 0 * self.weight

    over = config(few, recipe=recipe(epochs=1, batch_size=128, label_smoothing=0.1))
    run = init_run("sure", (None, None), Sure, over)
    train([run], over)
    # log of the sum of exponentials: log(e + 15). A label weighs 0.9 + 0.1/16, every other
    # class 0.1/16; the logit of class 0 is 1, and 4 of 64 labels are class 0.
    own = (4 / 64) * 0.9 + 0.1 / 16
    assert run.losses == pytest.approx([math.log(math.e + 15) - own], rel=1e-6)


def test_a_network_is_enrolled_with_its_recipe_and_seed(few: Dataset) -> None:
    xavier = config(few, recipe=recipe(initial_weights="xavier"))
    network = initialized("standard", xavier).module
    assert network.head.bias.unique().tolist() == pytest.approx([0.01])
    digests = {
        weights_sha256(initialized("standard", config(few, seed=seed)).module.state_dict())
        for seed in (0, 1)
    }
    assert len(digests) == 2


def test_weight_decay_reaches_the_optimisers() -> None:
    for optimiser in (AdamW(kind="adamw", weight_decay=0.3), Sgd(kind="sgd", weight_decay=0.3)):
        assert optimiser.build(torch.nn.Linear(2, 2)).defaults["weight_decay"] == 0.3


def test_compiled_networks_are_saved_like_others(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler that only counts: the real one takes minutes."""
    calls: list[int] = []

    def counting(module: torch.nn.Module) -> Any:
        return lambda images: calls.append(len(images)) or module(images)

    monkeypatch.setattr(torch, "compile", counting)
    plain = trained(["shear"], config(few, recipe=recipe(epochs=1)))
    assert not calls
    assert trained(["shear"], config(few, recipe=recipe(epochs=1), compiled=True)) == plain
    assert calls == [32] * 4


def test_the_learning_rate_follows_the_schedule(few: Dataset) -> None:
    rates: list[float] = []
    over = config(few, recipe=recipe(epochs=2, batch_size=64))
    run = initialized("standard", over)
    step = run.optimiser.step

    def spied(*args: Any) -> Any:
        rates.append(run.optimiser.param_groups[0]["lr"])
        return step(*args)

    run.optimiser.step = spied  # type: ignore[assignment,method-assign]
    train([run], over)
    # 32 images a batch make 2 steps an epoch; the middle of step k is at (k + ½) / 4 of the
    # whole. One cycle: up to 0.003 at 0.2, down to 0 at 1.
    expected = [
        0.003 * (t / 0.2 if t < 0.2 else (1 - t) / 0.8) for t in (0.125, 0.375, 0.625, 0.875)
    ]
    assert rates == pytest.approx(expected)


def test_a_network_that_diverges_does_not_stop_the_others(few: Dataset) -> None:
    class Exploding(Listening):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * float("inf")

    over = config(few)
    exploding = init_run("exploding", (None, None), Exploding, over)
    good, kept = initialized("shear", over), []
    diverged = train([exploding, good], over, after_epoch=lambda one: kept.append(one.name))
    assert diverged == [exploding]
    assert kept == ["shear"] * 3
    assert (good.losses, weights_sha256(good.module.state_dict())) == trained(["shear"], over)[
        "shear"
    ]


def test_an_unreadable_image_stops_with_its_name(few: Dataset) -> None:
    class Torn(type(few)):  # type: ignore[misc]
        def read(self, index: int) -> Any:
            if index == 5:
                raise UnreadableImageError(self.ids[5], "torn")
            return super().read(index)

    torn = Torn.__new__(Torn)
    torn.__dict__ = dict(few.__dict__)
    over = config(torn)
    run = initialized("shear", over)
    with pytest.raises(InputError, match=f"cannot read the image '{few.ids[5]}': torn"):
        train([run], over)


def test_pytorchs_generator_is_left_as_it_was(few: Dataset) -> None:
    before = torch.random.get_rng_state()
    over = config(few, recipe=recipe(epochs=1))
    train([init_run("dropping", (None, None), Dropping, over)], over)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_too_few_images_for_a_batch_are_refused(few: Dataset) -> None:
    assert steps_per_epoch(64, recipe(batch_size=64), views=2) == 2
    with pytest.raises(InputError, match="64 images with 2 views each do not fill a batch"):
        steps_per_epoch(64, recipe(batch_size=130), views=2)
    with pytest.raises(InputError, match="33 is not a multiple of the 2 views"):
        steps_per_epoch(64, recipe(batch_size=33), views=2)


def test_bfloat16_trains_too(few: Dataset) -> None:
    low = config(few, precision="bfloat16")
    losses, weights = trained(["shear"], low)["shear"]
    full, full_weights = trained(["shear"], config(few))["shear"]
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
    bound = (6 / (512 + 100)) ** 0.5
    assert module.fc.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)


def test_accuracy_by_hand() -> None:
    # The logits are the mean of each channel; image i is brightest in channel i mod 3.
    pixels = np.zeros((300, 16, 16, 3), np.uint8)
    labels = np.arange(300) % 3
    pixels[np.arange(300), :, :, labels] = 255
    labels[:30] = (labels[:30] + 1) % 3

    class Brightest(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    dataset = open_dataset((pixels, labels))
    assert photo_patches.accuracy(Brightest(), dataset, Preprocessing()) == 270 / 300


def test_both_shipped_classifiers_have_a_recipe() -> None:
    assert set(photo_patches.RECIPES) == set(SHIPPED)
    with pytest.raises(SystemExit):
        photo_patches.main(["--only", "another"])
