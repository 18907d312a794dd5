"""Records and rows that somebody else has written: no number of them is believed unseen."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noctule.csv_files import csv_text
from noctule.data import open_dataset
from noctule.errors import InputError
from noctule.explore import Photographs
from noctule.explore import photographs as photographs_module
from noctule.metrics.outcome_matrix import outcome_matrix
from noctule.models import Preprocessing
from noctule.report.table import Column, Row, Table, markdown, table_csv
from noctule.report.terminal import terminal_text
from noctule.store import disk, slices
from outcome_rows import outcome_rows

HOSTILE = "a\x1b[31m\nb|<img src=x>[c](d)"


@pytest.mark.parametrize(
    ("rank", "confidence", "what"),
    [
        (0, 0.5, "a rank below 1"),
        (-3, 0.5, "a rank below 1"),
        (1, 0.0, "a confidence outside"),
        (1, 1.5, "a confidence outside"),
        (1, float("nan"), "a confidence outside"),
        (1, float("inf"), "a confidence outside"),
    ],
)
def test_outcomes_that_no_model_can_have(rank: int, confidence: float, what: str) -> None:
    rows = outcome_rows(["a", "b"], ranks=[1, rank], confidences=[1, confidence], losses=0)
    with pytest.raises(InputError, match=f"under 'clean' image 'b' has {what}"):
        outcome_matrix(rows, ["clean"])


def test_what_never_ends_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((2, 4, 4, 3), np.uint8))
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "flat" / "a.png")
    for name in ("pipe.npy", "pipe.txt", "pipe"):
        os.mkfifo(tmp_path / name)
    for spec, labels in (
        ("pipe.npy", None), ("pipe", None), ("images.npy", "pipe.txt"),
        ("images.npy", "pipe.npy"), ("flat", "pipe.txt"),
    ):  # fmt: skip
        with pytest.raises(InputError, match="not a regular file"):
            open_dataset(tmp_path / spec, labels_file=labels and tmp_path / labels)
    with pytest.raises(InputError, match="not a regular file"):
        list(disk.read_files([tmp_path / "pipe"], 10))
    with pytest.raises(InputError, match="not a regular file"):
        open_dataset(tmp_path / "flat", labels_file=Path("/dev/zero"))


def test_lines_that_are_no_records_are_passed_over(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', b"[" * 100_000, b'{"b": "\xff"}', b'{"torn', b'{"c": 3}']
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    assert disk.read_records(tmp_path / "lines") == [{"a": 1}, {"b": "\ufffd"}, {"c": 3}]


def test_a_name_cannot_leave_its_cell() -> None:
    columns = Column("name"), Column("error %", 1)
    table = Table(HOSTILE, columns, [Row([HOSTILE, 1])], [HOSTILE])
    text = markdown(table)
    escaped = "a\ufffd\\[31m b\\|\\<img src=x\\>\\[c\\](d)"
    assert text.splitlines() == [
        f"**{escaped}**", "", "| name | error % |", "| --- | ---: |",
        f"| {escaped} | 1.0 |", "", escaped,
    ]  # fmt: skip
    assert "\x1b" not in terminal_text([table], None) + terminal_text([table], 10)


def test_a_name_is_no_formula_in_a_spreadsheet() -> None:
    records = [{"name": "=HYPERLINK(1)", "value": -1.5}, {"name": "@x", "value": None}]
    assert csv_text(records) == "name,value\n'=HYPERLINK(1),-1.5\n'@x,\n"
    table = Table("t", [Column("+x"), Column("n", 0)], [Row(["-a", 1])])
    assert table_csv(table) == "'+x,n\n'-a,1.0\n"


def test_a_very_long_photograph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs_module, "LONGEST_UPLOAD_PX", 300)
    photographs = Photographs(Preprocessing(resize_px=64, crop_px=(64, 64)))
    assert photographs.add(png(300, 64)).size_px == (300, 64)
    with pytest.raises(InputError, match="is 301 px long"):
        photographs.add(png(301, 64))


def png(width: int, height: int) -> bytes:
    from io import BytesIO

    stream = BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def test_a_run_cannot_ask_a_report_for_a_huge_image(tmp_path: Path) -> None:
    from noctule.report.samples import Absent, _refuse_large

    _refuse_large(Preprocessing(resize_px=256, crop_px=(224, 224)), (9000, 9000))
    for prepare, size in (
        (Preprocessing(resize_px=(8_000, 8_000)), (64, 64)),
        (Preprocessing(resize_px=8_000), (64, 64)),
        (Preprocessing(crop_px=(8_000, 10)), (64, 64)),
        (Preprocessing(), (9000, 10)),
    ):
        with pytest.raises(Absent, match="px a side"):
            _refuse_large(prepare, size)


@pytest.mark.parametrize("note", ["[" * 100_000, "[]", "{}", '{"run": 1}', "null"])
def test_odd_metadata_of_a_slice_is_damage(note: str, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from noctule.outcomes import SCHEMA

    path = tmp_path / "0.parquet"
    pq.write_table(SCHEMA.empty_table().replace_schema_metadata({"noctule": note}), path)
    with pytest.raises(InputError, match="is damaged"):
        slices.read_note(path.read_bytes(), path)
