"""A part of a stored set: the same images as the same part of the data, evaluated live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import run
from noctule import InputError, compare
from noctule.data import open_dataset
from noctule.evaluation.loop import evaluate
from noctule.stored import evaluate_stored, open_stored
from stored_sets import COUNT, LOSSLESS, ONE_PROCESS, SEVERITIES, export_into, flip
from stripes import ChannelMeans, Stripes


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for form in LOSSLESS:
        export_into(folder / form, form)
    ids = Stripes(COUNT).ids
    (folder / "ids.txt").write_text("\n".join(ids[number] for number in (60, 3, 17)))
    return folder


@pytest.fixture(params=["limit", "ids"])
def part(request: pytest.FixtureRequest, sets: Path) -> dict[str, Any]:
    return {"limit": 20} if request.param == "limit" else {"ids_file": sets / "ids.txt"}


@pytest.mark.parametrize("form", LOSSLESS)
def test_rows_are_those_of_the_same_part_evaluated_live(
    sets: Path, tmp_path: Path, form: str, part: dict[str, Any]
) -> None:
    data = open_dataset(Stripes(COUNT), **part)
    model, settings = ChannelMeans(), ONE_PROCESS
    live = evaluate(model, data, SEVERITIES, out=tmp_path / "live", settings=settings)
    stored = evaluate_stored(
        model, sets / form, out=tmp_path / "stored", settings=settings, **part
    )
    assert stored.run.rows().equals(live.run.rows())
    assert sorted(set(stored.run.rows()["image_id"].to_pylist())) == sorted(data.ids)
    told = stored.run.identity.dataset
    assert told["stored"]["live_fingerprint"] == data.fingerprint() != told["fingerprint"]
    assert told["subset"]["num_images"] == COUNT
    assert told["name"] == f"{form}, {len(data)} of {COUNT} images"
    compare(live.run, stored.run)  # which refuses other data
    assert stored.scores.of("mean_error") == live.scores.of("mean_error")


def test_the_whole_is_other_data(sets: Path, tmp_path: Path, part: dict[str, Any]) -> None:
    model = ChannelMeans()
    whole = evaluate_stored(model, sets / "png", out=tmp_path / "w", settings=ONE_PROCESS)
    with pytest.raises(InputError, match="other data"):
        evaluate_stored(
            model, sets / "png", out=tmp_path / "p", settings=ONE_PROCESS, reference=whole.run,
            **part,
        )  # fmt: skip
    with pytest.raises(InputError, match="dataset"):
        evaluate_stored(model, sets / "png", out=tmp_path / "w", settings=ONE_PROCESS, **part)


def test_all_images_are_the_whole(sets: Path) -> None:
    whole, all_of_it = open_stored(sets / "png"), open_stored(sets / "png", limit=COUNT)
    assert all_of_it.subset is None
    assert all_of_it.fingerprint() == whole.fingerprint()


def test_the_fingerprint_is_that_of_any_subset_of_the_set(
    sets: Path, part: dict[str, Any]
) -> None:
    found = {open_stored(sets / form, **part).fingerprint() for form in LOSSLESS}
    assert found == {
        open_dataset(open_stored(sets / form), **part).fingerprint() for form in LOSSLESS
    }
    assert len(found) == len(LOSSLESS)


def test_a_part_reads_only_its_images(sets: Path, tmp_path: Path) -> None:
    export_into(tmp_path / "set")
    stored = open_stored(tmp_path / "set", limit=20)
    chosen = {images.file(i) for images in stored.images.values() for i in range(20)}
    for file in {*(tmp_path / "set").rglob("*.png")} - chosen:
        flip(file)
    arguments: dict[str, Any] = {"limit": 20, "settings": ONE_PROCESS}
    evaluate_stored(ChannelMeans(), tmp_path / "set", out=tmp_path / "run", **arguments)
    damaged = next(iter(stored.images.values())).file(7)
    assert damaged is not None
    flip(damaged)
    with pytest.raises(InputError, match=f"{stored.ids[7]}: .* not what was written"):
        evaluate_stored(ChannelMeans(), tmp_path / "set", out=tmp_path / "bad", **arguments)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"limit": COUNT + 1}, f"is {COUNT + 1}, but png has {COUNT} images"),
        ({"limit": 0}, "limit"),
        ({"limit": 3, "ids_file": "ids.txt"}, "exclude each other"),
        ({"ids_file": "foreign.txt"}, r"foreign.txt, line 1: png has no image 'n01/9'"),
        ({"ids_file": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_parts_that_there_are_not(
    sets: Path, monkeypatch: pytest.MonkeyPatch, part: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(sets)
    Path("foreign.txt").write_text("n01/9\n")
    with pytest.raises(InputError, match=message):
        open_stored("png", **part)


def test_the_command_states_the_part(
    sets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = f"evaluate stripes:ChannelMeans --stored {sets / 'png'} --limit 20 --out run"
    status, out, err = run(
        monkeypatch, capsys, *words.split(), "--no-self-check", "--device", "cpu"
    )
    assert (status, f"png, 20 of {COUNT} images" in out) == (0, True), err
    record = json.loads(Path("run/run.json").read_text())["dataset"]
    assert record["subset"]["limit"] == 20
