"""Reports of one run: losses, calibration and classes against numbers made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from noctule.metrics import Estimate, score
from noctule.report.loading import Run, open_runs
from noctule.report.run import losses_table
from noctule.report.run_details import (
    Confusion,
    Outcomes,
    class_damage,
    outcomes_of,
    reliability,
)
from noctule.report.run_groups import RunSettings
from noctule.report.samples import choose
from noctule.scoring import score_run
from report_runs import write_run

# Six images: two of each class. Clean: one mistake. hue: 4 right; blur: 1 right.
LABELS = [0, 0, 1, 1, 2, 2]
PREDICTIONS = {
    "clean": [0, 0, 1, 1, 2, 0],
    "hue": [0, 2, 1, 1, 2, 0],
    "blur": [2, 2, 0, 1, 0, 0],
}
CONFIDENCE = [0.05, 0.2, 0.2, 0.5, 0.95, 1.0]
SETTINGS = RunSettings(resamples=40)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = write_run(
        tmp_path / "m", predictions=PREDICTIONS, labels=LABELS, confidence=CONFIDENCE
    )
    return open_runs([folder])[0]


def test_losses_are_the_fall_of_accuracy(run: Run) -> None:
    found = losses_table("", score_run(run.store, **SETTINGS._asdict())).cells
    # Clean 5 of 6, hue 4 of 6, blur 1 of 6.
    assert [row[0].text for row in found] == ["blur", "hue"]
    assert [row[1].key for row in found] == pytest.approx([4 / 6, 1 / 6])
    assert [row[3].key for row in found] == pytest.approx([1 / 6, 4 / 6])


def test_the_interval_of_a_loss_is_paired(run: Run) -> None:
    table = losses_table("", score_run(run.store, resamples=0, confidence=0.9))
    loss = table.rows[1].values[1]
    assert isinstance(loss, Estimate)
    # Only image 1 of 6 is lost under hue: mean 1/6, Σ (d − mean)² = 5/6. At 90 %, z² = 2.70554
    # and ln(2 / .1) = 2.99573 images may have been missed. The reach, 3.35097 / 4.44598, is
    # √(2.70554 · 5/6 + 2.99573²) / √(36 − 6 · 2.70554).
    assert (loss.low, loss.high) == pytest.approx(
        (1 / 6 - 0.753709, 1 / 6 + 0.753709), abs=1e-4
    )


def test_bins_are_those_of_the_calibration_error(run: Run) -> None:
    outcomes = outcomes_of(run)
    rows = run.store.rows()
    scores = score(rows, run.benchmark, resamples=0)
    for column, name in enumerate(outcomes.conditions):
        bins = reliability(outcomes, [column])
        ece = sum(
            one.num_outcomes / 6 * abs((one.confidence or 0) - (one.accuracy or 0))
            for one in bins
        )
        assert ece == pytest.approx(scores.of("ece", name).value, abs=1e-8)


def test_bins_by_brute_force(run: Run) -> None:
    outcomes = outcomes_of(run)
    bins = reliability(outcomes, outcomes.corrupted)
    for number, one in enumerate(bins):
        # (b/15, (b+1)/15]: 0.2 lies on the edge of the third and belongs to it.
        inside = [
            (confidence, PREDICTIONS[name][image] == LABELS[image])
            for name in ("hue", "blur")
            for image, confidence in enumerate(CONFIDENCE)
            if number < round(15 * confidence, 6) <= number + 1
        ]
        assert one.num_outcomes == len(inside)
        if inside:
            assert one.confidence == pytest.approx(np.mean([c for c, _ in inside]), abs=1e-6)
            assert one.accuracy == pytest.approx(np.mean([right for _, right in inside]))
        else:
            assert (one.confidence, one.accuracy) == (None, None)
    assert [one.num_outcomes for one in bins if one.num_outcomes] == [2, 4, 2, 4]


def test_damage_by_class(run: Run) -> None:
    found = class_damage(outcomes_of(run), 0.95)
    # Class 0: clean 2/2; corrupted 1 of 4; taken for 2 three times of four.
    # Class 2: clean 1/2; corrupted 1 of 4; taken for 0 three times.
    # Class 1: clean 2/2; corrupted 3 of 4; taken for 0 once.
    assert [one.label for one in found] == [0, 1, 2]  # equals in the order of their index
    assert [one.loss.value for one in found] == pytest.approx([0.75, 0.25, 0.25])
    assert [one.clean_accuracy for one in found] == [1.0, 1.0, 0.5]
    assert [one.accuracy for one in found] == [0.25, 0.75, 0.25]
    assert [one.confusion for one in found] == [
        Confusion(2, 0.75), Confusion(0, 0.25), Confusion(0, 0.75),
    ]  # fmt: skip
    # Two images of a class are at most z²: every loss from −1 to 1 is possible.
    assert [(one.loss.low, one.loss.high) for one in found] == [(-1.0, 1.0)] * 3


def test_the_interval_of_a_class_is_paired_over_its_images(tmp_path: Path) -> None:
    # Image i fails under hue unless it is a multiple of 3, and under blur if it is one of 5.
    labels = [number % 2 for number in range(40)]
    wrong = {
        "clean": [number % 7 == 0 for number in range(40)],
        "hue": [number % 3 != 0 for number in range(40)],
        "blur": [number % 5 == 0 for number in range(40)],
    }
    predictions = {
        name: [label + flag for label, flag in zip(labels, flags, strict=True)]
        for name, flags in wrong.items()
    }
    (run,) = open_runs([write_run(tmp_path / "m", predictions=predictions, labels=labels)])
    found = {one.label: one for one in class_damage(outcomes_of(run), 0.95)}
    rises = [
        (wrong["hue"][i] + wrong["blur"][i]) / 2 - wrong["clean"][i] for i in range(1, 40, 2)
    ]
    z2, mean = 1.959964**2, sum(rises) / 20
    squares = sum((one - mean) ** 2 for one in rises)
    half = math.sqrt((z2 * squares + z2**2) / (20**2 - z2 * 20))
    assert (found[1].loss.low, found[1].loss.high) == pytest.approx(
        (mean - half, mean + half), rel=1e-6
    )


def outcomes(failures: list[int], clean_wrong: set[int]) -> Outcomes:
    """Images a, b, … that fail under so many of five conditions."""
    import pyarrow as pa

    wrong = np.array(
        [
            [image in clean_wrong, *(k < number for k in range(5))]
            for image, number in enumerate(failures)
        ]
    )
    ids = pa.array([chr(ord("a") + number) for number in range(len(failures))])
    zeros = np.zeros(wrong.shape, np.int32)
    names = ("clean", "c0", "c1", "c2", "c3", "c4")
    return Outcomes(ids, names, zeros[:, 0], zeros, wrong, zeros.astype(np.float32))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        # Of a, c, d, e, f (b is wrong when clean) the failures are 3 1 3 0 5, sorted 0 1 3 3 5:
        (1, [0]),  # the median is 3, and of a and d, a comes first
        (2, [0, 5]),  # and the worst is f with 5
        (3, [4, 0, 5]),
        (9, [4, 2, 0, 3, 5]),  # each once
    ],
)
def test_the_images_shown_follow_from_the_rule(count: int, expected: list[int]) -> None:
    chosen = choose(outcomes([3, 5, 1, 3, 0, 5], {1}), count)
    assert sorted(chosen) == sorted(expected) if count == 9 else chosen == expected


def test_without_a_right_image_none_is_shown() -> None:
    assert choose(outcomes([1, 2], {0, 1}), 2) == []
