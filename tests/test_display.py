"""Results show themselves: in a line, as a table, in a notebook, as data frames and charts."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noctule
from noctule.display import Displayed, notebook_progress
from noctule.errors import InputError
from noctule.extras import MissingExtraError
from noctule.metrics import Estimate
from noctule.outcomes import SCHEMA
from noctule.studies.design import choose_exact, choose_greedy, n_by_k
from noctule.studies.matrix import OverlapMatrix
from report_runs import LABELS, PREDICTIONS, write_run

NAMES = ("shear", "rain", "hue", "blur")
MATRIX = OverlapMatrix(
    NAMES,
    np.array([[1, 0.6, 0.1, 0], [0.6, 1, 0.2, 0], [0.1, 0.2, 1, 0], [0, 0, 0, 1.0]]),
    {"fog": "too few images"},
    source="a test",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of the same images; the second is wrong everywhere."""
    folder = tmp_path_factory.mktemp("runs")
    wrong = {name: [(label + 1) % 3 for label in LABELS] for name in PREDICTIONS}
    return (
        write_run(folder / "good", predictions=PREDICTIONS, labels=LABELS),
        write_run(folder / "bad", predictions=wrong, labels=LABELS),
    )


@pytest.fixture(scope="module")
def results(folders: tuple[Path, Path]) -> dict[str, Displayed]:
    """A result of each type."""
    return {
        "Scores": noctule.load_run(folders[0]).scores,
        "Comparison": noctule.compare(*folders),
        "OverlapMatrix": MATRIX,
        "ChosenSet": choose_exact(MATRIX, 2),
        "FamilyDesign": n_by_k(MATRIX, (0, 0, 1, 1), 2, 1, 4)[0],
    }


EVERY = ["Scores", "Comparison", "OverlapMatrix", "ChosenSet", "FamilyDesign"]
every_type = pytest.mark.parametrize("kind", EVERY)


@every_type
def test_a_result_is_one_line_and_a_table(results: dict[str, Displayed], kind: str) -> None:
    line, text = repr(results[kind]), str(results[kind])
    assert re.fullmatch(rf"<{kind}: .{{20,400}}>", line)
    assert len(text.splitlines()) > 4
    assert "Estimate(" not in line + text


@every_type
def test_a_notebook_gets_the_table_and_a_picture(
    results: dict[str, Displayed], kind: str
) -> None:
    html = results[kind]._repr_html_()
    assert html is not None
    assert html.count("<table") == html.count("<img") == 1
    assert "data:image/png;base64,iVBOR" in html
    assert "<script" not in html
    assert "http" not in html  # nothing is asked from the network
    width = re.search(r'width="(\d+)"', html)
    assert width is not None
    assert 200 < int(width[1]) < 1000
    assert len(html) < 200_000


@every_type
def test_data_frames_hold_the_records(results: dict[str, Displayed], kind: str) -> None:
    result: Any = results[kind]
    pandas, polars = result.to_pandas(), result.to_polars()
    records = polars.to_dicts()
    assert list(pandas.columns) == list(records[0])
    assert len(pandas) == len(records)
    if hasattr(result, "to_records"):
        assert records == result.to_records()
    text = {"scope", "name", "metric", "unit", "reason", "a", "b", "candidate", "covered_by"}
    numbers = {"value", "low", "high", "difference", "score", "raw", "share", "weight"}
    assert all(polars[name].dtype.is_numeric() for name in numbers & {*records[0]})
    strings = text - ({"a", "b"} if kind == "Comparison" else set())
    assert all(str(polars[name].dtype) == "String" for name in strings & {*records[0]})


def test_the_frame_of_an_overlap_matrix_has_undefined_pairs(
    results: dict[str, Displayed],
) -> None:
    records = results["OverlapMatrix"].to_polars().to_dicts()
    scores = {(one["a"], one["b"]): one["score"] for one in records}
    assert len(scores) == 10  # of 5 candidates
    assert scores["shear", "rain"] == 0.6
    assert scores["shear", "fog"] is None


@every_type
def test_a_chart_is_altairs(results: dict[str, Displayed], kind: str) -> None:
    import altair

    chart = results[kind].plot()
    assert isinstance(chart, altair.LayerChart | altair.Chart)
    assert chart.to_dict()["config"]["background"] == "white"


@pytest.mark.parametrize(
    ("method", "package", "extra"),
    [("to_pandas", "pandas", "pandas"), ("to_polars", "polars", "polars"),
     ("plot", "altair", "report")],
)  # fmt: skip
def test_what_needs_an_extra_names_it(
    results: dict[str, Displayed],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    package: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=re.escape(f"noctule[{extra}]")):
        getattr(results["Scores"], method)()


