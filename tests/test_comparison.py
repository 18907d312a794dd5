"""Comparing two stored runs: what is compared, what is refused, and what is said of it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from noctule import InputError
from noctule.benchmarks import Benchmark
from noctule.comparison import (
    Comparison,
    Difference,
    compare,
    differences_of,
    mean_error_difference,
    reasons_it_is_worse,
)
from noctule.metrics import METRICS, Estimate
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.report.comparison import comparison_table, render_comparison, verdict
from noctule.report.terminal import terminal_text
from noctule.scoring import score_run
from stored_runs import stored_run

IMAGES = 120


def outcomes(**errors: float) -> dict[str, list[int]]:
    """The first images are wrong, so many percent of them."""
    return {
        name: [int(i < share * IMAGES) for i in range(IMAGES)] for name, share in errors.items()
    }


A = outcomes(clean=0.1, shear=0.5, rain=0.3, hue=0.4)
B = outcomes(clean=0.1, shear=0.25, rain=0.4, hue=0.41)


def matrix(wrong: dict[str, list[int]]) -> OutcomeMatrix:
    ranks = 1 + np.array(list(wrong.values()), dtype=np.int32).T
    ids = pa.array([f"{i:06d}" for i in range(len(ranks))])
    return OutcomeMatrix(ids, tuple(wrong), {"label_rank": ranks})


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    stored_run(tmp_path / "a", A, model="first")
    stored_run(tmp_path / "b", B, model="second")
    return tmp_path / "a", tmp_path / "b"


def test_two_runs_by_hand(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)
    assert (found.model_a, found.model_b, found.num_images) == ("first", "second", IMAGES)
    shear, rain, hue = found.differences
    # 60 and 30 of 120; 36 and 48; 48 and 50. All images of one model's errors are the other's.
    assert [one.difference.value for one in (shear, rain)] == pytest.approx([-25, 10])
    assert hue.difference.value == pytest.approx(100 * 2 / 120)
    assert (shear.only_a_wrong, shear.only_b_wrong) == (30, 0)
    p_values = [2 * 0.5**30, 2 * 0.5**12, 0.5]
    assert [one.p_value for one in found.differences] == pytest.approx(p_values)
    # One family of five: the mean error with weight 4; clean, shear, rain and hue with 1 each.
    # shear first, then rain, the mean error, hue and clean.
    mean = found.mean_error
    assert mean.p_value is not None
    assert [one.p_holm for one in found.differences] == pytest.approx(
        [8 * p_values[0], 7 * p_values[1], 2 * 0.5]
    )
    assert (mean.p_holm, mean.real) == (pytest.approx(6 / 4 * mean.p_value), False)
    assert [one.real for one in found.differences] == [True, True, False]
    assert found.clean is not None
    assert (found.clean.p_value, found.clean.p_holm, found.clean.real) == (1, 1, False)
    assert found.mean_error.a == pytest.approx(100 * (60 + 36 + 48) / 360)
    assert found.mean_error.difference.value == pytest.approx(100 * (-30 + 12 + 2) / 360)
    assert (found.num_outcomes, found.num_differing) == (480, 44)
    assert found.of("mce").difference.reason == found.no_reference_reason
    assert "this data is of unknown origin" in str(found.no_reference_reason)


def test_the_other_way_round_is_the_negative(pair: tuple[Path, Path]) -> None:
    there, back = compare(*pair), compare(*reversed(pair))
    for one, other in zip(there.differences, back.differences, strict=True):
        assert (one.p_value, one.difference.low) == (other.p_value, -other.difference.high)


def test_severities_are_one_test_or_one_each(tmp_path: Path) -> None:
    spec = {"severities": [1, 5]}
    one = {"clean": [0, 0, 0, 0], "shear@1": [0, 0, 0, 1], "shear@5": [1, 0, 0, 1]}
    other = {"clean": [0, 0, 0, 0], "shear@1": [1, 1, 1, 1], "shear@5": [1, 1, 1, 1]}
    runs = (
        stored_run(tmp_path / "a", one, spec=spec),
        stored_run(tmp_path / "b", other, spec=spec),
    )
    (shear,) = compare(*runs).differences
    # d = (½, 1, 1, 0): D = 2.5 and Σ d² = 2.25. At p = .25, z² · Σ d² + ln(2 / p)² is
    # 2.977 + 4.324 > 6.25, and at p = .3, 2.417 + 3.599 < 6.25.
    assert shear.name == "shear"
    assert 0.25 < shear.p_value < 0.3
    # The only corruption, and so the mean: four images do not show it, however large it looks.
    whole = compare(*runs)
    assert whole.mean_error.p_value == pytest.approx(shear.p_value)
    assert not whole.mean_error.real
    assert (whole.mean_error.difference.low, whole.mean_error.difference.high) == (-100, 100)
    assert reasons_it_is_worse(whole, 0.5) == []
    by_severity = compare(*runs, by="condition").differences
    assert [one.name for one in by_severity] == ["shear@1", "shear@5"]
    assert [one.p_value for one in by_severity] == [0.25, 0.5]  # 3 and 2 images
    # Weights: 3 for the mean error, 1 each for clean and two severities.
    assert [one.p_holm for one in by_severity] == [0.75, 1.0]


def test_ce_is_that_of_scoring_for_both_models(pair: tuple[Path, Path], tmp_path: Path) -> None:
    ref = outcomes(clean=0.2, shear=0.6, rain=0.7, hue=0.5)
    reference = stored_run(tmp_path / "ref", ref, model="AlexNet")
    found = compare(*pair, reference=reference)
    a, b = (score_run(run, reference=reference) for run in pair)
    for ours, one, other in (
        (found.of("mce"), a.of("mce"), b.of("mce")),
        (found.of("relative_mce"), a.of("relative_mce"), b.of("relative_mce")),
    ):
        assert one.value is not None
        assert other.value is not None
        assert (ours.a, ours.b) == pytest.approx((one.value, other.value))
        assert ours.difference.value == pytest.approx(other.value - one.value)
        assert ours.difference.low < ours.difference.value < ours.difference.high
    assert found.reference == f"AlexNet ({tmp_path / 'ref'})"
    assert found.mean_error == compare(*pair).mean_error


def test_published_errors_serve_where_they_are_of_this_data(tmp_path: Path) -> None:
    errors = {"clean": 0.2, "shear": 0.5, "rain": 0.6, "hue": 0.8}
    published = {"model": "AlexNet", "domain": "d", "source": "s", "errors": errors}
    runs = [
        stored_run(
            tmp_path / name, wrong, spec={"references": [published]}, dataset={"domain": "d"}
        )
        for name, wrong in (("a", A), ("b", B))
    ]
    found = compare(*runs)
    # (−.25 / .5 + .1 / .6 + 2/120 / .8) / 3, in percent
    assert found.of("mce").difference.value == pytest.approx(100 * (-0.5 + 1 / 6 + 1 / 48) / 3)
    assert found.reference == "AlexNet (s), whose errors are taken as exact"
    assert found.no_reference_reason is None
    assert found.of("mce").a == pytest.approx(score_run(runs[0]).of("mce").value)


def test_only_what_both_runs_have_is_compared(pair: tuple[Path, Path], tmp_path: Path) -> None:
    wrong = {key: B[key] for key in ("clean", "rain", "shear")} | {"border": B["hue"]}
    stored_run(tmp_path / "c", wrong, model="third")
    found = compare(pair[0], tmp_path / "c")
    assert [one.name for one in found.differences] == ["shear", "rain"]
    assert found.left_out == ("hue", "border")
    assert found.mean_error.difference.value == pytest.approx(100 * (-30 + 12) / 240)
    assert "Left out, as only one of the runs has them: hue, border." in render_comparison(
        found, "markdown"
    )


def test_without_clean_images_they_are_not_tested(tmp_path: Path) -> None:
    data = {"stored": {"clean": None}}
    runs = [stored_run(tmp_path / name, w, dataset=data) for name, w in (("a", A), ("b", B))]
    found = compare(*runs)
    assert found.clean is None
    assert "clean" not in verdict(found)
    assert found.to_records()[0]["scope"] == "corruption"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 1}, "another seed"),
        ({"dataset": {"fingerprint": "g"}}, "other data"),
        ({"spec": {"mode": "released"}}, "another mode"),
        ({"lost": [3, 7]}, "this run lacks 2 of the other's 120 images, first '00003'"),
        ({"finished": False}, "slices are missing"),
    ],
)
def test_runs_that_are_not_alike_are_refused(
    pair: tuple[Path, Path], tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    stored_run(tmp_path / "c", B, **changes)
    for runs in ((pair[0], tmp_path / "c"), (tmp_path / "c", pair[0])):
        with pytest.raises(InputError, match=what) as caught:
            compare(*runs)
        assert caught.value.where
        assert "reference" not in str(caught.value.remedy)


def test_other_severities_or_tables_are_refused(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    wrong = {key if key == "clean" else f"{key}@1": one for key, one in B.items()}
    stored_run(tmp_path / "c", wrong, spec={"severities": [1]})
    with pytest.raises(InputError, match="no corruption under the same conditions"):
        compare(pair[0], tmp_path / "c")
    tables = {"contrast_c": {"factor": [0.9, 0.8, 0.7, 0.6, 0.5]}}
    runs = [
        stored_run(tmp_path / name, {"clean": [0], "contrast_c@1": [1]}, spec=spec)
        for name, spec in (
            ("d", {"severities": [1]}),
            ("e", {"severities": [1], "tables": tables}),
        )
    ]
    with pytest.raises(InputError, match="other severities"):
        compare(*runs)


def test_tables_of_a_corruption_left_out_do_not_matter(tmp_path: Path) -> None:
    tables = {"contrast_c": {"factor": [0.9, 0.8, 0.7, 0.6, 0.5]}}
    both = {"clean": [0, 1], "shear@1": [1, 1], "contrast_c@1": [1, 1]}
    a = stored_run(tmp_path / "a", both, spec={"severities": [1], "tables": tables})
    b = stored_run(
        tmp_path / "b", {"clean": [0, 0], "shear@1": [1, 0]}, spec={"severities": [1]}
    )
    found = compare(a, b)
    assert (found.left_out, found.differences[0].only_a_wrong) == (("contrast_c",), 1)


def test_a_reference_has_to_be_of_the_same_images(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    stored_run(tmp_path / "c", A, lost=[1])
    with pytest.raises(InputError, match="the reference run lacks 1 of 120 images"):
        compare(*pair, reference=tmp_path / "c")
    stored_run(tmp_path / "d", A, seed=3)
    with pytest.raises(InputError, match="another seed"):
        compare(*pair, reference=tmp_path / "d")


def test_a_damaged_record_is_refused(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "run.json"
    whole = json.loads(path.read_text())
    for key, value in (("model", {}), ("model", "x"), ("dataset", {"num_images": 120})):
        path.write_text(json.dumps(whole | {key: value}))
        with pytest.raises(InputError):
            compare(*pair)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"by": "severity"}, "by"),
        ({"confidence": 95}, "confidence"),
        ({"confidence": 0}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
    ],
)
def test_settings_out_of_range_are_refused(
    pair: tuple[Path, Path], settings: dict[str, Any], where: str
) -> None:
    with pytest.raises(InputError) as caught:
        compare(*pair, **settings)
    assert caught.value.where == where


# What is said


def difference(name: str, points: float, needed: int | None = None) -> Difference:
    real = needed is None and points != 0
    p = 0.001 if real else 0.4
    estimate = Estimate(points, points - 1, points + 1)
    return Difference(
        "clean" if name == "clean" else "corruption", name, "error", "%", 50, 50 + points,
        estimate, 15.0, 9, 9, p, p, real, 2.0, needed,
    )  # fmt: skip


def mean_error(points: float, p_holm: float, real: bool = True) -> Difference:
    return Difference(
        "benchmark", "bench", "mean_error", "%", 50.0, 50.0 + points,
        Estimate(points, points - 1.5, points + 1.5), 20.0, None, None, p_holm / 2, p_holm,
        real,
    )  # fmt: skip


def comparison(*differences: Difference, mean: Difference | None = None, **changes: Any) -> Any:
    none = Estimate(None, None, None, "why")
    ratios = [
        Difference("benchmark", "bench", name, "%", None, None, none)
        for name in ("mce", "relative_mce")
    ]
    found = Comparison(
        benchmark="bench", dataset="data", model_a="A1", model_b="B1", run_a="a", run_b="b",
        num_images=1024, num_outcomes=4096, num_differing=200, by="corruption",
        rows=(*differences, mean or mean_error(-2.0, 0.01), *ratios), reference=None,
        no_reference_reason="why", left_out=(), confidence=0.95,
    )  # fmt: skip
    return replace(found, **changes)


MEAN = "The mean error of B1 is 2.00 points lower than that of A1 (95 % CI 0.50 to 3.50). "


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        (
            [("shear", -1.0), ("hue", -3.1), ("rain", 2.0), ("fog", 0.4, 2400), ("x", 1, 9000)],
            "B1 has the lower error under hue (by 3.10 points) and shear (by 1.00); A1 has the "
            "lower error under rain (by 2.00 points); under the other 2 corruptions the "
            "differences are not significant with 1,024 images. Detecting the differences "
            "would take about 2,400 (fog) to 9,000 (x) images, if they are as large as "
            "observed here.",
        ),
        (
            [("shear", 1.0), ("hue", 3.0), ("fog", 0.4, 2400)],
            "A1 has the lower error under hue (by 3.00 points) and shear (by 1.00); under fog "
            "the difference is not significant with 1,024 images. Detecting the difference "
            "would take about 2,400 images, if it is as large as observed here.",
        ),
        (
            [("shear", -1.0), ("hue", -3.0), ("fog", -2.0)],
            "B1 has the lower error under all 3 corruptions, by 1.00 (shear) to 3.00 points "
            "(hue).",
        ),
        (
            [("shear", 1.0), ("hue", 3.0)],
            "A1 has the lower error under both corruptions, by 1.00 (shear) to 3.00 points "
            "(hue).",
        ),
        ([("shear", 1.0)], "A1 has the lower error under shear (by 1.00 points)."),
        (
            [("shear", 0.1, 50_000), ("hue", 0.0)],
            "Under none of the 2 corruptions is the difference significant with 1,024 images. "
            "Detecting the difference under shear would take about 50,000 images, if it is as "
            "large as observed here; elsewhere none was observed.",
        ),
        (
            [("a", 0.1, 500), ("b", 0.1, 500), ("c", 0.0)],
            "Under none of the 3 corruptions is the difference significant with 1,024 images. "
            "Detecting the differences would take about 500 images, if they are as large as "
            "observed here; elsewhere none was observed.",
        ),
        ([("hue", 0.0)], "Under hue the difference is not significant with 1,024 images."),
    ],
)
def test_the_verdict(differences: list[Any], expected: str) -> None:
    found = comparison(*(difference(*one) for one in differences))
    assert verdict(found) == MEAN + expected


def test_the_verdict_on_means_and_clean_images() -> None:
    parts = difference("clean", -0.5), difference("shear", 1.0)
    text = verdict(comparison(*parts, mean=mean_error(2.0, 0.01)))
    assert "is 2.00 points higher than that of A1 (95 % CI 0.50 to 3.50)" in text
    assert "On clean images B1 has the lower error, by 0.50 points." in text
    unclear = mean_error(0.2, 0.6, real=False)
    text = verdict(comparison(difference("clean", 0.0), parts[1], mean=unclear))
    assert (
        "mean errors of A1 and B1 do not differ significantly: the difference is +0.20 points "
        "(95 % CI −1.30 to +1.70). On clean images the difference is not significant."
    ) in text


def test_models_of_one_name_are_called_a_and_b() -> None:
    found = comparison(difference("shear", 1.0), model_b="A1", num_images=1)
    assert "The mean error of B is" in verdict(found)
    assert "A has the lower error under shear" in verdict(found)


def test_the_same_outcomes_are_said_to_be_the_same(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    twice = compare(pair[0], pair[0])
    assert verdict(twice) == (
        "This is the same run twice: A and B do not differ in any of 480 outcomes (right or "
        "wrong)."
    )
    points = twice.mean_error.difference
    assert points.value == 0.0
    assert (
        points.high
        == -points.low
        == pytest.approx(100 * 1.959964**2 / math.sqrt(IMAGES**2 - 1.959964**2 * IMAGES))
    )
    stored_run(tmp_path / "c", A, model="third")
    same = compare(pair[0], tmp_path / "c")
    assert verdict(same).startswith("first and third do not differ in any of 480 outcomes")
    assert reasons_it_is_worse(same, 0.0) == []


def test_worse_is_what_is_shown_to_be_larger_than_allowed() -> None:
    found = comparison(difference("shear", 3.0), difference("hue", -5.0))
    # n = 1024, spread 15 points: worse than 1 point by z ≈ √1024 · 2 / 15 = 4.3, than 2.5 by
    # 1.1; than 0 as p = .001 says, which is corrected for weights of 2, 1 and 1.
    assert reasons_it_is_worse(found, 0.0) == [
        "the error under shear is 3.00 points higher (p = 0.004)"
    ]
    assert len(reasons_it_is_worse(found, 1.0)) == 1
    assert reasons_it_is_worse(found, 2.5) == []
    assert reasons_it_is_worse(found, 3.0) == []
    worse = comparison(mean=mean_error(2.0, 0.01))
    (reason,) = reasons_it_is_worse(worse, 0)
    assert reason == "the mean error is 2.00 points higher (p = 0.005)"
    assert reasons_it_is_worse(worse, 1.5) == []
    unclear = comparison(mean=mean_error(2.0, 0.12, real=False))
    assert reasons_it_is_worse(unclear, 0) == []
    broken = comparison(difference("clean", 4.0))
    assert reasons_it_is_worse(broken, 1.0) == [
        "the clean error is 4.00 points higher (p = 0.002)"
    ]
    for points in (-0.1, float("nan"), 101, True):
        with pytest.raises(InputError, match="--fail-if-worse"):
            reasons_it_is_worse(found, points)


def simulated(rng: np.random.Generator, images: int, rise: float) -> dict[str, list[int]]:
    """Outcomes of a model whose conditions share an image's luck in part."""
    names = [
        "clean",
        *(f"{name}@{severity}" for name in ("shear", "rain") for severity in (1, 3, 5)),
    ]
    common = rng.random((images, 1)) < 0.2
    wrong = np.where(common, rng.random((images, 1)), rng.random((images, 7))) < 0.3 + rise
    return {
        name: column.astype(int).tolist() for name, column in zip(names, wrong.T, strict=True)
    }


