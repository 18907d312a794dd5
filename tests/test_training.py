"""The trainer learns, repeats itself to the bit, and leaves PyTorch's generator alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from noctule.data import open_dataset
from noctule.errors import InputError
from noctule.models import Preprocessing, weights_sha256
from noctule.models.small_nets import ARCHITECTURES
from noctule.training import photo_patches
from noctule.training.trainer import (
    Epoch,
    Recipe,
    accuracy,
    augment,
    draw_epoch,
    initialised,
    train,
)

PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Several threads that share a core with other test workers wait for each other for minutes.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def few() -> tuple[torch.Tensor, torch.Tensor]:
    dataset = open_dataset("photo-patches/train")
    pictures = [PREPROCESSING.picture(dataset.read(i)) for i in range(64)]
    return torch.stack(pictures), torch.from_numpy(dataset.labels[:64])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_short_training_learns_and_repeats_itself(
    few: tuple[torch.Tensor, torch.Tensor], architecture: str
) -> None:
    recipe = Recipe(architecture, epochs=5, batch_size=16)

    def run(recipe: Recipe) -> tuple[list[float], str]:
        module = initialised(lambda: ARCHITECTURES[architecture](16), recipe.seed)
        losses = train(module, *few, recipe, PREPROCESSING)
        assert not module.training
        return losses, weights_sha256(module.state_dict())

    losses, weights = run(recipe)
    assert len(losses) == 5
    assert losses[-1] < 0.9 * losses[0]
    assert run(recipe) == (losses, weights)
    assert run(replace(recipe, seed=1))[0] != losses


def test_pytorchs_generator_is_left_as_it_was(few: tuple[torch.Tensor, torch.Tensor]) -> None:
    before = torch.random.get_rng_state()
    module = initialised(lambda: ARCHITECTURES["PatchAlexNet"](16), 0)
    train(module, *few, Recipe("PatchAlexNet", epochs=1), PREPROCESSING)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_too_few_images_for_a_batch_are_refused(
    few: tuple[torch.Tensor, torch.Tensor],
) -> None:
    module = ARCHITECTURES["PatchAlexNet"](16)
    with pytest.raises(InputError, match="64 images do not fill a batch of 65"):
        train(module, *few, Recipe("PatchAlexNet", epochs=1, batch_size=65), PREPROCESSING)


def test_an_epoch_is_a_permutation_with_fair_flips_and_shifts() -> None:
    recipe = Recipe("PatchResNet", epochs=1, shift_px=4)
    draws = draw_epoch(recipe, 0, 5000)
    assert draws.order.sort().values.tolist() == list(range(5000))
    # Five standard deviations of a fair coin's 5000 throws: 5 · √(0.25/5000) = 0.035.
    assert abs(draws.flip.double().mean() - 0.5) < 0.035
    for shift in (draws.down_px, draws.right_px):
        assert shift.unique().tolist() == list(range(-4, 5))
        # The variance of −4..4 is 20/3: 5 · √(20/3/5000) = 0.18.
        assert abs(shift.double().mean()) < 0.18
    assert not torch.equal(draws.order, draw_epoch(recipe, 1, 5000).order)
    assert not torch.equal(draws.order, draw_epoch(replace(recipe, seed=1), 0, 5000).order)
    assert abs(np.corrcoef(draws.down_px, draws.right_px)[0, 1]) < 0.07


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize(("down_px", "right_px"), [(0, 0), (2, -3), (-4, 4)])
def test_augment_shifts_with_reflected_edges_and_flips(
    flip: int, down_px: int, right_px: int
) -> None:
    images = torch.arange(2 * 3 * 8 * 10).reshape(2, 3, 8, 10).to(torch.uint8)
    one = torch.ones(2, dtype=torch.int64)
    draws = Epoch(
        torch.arange(2), flip * one, torch.tensor([0, down_px]), torch.tensor([0, right_px])
    )
    (given,) = augment(images, torch.tensor([1]), draws)
    padded = np.pad(images[1].numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
    expected = padded[:, 4 - down_px : 12 - down_px, 4 - right_px : 14 - right_px]
    expected = expected[:, :, ::-1] if flip else expected
    assert np.array_equal(given.numpy(), expected)


def test_accuracy_by_hand() -> None:
    # The logits are the mean of each channel; picture i is brightest in channel i mod 3.
    pictures = torch.zeros(300, 3, 2, 2, dtype=torch.uint8)
    labels = torch.arange(300) % 3
    pictures[torch.arange(300), labels] = 255
    labels[:30] = (labels[:30] + 1) % 3

    class Brightest(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    assert accuracy(Brightest(), pictures, labels, PREPROCESSING) == 270 / 300


def test_both_shipped_classifiers_have_a_recipe() -> None:
    assert set(photo_patches.RECIPES) == set(photo_patches.SHIPPED)
    with pytest.raises(SystemExit):
        photo_patches.main(["--only", "another"])
