"""Reports over many runs: the same numbers as scoring each run alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from noctule import InputError
from noctule.benchmarks import load_benchmark
from noctule.metrics import METRICS, Estimate
from noctule.metrics.outcome_matrix import row_positions
from noctule.report.charts import Dot, Mark, dot_chart, heat_map
from noctule.report.loading import open_runs
from noctule.report.run import ranking_figure, ranking_table, reliability_figures
from noctule.report.run_details import Bin
from noctule.report.run_groups import RunSettings, Summary, grouped, summarise
from noctule.scoring import score_run
from report_runs import BENCHMARK, write_run

IMAGES = 60
LABELS = [number % 3 for number in range(IMAGES)]
QUICK = RunSettings(resamples=50)
RIGHT = dict.fromkeys(("clean", "hue", "blur"), LABELS)


def predictions(
    shift: int, names: tuple[str, ...] = ("clean", "hue", "blur")
) -> dict[str, list[int]]:
    """Wrong for every image whose number, shifted, is a multiple of a number per condition."""
    return {
        name: [
            (label + 1) % 3 if (number * 7 + shift) % (7 - 2 * place) == 0 else label
            for number, label in enumerate(LABELS)
        ]
        for place, name in enumerate(names)
    }


def runs_of(folder: Path, *shifts: int) -> list[Path]:
    return [
        write_run(folder / f"m{shift}", predictions=predictions(shift), labels=LABELS)
        for shift in shifts
    ]


def test_places_lead_to_the_rows_of_the_whole_table() -> None:
    rows = pa.table({"image_id": ["b", "a", "a", "b"], "condition": ["x", "y", "x", "y"]})
    positions = row_positions(rows, ["y"])
    assert positions.image_ids.to_pylist() == ["a", "b"]
    assert positions.rows.tolist() == [[1], [3]]


@pytest.mark.parametrize("with_reference", [False, True])
def test_every_run_has_the_scores_it_has_alone(tmp_path: Path, with_reference: bool) -> None:
    folders = runs_of(tmp_path, 0, 1, 2)
    reference = runs_of(tmp_path, 3)[0] if with_reference else None
    group = summarise(open_runs(folders, reference), reference=reference, settings=QUICK)
    for folder, summary in zip(folders, group.summaries, strict=True):
        alone = score_run(folder, reference=reference, **QUICK._asdict())
        assert alone.has_clean
        for key, estimate in summary.scores.estimates.items():
            assert estimate == alone.estimates[key], key
        assert (group.scores.reference, group.scores.num_images) == (
            alone.reference,
            alone.num_images,
        )
    assert summary.scores.of("relative_mce").low is not None


def test_rows_in_another_order_are_joined_by_id(tmp_path: Path) -> None:
    one, other = runs_of(tmp_path, 0, 1)
    # The same data and the same slices, but each slice's rows the other way round.
    for run in open_runs([other]):
        for index in run.store.finished_slices():
            path = run.store.slice_path(index)
            rows = run.store.rows(allow_partial=True)
            per_slice = len(rows) // run.store.identity.num_slices
            part = rows.slice(index * per_slice, per_slice)
            path.unlink()
            run.store.write_slice(index, part.take(list(range(per_slice))[::-1]))
    group = summarise(open_runs([one, other]), settings=QUICK)
    estimates = group.summaries[1].scores.estimates
    assert estimates.items() <= score_run(other, **QUICK._asdict()).estimates.items()


def test_without_reference_errors_the_mean_error_ranks(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / name, predictions=found, labels=LABELS, dataset={"domain": None}
        )
        for name, found in (("a", predictions(0)), ("b", RIGHT))
    ]  # fmt: skip
    group = summarise(open_runs(runs), settings=QUICK)
    assert group.headline.mean_title == "mean error"
    assert group.scores.reference is None
    assert group.scores.no_reference_reason is not None
    assert (
        group.scores.no_reference_reason == score_run(runs[0], resamples=0).no_reference_reason
    )
    errors = [one.scores.of("error").value or 0 for one in group.ranked]
    assert errors == sorted(errors)
    assert errors[0] < errors[1]
    sheet = ranking_table("t", group, {})
    assert [row[0] for row in sheet.texts] == [one.run.label for one in group.ranked]


def test_a_score_that_one_run_lacks_neither_ranks_nor_is_drawn(tmp_path: Path) -> None:
    """The benchmark's own relative mCE, then the others; the caption says what is missing."""
    group = summarise(open_runs(runs_of(tmp_path, 0, 1, 2)), settings=QUICK)
    assert group.headline is METRICS["relative_ce"]
    assert group.why_not_own == ""
    none = Estimate(None, None, None, "the reference's error does not rise")
    first, second, third = group.summaries

    def without(summary: Summary, *metrics: str) -> Summary:
        scores = summary.scores
        undefined = {("benchmark", scores.benchmark, metric): none for metric in metrics}
        return Summary(
            summary.run,
            replace(scores, estimates={**scores.estimates, **undefined}),  # type: ignore[dict-item]
        )

    lacking = replace(group, summaries=(first, without(second, "relative_mce"), third))
    assert lacking.headline is METRICS["ce"]
    assert [one.mean_name for one in lacking.metrics] == ["mce", "relative_mce", "mean_error"]
    assert lacking.why_not_own == f" Relative mCE is not defined for {second.run.label}."
    values = [one.scores.of("mce").value or 0 for one in lacking.ranked]
    assert values == sorted(values)
    ranking = ranking_figure("", lacking)
    assert "mCE of every model" in ranking.caption
    assert f"Relative mCE is not defined for {second.run.label}." in ranking.caption
    drawn = re.findall(r'"label": "(\w+)", "value": [\d.]+', json.dumps(ranking.paper_spec()))
    assert sorted(set(drawn)) == sorted(one.run.label for one in group.summaries)
    every = [without(one, "relative_mce", "mce") for one in group.summaries]
    assert replace(group, summaries=tuple(every)).headline is METRICS["error"]


