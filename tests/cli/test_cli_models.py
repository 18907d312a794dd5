"""`noctule evaluate --models`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noctule import Benchmark, RunStore, export

ZOO = """
[models.good]
model = "test_cli:Channels"

[models."nan"]
model = "test_cli:Broken"

[models.small]
model = "test_cli:Channels"
resize = 24
crop = 24
"""
OPTIONS = ("--benchmark", "imagenet-noc", "--corruptions", "shear,hue", "--device", "cpu")


def test_the_report_lists_scores_and_what_failed(noctule_cli: Any, folder: Path) -> None:
    Path("zoo.toml").write_text(ZOO)
    arguments = ("evaluate", "--models", "zoo.toml", folder, *OPTIONS, "--out", "runs/zoo")
    status, out, err = noctule_cli(*arguments)
    assert status == 1
    assert "2 models on photos" in out
    assert "good: runs/zoo/good" in out
    assert "1 of 3 models failed" in err
    assert "nan: " in err
    assert "NaN" in err
    assert [path.name for path in sorted(Path("runs/zoo").glob("*/rows"))] == ["rows"] * 2
    Path("zoo.toml").write_text(ZOO.replace("Broken", "Reordered"))
    status, out, err = noctule_cli(*arguments, "--no-self-check", "--format", "csv")
    assert status == 0, err
    records = list(csv.DictReader(io.StringIO(out)))
    assert [one["model"] for one in records] == ["good", "nan", "small"]
    assert float(records[0]["mean error %"]) < float(records[1]["mean error %"])


def test_json_holds_scores_and_errors(noctule_cli: Any, folder: Path) -> None:
    Path("zoo.toml").write_text(ZOO)
    status, out, _ = noctule_cli(
        "evaluate", "--models", "zoo.toml", folder, *OPTIONS, "--out", "zoo", "--json"
    )
    assert status == 1
    result = json.loads(out)["result"]
    assert [one["name"] for one in result["runs"]] == ["good", "small"]
    assert result["runs"][0]["scores"]
    assert "NaN" in result["failed"]["nan"]


def test_a_dry_run_shows_streams_and_writes_nothing(noctule_cli: Any, folder: Path) -> None:
    Path("zoo.toml").write_text(ZOO.replace("Broken", "Channels"))
    status, out, err = noctule_cli(
        "evaluate", "--models", "zoo.toml", folder, *OPTIONS, "--dry-run", "--json"
    )
    assert status == 0, err
    plan = json.loads(out)["result"]["plan"]
    assert [one["stream"] for one in plan] == [1, 1, 2]
    assert not Path("runs").exists()


def test_without_out_each_run_has_its_own_default_folder(
    noctule_cli: Any, folder: Path
) -> None:
    Path("zoo.toml").write_text('[models.good]\nmodel = "test_cli:Channels"\n')
    assert noctule_cli("evaluate", "--models", "zoo.toml", folder, *OPTIONS)[0] == 0
    single = ("evaluate", "test_cli:Channels", folder, "--name", "good", *OPTIONS)
    status, out, err = noctule_cli(*single, "--dry-run")
    assert status == 0, err
    assert "60 of 60 images" in out  # the single run finds it
    assert len(list(Path("runs").iterdir())) == 1


def test_a_shard_leaves_the_others_to_others(noctule_cli: Any, folder: Path) -> None:
    Path("zoo.toml").write_text('[models.good]\nmodel = "test_cli:Channels"\n')
    arguments = ("evaluate", "--models", "zoo.toml", folder, *OPTIONS, "--out", "zoo")
    status, out, err = noctule_cli(*arguments, "--shard", "2/2")
    assert (status, out) == (0, "")
    assert "shard 2/2 is finished" in err
    assert RunStore.open("zoo/good").missing_slices() == [0]
    status, out, _ = noctule_cli(*arguments, "--shard", "1/2")
    assert status == 0
    assert "1 models" not in err
    assert "mean error" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--crop", "8", "--trust"), "--trust and --crop: of one model"),
        (("other",), "DATA is the only argument"),
        (("--device", "cpu", "--device", "cpu"), "torchrun"),
        (("--models-at-once", "0"), "models_at_once"),
    ],
)
def test_options_of_one_model_are_refused(
    arguments: tuple[str, ...], message: str, noctule_cli: Any, folder: Path
) -> None:
    Path("zoo.toml").write_text(ZOO)
    status, _, err = noctule_cli("evaluate", "--models", "zoo.toml", folder, *arguments)
    assert status == 2
    assert message in err
    assert not Path("runs").exists()


def test_a_number_of_models_at_once_needs_models(noctule_cli: Any, folder: Path) -> None:
    status, _, err = noctule_cli(
        "evaluate", "test_cli:Channels", folder, "--models-at-once", "2", "--dry-run"
    )
    assert status == 2
    assert "Add --models" in err


@pytest.mark.parametrize("option", [("--reference", "nowhere"), ("--out", "zoo.toml/runs")])
def test_what_concerns_all_models_stops_before_one_is_loaded(
    option: tuple[str, str], noctule_cli: Any, folder: Path
) -> None:
    Path("zoo.toml").write_text(ZOO)
    status, _, err = noctule_cli("evaluate", "--models", "zoo.toml", folder, *OPTIONS, *option)
    assert status == 2
    assert option[1].partition("/")[0] in err
    assert "models failed" not in err


def test_stored_images_need_no_data(noctule_cli: Any, tmp_path: Path) -> None:
    benchmark = Benchmark(name="b", title="B", source="tests", corruptions=("hue",))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 24, 24, 3), dtype=np.uint8)
    export(benchmark, (pixels, np.arange(8) % 2), tmp_path / "set", processes=1)
    Path("zoo.toml").write_text('[models.good]\nmodel = "test_cli:Channels"\n')
    status, out, err = noctule_cli(
        "evaluate", "--models", "zoo.toml", "--stored", tmp_path / "set", "--no-self-check",
        "--device", "cpu", "--out", "zoo",
    )  # fmt: skip
    assert (status, "zoo/good" in out) == (0, True), err


def test_a_missing_file_is_named(noctule_cli: Any, folder: Path) -> None:
    status, _, err = noctule_cli("evaluate", "--models", "zoo.toml", folder)
    assert status == 2
    assert "zoo.toml" in err


def test_a_cache_serves_all_models_and_the_next_command(noctule_cli: Any, folder: Path) -> None:
    Path("zoo.toml").write_text(ZOO.replace("Broken", "Channels"))
    arguments = (*OPTIONS, "--cache", "crops")
    status, _, err = noctule_cli(
        "evaluate", "--models", "zoo.toml", folder, *arguments, "--out", "zoo"
    )
    assert status == 0, err
    files = {path.name: path.read_bytes() for path in Path("crops").iterdir()}
    assert len(files) == 2  # one for each preprocessing
    status, _, err = noctule_cli(
        "evaluate", "test_cli:Channels", folder, *arguments, "--name", "good", "--out", "one"
    )
    assert status == 0, err
    assert {path.name: path.read_bytes() for path in Path("crops").iterdir()} == files
    rows = [path.read_bytes() for path in sorted(Path("one/rows").iterdir())]
    assert rows == [path.read_bytes() for path in sorted(Path("zoo/good/rows").iterdir())]


def test_stored_images_are_not_cached(noctule_cli: Any, tmp_path: Path) -> None:
    benchmark = Benchmark(name="b", title="B", source="tests", corruptions=("hue",))
    pixels = np.zeros((4, 16, 16, 3), np.uint8)
    export(benchmark, (pixels, [0, 1, 0, 1]), tmp_path / "set", processes=1)
    status, _, err = noctule_cli("evaluate", "--stored", tmp_path / "set", "--cache", "crops")
    assert status == 2
    assert "--cache: stored images are not cached" in err
