"""Stated subsets: which images they hold, and that nothing ranks them beside the whole."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import result_of, run
from noctule.comparison import compare
from noctule.data import Dataset, open_dataset
from noctule.errors import InputError
from noctule.evaluation.loading import in_order, load_batches
from noctule.models import Preprocessing
from noctule.report.loading import open_runs
from noctule.report.run_groups import grouped
from noctule.store import RunStore
from photos import noise_image, png_bytes, write

BENCHMARK = """name = "one"
title = "One"
source = "a test"
corruptions = ["contrast"]
severities = [1]
metric = "mean_error"
"""


def arrays(labels: list[int]) -> tuple[Any, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
    return pixels, np.array(labels)


LABELS = [0] * 60 + [1] * 30 + [2] * 10


@pytest.mark.parametrize(("limit", "counts"), [(10, (6, 3, 1)), (50, (30, 15, 5)), (1, None)])
def test_a_limit_takes_the_same_part_of_each_class(limit, counts):
    dataset = open_dataset(arrays(LABELS), limit=limit)
    assert len(dataset) == limit
    found = Counter(dataset.labels.tolist())
    if counts:
        assert tuple(found[label] for label in range(3)) == counts
    assert dataset.class_names == ("0", "1", "2")
    whole = open_dataset(arrays(LABELS))
    for index in range(limit):
        position = whole.ids.index(dataset.ids[index])
        assert dataset.read(index).tobytes() == whole.read(position).tobytes()
        assert dataset.labels[index] == whole.labels[position]
    assert list(dataset.ids) == sorted(dataset.ids)  # in the order of the whole


def test_every_limit_is_within_one_image_of_its_part():
    for limit in range(1, 101):
        found = Counter(open_dataset(arrays(LABELS), limit=limit).labels.tolist())
        for label, size in Counter(LABELS).items():
            assert abs(found[label] - limit * size / len(LABELS)) < 1


def test_small_limits_are_inside_large_ones_and_order_is_nothing():
    ids = [set(open_dataset(arrays(LABELS), limit=limit).ids) for limit in (5, 20, 70)]
    assert ids[0] < ids[1] < ids[2]
    # Not simply the first of each class.
    assert ids[0] != {"000000", "000001", "000002", "000060", "000061"}


def test_a_moved_folder_gives_the_same_images(tmp_path):
    for k in range(12):
        write(tmp_path / "here" / "ab"[k % 2] / f"{k}.png", png_bytes(noise_image(seed=k)))
    first = open_dataset(tmp_path / "here", limit=4)
    (tmp_path / "here").rename(tmp_path / "there")
    again = open_dataset(tmp_path / "there", limit=4)
    assert (again.ids, again.fingerprint()) == (first.ids, first.fingerprint())
    reopened = open_dataset(again.source["spec"], limit=int(again.source["limit"]))
    assert reopened.fingerprint() == again.fingerprint()
    copy = pickle.loads(pickle.dumps(again))
    assert copy.read(2).tobytes() == again.read(2).tobytes()
    here, there = (
        [
            h
            for b in load_batches(again, Preprocessing(), in_order(again, 2), n)
            for h in b.hashes
        ]
        for n in (0, 2)
    )
    assert here == there
    red = open_dataset(tmp_path / "there", limit=4, background="red")
    assert red.background == "#ff0000"
    assert red.fingerprint() != again.fingerprint()


def test_ids_from_a_file(tmp_path):
    file = write(tmp_path / "ids.txt", b"\xef\xbb\xbf000070\r\n\r\n000002\r\n")
    dataset = open_dataset(arrays(LABELS), ids_file=file)
    assert dataset.ids == ("000002", "000070")
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.name == "arrays, 2 of 100 images"
    whole = open_dataset(arrays(LABELS))
    assert dataset.subset == {"of": whole.fingerprint(), "num_images": 100}
    everything = write(tmp_path / "all.txt", "\n".join(whole.ids).encode())
    assert open_dataset(whole, ids_file=str(everything)) is whole
    assert open_dataset(whole, limit=100) is whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "000001\n00002\n",
            r"ids.txt, line 2: arrays has no image '00002'. Its ids are like '0000",
        ),
        ("000001\n\n000001\n", r"line 3: '000001' is also on line 1"),
        ("\n", "lists no ids"),
        ("\xff", "is not UTF-8|has no image"),
    ],
)
def test_unsuitable_ids(tmp_path, text, message):
    file = write(tmp_path / "ids.txt", text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        open_dataset(arrays(LABELS), ids_file=file)


def test_unsuitable_limits(tmp_path):
    for limit, message in ((101, r"limit: is 101, but arrays has 100"), (0, "out of range"),
                           (2.0, "is a float")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            open_dataset(arrays(LABELS), limit=limit)
    with pytest.raises(InputError, match="exclude each other"):
        open_dataset(arrays(LABELS), limit=2, ids_file=tmp_path / "x")
    with pytest.raises(InputError, match=r"ids.txt: cannot be read"):
        open_dataset(arrays(LABELS), ids_file=tmp_path / "ids.txt")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The whole, and two subsets, evaluated on the command line."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "one.toml").write_text(BENCHMARK)
    images, labels = arrays([k % 4 for k in range(40)])
    np.savez(folder / "set.npz", images=images.repeat(8, 1).repeat(8, 2), labels=labels)
    (folder / "ids.txt").write_text("000003\n000007\n000008\n")
    (folder / "nets.py").write_text(
        "import torch\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * 64 * 3, 4))\n"
    )
    return folder


@pytest.mark.filterwarnings("ignore::noctule.errors.NoctuleWarning")
def test_a_run_states_its_subset_and_is_never_ranked_beside_the_whole(
    runs, monkeypatch, capsys
):
    monkeypatch.chdir(runs)
    outputs = {}
    for name, options in (
        ("whole", []),
        ("limit", ["--limit", 8]),
        ("ids", ["--ids", "ids.txt"]),
    ):
        status, out, err = run(
            monkeypatch, capsys, "evaluate", "nets:net", "set.npz", "--benchmark", "one.toml",
            "--no-self-check", "--device", "cpu", "--out", name, *options,
        )  # fmt: skip
        assert status == 0, err
        outputs[name] = out
    assert "8 of 40 images" in outputs["limit"]
    assert "3 of 40 images" in outputs["ids"]
    # Intervals are for all 40 images, unless somebody has chosen the images.
    words = "95 % CIs hold the scores on all 40 (finite-population correction)"
    assert [words in " ".join(outputs[name].split()) for name in outputs] == [0, 1, 0]
    assert "of 40 images" not in outputs["whole"]
    record = {name: json.loads((runs / name / "run.json").read_text()) for name in outputs}
    whole = record["whole"]["dataset"]
    assert record["limit"]["dataset"]["subset"] == {
        "of": whole["fingerprint"], "num_images": 40, "limit": 8,
    }  # fmt: skip
    assert record["ids"]["dataset"]["num_images"] == 3
    assert "subset" not in whole
    # The rows are those of the whole for these images.
    rows = {name: RunStore.open(runs / name).rows().to_pylist() for name in outputs}
    of_whole = {(row["image_id"], row["condition"]): row["label"] for row in rows["whole"]}
    assert len(rows["limit"]) == 16
    for row in rows["limit"]:
        assert of_whole[row["image_id"], row["condition"]] == row["label"]
    for one, other in (("whole", "limit"), ("limit", "ids")):
        with pytest.raises(InputError, match=r"other data \(.*of 40 images', "):
            compare(runs / one, runs / other)
    groups = grouped(open_runs([runs / name for name in outputs]))
    assert [len(group) for group in groups] == [1, 1, 1]


@pytest.mark.filterwarnings("ignore::noctule.errors.NoctuleWarning")
def test_intervals_of_a_limit_are_shorter(runs, monkeypatch, capsys):
    found = {}
    for name, options in (("limit", ["--limit", 8]), ("ids", ["--ids", "same.txt"])):
        monkeypatch.chdir(runs)
        ids = open_dataset("set.npz", limit=8).ids
        (runs / "same.txt").write_text("\n".join(ids))
        status, out, err = run(
            monkeypatch, capsys, "evaluate", "nets:net", "set.npz", "--benchmark", "one.toml",
            "--no-self-check", "--device", "cpu", "--out", f"{name}-again", "--json",
            *options,
        )  # fmt: skip
        assert status == 0, err
        found[name] = result_of(out)
    assert (found["limit"]["population"], found["ids"].get("population")) == (40, None)
    factor = 0.2 / -np.log(0.8)
    for ours, theirs in zip(found["limit"]["scores"], found["ids"]["scores"], strict=True):
        assert ours["value"] == theirs["value"]
        if ours["low"] is not None:
            for end in ("low", "high"):
                length = theirs[end] - theirs["value"]
                assert ours[end] - ours["value"] == pytest.approx(factor * length)


@pytest.mark.parametrize("number", [7, "40", None, 10**10])
def test_false_records_of_the_whole(runs, tmp_path, number):
    identity = json.loads((runs / "limit/run.json").read_text())
    identity["dataset"]["subset"]["num_images"] = number
    (tmp_path / "run.json").write_text(json.dumps(identity))
    with pytest.raises(InputError, match=r"dataset\.subset\.num_images"):
        RunStore.open(tmp_path)


def test_a_missing_file_of_ids(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    status, _, err = run(monkeypatch, capsys, "evaluate", "photo-patches", "--ids", "none.txt")
    assert (status, "none.txt: cannot be read" in err) == (2, True)


def test_a_subset_of_a_plain_dataset_reads_without_processes():
    dataset: Dataset = open_dataset(arrays(LABELS), limit=3)
    assert dataset.in_memory
    assert Path(dataset.name).name == "arrays, 3 of 100 images"
