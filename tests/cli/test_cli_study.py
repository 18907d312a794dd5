"""noctule study on the command line: from a TOML file to a heat map and a benchmark."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from noctule.benchmarks import load_benchmark
from noctule.config import to_toml
from noctule.studies.matrix import read_matrix
from small_studies import small_study, write_arrays

RESULTS = {
    "accuracies.csv", "families.csv", "heatmap.pdf", "heatmap.png", "heatmap.svg",
    "overlap-pairs.csv", "overlap.csv", "overlap.json", "overlap.md", "overlap.tex",
    "report.html",
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is run: four candidates, long enough to learn something."""
    folder = tmp_path_factory.mktemp("cli")
    write_arrays(folder, train=320, test=192)
    spec = small_study(folder, candidates=["gaussian", "border", "salt_pepper", "hue"])
    data = spec.to_dict()
    data["recipe"]["epochs"] = 5
    (folder / "small.toml").write_text(to_toml(data))
    command = [
        sys.executable, "-m", "noctule", "study", "run", str(folder / "small.toml"),
        "--out", str(folder / "s"), "--device", "cpu", "--processes", "1",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "Families" in done.stdout
    return folder / "s"


def test_a_study_ends_with_all_its_results(study: Path) -> None:
    assert {path.name for path in (study / "results").iterdir()} == RESULTS
    with (study / "results" / "accuracies.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 5
    results = json.loads((study / "results" / "overlap.json").read_text())
    assert results["form"] == "robustness"


def test_the_matrix_is_that_of_the_rows(study: Path) -> None:
    """Every defined score, worked out from the accuracies by the published formula."""
    with (study / "results" / "accuracies.csv").open() as file:
        accuracy = {
            (row["model"], row["condition"]): float(row["accuracy"])
            for row in csv.DictReader(file)
        }

    def robustness(model: str, name: str) -> float:
        return accuracy[model, name] / accuracy[model, "clean"]

    def half(model: str, name: str) -> float:
        standard = robustness("standard", name)
        return (robustness(model, name) - standard) / (robustness(name, name) - standard)

    matrix = read_matrix(study / "results" / "overlap.csv")
    assert len(matrix.names) >= 2
    for i, a in enumerate(matrix.names):
        for j, b in enumerate(matrix.names):
            expected = max(0, (half(a, b) + half(b, a)) / 2)
            assert matrix.scores[i, j] == pytest.approx(expected)


def test_status_counts_networks(noctule_cli: Any, study: Path) -> None:
    status, out, _ = noctule_cli("study", "status", study)
    assert status == 0
    assert out.count("measured") >= 5
    assert "5 of 5 networks are trained and evaluated." in out


def test_a_finished_study_is_only_scored_again(noctule_cli: Any, study: Path) -> None:
    before = (study / "results" / "overlap.csv").read_bytes()
    (study / "results" / "overlap.csv").unlink()
    status, _, _ = noctule_cli("study", "resume", study, "--device", "cpu")
    assert (status, (study / "results" / "overlap.csv").read_bytes()) == (0, before)
    assert len((study / "provenance.jsonl").read_text().splitlines()) == 1


def test_overlap_can_be_scored_with_other_choices(
    noctule_cli: Any, study: Path, tmp_path: Path
) -> None:
    status, _, err = noctule_cli(
        "study", "overlap", study, "--form", "accuracy", "--candidates", "gaussian,salt_pepper",
        "--confidence", "0.5", "--resamples", "50", "--out", tmp_path / "other",
    )  # fmt: skip
    assert status == 0, err
    results = json.loads((tmp_path / "other" / "overlap.json").read_text())
    assert (results["form"], results["confidence"]) == ("accuracy", 0.5)
    assert "hue" not in (tmp_path / "other" / "overlap.csv").read_text()


def test_a_benchmark_is_designed_from_the_folder(
    noctule_cli: Any, study: Path, tmp_path: Path
) -> None:
    results = json.loads((study / "results" / "overlap.json").read_text())
    assert sum(one["reason"] is None for one in results["candidates"]) >= 2
    out = tmp_path / "mine.toml"
    status, text, err = noctule_cli(
        "design", study, "--size", "2", "--out", out, "--resamples", "20"
    )
    assert status == 0, err
    assert len(load_benchmark(out).corruptions) == 2
    assert "coverage" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "no study is named. Pass a TOML file"),
        (["run", "small", "--quick"], "'small' and --quick name two studies"),
        (["run", "imagenet-10"], "Did you mean 'imagenet-100'"),
        (["run", "absent.toml"], "absent.toml: cannot be read"),
        (["run", "--quick", "--candidates", "sheer,rain"], "Did you mean 'shear'"),
        (["run", "--quick", "--seeds", "one"], "--seeds: 'one' is not a list of whole numbers"),
        (["run", "--quick", "--epochs", "0"], "recipe.epochs: should be greater"),
        (["run", "--quick", "--train", "nowhere"], "unknown dataset 'nowhere'"),
        (["run", "--quick", "--architecture", "timm:resnet19"], "Nearest: resnet1"),
        (["run", "--quick", "--device", "gpu7", "--out", "x"], "no device 'gpu7'"),
        (["run", "imagenet-100"], "imagenet-100/train"),
        (["status", "nowhere"], "nowhere: is not a study folder"),
        (["resume", "nowhere"], "nowhere: is not a study folder"),
        (["overlap", "nowhere"], "nowhere: is not a study folder"),
    ],
)
def test_bad_input_exits_2_with_a_message(
    noctule_cli: Any, monkeypatch: Any, tmp_path: Path, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = noctule_cli("study", *arguments)
    assert (status, message in err, "Traceback" in err) == (2, True, False), err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--candidates", "gaussian,rain"], "unknown candidate of this study 'rain'"),
        (["--seeds", "4"], "unknown seed of this study '4'"),
        (["--confidence", "1.5"], "1.5 is out of range"),
        (["--resamples", "-1"], "-1"),
    ],
)
def test_choices_that_are_not_there_are_refused(
    noctule_cli: Any, study: Path, arguments: list[str], message: str
) -> None:
    status, _, err = noctule_cli("study", "overlap", study, *arguments)
    assert (status, message in err, "Traceback" in err) == (2, True, False), err


def test_a_study_that_taught_nothing_still_has_results(
    noctule_cli: Any, tmp_path: Path
) -> None:
    write_arrays(tmp_path, train=32, test=16)
    data = small_study(tmp_path).to_dict()
    data["recipe"]["epochs"], data["recipe"]["learning_rate"] = 1, 1e-9
    (tmp_path / "idle.toml").write_text(to_toml(data))
    status, out, err = noctule_cli(
        "study", "run", tmp_path / "idle.toml", "--out", tmp_path / "s", "--device", "cpu",
        "--processes", "1",
    )  # fmt: skip
    assert (status, "Traceback" in err) == (0, False), err
    assert "gaussian is undefined: training on it is not shown to help" in " ".join(out.split())
    assert {path.name for path in (tmp_path / "s" / "results").iterdir()} == RESULTS
    status, _, err = noctule_cli("design", tmp_path / "s", "--size", "1")
    assert (status, "defines no overlap (gaussian:" in err) == (2, True), err


def test_studies_are_listed(noctule_cli: Any) -> None:
    status, out, _ = noctule_cli("list", "studies")
    assert status == 0
    assert "imagenet-100" in out
