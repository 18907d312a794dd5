"""The values of the severities, typed from the authors' scripts for 224, 32 and 64 px."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from noctule.benchmarks import Benchmark, Condition, load_benchmark
from noctule.corruptions.draws import PerSeverity

COLUMNS = {
    "gaussian_noise": ("sigma",),
    "shot_noise": ("photons",),
    "impulse_noise": ("amount",),
    "speckle_noise": ("sigma",),
    "gaussian_blur": ("sigma_px",),
    "glass_blur": ("sigma_px", "reach_px", "iterations"),
    "defocus_blur": ("radius_px", "edge_sigma"),
    "motion_blur": ("radius_px", "sigma_px"),
    "zoom_blur": ("stop", "step"),
    "fog": ("intensity", "wibble_decay"),
    "frost": ("image_share", "frost_share"),
    "snow": (
        "mean", "deviation", "flake_px", "threshold", "radius_px", "sigma_px", "image_share"),
    "spatter": (
        "mean", "spread_px", "sigma_px", "threshold", "intensity or mud_sigma_px", "mud"),
    "contrast_c": ("factor",),
    "brightness_c": ("change",),
    "saturate": ("factor", "added"),
    "jpeg_compression": ("quality",),
    "pixelate_c": ("share",),
    "elastic_transform": ("alpha_px", "sigma_px", "affine_px"),
}  # fmt: skip

# One row per severity; px are pixels of the dataset's own images.
IMAGENET = {
    "gaussian_noise": [0.08, 0.12, 0.18, 0.26, 0.38],
    "shot_noise": [60, 25, 12, 5, 3],
    "impulse_noise": [0.03, 0.06, 0.09, 0.17, 0.27],
    "speckle_noise": [0.15, 0.2, 0.35, 0.45, 0.6],
    "gaussian_blur": [1, 2, 3, 4, 6],
    "glass_blur": [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    "defocus_blur": [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
    "motion_blur": [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)],
    "zoom_blur": [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
    "fog": [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
    "frost": [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
    "snow": [
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ],
    "spatter": [
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ],
    "contrast_c": [0.4, 0.3, 0.2, 0.1, 0.05],
    "brightness_c": [0.1, 0.2, 0.3, 0.4, 0.5],
    "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
    "jpeg_compression": [25, 18, 15, 10, 7],
    "pixelate_c": [0.6, 0.5, 0.4, 0.3, 0.25],
    # "244 should have been 224", the script says: in mode "released" it is.
    "elastic_transform": [
        (224 * 2, 224 * 0.7, 224 * 0.1),
        (224 * 2, 224 * 0.08, 224 * 0.2),
        (224 * 0.05, 224 * 0.01, 224 * 0.02),
        (224 * 0.07, 224 * 0.01, 224 * 0.02),
        (224 * 0.12, 224 * 0.01, 224 * 0.02),
    ],
}
CIFAR: dict[str, Any] = {
    "gaussian_noise": [0.04, 0.06, 0.08, 0.09, 0.10],
    "shot_noise": [500, 250, 100, 75, 50],
    "impulse_noise": [0.01, 0.02, 0.03, 0.05, 0.07],
    "speckle_noise": [0.06, 0.1, 0.12, 0.16, 0.2],
    "gaussian_blur": [0.4, 0.6, 0.7, 0.8, 1],
    "glass_blur": [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    "defocus_blur": [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
    "motion_blur": [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)],
    "zoom_blur": [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)],
    "fog": [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
    "frost": [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    "snow": [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ],
    "spatter": [
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ],
    "contrast_c": [0.75, 0.5, 0.4, 0.3, 0.15],
    "brightness_c": [0.05, 0.1, 0.15, 0.2, 0.3],
    "saturate": [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)],
    "jpeg_compression": [80, 65, 58, 50, 40],
    "pixelate_c": [0.95, 0.9, 0.85, 0.75, 0.65],
    "elastic_transform": [
        (0, 0, 32 * 0.08),
        (32 * 0.05, 32 * 0.2, 32 * 0.07),
        (32 * 0.08, 32 * 0.06, 32 * 0.06),
        (32 * 0.1, 32 * 0.04, 32 * 0.05),
        (32 * 0.1, 32 * 0.03, 32 * 0.03),
    ],
}
TINY = CIFAR | {
    "gaussian_noise": [0.04, 0.08, 0.12, 0.15, 0.18],
    "shot_noise": [250, 100, 50, 30, 15],
    "impulse_noise": [0.01, 0.02, 0.05, 0.08, 0.14],
    "speckle_noise": [0.15, 0.2, 0.25, 0.3, 0.35],
    "gaussian_blur": [0.5, 0.75, 1, 1.25, 1.5],
    "glass_blur": [(0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)],
    "defocus_blur": [(0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)],
    "motion_blur": [(10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)],
    "fog": [(0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)],
    "frost": [(1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)],
    "snow": [
        (*row[:6], share)
        for row, share in zip(CIFAR["snow"], (0.8, 0.8, 0.7, 0.65, 0.6), strict=True)
    ],
    "spatter": [
        (0.62, 0.1, 0.7, 0.7, 0.6, 0),
        (0.65, 0.1, 0.8, 0.7, 0.6, 0),
        (0.65, 0.3, 1, 0.69, 0.6, 0),
        (0.65, 0.1, 0.7, 0.68, 0.6, 1),
        (0.65, 0.1, 0.5, 0.67, 0.6, 1),
    ],
    "contrast_c": [0.4, 0.3, 0.2, 0.1, 0.05],
    "brightness_c": [0.1, 0.2, 0.3, 0.4, 0.5],
    "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)],
    "jpeg_compression": [65, 58, 50, 40, 25],
    "pixelate_c": [0.9, 0.8, 0.7, 0.6, 0.5],
    "elastic_transform": [
        (0, 0, 64 * 0.08),
        (64 * 0.05, 64 * 0.3, 64 * 0.06),
        (64 * 0.1, 64 * 0.08, 64 * 0.06),
        (64 * 0.1, 64 * 0.03, 64 * 0.03),
        (64 * 0.16, 64 * 0.03, 64 * 0.02),
    ],
}
PUBLISHED = {
    "imagenet-c": (224, IMAGENET),
    "imagenet-c-extra": (224, IMAGENET),
    "cifar10-c": (32, CIFAR),
    "cifar10-c-extra": (32, CIFAR),
    "tiny-imagenet-c": (64, TINY),
    "tiny-imagenet-c-extra": (64, TINY),
}
CASES = [
    (name, corruption) for name in PUBLISHED for corruption in load_benchmark(name).corruptions
]


def values_of(benchmark: Benchmark, corruption: str) -> dict[str, list[float]]:
    """The tables a corruption is applied with, lengths in pixels of the dataset's images."""
    draws = benchmark.bound[corruption].draws.items()
    scale = {key: benchmark.side_px / 224 if key.endswith("_px") else 1 for key, _ in draws}
    return {
        key: [value * scale[key] for value in draw.values]
        for key, draw in draws
        if isinstance(draw, PerSeverity)
    }


