"""Parts of benchmarks: what is chosen, what states it, and what is refused."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

import noctule
from command_line import run
from noctule.benchmarks import Benchmark, Selection, load_benchmark, part_note
from noctule.comparison import compare
from noctule.errors import InputError
from noctule.leaderboard.entries import grouped as ranked
from noctule.leaderboard.entries import read_entry
from noctule.report.loading import open_runs
from noctule.report.run import write_report
from noctule.report.run_groups import grouped
from noctule.store import RunStore

C = load_benchmark("imagenet-c")
BENCHMARK = """name = "three"
title = "Three"
source = "a test"
corruptions = ["brightness_c", "contrast", "hue"]
severities = [1, 2, 3]
metric = "mean_error"

[tables.brightness_c]
change = [0.1, 0.2, 0.3, 0.4, 0.5]
"""
NETS = """import torch

def net(channels=3, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * 64 * channels, 4))

def gray():
    return net(1)
"""


def test_a_part_has_the_chosen_conditions_in_the_order_of_the_whole():
    part = Selection("snow, fog", [5, 1]).of(C)
    names = [str(one) for one in part.conditions]
    assert names == ["clean", "snow@1", "snow@5", "fog@1", "fog@5"]
    assert part.title == "ImageNet-C, 2 of 15 corruptions, severities 1 and 5"
    assert (part.name, part.metric, part.stored_jpeg_quality) == ("imagenet-c", "ce", 85)
    assert part.whole is not None
    assert (part.whole.corruptions, part.whole.severities) == (C.corruptions, C.severities)
    assert Benchmark.from_dict(part.to_dict()) == part
    assert part.in_mode("released").whole == part.whole
    # A part of a part states what it is of the whole.
    smaller = Selection(skip=["fog"]).of(part)
    assert smaller.title == "ImageNet-C, 1 of 15 corruptions, severities 1 and 5"
    assert part_note(Selection(severities=[2]).of(C)) == (
        "A part of ImageNet-C, not the whole: severity 2 of 1, 2, 3, 4 and 5."
    )
    assert part_note(Selection(skip=["fog", "snow,frost"], severities=[1, 2]).of(C)) == (
        "A part of ImageNet-C, not the whole: 12 of 15 corruptions, without snow, frost and "
        "fog, severities 1 and 2 of 1, 2, 3, 4 and 5."
    )


def test_all_of_it_is_the_benchmark_itself():
    assert Selection().of(C) is C
    assert Selection(C.corruptions, C.severities, []).of(C) is C
    assert part_note(C) is None
    assert "whole" not in C.to_dict()


def test_authors_names_and_both_options_together():
    assert Selection("brightness,contrast").of(C).corruptions == ("brightness_c", "contrast_c")
    assert Selection("fog,snow", None, "fog").of(C).corruptions == ("snow",)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection("fgo"), "--corruptions: unknown corruption of imagenet-c 'fgo'. Did you"),
        (Selection(skip=["hue"]), "--skip: unknown corruption of imagenet-c 'hue'"),
        (Selection("fog,,snow"), "unknown corruption of imagenet-c ''"),
        (Selection("fog,fog"), "--corruptions: 'fog' is listed twice"),
        (Selection("fog", skip="fog"), "--skip: no corruption of imagenet-c is left"),
        (Selection(skip=C.corruptions), "no corruption of imagenet-c is left"),
        (Selection([]), "--corruptions: no corruption of imagenet-c is left"),
        (Selection(3), "--corruptions: 3 is not a list of names"),
        (Selection([3]), r"--corruptions: \[3\] is not a list of names"),  # type: ignore[list-item]
        (Selection(severities=[1, 6]), "--severities: imagenet-c has no severity 6. Its sev"),
        (Selection(severities=[True]), "imagenet-c has no severity True"),
        (Selection(severities=[1, 1]), "--severities: 1 is listed twice"),
        (Selection(severities=[]), "--severities: lists no severity"),
        (Selection(severities=3), "--severities: 3 is not a list of severities"),
    ],
)
def test_unsuitable_choices(selection, message):
    with pytest.raises(InputError, match=message):
        selection.of(C)


def test_a_full_range_has_no_severities_to_choose_from():
    with pytest.raises(InputError, match=r"full range.*severities = \[1, 3, 5\]"):
        Selection(severities=[1]).of(load_benchmark("imagenet-noc"))


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "three.toml").write_text(BENCHMARK)
    (tmp_path / "part_nets.py").write_text(NETS)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(24) % 4)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def evaluated(work, monkeypatch, capsys):
    def call(out, *options, net="part_nets:net"):
        return run(
            monkeypatch, capsys, "evaluate", net, "set.npz", "--benchmark", "three.toml",
            "--no-self-check", "--device", "cpu", "--out", out, *options,
        )  # fmt: skip

    return call


@pytest.mark.filterwarnings("ignore::noctule.errors.NoctuleWarning")
def test_a_part_is_stated_everywhere_and_never_ranked_beside_the_whole(
    evaluated, work, monkeypatch, capsys
):
    outputs = {}
    for name, options in {
        "whole": [],
        "part": ["--corruptions", "contrast,brightness_c", "--severities", "1,3"],
        "skipped": ["--skip", "hue"],
        "again": ["--skip", "hue", "--model-args", '{"seed": 1}'],
    }.items():
        status, outputs[name], err = evaluated(name, *options)
        assert status == 0, err
    assert "Three, 2 of 3 corruptions, severities 1 and 3" in outputs["part"]
    note = "A part of Three, not the whole: 2 of 3 corruptions, without hue."
    assert note in " ".join(outputs["skipped"].split())
    assert "A part" not in outputs["whole"]
    record = json.loads((work / "skipped/run.json").read_text())["benchmark"]
    assert record["whole"]["corruptions"] == ["brightness_c", "contrast", "hue"]
    assert record["corruptions"] == ["brightness_c", "contrast"]
    assert record["tables"] == {"brightness_c": {"change": [0.1, 0.2, 0.3, 0.4, 0.5]}}
    # The rows are those of the whole.
    rows = {name: RunStore.open(work / name).rows() for name in outputs}
    wanted = rows["whole"].to_pylist()
    conditions = set(rows["part"]["condition"].to_pylist())
    names = [
        f"{name}@{severity}" for name in ("brightness_c", "contrast") for severity in (1, 3)
    ]
    assert conditions == {"clean", *names}
    assert rows["part"].to_pylist() == [row for row in wanted if row["condition"] in conditions]
    folders = [work / name for name in outputs]
    assert [len(group) for group in grouped(open_runs(folders))] == [1, 1, 2]
    entries = [read_entry(one, training_data="none", resamples=0) for one in folders]
    sizes = {group.benchmark.title: len(group.entries) for group in ranked(entries, [])}
    assert sizes == {
        "Three": 1,
        "Three, 2 of 3 corruptions": 2,
        "Three, 2 of 3 corruptions, severities 1 and 3": 1,
    }
    status, out, _ = run(monkeypatch, capsys, "compare", "skipped", "again")
    assert note in " ".join(out.split())
    result = compare("whole", "again")  # only what both have, and the rest is named
    assert result.left_out == ("hue",)
    assert result.part == note
    assert compare("whole", "whole").part is None
    with pytest.raises(InputError, match="no corruption under the same conditions"):
        compare("whole", "part")
    status, _, err = run(monkeypatch, capsys, "metrics", "whole", "--reference", "part")
    assert (status, "this run lacks" in err) == (2, True)
    write_report([work / "skipped"], work / "page.html")
    assert note in (work / "page.html").read_text()


@pytest.mark.filterwarnings("ignore::noctule.errors.NoctuleWarning")
def test_colour_corruptions_are_skipped_for_gray_models(evaluated):
    gray = {"net": "part_nets:gray"}
    options = ["--image-mode", "L", "--mean", "0", "--std", "1"]
    status, _, err = evaluated("gray", *options, **gray)
    assert status == 2
    assert "hue: needs images with 3 channels" in err
    assert "--skip hue" in err
    status, out, err = evaluated("gray", *options, "--skip", "hue", **gray)
    assert status == 0, err
    assert "without hue" in " ".join(out.split())


def test_bad_choices_on_the_command_line_stop_before_the_model_is_loaded(evaluated):
    for options, message in (
        (["--severities", "1,x"], "'1,x' is not a list of whole numbers"),
        (["--severities", "4"], "three has no severity 4. Its severities are 1, 2 and 3"),
        (["--severities", ""], "is not a list of whole numbers"),
        (["--corruptions", ""], "unknown corruption of three ''"),
        (["--skip", "hue", "--skip", "contrast,brightness"], "no corruption of three is left"),
    ):
        status, _, err = evaluated("bad", *options, net="no_such_module:net")
        assert (status, message in err) == (2, True), err


@pytest.mark.filterwarnings("ignore::noctule.errors.NoctuleWarning")
def test_in_python(work):
    part_nets = importlib.import_module("part_nets")

    result = noctule.evaluate(
        part_nets.net(), "set.npz", "three.toml", skip="hue", severities=(2,),
        settings=noctule.Settings(device="cpu", self_check=False), out=work / "python",
    )  # fmt: skip
    assert result.scores.conditions == ("clean", "brightness_c@2", "contrast@2")
    assert result.scores.to_dict()["part"] == result.scores.part
    assert result.scores.part == (
        "A part of Three, not the whole: 2 of 3 corruptions, without hue, severity 2 of 1, 2 "
        "and 3."
    )


def test_an_exported_set_is_evaluated_in_part(work):
    part_nets = importlib.import_module("part_nets")

    settings = noctule.Settings(device="cpu", self_check=False)
    noctule.export("three.toml", "set.npz", work / "stored", format="png", processes=1)
    part = {"corruptions": ["contrast"], "severities": [3]}
    stored = noctule.evaluate_stored(
        part_nets.net(), "stored", settings=settings, out="of-stored", **part
    )
    live = noctule.evaluate(
        part_nets.net(), "set.npz", "three.toml", settings=settings, out="live", **part
    )
    assert stored.run.rows().to_pylist() == live.run.rows().to_pylist()
    assert stored.scores.part == live.scores.part
