import dataclasses
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noctule.errors import InputError, OutputError
from noctule.outcomes import SCHEMA
from noctule.store import SCHEMA_VERSION, RunIdentity, RunStore, disk, slices
from outcome_rows import outcome_rows, run_identity

CONDITIONS = ["clean", "shear", "rain"]


def identity(**changes: Any) -> RunIdentity:
    benchmark = {"name": "small", "corruptions": ["shear", "rain"], "severities": "full"}
    model, data = {"crop_px": (224, 224)}, {"num_classes": 4}
    plain = run_identity(benchmark, 7, model=model, dataset=data, batch_size=2, slice_size=3)
    return dataclasses.replace(plain, **changes)


def slice_rows(index: int, skipped: tuple[int, ...] = ()) -> pa.Table:
    """Rows of one slice, a function of the slice alone."""
    images = [image for image in identity().images_of(index) if image not in skipped]
    tables = []
    for number, condition in enumerate(CONDITIONS):
        label = np.array(images, dtype=np.int32) % 4
        wrong = (np.array(images, dtype=np.int32) + number) % 2
        confidence = 0.4 + np.array(images) / 100 + number / 1000
        # A wrong row has the label in second place, as likely as the first.
        ids, loss = [f"{image}.png" for image in images], -np.log(confidence)
        tables.append(
            outcome_rows(
                ids, condition, label, (label + wrong) % 4, confidences=confidence, losses=loss
            )
        )
    return pa.concat_tables(tables)


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "rows").iterdir())}


def complete(folder: Path) -> RunStore:
    store = RunStore.create_or_resume(folder, identity())
    for index in store.missing_slices():
        store.write_slice(index, slice_rows(index))
    return store


# Identity


