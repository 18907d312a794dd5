"""How corruptions grow with the image, where small sizes would not show it."""

from __future__ import annotations

import pytest
import torch

from noctule import corrupt


@pytest.mark.parametrize(("side_px", "passes"), [(224, 5), (320, 10), (448, 20)])
def test_the_variance_of_blur_grows_with_the_square_of_the_side(
    side_px: int, passes: int
) -> None:
    impulse = torch.zeros(1, 1, side_px, side_px)
    impulse[0, 0, side_px // 2, side_px // 2] = 1
    row = (
        corrupt(impulse, "blur", ids=range(len(impulse)), weight=1.0)[0, 0].sum(dim=0).double()
    )
    place = torch.arange(side_px).double() - side_px // 2
    # One pass of a box of three has a variance of (1 + 0 + 1) / 3; passes add theirs.
    assert row.sum().item() == pytest.approx(1, abs=1e-5)
    assert (row * place**2).sum().item() == pytest.approx(passes * 2 / 3, rel=1e-4)


@pytest.mark.parametrize("side_px", [64, 448])
def test_lengths_scale_with_the_side(side_px: int) -> None:
    images = torch.zeros(1, 3, side_px, side_px, dtype=torch.uint8)
    framed = corrupt(images, "border", ids=range(len(images)), thickness_px=28, gray=1.0)[0, 0]
    assert int((framed[side_px // 2] == 255).sum()) == 2 * side_px * 28 // 224
    covered = corrupt(images, "obstruction", ids=range(len(images)), side_px=112, gray=1.0)
    assert int((covered[0, 0] == 255).sum()) == (side_px // 2) ** 2


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_spatter_covers_as_much_at_every_size(severity: int) -> None:
    shares = []
    for side_px in (112, 224, 448):
        images = torch.full((8, 3, side_px, side_px), 128, dtype=torch.uint8)
        spattered = corrupt(images, "spatter", ids=range(len(images)), severity=severity)
        shares.append((spattered != 128).any(dim=1).double().mean().item())
    # Drops cover 1 to 20 % of an image; with unscaled noise nothing or all at twice the side.
    assert max(shares) < 2.5 * min(shares), shares
