"""Schedules against PyTorch's own, and the stream's draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noctule.config import parse_spec
from noctule.errors import InputError
from noctule.studies.training.recipe import (
    AdamW,
    CosineSchedule,
    OneCycleSchedule,
    Recipe,
    StepSchedule,
)
from noctule.studies.training.stream import Augmentations, augmented, draw_epoch

TEXT = """
epochs = 40
batch_size = 256
learning_rate = 0.1
initial_weights = "xavier"
[optimiser]
kind = "sgd"
momentum = 0.9
weight_decay = 1e-4
[schedule]
kind = "step"
after_epochs = [20, 30]
"""
RECIPE = Recipe(
    epochs=2,
    batch_size=64,
    learning_rate=1.0,
    optimiser=AdamW(kind="adamw"),
    schedule=OneCycleSchedule(kind="one-cycle"),
    shift_px=4,
)
IDS = [f"image {number}" for number in range(5000)]


def torch_rates(make, epochs: int) -> list[float]:
    """The learning rate of each epoch by a scheduler of PyTorch's, from 1."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimiser)
    rates = []
    for _ in range(epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def test_schedules_equal_pytorchs() -> None:
    schedulers = torch.optim.lr_scheduler
    step = StepSchedule(kind="step", factor=0.1, after_epochs=(20, 30))
    expected = torch_rates(lambda o: schedulers.MultiStepLR(o, [20, 30], 0.1), 40)
    assert [step.multiplier(k, 40) for k in range(40)] == pytest.approx(expected)
    cosine = CosineSchedule(kind="cosine")
    expected = torch_rates(lambda o: schedulers.CosineAnnealingLR(o, 40), 40)
    assert [cosine.multiplier(k, 40) for k in range(40)] == pytest.approx(expected)
    warm = CosineSchedule(kind="cosine", warmup_epochs=10)
    expected = torch_rates(lambda o: schedulers.CosineAnnealingLR(o, 30), 30)
    assert [warm.multiplier(k, 40) for k in range(10, 40)] == pytest.approx(expected)
    assert [warm.multiplier(k, 40) for k in (0, 5, 10)] == [0, 0.5, 1]


def test_one_cycle_is_two_straight_lines() -> None:
    # np.interp through (0, 0), (0.2, 1), (1, 0) of the whole.
    schedule = OneCycleSchedule(kind="one-cycle", rise=0.2)
    epochs = np.linspace(0, 7, 50)
    expected = np.interp(epochs / 7, [0, 0.2, 1], [0, 1, 0])
    assert [schedule.multiplier(t, 7) for t in epochs] == pytest.approx(list(expected))


def test_a_recipe_is_read_from_toml() -> None:
    recipe = parse_spec(TEXT, Recipe, where="r.toml")
    assert recipe.learning_rate_at(29.5) == pytest.approx(0.01)
    optimiser = recipe.optimiser.build(torch.nn.Linear(2, 2))
    assert isinstance(optimiser, torch.optim.SGD)
    assert optimiser.defaults["momentum"] == 0.9
    assert optimiser.defaults["weight_decay"] == 1e-4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 40", "epochs = 0", "epochs: should be greater than or equal to 1, not 0"),
        ("batch_size = 256", "batch_size = 1", "batch_size: batch normalisation"),
        ("momentum", "momentun", "unknown key 'momentun'. Did you mean 'momentum'"),
        (
            "after_epochs",
            "after_epoch",
            "unknown key 'after_epoch'. Did you mean 'after_epochs'",
        ),
        ('"step"', '"stairs"', "'step', 'cosine', 'one-cycle'"),
        ("0.1", "-0.1", "learning_rate: should be greater than 0"),
        ('"xavier"', '"Xavier"', "initial_weights"),
        ("[optimiser]", "flips = true\n[optimiser]", "Did you mean 'flip'"),
        (
            "momentum = 0.9",
            "momentum = 0.0\nnesterov = true",
            "nesterov needs momentum, which is 0",
        ),
        ("[20, 30]", "[20, 40]", "after 40 epochs, but there are only 40"),
        ("[20, 30]", "[-1]", "should be greater than or equal to 1"),
        (
            '"step"\nafter_epochs = [20, 30]',
            '"cosine"\nwarmup_epochs = 40.0',
            "after 40 epochs",
        ),
        (
            '"sgd"\nmomentum = 0.9',
            '"adamw"\nbetas = [1.0, 0.9]',
            "betas[0]: should be less than 1",
        ),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=r"^r\.toml") as caught:
        parse_spec(TEXT.replace(old, new, 1), Recipe, where="r.toml")
    assert message in str(caught.value)


def test_an_epoch_is_a_permutation_with_fair_flips_and_shifts() -> None:
    draws = draw_epoch(RECIPE, 0, 0, IDS, views=2)
    assert draws.order.sort().values.tolist() == list(range(5000))
    for augmentations in draws.augmentations:
        # Five standard deviations of a fair coin's 5000 throws: 5 · √(0.25/5000) = 0.035.
        assert abs(augmentations.flip.double().mean() - 0.5) < 0.035
        for shift in (augmentations.down_px, augmentations.right_px):
            assert shift.unique().tolist() == list(range(-4, 5))
            # The variance of −4..4 is 20/3: 5 · √(20/3/5000) = 0.18.
            assert abs(shift.double().mean()) < 0.18
        assert abs(np.corrcoef(augmentations.down_px, augmentations.right_px)[0, 1]) < 0.07
    first, second = draws.augmentations
    # Five standard deviations of a correlation of nothing with nothing: 5 / √5000 = 0.07.
    for one, other in zip(first, second, strict=True):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.07


def test_draws_are_keyed_by_seed_epoch_and_image() -> None:
    draws = draw_epoch(RECIPE, 0, 0, IDS, views=2)
    for seed, number in ((1, 0), (0, 1)):
        other = draw_epoch(RECIPE, seed, number, IDS, views=2)
        assert not torch.equal(draws.order, other.order)
        assert not torch.equal(draws.augmentations[0].flip, other.augmentations[0].flip)
    some = draw_epoch(RECIPE, 0, 0, IDS[100:200], views=1)
    assert torch.equal(some.augmentations[0].down_px, draws.augmentations[0].down_px[100:200])


def test_an_incomplete_last_batch_is_left_out() -> None:
    draws = draw_epoch(RECIPE, 0, 0, IDS[:70], views=1)
    batches = draws.batches(32)
    assert [len(batch) for batch in batches] == [32, 32]
    assert torch.equal(torch.cat(batches), draws.order[:64])


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize(("down_px", "right_px"), [(0, 0), (2, -3), (-4, 4)])
def test_moves_shift_with_reflected_edges_and_flip(
    flip: int, down_px: int, right_px: int
) -> None:
    images = torch.arange(2 * 3 * 8 * 10).reshape(2, 3, 8, 10).to(torch.uint8)
    augmentations = Augmentations(
        torch.tensor([0, flip]), torch.tensor([0, down_px]), torch.tensor([0, right_px])
    )
    still, given = augmented(images, augmentations)
    assert torch.equal(still, images[0])
    padded = np.pad(images[1].numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
    expected = padded[:, 4 - down_px : 12 - down_px, 4 - right_px : 14 - right_px]
    expected = expected[:, :, ::-1] if flip else expected
    assert np.array_equal(given.numpy(), expected)
