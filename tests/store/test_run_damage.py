"""Damage to a run folder, for every reader: refused by name, or the numbers are the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sealed_runs
from noctule import InputError, compare, evaluate
from noctule.evaluation.settings import Settings
from noctule.leaderboard.entries import read_entry
from noctule.outcomes import SCHEMA
from noctule.report.loading import open_runs
from noctule.report.run_groups import RunSettings as Bootstrap
from noctule.report.run_groups import summarise
from noctule.scoring import score_run
from stripes import QUICK, ChannelMeans, Stripes

DATA = Stripes(300)
SETTINGS = Settings(device="cpu", batch_size=64, self_check=False, on_unreadable="skip")
COLUMNS = SCHEMA.names


class Tilted(ChannelMeans):
    """Another model: it prefers the first class."""

    def forward(self, images: Any) -> Any:
        logits = super().forward(images)
        logits[:, 0] += 1
        return logits


class Runs(NamedTuple):
    """A run, the same with another seed, and one of another model."""

    run: Path
    seed: Path
    model: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    other = Settings(**{**vars(SETTINGS), "seed": 1})
    for name, model, settings in (
        ("run", ChannelMeans(), SETTINGS),
        ("seed", ChannelMeans(), other),
        ("model", Tilted(), SETTINGS),
    ):
        evaluate(model, DATA, QUICK, out=folder / name, settings=settings)
    return Runs(folder / "run", folder / "seed", folder / "model")


# Readers: each gives numbers that depend on the run.


def metrics(run: Path, runs: Runs) -> object:
    return score_run(run, resamples=5)


def reference(run: Path, runs: Runs) -> object:
    return score_run(runs.model, reference=run, resamples=5).of("relative_mce")


def report(run: Path, runs: Runs) -> object:
    group = summarise(open_runs([run]), settings=Bootstrap(0, 5, 0.95))
    return [one.scores for one in group.summaries]


def compared(run: Path, runs: Runs) -> object:
    found = compare(runs.model, run)
    return found.mean_error, found.differences


def leaderboard(run: Path, runs: Runs) -> object:
    return read_entry(run, training_data="x", resamples=5).scores


def resume(run: Path, runs: Runs) -> object:
    return evaluate(ChannelMeans(), DATA, QUICK, out=run, settings=SETTINGS).scores


READERS: dict[str, Callable[[Path, Runs], object]] = {
    one.__name__: one for one in (metrics, reference, report, compared, leaderboard, resume)
}


@pytest.fixture(scope="module")
def numbers(runs: Runs) -> dict[str, object]:
    return {name: read(runs.run, runs) for name, read in READERS.items()}


# Damages.


def first(run: Path) -> Path:
    return run / "rows" / "000000.parquet"


def second(run: Path) -> Path:
    return run / "rows" / "000001.parquet"


def columns_of(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    return {name: table[name].to_numpy(zero_copy_only=False).copy() for name in COLUMNS}


def rewrite(
    change: Callable[[dict[str, Any]], dict[str, Any] | None],
) -> Callable[[Path], None]:
    """Change the columns of the first slice, and leave what it says of itself."""

    def damage(run: Path) -> None:
        columns = columns_of(first(run))
        columns = change(columns) or columns
        table = pa.table([pa.array(columns[one]) for one in COLUMNS], COLUMNS).cast(SCHEMA)
        sealed_runs.write_slice(first(run), table)

    return damage


def setting(name: str, value: Any, row: int = 0) -> Callable[[Path], None]:
    def change(columns: dict[str, Any]) -> None:
        columns[name][row] = value

    return rewrite(change)


def all_wrong(columns: dict[str, Any]) -> None:
    columns["prediction"] = (columns["label"] + 1) % 3
    columns["label_rank"][:] = 2
    columns["confidence"][:] = 0.5
    columns["loss"][:] = np.log(2)


def all_right(columns: dict[str, Any]) -> None:
    columns["prediction"] = columns["label"].copy()
    columns["label_rank"][:] = 1
    columns["loss"] = -np.log(columns["confidence"])


def other_labels(columns: dict[str, Any]) -> None:
    columns["label"] = (columns["label"] + 1) % 3


def conditions_exchanged(columns: dict[str, Any]) -> None:
    names = columns["condition"].copy()
    columns["condition"][names == "shear"] = "gaussian"
    columns["condition"][names == "gaussian"] = "shear"


def ids_exchanged(columns: dict[str, Any]) -> None:
    one, other = columns["image_id"][:2]
    ones, others = (columns["image_id"] == name for name in (one, other))
    columns["image_id"][ones], columns["image_id"][others] = other, one


def ids_renamed(columns: dict[str, Any]) -> None:
    columns["image_id"] = np.array([f"x/{one}" for one in columns["image_id"]], object)


def row_twice(columns: dict[str, Any]) -> None:
    for column in columns.values():
        column[1] = column[0]


def image_lost(columns: dict[str, Any]) -> dict[str, Any]:
    kept = columns["image_id"] != columns["image_id"][0]
    return {name: column[kept] for name, column in columns.items()}


def rows_turned(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: column[::-1] for name, column in columns.items()}


def invented_note(run: Path) -> None:
    columns = columns_of(first(run))
    lost = columns["image_id"][0]
    kept = columns["image_id"] != lost
    table = pa.table([pa.array(columns[one][kept]) for one in COLUMNS], COLUMNS).cast(SCHEMA)
    sealed_runs.write_slice(first(run), table, unreadable=[[lost, "torn"]])


def note_beside_rows(run: Path) -> None:
    path = first(run)
    name = pq.read_table(path)["image_id"][0].as_py()
    sealed_runs.write_slice(path, pq.read_table(path), unreadable=[[name, "torn"]])


def record(*keys: str, value: Any) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        data = json.loads((run / "run.json").read_text())
        place = data
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (run / "run.json").write_text(json.dumps(data))

    return damage


def flipped(place: float) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        data = bytearray(first(run).read_bytes())
        data[int(place * (len(data) - 1))] ^= 1
        first(run).write_bytes(data)

    return damage


def of(kind: str, *names: str) -> Callable[[Path], None]:
    """Files of another run in their place."""

    def damage(run: Path) -> None:
        source = Path((run / ".source").read_text()).parent / kind
        for name in names:
            shutil.copyfile(source / name, run / name)

    return damage


def exchanged(run: Path) -> None:
    one, other = first(run).read_bytes(), second(run).read_bytes()
    first(run).write_bytes(other)
    second(run).write_bytes(one)


ROWS = ("rows/000000.parquet", "rows/000001.parquet")
IMPOSSIBLE: dict[str, Callable[[Path], None]] = {
    "rank 0": setting("label_rank", 0),
    "rank of a right row": setting("label_rank", 2),
    "negative label": setting("label", -1),
    "label beyond the classes": rewrite(lambda one: one["label"].__setitem__(slice(None), 7)),
    "one label of an image": setting("label", 2),
    "negative prediction": setting("prediction", -5),
    "confidence 2": setting("confidence", 2.0),
    "confidence NaN": setting("confidence", np.nan),
    "confidence 0": setting("confidence", 0.0),
    "loss NaN": setting("loss", np.nan),
    "loss below 0": setting("loss", -1.0),
    "loss of a sure row": setting("loss", 9.0),
    "unknown condition": setting("condition", "rain"),
    "one image renamed once": setting("image_id", "other"),
    "row twice": rewrite(row_twice),
    "image lost": rewrite(image_lost),
    "note beside rows": note_beside_rows,
    "slices exchanged": exchanged,
    "seed": record("seed", value=-1),
    "slice size": record("slice_size", value=10),
    "images": record("dataset", "num_images", value=299),
    "resize": record("model", "preprocessing", "resize_px", value=10**6),
    "severities": record("benchmark", "severities", value=[1]),
    "corruptions": record("benchmark", "corruptions", value=["shear"]),
}
DAMAGES: dict[str, Callable[[Path], None]] = IMPOSSIBLE | {
    "all wrong": rewrite(all_wrong),
    "all right": rewrite(all_right),
    "labels": rewrite(other_labels),
    "conditions exchanged": rewrite(conditions_exchanged),
    "ids exchanged": rewrite(ids_exchanged),
    "ids renamed": rewrite(ids_renamed),
    "rows turned": rewrite(rows_turned),
    "invented note": invented_note,
    "slice of another seed": of("seed", ROWS[0]),
    "slices of another seed": of("seed", *ROWS),
    "slices and hashes of another seed": of("seed", *ROWS, "SHA256SUMS"),
    "slices and hashes of another model": of("model", *ROWS, "SHA256SUMS"),
    "record of another seed": of("seed", "run.json"),
    "record of another model": of("model", "run.json"),
    "hashes of another model": of("model", "SHA256SUMS"),
    "hashes lost": lambda run: (run / "SHA256SUMS").unlink(),
    "hashes empty": lambda run: (run / "SHA256SUMS").write_text(""),
    "slice lost": lambda run: first(run).unlink(),
    "slice empty": lambda run: first(run).write_bytes(b""),
    "slice cut short": lambda run: first(run).write_bytes(first(run).read_bytes()[:-9]),
    "slice of a longer run": lambda run: shutil.copy(first(run), run / "rows/000002.parquet"),
    "bit at the start": flipped(0.0),
    "bit in the middle": flipped(0.5),
    "bit near the end": flipped(0.98),
    "record: seed": record("seed", value=1),
    "record: fingerprint": record("dataset", "fingerprint", value="0" * 64),
    "record: domain": record("dataset", "domain", value="imagenet-1k-val"),
    "record: model": record("model", "name", value="another"),
    "record: metric": record("benchmark", "metric", value="mean_error"),
    "record: unreadable": record("on_unreadable", value="stop"),
}  # fmt: skip


def copied(runs: Runs, folder: Path) -> Path:
    run = Path(shutil.copytree(runs.run, folder / "run"))
    (run / ".source").write_text(str(runs.run))
    return run


def outcome(read: Callable[[Path, Runs], object], run: Path, runs: Runs) -> object:
    """What a reader gives, or the error by which it refuses."""
    try:
        return read(run, runs)
    except InputError as error:
        return error


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused_by_every_reader_or_changes_nothing(
    name: str, runs: Runs, numbers: dict[str, object], tmp_path: Path
) -> None:
    run = copied(runs, tmp_path)
    DAMAGES[name](run)
    for reader, read in READERS.items():  # the one that may write comes last
        found = outcome(read, run, runs)
        if isinstance(found, InputError):
            assert str(run) in str(found), reader
        else:
            assert repr(found) == repr(numbers[reader]), reader


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_rows_are_refused_even_if_every_hash_is_recomputed(
    name: str, runs: Runs, tmp_path: Path
) -> None:
    run = copied(runs, tmp_path)
    IMPOSSIBLE[name](run)
    sealed_runs.seal(run)
    for read in READERS.values():
        with pytest.raises(InputError, match=str(run)):
            read(run, runs)


def keys_of(data: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in data.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from keys_of(value, (*before, key))


@pytest.mark.parametrize(
    "value", ["absent", None, [], 10**4000], ids=["absent", "null", "list", "digits"]
)
def test_no_key_of_a_record_is_relied_on_unseen(
    value: Any, runs: Runs, numbers: dict[str, object], tmp_path: Path
) -> None:
    """Each key left out or odd, with every hash recomputed: refused, or read all the same."""
    whole = json.loads((runs.run / "run.json").read_text())
    run = copied(runs, tmp_path)
    for keys in keys_of(whole):
        data = json.loads(json.dumps(whole))
        place = data
        for key in keys[:-1]:
            place = place[key]
        if value == "absent":
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
        (run / "run.json").write_text(json.dumps(data))
        sealed_runs.seal(run)
        for read in (metrics, report, compared, leaderboard):
            found = outcome(read, run, runs)
            assert not isinstance(found, InputError) or len(str(found)) < 2000, keys