def columns(corruption: str, rows: list[object]) -> dict[str, list[float]]:
    """The published rows as columns, as the parameters here are named."""
    table = [row if isinstance(row, tuple) else (row,) for row in rows]
    found = dict(zip(COLUMNS[corruption], map(list, zip(*table, strict=True)), strict=True))
    if corruption == "zoom_blur":  # where np.arange really ends
        ends = [np.arange(1, *row)[-1] for row in table]
        found = {"largest": ends, "step": found["step"]}
    if corruption == "spatter":
        either, mud = found.pop("intensity or mud_sigma_px"), found["mud"]
        found["intensity"] = [0 if m else x for x, m in zip(either, mud, strict=True)]
        found["mud_sigma_px"] = [x if m else 0 for x, m in zip(either, mud, strict=True)]
    return found


@pytest.mark.parametrize(("name", "corruption"), CASES)
def test_severities_are_those_of_the_authors_scripts(name: str, corruption: str) -> None:
    side_px, released = PUBLISHED[name]
    benchmark = load_benchmark(name)
    assert benchmark.side_px == side_px
    found, expected = (
        values_of(benchmark, corruption),
        columns(corruption, released[corruption]),
    )
    # cv2.resize(texture, fx=.2) at 32 px, .3 at 64 px, none at 224 px.
    if corruption == "frost":
        fx = {224: 1, 32: 0.2, 64: 0.3}[side_px]
        expected["texture_scale"] = [fx * 224 / side_px] * 5
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key] == pytest.approx(values), key


def test_what_the_benchmarks_hold() -> None:
    fifteen, extra = load_benchmark("imagenet-c"), load_benchmark("imagenet-c-extra")
    assert len(fifteen.conditions) == 1 + 15 * 5
    assert set(fifteen.corruptions) | set(extra.corruptions) == set(IMAGENET)
    assert len(load_benchmark("imagenet-c-bar").conditions) == 1 + 10 * 5
    for name in ("cifar10-c", "tiny-imagenet-c"):
        assert load_benchmark(name).corruptions == fifteen.corruptions
        assert load_benchmark(f"{name}-extra").corruptions == extra.corruptions
    metrics = {name: load_benchmark(name).metric for name in (*PUBLISHED, "imagenet-c-bar")}
    assert {name for name, metric in metrics.items() if metric == "ce"} == {
        "imagenet-c",
        "imagenet-c-extra",
    }


def test_the_same_table_at_another_size_scales_lengths() -> None:
    """One white pixel blurred with CIFAR's 1 px at 32 px is blurred with 2 px at 64 px."""
    benchmark = load_benchmark("cifar10-c-extra")
    for side_px, sigma_px in ((32, 1.0), (64, 2.0)):
        image = torch.zeros(1, 3, side_px, side_px, dtype=torch.uint8)
        image[:, :, side_px // 2, side_px // 2] = 255
        blurred = benchmark.corrupt(Condition("gaussian_blur", 5), image, ids=[0], seed=0)
        # The peak of a two-dimensional Gaussian of this width.
        peak = 255 / (2 * np.pi * sigma_px**2)
        assert int(blurred.max()) == pytest.approx(peak, abs=1.0)


def test_released_mode_stores_as_jpeg_and_corrected_does_not() -> None:
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)  # not JPEG-like at all
    condition = Condition("contrast_c", 1)
    paper, released = (
        load_benchmark("imagenet-c").in_mode(mode) for mode in ("paper", "released")
    )
    given = {"ids": [0], "seed": 0}
    plain = paper.corrupt(condition, image, **given)
    stored = released.corrupt(condition, image, **given)
    bare = released.bound["contrast_c"](image, severity=1, **given)
    assert (plain.int() - bare.int()).abs().max() <= 1  # truncated, not rounded
    assert (stored.int() - bare.int()).abs().max() > 10
    assert released.corrupt(Condition(), image, **given) is image  # clean ones are not
    cifar = load_benchmark("cifar10-c").in_mode("released")
    as_it_is = cifar.bound["contrast_c"](image, severity=1, **given)
    assert cifar.corrupt(condition, image, **given).equal(as_it_is)