@pytest.mark.parametrize(("rise", "points"), [(0.0, 0.0), (0.05, 5.0)])
def test_equal_models_are_found_to_differ_at_most_as_often_as_promised(
    rise: float, points: float
) -> None:
    rng = np.random.default_rng(12)
    benchmark = Benchmark.from_dict(
        {"name": "b", "title": "t", "source": "s", "corruptions": ["shear", "rain"],
         "severities": [1, 3, 5]}
    )  # fmt: skip
    found = failed = 0
    for _ in range(300):
        a, b = (matrix(simulated(rng, 200, one)) for one in (0.0, rise))
        whole, clean, parts = differences_of((a, b), benchmark, "corruption", 0.95)
        assert clean is not None
        found += bool(whole.real or clean.real or any(one.real for one in parts))
        mean = mean_error_difference(whole, "bench")
        result = comparison(clean, *parts, mean=mean, num_images=200)
        failed += bool(reasons_it_is_worse(result, points))
    # At most 5 %; the standard error over 300 is 1.3 points.
    assert failed / 300 < 0.05 + 0.026
    assert (found / 300 < 0.05 + 0.026) if rise == 0 else (found / 300 > 0.1)


# Views


def test_the_table_by_hand(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)
    table = comparison_table(found)
    assert table.header == ("corruption", "A %", "B %", "B − A", "95 % CI", "p", "detectable")
    clean, shear, _, hue, mean = table.texts
    # No image differs: 3.84 / √(120² − 3.84 · 120) = 3.3 % may all the same.
    assert clean == ("clean", "10.0", "10.0", "0.0", "−3.3 to +3.3", "1.000", "–")
    assert (*shear[:4], *shear[5:]) == ("shear", "50.0", "25.0", "−25.0", "<0.001", "")
    # s = √(2/120) = .1291, s √n = 1.4142; α = .05 / 8: z = 2.7344, z² = 7.477:
    # (√(3.8671² + 7.477²) + .8416 · 1.4142) / 120 = 8.0
    assert (*hue[:4], *hue[5:]) == ("hue", "40.0", "41.7", "+1.7", "1.000", "8.0")
    # 144 and 128 of 360
    assert (*mean[:4], *mean[5:]) == ("mean error", "40.0", "35.6", "−4.4", "0.050", "")
    assert table.lines == [verdict(found)]
    assert any(note.startswith("No CE: the reference errors") for note in table.notes)
    assert any(
        "the mean error, the clean error and 3 corruptions; the mean error has half" in note
        for note in table.notes
    )
    needed = found.differences[2].images_needed
    assert needed is not None
    # At n = 880, s √n = 3.8297: (√(10.472² + 7.477²) + 3.2231) / n = .01829 > 1/60.
    assert needed > 880
    assert any(note.endswith(f"as observed: hue {needed:,}.") for note in table.notes)


