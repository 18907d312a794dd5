"""Scores that papers print, recomputed from the errors they print."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from noctule.benchmarks import Reference, load_benchmark
from noctule.benchmarks.references import shipped_references
from noctule.leaderboard.tracks import load_landmarks
from noctule.metrics import score
from noctule.metrics.means import corruption_error
from outcome_rows import outcome_rows

# The order of every table below.
CORRUPTIONS = [
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur",
    "motion_blur", "zoom_blur", "snow", "frost", "fog", "brightness_c", "contrast_c",
    "elastic_transform", "pixelate_c", "jpeg_compression",
]  # fmt: skip

# Severity-averaged errors of AlexNet in percent, as the code of AugMix lists them.
ALEXNET_MEANS = [
    88.64, 89.45, 92.26, 81.99, 82.63, 78.59, 79.84, 86.68, 82.66, 81.93, 56.46, 85.32, 64.61,
    71.78, 60.65,
]  # fmt: skip
EXTRA_MEANS = {
    "speckle_noise": 84.54,
    "gaussian_blur": 78.71,
    "spatter": 71.75,
    "saturate": 65.82,
}

# Hendrycks & Dietterich 2019, table 1, and Hendrycks et al. 2020 (AugMix), the table of
# ImageNet-C: mCE, and CE by corruption in whole percent.
PRINTED = {
    f"{one.title}, {one.source.partition(',')[0]}": one
    for one in load_landmarks()
    if one.benchmark == "imagenet-c"
}

# RobustBench, model_info/imagenet/corruptions/unaggregated_results_2d.csv: accuracies at
# severities 1 to 5 on 5,000 images, here in units of 1e-4.
NOISYMIX = """6946 6530 5690 4590 2760  6872 6376 5588 4222 3080  6658 6166 5714 4416 2832
6380 5848 4716 3758 2680  6170 5126 2944 2498 2014  7050 6500 5494 4054 3048
6004 5280 4906 4174 3396  6376 4614 4868 3742 2884  6870 5814 4858 4718 4004
6630 6180 5380 4884 3322  7552 7426 7196 6846 6312  7098 6870 6226 4306 1764
6932 4926 6238 5218 3092  6932 6658 5732 4146 3150  6978 6728 6584 6088 5290"""
DEIT_S = """7230 7086 6746 6178 5346  7260 7040 6726 5806 5144  7190 6892 6668 6158 5474
6264 5808 4592 3418 2412  6590 5906 4126 3350 2626  6842 6284 5132 3608 2724
5840 5062 4278 3566 2778  6630 5578 5534 4496 4342  7082 6472 5796 5664 5168
6332 5784 5006 4706 3474  7418 7278 7208 6992 6638  6846 6318 5154 2064 428
6940 5176 6714 6006 3960  7126 7018 6402 5132 4122  7014 6828 6682 6228 5592"""
IMAGES = 5000


def alexnet() -> Reference:
    return next(
        one
        for one in shipped_references()
        if one.model == "AlexNet" and "gaussian_noise@1" in one.errors
    )


def reference_errors() -> np.ndarray:
    """(15 corruptions, 5 severities), fractions."""
    errors = alexnet().errors
    return np.array(
        [[errors[f"{name}@{severity}"] for severity in range(1, 6)] for name in CORRUPTIONS]
    )


def mean_corruption_error(errors: np.ndarray) -> float:
    """From one error for each corruption, by the scorer's own functions."""
    reference = reference_errors().mean(axis=1)
    pairs = zip(errors.tolist(), reference.tolist(), strict=True)
    return float(np.mean([corruption_error(error, ref) for error, ref in pairs]))


def test_the_severities_of_alexnet_give_its_published_means() -> None:
    np.testing.assert_allclose(100 * reference_errors().mean(axis=1), ALEXNET_MEANS, atol=0.006)
    errors = alexnet().errors
    assert errors["clean"] == 0.435
    for name, percent in EXTRA_MEANS.items():
        assert errors[name] == pytest.approx(percent / 100)


def test_the_printed_tables_are_whole() -> None:
    assert len(PRINTED) == 12
    assert list(load_benchmark("imagenet-c").corruptions) == CORRUPTIONS
    assert {(one.metric, one.mode, len(one.ces)) for one in PRINTED.values()} == {
        ("ce", "released", 15)
    }


@pytest.mark.parametrize("name", PRINTED)
def test_printed_mces_follow_from_printed_ces(name: str) -> None:
    printed = PRINTED[name].value
    errors = np.array(PRINTED[name].ces) / 100 * np.array(ALEXNET_MEANS) / 100
    # Each CE is rounded to a whole percent: their mean is off by up to 0.5, and by 0.3 once in
    # 10,000 tables (15 uniform errors of ± 0.5).
    assert mean_corruption_error(errors) == pytest.approx(printed, abs=0.35)


def rows_of(accuracies: np.ndarray) -> pa.Table:
    """Outcome rows with these accuracies, (15, 5) in units of 1e-4, on 5,000 images."""
    conditions = {"clean": 7714}
    for name, severities in zip(CORRUPTIONS, accuracies.tolist(), strict=True):
        conditions |= {
            f"{name}@{severity}": value for severity, value in enumerate(severities, 1)
        }
    ids = [str(image) for image in range(IMAGES)]
    return pa.concat_tables(
        outcome_rows(ids, name, ranks=np.where(np.arange(IMAGES) < right // 2, 1, 9))
        for name, right in conditions.items()
    )


def test_the_whole_scorer_gives_a_printed_mce() -> None:
    """NoisyMix (Erichson et al. 2022): RobustBench prints accuracy 52.25 and mCE 60.70."""
    accuracies = np.array(NOISYMIX.split(), dtype=int).reshape(15, 5)
    scores = score(
        rows_of(accuracies), load_benchmark("imagenet-c"), reference=alexnet(), resamples=0
    )
    assert scores.metric == "ce"
    assert scores.of("mean_error").value == pytest.approx(1 - 0.5225, abs=5e-5)
    assert scores.of("mce").value == pytest.approx(60.70, abs=0.0101)
    # The ratio of the means, which mCE is not, would be 60.51.


def test_where_a_printed_number_is_a_ratio_of_means() -> None:
    """DeiT-S (Tian et al. 2022): RobustBench prints 56.19, which is not a mean of ratios."""
    errors = 1 - np.array(DEIT_S.split(), dtype=int).reshape(15, 5) / 1e4
    ratio_of_means = 100 * errors.mean() / reference_errors().mean()
    assert ratio_of_means == pytest.approx(56.19, abs=0.005)
    assert mean_corruption_error(errors.mean(axis=1)) == pytest.approx(56.62, abs=0.005)