def test_one_far_value_does_not_rule_the_scale() -> None:
    values = {"shear": 80.0, "rain": 95.0, "hue": 70.0, "blur": -500.0}
    dots = [Dot(name, Estimate(one, one - 9, one + 9)) for name, one in values.items()]
    figure = dot_chart(
        "d",
        dots,
        axis="relative CE, %",
        caption="C.",
        description="d",
        mark=Mark(100, "it"),
        scale=1,
    )
    assert figure.caption == (
        "C. Off the scale, at its edge: blur −500.0. The dashed line is it."
    )
    scales = re.findall(r'"scale": (\{"clamp[^}]*\})', json.dumps(figure.paper_spec()))
    assert [json.loads(one)["domain"] for one in scales] == [[61.0, 104.0]]
    assert "clamp" not in json.dumps(dot_chart(
        "d", dots[:3], axis="a", caption="C.", description="d", scale=1
    ).paper_spec())  # fmt: skip
    # An interval that goes far is cut too, and said to be.
    wide = [*dots[:3], Dot("blur", Estimate(60.0, -900.0, 1000.0))]
    assert "Intervals that go beyond the scale end at its edge." in (
        dot_chart("d", wide, axis="a", caption="C.", description="d", scale=1).caption
    )
    cells = [("m", name, value) for name, value in values.items()]
    heat = heat_map("h", cells, measure="a", caption="C.", description="d")
    assert "Colours end at 70 and 95" in heat.caption


def test_error_rates_are_all_on_the_scale_and_a_scale_has_a_length() -> None:
    # Two of three models are equal: their median distance is 0. The third is 40 points off.
    errors = [
        Dot(f"m{i}", Estimate(one, one / 2, 97.5)) for i, one in enumerate((3.0, 3.0, 43.0))
    ]
    figure = dot_chart("d", errors, axis="error, %", caption="C.", description="d", scale=1)
    assert figure.caption == "C."
    assert "clamp" not in json.dumps(figure.paper_spec())
    ratios = [
        Dot(f"m{i}", Estimate(one, None, None)) for i, one in enumerate((0.0, 0.0, 15400.0))
    ]
    figure = dot_chart(
        "d", ratios, axis="relative mCE, %", caption="C.", description="d", scale=1
    )
    assert figure.caption == "C. Off the scale, at its edge: m2 15,400.0."
    scales = re.findall(r'"scale": (\{"clamp[^}]*\})', json.dumps(figure.paper_spec()))
    assert [json.loads(one)["domain"] for one in scales] == [[-10.0, 10.0]]


def test_a_logarithmic_axis_has_a_length() -> None:
    """A model of one confidence: all outcomes lie in one bin, so that every share is 100 %."""
    bins = (Bin(0.4, 0.5, 8, 0.5, 0.5), Bin(0.5, 0.6, 0, None, None))
    _, shares = reliability_figures("r-", {"clean": bins})
    assert '"domain": [10.0, 100.0]' in json.dumps(shares.paper_spec())
    more = (Bin(0.4, 0.5, 999, 0.5, 0.5), Bin(0.5, 0.6, 1, 0.5, 1.0))
    _, shares = reliability_figures("r-", {"clean": bins, "corrupted": more})
    assert '"domain": [0.1, 100.0]' in json.dumps(shares.paper_spec())


def test_only_the_same_images_are_ranked_together(tmp_path: Path) -> None:
    same = runs_of(tmp_path, 0, 1)
    more = load_benchmark("imagenet-noc")
    names = tuple(map(str, more.conditions))
    others = [
        write_run(tmp_path / "seed", predictions=predictions(0), labels=LABELS, seed=1),
        write_run(
            tmp_path / "data", predictions=predictions(0), labels=LABELS,
            dataset={"fingerprint": "g"},
        ),
        write_run(
            tmp_path / "mode", predictions=predictions(0), labels=LABELS,
            benchmark=BENCHMARK.in_mode("released"),
        ),
        write_run(
            tmp_path / "benchmark", labels=LABELS, benchmark=more,
            predictions=dict.fromkeys(names, LABELS),
        ),
    ]  # fmt: skip
    groups = grouped(open_runs([*same, *others]))
    assert [[run.label for run in one] for one in groups] == [
        ["m0", "m1"], ["seed"], ["data"], ["mode"], ["benchmark"],
    ]  # fmt: skip


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    for place in ("a", "b"):
        write_run(tmp_path / place / "m", predictions=predictions(0), labels=LABELS)
    labels = [run.label for run in open_runs([tmp_path / "a/m", tmp_path / "b/m"])]
    assert labels == [f"m ({tmp_path}/a/m)", f"m ({tmp_path}/b/m)"]


def test_a_run_twice_is_refused_however_it_is_spelt(tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, 0)
    (tmp_path / "link").symlink_to(run)
    for again in (run, tmp_path / "x" / ".." / "m0", tmp_path / "link"):
        with pytest.raises(InputError, match="given twice"):
            open_runs([run, again])


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "half", predictions=predictions(0), labels=LABELS, finished=False
    )
    with pytest.raises(InputError, match="1 of 2 slices are missing"):
        open_runs([run])
    with pytest.raises(InputError, match="not a run folder"):
        open_runs([tmp_path])
    with pytest.raises(InputError, match="at least one"):
        open_runs([])
    (whole,) = runs_of(tmp_path, 0)
    other = write_run(tmp_path / "s", predictions=predictions(0), labels=LABELS, seed=1)
    with pytest.raises(InputError, match="another seed"):
        open_runs([whole], other)