def test_the_table_fits_80_columns_and_obeys_no_markup() -> None:
    differences = difference("vertical_artifacts", -2.5), difference("hue", 1.0, 31_000)
    found = comparison(*differences, model_a="[bold]m", num_images=50_000)
    text = terminal_text([replace(comparison_table(found), notes=())], 80)
    assert "[bold]m" in text
    lines = text.splitlines()
    assert any("vertical_artifacts" in line and "−3.50 to −1.50" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)
    assert any("detectable" in line and "95 % CI" in line for line in lines)


def test_csv_carries_full_precision(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["differences"] == found.to_records()
    rows = list(csv.DictReader(io.StringIO(render_comparison(found, "csv"))))
    assert len(rows) == len(found.rows)
    # Of clean images six metrics; of a corruption, and over all, the six that have a mean.
    assert Counter(row["scope"] for row in rows) == {
        "clean": 6,
        "corruption": 18,
        "benchmark": 6,
    }
    by_name = {(row["name"], row["metric"]): row for row in rows}
    shear, hue, mce = (
        by_name[key] for key in (("shear", "error"), ("hue", "error"), (found.benchmark, "mce"))
    )
    assert float(shear["p_holm"]) == found.differences[0].p_holm
    assert (shear["name"], shear["metric"], shear["real"]) == ("shear", "error", "True")
    assert float(shear["low"]) == found.differences[0].difference.low
    assert int(hue["images_needed"]) == found.differences[2].images_needed
    assert (mce["metric"], mce["difference"], mce["p_value"]) == ("mce", "", "")


def test_every_metric_is_compared_with_an_interval(pair: tuple[Path, Path]) -> None:
    found, (a, b) = compare(*pair), (score_run(run) for run in pair)
    for row in found.rows:
        metric = METRICS[row.metric]
        of_a, of_b = (
            one.of(metric.name, None if row.scope == "benchmark" else row.name)
            for one in (a, b)
        )
        if of_a.value is None or of_b.value is None:
            assert row.difference.reason
            continue
        values = [metric.scale * one for one in (of_a.value, of_b.value)]
        assert [row.a, row.b] == pytest.approx(values)
        assert row.difference.value == pytest.approx(values[1] - values[0])
        if metric.name == "ece":
            assert row.difference.reason == "differences of this metric have no interval"
            continue
        assert row.difference.low is not None
        assert row.difference.low <= row.difference.value
        assert (row.p_value is None) == (metric.name != "error")


def test_markdown_and_latex(pair: tuple[Path, Path], tmp_path: Path) -> None:
    reference = stored_run(tmp_path / "ref", outcomes(clean=0.2, shear=0.6, rain=0.7, hue=0.5))
    found = compare(*pair, reference=reference)
    markdown = render_comparison(found, "markdown")
    assert "| shear | 50.0 | 25.0 | −25.0 |" in markdown
    assert verdict(found) in markdown
    latex = render_comparison(found, "latex")
    # mean error, mCE and relative mCE stand under the last rule
    summary = latex.split(r"\midrule")[2].split(r"\bottomrule")[0].strip().splitlines()
    assert [line.split(" & ")[0] for line in summary] == ["mean error", "mCE", "relative mCE"]
    assert r"shear & 50.0 & 25.0 & $-$25.0 &" in latex
    with pytest.raises(InputError, match="unknown format"):
        render_comparison(found, "table")


def test_equal_differences_are_said_once(tmp_path: Path) -> None:
    right, wrong = [0] * 30, [1] * 30
    names = ("clean", "shear", "rain")
    stored_run(tmp_path / "a", dict.fromkeys(names, right), model="first")
    stored_run(tmp_path / "b", dict.fromkeys(names, wrong), model="second")
    said = verdict(compare(tmp_path / "a", tmp_path / "b"))
    assert "first has the lower error under both corruptions, by 100.00 points." in said


def test_nothing_is_drawn(pair: tuple[Path, Path]) -> None:
    assert compare(*pair) == compare(*pair)
    for name in ("seed", "resamples"):
        with pytest.raises(TypeError, match=name):
            compare(*pair, **{name: 0})


def test_a_higher_confidence_gives_a_wider_interval(pair: tuple[Path, Path]) -> None:
    narrow, wide = (
        compare(*pair, confidence=confidence).mean_error.difference
        for confidence in (0.95, 0.999)
    )
    assert wide.low < narrow.low < narrow.high < wide.high