def test_without_the_report_extra_a_notebook_shows_the_line(
    results: dict[str, Displayed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert results["Scores"]._repr_html_() is None
    assert "mean error" in repr(results["Scores"])


def test_a_hostile_name_stays_text(folders: tuple[Path, Path]) -> None:
    matrix = OverlapMatrix(("<b>x</b>", "a\u202eb\nc"), np.eye(2), source="<script>1</script>")
    html = matrix._repr_html_()
    assert html is not None
    assert "<b>" not in html
    assert "<script" not in html
    assert "\u202e" not in repr(matrix)
    assert "\n" not in repr(matrix)


def test_an_empty_matrix_shows_why() -> None:
    matrix = OverlapMatrix((), np.zeros((0, 0)), {"fog": "too few images"})
    assert "fog undefined" in repr(matrix)
    assert "too few images" in str(matrix)


def test_a_greedy_set_that_stopped_early_says_so() -> None:
    assert "greedy stopped at" in str(choose_greedy(MATRIX, 4, 0.3))


def test_a_run_is_loaded_as_it_was_evaluated(folders: tuple[Path, Path]) -> None:
    evaluation = noctule.load_run(folders[0])
    scores = noctule.score_run(folders[0])
    assert evaluation.scores == scores
    assert evaluation.run.folder == folders[0]
    assert repr(evaluation) == f"Evaluation(run={str(folders[0])!r}, scores={scores!r})"
    assert str(evaluation).startswith("good on made-up, Two corruptions\n")
    assert "<table" in (evaluation._repr_html_() or "")
    (run, unpacked) = evaluation
    assert (run, unpacked) == (evaluation.run, scores)


def test_metrics_are_a_flat_dictionary(folders: tuple[Path, Path]) -> None:
    metrics = noctule.load_run(folders[0]).scores.metrics()
    # By hand: of 10 images 2 are wrong if clean, 4 under hue, 7 under blur.
    assert metrics["error/clean"] == pytest.approx(0.2)
    assert metrics["error/hue"] == pytest.approx(0.4)
    assert metrics["error/blur"] == pytest.approx(0.7)
    assert metrics["mean_error"] == pytest.approx(0.55)
    # CE: 100 · 0.4 / 0.5 and 100 · 0.7 / 0.6
    assert metrics["mce"] == pytest.approx((80 + 700 / 6) / 2)
    assert metrics["mean_error/low"] < 0.55 < metrics["mean_error/high"]
    assert all(isinstance(value, float) for value in metrics.values())
    # Loggers: MLflow allows no other characters.
    assert all(re.fullmatch(r"[\w/]+", name) for name in metrics)


def test_an_undefined_metric_has_no_key(folders: tuple[Path, Path]) -> None:
    scores = noctule.load_run(folders[0]).scores
    undefined = {**scores.estimates, ("benchmark", "two", "mce"): Estimate(None, None, None)}
    metrics = type(scores)(**{**vars(scores), "estimates": undefined}).metrics()
    assert not [name for name in metrics if name.startswith("mce")]
    assert "relative_mce" in metrics


def test_rows_are_a_table(folders: tuple[Path, Path]) -> None:
    table = noctule.rows(folders[0])
    assert table.schema == SCHEMA
    assert len(table) == 30
    some = noctule.rows(folders[0], ["hue"], columns=["image_id", "prediction"])
    assert (len(some), some.column_names) == (10, ["image_id", "prediction"])
    with pytest.raises(InputError, match=r"unknown column 'predictions'.*'prediction'"):
        noctule.rows(folders[0], columns=["predictions"])
    with pytest.raises(InputError, match="no condition 'fog'"):
        noctule.rows(folders[0], ["fog"])
    with pytest.raises(InputError, match="nowhere"):
        noctule.rows(folders[0] / "nowhere")


def test_outside_of_a_notebook_there_is_no_bar() -> None:
    with notebook_progress(None, "work") as advance:
        assert advance(1, 2) is None
    with notebook_progress(print, "work") as advance:
        assert advance is print


@pytest.mark.slow
def test_a_real_kernel_shows_bars_and_results(folders: tuple[Path, Path]) -> None:
    import nbformat
    from nbclient import NotebookClient

    code = [
        "import numpy, noctule\n"
        "from noctule.report import progress\n"
        "progress._NOTEBOOK_S = 0\n"
        "seen = []\n"
        "publisher = get_ipython().display_pub\n"
        "publish = publisher.publish\n"
        "publisher.publish = lambda data, **k: (seen.append(data), publish(data, **k))[1]\n"
        "images = numpy.zeros((16, 64, 64, 3), numpy.uint8)\n"
        "settings = noctule.Settings(self_check=False, device='cpu')\n"
        "evaluation = noctule.evaluate('photo-patches', (images, numpy.arange(16)),\n"
        f"    corruptions=['shear'], settings=settings, out={str(folders[0] / 'own')!r})\n"
        "evaluation",
        "print(sum('<progress' in one.get('text/html', '') for one in seen), 'bars')",
        f"noctule.load_run({str(folders[0])!r}).scores",
        "del seen[:]\n"
        f"stored = {str(folders[0] / 'stored')!r}\n"
        "manifest = noctule.export('imagenet-noc', (images, numpy.arange(16)), stored,\n"
        "    processes=1)\n"
        "bars = sum('<progress' in one.get('text/html', '') for one in seen)\n"
        "verified = noctule.verify(stored).is_good\n"
        "all_bars = sum('<progress' in one.get('text/html', '') for one in seen)\n"
        "print(0 < bars < all_bars, verified)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in code])
    kernel = nbformat.from_dict({"name": "python3", "display_name": "", "language": "python"})
    notebook.metadata["kernelspec"] = kernel
    NotebookClient(notebook, timeout=120).execute()
    first, second, third, fourth = (cell.outputs for cell in notebook.cells)
    assert first[0]["data"]["text/html"] == ""  # the bars are gone
    assert "<table" in first[-1]["data"]["text/html"]
    assert second[0]["text"] == "2 bars\n"  # one for each condition of the only batch
    assert "".join(one.get("text", "") for one in fourth) == "True True\n"
    assert "<img" in third[0]["data"]["text/html"]
    assert third[0]["data"]["text/plain"].startswith("<Scores: two, 10 images; ")
