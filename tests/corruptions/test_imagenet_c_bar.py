"""ImageNet-C-bar: published severities, quirks of the released code, and what noise is like."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from corruption_cases import coffee, pattern, sample_images
from noctule.corruptions import CORRUPTIONS, corrupt
from noctule.corruptions.imagenet_c_bar.perlin import _lattice
from noctule.sampling import Stream
from oracles import imagenet_c_bar as slow
from oracles.threefry import WordStream

pytestmark = pytest.mark.usefixtures("one_thread")

# Severities of ImageNet-C-bar, and of CIFAR-10-C-bar where it has the corruption, as released;
# and the parameters that the released code makes of one, in levels of 255 and for 224 px.
STRENGTHS = {
    "caustic_refraction": (2.35, 3.2, 4.9, 6.6, 9.15),
    "inverse_sparkles": (1, 2, 4, 9, 10),
    "sparkles": (1, 2, 3, 5, 6),
    "perlin_noise": (4.6, 5.2, 5.8, 7.6, 8.8),
    "blue_noise_sample": (0.8, 1.6, 2.4, 4, 5.6),
    "plasma_noise": (4.75, 7, 8.5, 9.25, 10),
    "checkerboard_cutout": (2, 3, 4, 5, 6),
    "cocentric_sine_waves": (3, 5, 8, 9, 10),
    "single_frequency_greyscale": (1, 1.5, 2, 4.5, 5),
    "brownish_noise": (1, 2, 3, 4, 5),
}
CIFAR_STRENGTHS = {
    "blue_noise_sample": (0.7, 1.4, 2.1, 3.5, 4.2),
    "checkerboard_cutout": (1, 2, 3, 4, 5),
    "inverse_sparkles": (1, 1.5, 2.5, 4.5, 5),
    "brownish_noise": (2.5, 4, 5.5, 6.5, 7),
    "sparkles": (0.7, 3.5, 5.6, 6.3, 7),
}
CONVERSIONS: dict[str, Callable[[float], dict[str, float]]] = {
    # Half of the side, and 2, for severity 10.
    "caustic_refraction": lambda s: {"lens_px": s / 10 * 0.5 * 224, "lighting": s / 10 * 2},
    # The exponent is (100 − amount) / 50, and the amount 100 less 65 for severity 10.
    "inverse_sparkles": lambda s: {"exponent": (100 - (100 - s / 10 * 65)) / 50},
    "sparkles": lambda s: {"radius_px": s / 10 * 0.1 * 224},
    "perlin_noise": lambda s: {"alpha": s / 10 * 0.5},
    "blue_noise_sample": lambda s: {"threshold": s / 10 * 3 - 2.5},
    "plasma_noise": lambda s: {"alpha": s / 10 * 64 / 255},
    "checkerboard_cutout": lambda s: {"share": s / 10},
    # A saw tooth of height 128 for severity 10; half of it is its amplitude.
    "cocentric_sine_waves": lambda s: {"amplitude": s / 10 * 128 / 255 / 2},
    "single_frequency_greyscale": lambda s: {"amplitude": s / 10 * 196 / 255},
    "brownish_noise": lambda s: {"sigma": s / 10 * 64 / 255},
}


@pytest.mark.parametrize("name", STRENGTHS)
def test_the_tables_are_the_published_severities(name: str) -> None:
    for severity, strength in enumerate(STRENGTHS[name], 1):
        drawn = CORRUPTIONS[name].sample(["x"], severity=severity)
        for key, value in CONVERSIONS[name](strength).items():
            given = drawn[key]
            assert isinstance(given, torch.Tensor)
            assert given.item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("name", CIFAR_STRENGTHS)
def test_cifar_tables_work(name: str) -> None:
    """At 32 px, against the oracle; lengths are given for 224 px in these tables too."""
    tables: dict[str, list[float]] = {}
    for strength in CIFAR_STRENGTHS[name]:
        for key, value in CONVERSIONS[name](strength).items():
            tables.setdefault(key, []).append(value)
    corruption, images = CORRUPTIONS[name].with_tables(tables), sample_images(5, 32, 32)
    for severity in range(1, 6):
        drawn = corruption.sample(range(5), severity=severity)
        result = corruption(images, ids=range(5), severity=severity).to(torch.float64).numpy()
        expected = expected_images(name, images, drawn)
        assert (np.abs(result - expected) <= 0.52).mean() > 0.9995


# ------------------------------------------------------------------- as the released code does

MIRRORED = {"blue_noise_sample", "brownish_noise"}
QUIRKS = MIRRORED | {"caustic_refraction"}
UNTRUNCATED = {"blue_noise_sample", "checkerboard_cutout"}  # all their values are whole


def expected_images(
    name: str, images: torch.Tensor, drawn: dict[str, Any], **mode: bool
) -> NDArray[np.float64]:
    function = functools.partial(getattr(slow, name), **mode)
    return np.stack(
        [
            function(
                image.to(torch.int64).numpy(),
                **{
                    key: WordStream(tuple(word % 2**32 for word in value.keys[number].tolist()))
                    if isinstance(value, Stream)
                    else value[number].item()
                    for key, value in drawn.items()
                },
            )
            for number, image in enumerate(images)
        ]
    )


@pytest.mark.parametrize("size", ["32", "224"])
@pytest.mark.parametrize("name", STRENGTHS)
def test_the_released_mode(name: str, size: str) -> None:
    """Truncated where the released code truncates, and with its quirks."""
    images = sample_images(6, 32, 32) if size == "32" else torch.stack([coffee(), pattern()])
    corruption = CORRUPTIONS[name].in_mode("released")
    drawn = corruption.sample(range(len(images)))
    mode = {"released": True} if name in QUIRKS else {}
    expected = expected_images(name, images, drawn, **mode)
    result = corruption.apply(images, **drawn).to(torch.float64).numpy()
    distance = np.abs(result - np.floor(expected + 1e-9))
    assert (distance > 0).mean() < 0.0005, distance.max()
    as_float = corruption.apply(images / 255, **drawn).to(torch.float64).numpy() * 255
    assert (np.abs(as_float - expected) > 0.02).mean() < 0.0005  # which is not truncated
    # The modes differ visibly.
    paper = CORRUPTIONS[name].apply(images, **drawn).to(torch.float64).numpy()
    change = paper - result
    if name == "checkerboard_cutout":
        assert not CORRUPTIONS[name].has_modes
    elif name in QUIRKS:
        assert np.abs(change).mean() > 0.3
    else:
        assert set(np.unique(change)) == {0, 1}
        assert 0.25 < change.mean() < 0.55


def test_published_water_has_a_dead_zone_and_an_edge() -> None:
    """An image of its own columns shows by how much each pixel moves."""
    ramp = (torch.arange(224) / 255).expand(1, 3, 224, 224).contiguous()
    given = {"lens_px": 100.0, "lighting": 0.0, "time": 1.3, "wave_px": 224.0}
    column = np.arange(224.0)
    inside = (slice(5, -5), slice(5, -5))  # further from the border than what follows
    move = {}
    for mode in ("paper", "released"):
        seen = (
            corrupt(ramp, "caustic_refraction", ids=range(len(ramp)), mode=mode, **given)[0, 0]
            .double()
            .numpy()
        )
        move[mode] = np.abs(seen * 255 - column)[inside]
    # 100 px · sin(2.56° − asin(sin 2.56° / 4)) = 3.35 px, and its part along the rows.
    still = move["released"] < 1e-3
    assert 0.02 < still.mean() < 0.9
    assert move["paper"][still].max() == pytest.approx(3.35, abs=0.2)
    assert (move["paper"][still] > 0.5).mean() > 0.1
    assert np.abs(move["paper"] - move["released"])[~still].max() < 0.01


# ---------------------------------------------------------------------------------- the noise


def noise_of(name: str, count: int, *, mode: Any = "paper", **given: float) -> Any:
    """What is added to mid-gray float32 images, in units of the parameter."""
    gray = torch.full((count, 3, 64, 64), 0.5)
    amplitude = next(iter(given.values()))
    changed = corrupt(gray, name, ids=range(count), mode=mode, **given)
    return ((changed - gray) / amplitude).to(torch.float64).numpy()


def power_by_radius(noise: NDArray[np.float64]) -> tuple[NDArray[np.float64], Any]:
    """Frequency in cycles per side and mean power at it, for the frequencies of a half."""
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=tuple(range(noise.ndim - 2)))
    frequency = np.fft.fftfreq(64) * 64
    return np.hypot(frequency[:, None], frequency), power


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_brownish_noise(mode: str) -> None:
    noise = noise_of("brownish_noise", 200, mode=mode, sigma=0.02)
    assert noise.std(axis=(2, 3)) == pytest.approx(np.ones((200, 3)), abs=2e-3)
    radius, power = power_by_radius(noise)
    near = (radius > 0) & (radius < 12)
    # Each is the mean of 600 exponential variables, or of fewer in effect: known to 4 %.
    flat = (power * (radius**2 + 1) ** 2)[near]
    assert flat / flat.mean() == pytest.approx(np.ones(near.sum()), abs=0.35)
    by_ring = [flat[radius[near].round() == r].mean() for r in range(2, 12)]
    assert np.array(by_ring) / np.mean(by_ring) == pytest.approx(np.ones(10), abs=0.08)
    # Channels have nothing to do with each other.
    red, green = noise[:, 0].reshape(200, -1), noise[:, 1].reshape(200, -1)
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(red, green, strict=True)]
    assert abs(np.mean(correlation)) < 4 * np.std(correlation) / np.sqrt(200)
    # The mean is as wide as published: cos(phase) · 1 over the root of half of the power.
    rest = np.sum(1 / (radius[radius > 0] ** 2 + 1) ** 2) / 2
    expected = np.sqrt(0.5 / rest)
    assert noise.mean(axis=(2, 3)).std() == pytest.approx(expected, rel=0.15)


def blue_masks(mode: Any, count: int = 300) -> NDArray[np.float64]:
    """Where a threshold in the middle of the noise blackens: (count, 64, 64), mean 0."""
    white = torch.full((count, 1, 64, 64), 255, dtype=torch.uint8)
    black = corrupt(white, "blue_noise_sample", ids=range(count), mode=mode, threshold=0.0)
    return (black[:, 0] == 0).to(torch.float64).numpy() - 0.5


@pytest.mark.parametrize("threshold", [-2.26, -0.82, 0.0, 1.0])
def test_the_share_of_black_is_that_of_a_normal_distribution(threshold: float) -> None:
    white = torch.full((100, 1, 64, 64), 255, dtype=torch.uint8)
    share = float(
        (corrupt(white, "blue_noise_sample", ids=range(len(white)), threshold=threshold) == 0)
        .double()
        .mean()
    )
    # Of 409,600 pixels; dots that keep away from each other vary less than coins would.
    error = np.sqrt(stats.norm.cdf(threshold) * stats.norm.sf(threshold) / 409600)
    assert share == pytest.approx(stats.norm.cdf(threshold), abs=5 * error + 0.0005)


def test_blue_noise_is_blue() -> None:
    spectrum = np.abs(np.fft.fft2(blue_masks("paper") * 2)) ** 2
    # A threshold at 0 maps a correlation c to 2 / π · asin(c): this undoes it.
    correlation = np.sin(np.pi / 2 * np.fft.ifft2(spectrum.mean(axis=0)).real / 64**2)
    frequency = np.fft.fftfreq(64) * 64
    radius = np.hypot(frequency[:, None], frequency).round()
    power = np.fft.fft2(correlation).real
    found = np.array([power[radius == r].mean() for r in range(4, 45)])
    expected = np.arange(4, 45) ** 2 / np.mean(radius**2)
    assert found == pytest.approx(expected, abs=0.12)
    assert np.polyfit(expected, found, 1) == pytest.approx([1, 0], abs=0.03)


def test_phases_used_twice_couple_opposite_pixels() -> None:
    """Turned about the corner, the published noise is itself times cos(2π (y + x) / side)."""
    y, x = np.mgrid[:64, :64]
    expected = 2 / np.pi * np.arcsin(np.cos(2 * np.pi * (y + x) / 64))
    for mode, size in (("paper", 0.0), ("released", 1.0)):
        mask = blue_masks(mode) * 2
        turned = np.roll(mask[:, ::-1, ::-1], (1, 1), axis=(1, 2))
        found = (mask * turned).mean(axis=0)
        own = (2 * y % 64 == 0) & (2 * x % 64 == 0)  # pixels that are their own opposite
        far = np.abs(found - size * expected)[~own]
        assert far.mean() < 2.5 / np.sqrt(300)
        assert np.corrcoef(found[~own], expected[~own])[0, 1] > 0.9 or size == 0


def test_one_frequency_is_one_frequency() -> None:
    given = {"frequency": 5 / 64, "slope": -0.6, "axis": 1, "phase_deg": 40.0}
    wave = noise_of("single_frequency_greyscale", 1, amplitude=0.2, **given)[0]
    assert np.abs(wave - wave[:1]).max() < 1e-6  # of no colour
    power = np.abs(np.fft.fft2(wave[0])) ** 2
    # 5 cycles from left to right, −3 from top to bottom; a sine has half the power of its peak.
    assert np.unravel_index(power[:, :33].argmax(), (64, 33)) == (61, 5)
    assert power[61, 5] / power.sum() == pytest.approx(0.5, abs=1e-3)
    assert wave[0, 0, 0] == pytest.approx(np.sin(np.radians(40)), abs=1e-5)


def test_rings_lie_about_their_center() -> None:
    given = {"center_row": 0.25, "center_column": 0.5, "lobes": 0.0, "lobe_px": 9.0}
    # 8 px at 64 px: the tooth goes from −1 to 1 in eight pixels.
    rings = noise_of("cocentric_sine_waves", 1, amplitude=0.2, ring_px=28.0, **given)[0, 0]
    assert rings[16, 32:48] == pytest.approx(np.tile(np.arange(8) / 4 - 1, 2), abs=1e-5)
    assert rings[16:32, 32] == pytest.approx(rings[16, 32:48], abs=1e-5)
    assert rings[16, 32:16:-1] == pytest.approx(rings[16, 32:48], abs=1e-5)


SCALED = {
    "cocentric_sine_waves": 2e-3, "plasma_noise": 2e-3, "perlin_noise": 2e-3,
    "checkerboard_cutout": 2e-3, "inverse_sparkles": 2e-3, "sparkles": 2e-3,
}  # fmt: skip


@pytest.mark.parametrize("name", SCALED)
def test_lengths_scale_with_the_side(name: str) -> None:
    """Every second pixel of an image of twice the size shows the same."""
    small, large = (torch.full((4, 3, side, side), 0.5) for side in (224, 448))
    seen = corrupt(large, name, ids=range(len(large)), severity=3)[:, :, ::2, ::2]
    distance = (seen - corrupt(small, name, ids=range(len(small)), severity=3)).abs()
    # But for the ties of rings, of which some are narrower than a pixel, and of squares.
    assert float((distance > SCALED[name]).float().mean()) < 1e-3


def test_perlin_noise_is_nothing_at_the_points_of_its_lattice() -> None:
    noise = corrupt(torch.zeros(3, 1, 224, 224), "perlin_noise", alpha=1.0)
    assert noise[:, :, ::32, ::32].numpy() == pytest.approx(0.5, abs=1e-6)
    assert float(noise.min()) >= 0.5 - 1e-6
    assert float((noise > 0.6).float().mean()) > 0.2


def test_the_lattice_is_a_permutation_and_unit_vectors() -> None:
    drawn = CORRUPTIONS["perlin_noise"].sample(range(200))["lattice"]
    assert isinstance(drawn, Stream)
    order, gradients = _lattice(drawn)
    assert order.sort(dim=1).values.equal(torch.arange(256).expand(200, -1))
    assert stats.chisquare(np.bincount(order[:, :8].flatten(), minlength=256)).pvalue > 1e-4
    assert gradients.square().sum(dim=2).numpy() == pytest.approx(1, abs=1e-6)
    angle = torch.atan2(gradients[..., 0], gradients[..., 1]).flatten().numpy()
    # The direction of a place in a square: tan(angle) is uniform in each half quadrant.
    tangent = np.tan(angle[np.abs(angle) < np.pi / 4])
    assert stats.kstest(tangent, stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert np.mean(np.abs(angle) < np.pi / 4) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
def test_half_of_the_squares_may_be_covered(share: float) -> None:
    white = torch.full((400, 1, 64, 64), 255, dtype=torch.uint8)
    result = corrupt(white, "checkerboard_cutout", ids=range(len(white)), share=share)
    covered = (result == 128).double().mean(dim=(1, 2, 3)).numpy()
    assert covered.mean() == pytest.approx(share / 2, abs=4 * covered.std() / 20)
    assert set(result.unique().tolist()) == {128, 255}


def test_sparkles_are_white_inside_and_fade_with_the_square_outside() -> None:
    black = torch.zeros(1, 1, 224, 224)
    given = {"center_row": 0.5, "center_column": 0.5, "ray_count": 199, "exponent": 1.0}
    kept = 1 - corrupt(black, "inverse_sparkles", ids=[0], **given)[0, 0]
    rows, columns = np.mgrid[:224, :224] - 112.0
    distance = np.hypot(rows, columns)
    assert float(kept[distance < 20].min()) == 1  # the shortest of rays is longer
    ring = (distance > 105) & (distance < 111)
    # Mean of squared lengths: 56² (1 + .25²), less the interpolation's third of the variance;
    # the rays' profile has the mean 1 − 1/12.
    expected = 56**2 * (1 + 0.0625 * 2 / 3) * (11 / 12) / 108**2
    assert kept[ring].mean().item() == pytest.approx(expected, rel=0.1)
    lit = corrupt(black, "sparkles", ids=range(len(black)), radius_px=11.2)
    assert int((lit > 0.999).sum()) == pytest.approx(5 * np.pi * 11.2**2, rel=0.3)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cocentric_sine_waves", {"ring_px": 0.0}),
        ("plasma_noise", {"bends": 60000}),
        ("plasma_noise", {"sharpness": 0.0, "scale_px": 1.0}),
        ("inverse_sparkles", {"ray_count": 1}),
        ("inverse_sparkles", {"exponent": 100.0}),
        ("inverse_sparkles", {"exponent": 0.0}),
        ("sparkles", {"radius_px": 0.0}),
        ("sparkles", {"radius_px": 1e4}),
        ("checkerboard_cutout", {"square_px": 1.0}),
        ("caustic_refraction", {"wave_px": 1.0, "lens_px": 1e4, "lighting": 1e3}),
        ("caustic_refraction", {"lens_px": 0.0, "lighting": 0.0}),
        ("blue_noise_sample", {"threshold": 1e3}),
        ("brownish_noise", {"sigma": 1.0}),
    ],
)
def test_extreme_values_work(name: str, given: dict[str, float]) -> None:
    for images in (sample_images(3, 48, 80), sample_images(3, 33, 32, dtype=torch.float32)):
        result = corrupt(images, name, ids=range(len(images)), **given)
        assert result.shape == images.shape
        assert result.to(torch.float32).isfinite().all()
        assert corrupt(images[1:2], name, ids=[1], **given)[0].equal(result[1])