def test_an_identity_counts_slices_images_and_conditions() -> None:
    one = identity()  # 7 images in slices of 3: 3, 3 and 1
    assert one.num_slices == 3
    assert [list(one.images_of(i)) for i in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert one.conditions == ("clean", "shear", "rain")
    at_severities = identity(benchmark={**one.benchmark, "severities": [2, 5]})
    assert at_severities.conditions == ("clean", "shear@2", "shear@5", "rain@2", "rain@5")


def test_the_digest_depends_on_every_key_and_on_no_order() -> None:
    one = identity()
    turned = identity(dataset=dict(reversed(list(one.dataset.items()))), model={**one.model})
    assert one.digest == turned.digest
    others = [
        dataclasses.replace(one, **{field.name: {"other": 1}})
        for field in dataclasses.fields(one)
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 1 + len(others)


# Writing and reading


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    store = complete(tmp_path / "run")
    expected = pa.concat_tables([slice_rows(i) for i in range(3)])
    assert store.rows().equals(expected)
    assert RunStore.open(tmp_path / "run").rows().equals(expected)
    assert store.missing_slices() == []
    assert store.unreadable() == []


def test_only_the_wanted_rows_and_columns_are_read(tmp_path: Path) -> None:
    store = complete(tmp_path)
    table = store.rows(["rain"], columns=["label"])
    assert table.column_names == ["label"]
    assert table["label"].to_pylist() == [image % 4 for image in range(7)]
    two = store.rows(["rain", "clean"], columns=["condition"])
    assert set(two["condition"].to_pylist()) == {"rain", "clean"}
    assert len(store.rows([])) == 0
    with pytest.raises(InputError, match="no condition 'hue'"):
        store.rows(["clean", "hue"])


def test_the_same_rows_give_the_same_bytes_however_they_are_chunked(tmp_path: Path) -> None:
    complete(tmp_path / "a")
    store = RunStore.create_or_resume(tmp_path / "b", identity())
    for index in (2, 0, 1):
        rows = slice_rows(index)
        store.write_slice(index, pa.concat_tables([rows[i : i + 1] for i in range(len(rows))]))
    assert all_bytes(tmp_path / "a") == all_bytes(tmp_path / "b")
    assert (tmp_path / "a/run.json").read_bytes() == (tmp_path / "b/run.json").read_bytes()


def test_bytes_do_not_depend_on_chunks_in_slices_of_many_pages() -> None:
    n = 300_000
    values = np.random.default_rng(0).random(n, dtype=np.float32)
    columns = [[f"{i}.png" for i in range(n)], pa.repeat("clean", n), *[range(n)] * 3]
    rows = pa.table([*columns, values, values], names=SCHEMA.names).cast(SCHEMA)
    note = slices.SliceNote("digest", 0, n)
    chunked = pa.concat_tables([rows[i : i + 1000] for i in range(0, n, 1000)])
    assert slices.slice_bytes(rows, note) == slices.slice_bytes(chunked, note)


def test_unreadable_images_are_kept_with_their_slice(tmp_path: Path) -> None:
    store = RunStore.create_or_resume(tmp_path, identity(on_unreadable="skip"))
    store.write_slice(1, slice_rows(1, skipped=(3, 5)), [("3.png", "cut"), ("5.png", "é")])
    store.write_slice(2, slice_rows(2, skipped=(6,)), [("6.png", "empty")])
    store.write_slice(0, slice_rows(0))
    kept = RunStore.open(tmp_path)
    assert kept.unreadable() == [("3.png", "cut"), ("5.png", "é"), ("6.png", "empty")]
    assert len(kept.rows()) == (7 - 3) * 3
    assert kept.rows().schema.equals(SCHEMA)


def test_rows_of_the_wrong_slice_are_a_programming_error(tmp_path: Path) -> None:
    store = RunStore.create_or_resume(tmp_path, identity())
    for rows in (slice_rows(2), slice_rows(0)[1:], slice_rows(0).drop_columns(["loss"])):
        with pytest.raises(ValueError, match="slice 0"):
            store.write_slice(0, rows)
    assert store.missing_slices() == [0, 1, 2]


def test_an_unfinished_run_is_read_only_on_request(tmp_path: Path) -> None:
    store = RunStore.create_or_resume(tmp_path, identity())
    assert len(store.rows(allow_partial=True)) == 0
    store.write_slice(1, slice_rows(1))
    assert store.missing_slices() == [0, 2]
    with pytest.raises(InputError, match="2 of 3 slices are missing"):
        store.rows()
    assert store.rows(allow_partial=True).equals(slice_rows(1))


# Resuming


def test_resume_keeps_what_is_there_and_clears_what_a_kill_left(tmp_path: Path) -> None:
    store = RunStore.create_or_resume(tmp_path, identity())
    store.write_slice(1, slice_rows(1))
    (tmp_path / "rows/.000002.parquet.0123456789abcdef.tmp").write_bytes(b"half")
    (tmp_path / ".run.json.0123456789abcdef.tmp").write_bytes(b"{")
    (tmp_path / "report.html").write_text("the user's")
    assert RunStore.create_or_resume(tmp_path, identity()).missing_slices() == [0, 2]
    names = sorted(path.name for path in tmp_path.rglob("*"))
    assert names == ["000001.parquet", "SHA256SUMS", "report.html", "rows", "run.json"]


@pytest.mark.parametrize("left", [[], ["rows/"], ["rows/", ".run.json.0123456789abcdef.tmp"]])
def test_a_start_killed_before_its_record_starts_again(left: list[str], tmp_path: Path) -> None:
    for name in left:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.write_text("{")
    assert RunStore.create_or_resume(tmp_path, identity()).missing_slices() == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows", "run.json"]


def test_another_run_is_refused_with_every_difference(tmp_path: Path) -> None:
    RunStore.create_or_resume(tmp_path, identity())
    dataset = {**identity().dataset, "fingerprint": "g", "domain": "x"}
    other = identity(
        seed=3, dataset=dataset, model={"name": "m", "crop_px": [224, 224], "new": 1}
    )
    with pytest.raises(InputError) as caught:
        RunStore.create_or_resume(tmp_path, other)
    for text in (
        "seed is 0 there and 3 here",
        'dataset.fingerprint is "f" there and "g" here',
        'dataset.domain is null there and "x" here',
        "model.new is absent there and 1 here",
    ):
        assert text in str(caught.value)
    assert "crop_px" not in str(caught.value)  # a tuple and a list are the same JSON


def test_provenance_is_appended_a_line_each_start(tmp_path: Path) -> None:
    store = RunStore.create_or_resume(tmp_path, identity())
    assert store.starts() == []
    store.record_start({"start": 1})
    with (tmp_path / "provenance.jsonl").open("a") as file:
        file.write('{"start": 2, "argv": [')  # torn by a kill
    store.record_start({"start": 3})
    store.record_start({"start": 4})
    assert store.starts() == [{"start": 1}, {"start": 3}, {"start": 4}]


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_store import RunStore, identity, slice_rows
from pathlib import Path
print("ready", flush=True)
while True:
    store = RunStore.create_or_resume(Path({folder!r}), identity())
    for index in store.missing_slices():
        store.write_slice(index, slice_rows(index))
    for index in range(3):
        store.slice_path(index).unlink()
"""


def test_a_kill_at_any_moment_leaves_a_run_that_resumes_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    complete(tmp_path / "undisturbed")
    rng = np.random.default_rng(0)
    script = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "killed"))
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        complete(tmp_path / "killed")
        assert all_bytes(tmp_path / "killed") == all_bytes(tmp_path / "undisturbed")


# What can go wrong


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _lose_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path)[:-1], path)


def _lose_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["loss"]), path)


def _lose_notes(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


@pytest.mark.parametrize("damage", [_truncate, _empty, _lose_rows, _lose_column, _lose_notes])
def test_a_damaged_slice_is_named_and_can_be_deleted(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    store = complete(tmp_path)
    path = store.slice_path(1)
    damage(path)
    for attempt in (lambda: RunStore.open(tmp_path), lambda: complete(tmp_path)):
        with pytest.raises(InputError, match=r"damaged: .* delete it and rerun") as caught:
            attempt()
        assert caught.value.where == str(path)
    path.unlink()
    assert complete(tmp_path).rows().equals(pa.concat_tables(map(slice_rows, range(3))))


def test_a_slice_without_a_record_of_its_run_is_said_to_have_none(tmp_path: Path) -> None:
    path = complete(tmp_path).slice_path(1)
    _lose_notes(path)
    with pytest.raises(InputError, match="it has no record of the run that it belongs to"):
        slices.read_note(path.read_bytes(), path)


def test_no_flipped_bit_of_the_data_goes_unseen(tmp_path: Path) -> None:
    store = complete(tmp_path)
    path = store.slice_path(1)
    written, rows = path.read_bytes(), store.rows()
    chunk = pq.read_metadata(path).row_group(0).column(SCHEMA.names.index("confidence"))
    start = chunk.dictionary_page_offset
    errors = []
    for place in range(start, start + chunk.total_compressed_size):
        data = bytearray(written)
        data[place] ^= 4
        path.write_bytes(data)
        try:
            found = RunStore.open(tmp_path).rows()
        except InputError as error:
            errors.append(str(error))
        else:
            assert found.equals(rows)  # idle bits of a page header
    assert all(error.startswith(f"{path}: is damaged") for error in errors)
    assert len(errors) > chunk.total_compressed_size / 2


def test_a_slice_of_a_longer_run_is_refused(tmp_path: Path) -> None:
    store = complete(tmp_path)
    store.slice_path(1).rename(store.slice_path(3))
    with pytest.raises(InputError, match="only 3 slices"):
        RunStore.open(tmp_path)


def test_what_is_not_a_run_folder_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"not a run folder: it has no run\.json"):
            RunStore.open(folder)
    with pytest.raises(InputError, match="is a file, not a folder"):
        RunStore.create_or_resume(tmp_path / "file", identity())
    with pytest.raises(InputError, match=r"not a run folder \(it holds file\)"):
        RunStore.create_or_resume(tmp_path, identity())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_rows_without_their_record_are_not_taken_for_a_fresh_start(tmp_path: Path) -> None:
    complete(tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(InputError, match=r"it holds SHA256SUMS"):
        RunStore.create_or_resume(tmp_path, identity())


def with_stored(value: object) -> dict[str, object]:
    record = identity().to_dict()
    return {**record, "dataset": {**record["dataset"], "stored": value}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not a run's record"),
        ("[]", "not a run's record"),
        ('{"schema_version": 1}', "an older noctule.*Evaluate the model again"),
        (json.dumps({"schema_version": SCHEMA_VERSION}), "not a run's record"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1}), "newer noctule.*Upgrade"),
        (json.dumps({**identity().to_dict(), "dataset": {}}), "it lacks 'name'"),
        (json.dumps({**identity().to_dict(), "extra": 1}), "extra"),
        (json.dumps({**identity().to_dict(), "model": {}}), "'name'"),
        (json.dumps({**identity().to_dict(), "model": []}), "not a run's record"),
        (json.dumps({**identity().to_dict(), "dataset": []}), "not a run's record"),
        *(
            (json.dumps(with_stored(one)), "dataset.stored is not a table")
            for one in (None, [1], "x", 3)
        ),
    ],
)
def test_a_record_that_cannot_be_used_is_refused(text: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    for attempt in (
        RunStore.open,
        lambda folder: RunStore.create_or_resume(folder, identity()),
    ):
        with pytest.raises(InputError, match=what) as caught:
            attempt(tmp_path)
        assert caught.value.where == str(tmp_path / "run.json")


def test_a_full_disk_says_what_is_kept_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore.create_or_resume(tmp_path, identity())
    store.write_slice(0, slice_rows(0))

    def full(file: IO[bytes]) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_sync", full)
        with pytest.raises(
            OutputError, match=r"No space left.*1 of 3 slices .* kept"
        ) as caught:
            store.write_slice(1, slice_rows(1))
        assert caught.value.where == str(store.slice_path(1))
        with pytest.raises(OutputError, match="No space left"):
            store.record_start({})
        with pytest.raises(OutputError, match="No space left"):
            RunStore.create_or_resume(tmp_path / "new", identity())
    assert [path.name for path in (tmp_path / "rows").iterdir()] == ["000000.parquet"]
    assert complete(tmp_path).rows().equals(pa.concat_tables(map(slice_rows, range(3))))
    assert complete(tmp_path / "new").missing_slices() == []


LIMITED = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_store import RunStore, identity, slice_rows
store = RunStore.create_or_resume(Path({folder!r}), identity())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
store.write_slice(0, slice_rows(0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits as Linux has them")
def test_a_write_the_system_cuts_short_leaves_no_file(tmp_path: Path) -> None:
    script = LIMITED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "OutputError" in done.stderr
    assert "File too large" in done.stderr
    assert list((tmp_path / "rows").iterdir()) == []


def test_an_interrupted_write_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore.create_or_resume(tmp_path, identity())

    def interrupted(file: IO[bytes]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(disk, "_sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write_slice(1, slice_rows(1))
    assert list((tmp_path / "rows").iterdir()) == []


def test_a_folder_that_may_not_be_written_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", denied)  # permissions do not bind a superuser
    with pytest.raises(OutputError, match="Permission denied") as caught:
        RunStore.create_or_resume(tmp_path / "run", identity())
    assert caught.value.where == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("slice_size",), 0), (("slice_size",), 1.5), (("slice_size",), True),
        (("dataset", "num_images"), 10**18), (("dataset", "num_images"), float("inf")),
        (("dataset", "num_images"), -1), (("dataset", "num_images"), "7"), (("seed",), -1),
        (("seed",), 10**4200), (("seed",), 2.0), (("batch_size",), None),
        (("model", "preprocessing"), {"resize_px": 10**6}), (("precision",), "float8"),
        (("model", "preprocessing"), {"crop_px": [224, 10**6]}), (("model", "name"), 3),
        (("benchmark", "severities"), [1, 10**9]), (("benchmark", "corruptions"), [["rain"]]),
        (("benchmark", "corruptions"), ["rain"] * 10**4), (("dataset", "domain"), {}),
    ],
)  # fmt: skip
def test_numbers_in_a_record_are_not_believed(
    tmp_path: Path, path: tuple[str, ...], value: object
) -> None:
    RunStore.create_or_resume(tmp_path, identity())
    record = json.loads((tmp_path / "run.json").read_text())
    place = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "run.json").write_text(json.dumps(record))
    key = next(iter(value)) if isinstance(value, dict) and value else path[-1]
    with pytest.raises(InputError, match=f"is not a run's record: .*({key}|in JSON)") as caught:
        RunStore.open(tmp_path)
    assert caught.value.where == str(tmp_path / "run.json")
    assert len(str(caught.value)) < 1000


# Shared folders


def test_a_planted_link_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    # Even if somebody guesses the name of the temporary file.
    monkeypatch.setattr(os, "urandom", lambda count: bytes(count))
    folder = tmp_path / "shared"
    folder.mkdir()
    disk.temporary_for(folder / "run.json").symlink_to(victim)
    with pytest.raises(FileExistsError):
        disk.write_atomically(folder / "run.json", b"{}")
    monkeypatch.undo()
    disk.write_atomically(folder / "run.json", b"{}")
    for name in ("SHA256SUMS", "provenance.jsonl"):
        (folder / name).symlink_to(victim)
        with pytest.raises(OSError, match=name):
            disk.append_line(folder / name, "x")
    assert victim.read_text() == "mine"
    names = {disk.temporary_for(folder / "a").name for _ in range(100)}
    assert len(names) == 100


def test_rows_that_are_a_link_are_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rows").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="rows: is a link"):
        RunStore.create_or_resume(tmp_path / "run", identity())
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "EACCES"])
def test_a_file_system_that_cannot_sync_folders_will_do(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(getattr(errno, code), code)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    assert complete(tmp_path / "run").missing_slices() == []


def test_a_kill_between_a_hash_and_its_slice_leaves_a_missing_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore.create_or_resume(tmp_path / "run", identity())

    def killed(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("noctule.store.run.write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            store.write_slice(0, slice_rows(0))
    with (tmp_path / "run" / "SHA256SUMS").open("a") as file:
        file.write("0123")  # and a line that is torn
    assert RunStore.open(tmp_path / "run").missing_slices() == [0, 1, 2]
    complete(tmp_path / "run")
    assert all_bytes(tmp_path / "run") == all_bytes(complete(tmp_path / "whole").folder)
    subprocess.run(
        ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "whole", check=True
    )


@pytest.mark.parametrize("mode", [0o644, 0o755])
@pytest.mark.parametrize("name", ["notes.txt", "notes.txt/run"])
def test_a_file_is_no_folder_for_a_run(mode: int, name: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.touch()
    file.chmod(mode)
    with pytest.raises(OutputError, match=r"notes\.txt: is not a folder"):
        disk.refuse_unwritable(tmp_path / name)
    disk.refuse_unwritable(tmp_path / "new" / "run")
