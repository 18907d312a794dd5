"""Pixels, rows and printed numbers are those of the golden files; see golden/make.py.

Things may be renamed, and rows and columns added; what was there keeps its value.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tomllib
from collections import Counter
from typing import Any

import numpy as np
import pytest

from golden import make

# What is called otherwise now: files, columns and keys, and cells, by their golden names.
RENAMED: dict[str, str] = {
    "level": "severity",
    "levels": "severities",
    "corrected": "paper",
    "pictures": "images",
    "a_percent": "a",
    "b_percent": "b",
    "points": "difference",
    "spread_points": "spread",
    "detectable_points": "detectable",
}
# Sentences, which may be worded otherwise, but not come or go.
PROSE = {"reason", "verdict", "title", "source", "formula", "detail"}

Record = dict[str, Any]
Produced = tuple[dict[str, str], dict[str, dict[str, np.ndarray]]]
CHECKSUMS = json.loads(make.CHECKSUMS.read_text())
SAME_MACHINE = make.machine() == CHECKSUMS["platform"]
PRINTED = sorted(path.name for path in make.PRINTED.iterdir())


def golden_pixels() -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """By corruption and mode, then by severity."""
    found: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    with np.load(make.PIXELS) as file:
        for (name, mode, severity), values in zip(file["names"], file["pixels"], strict=True):
            found.setdefault((str(name), str(mode)), {})[str(severity)] = values
    return found


def golden_rows() -> dict[str, dict[str, np.ndarray]]:
    """By run, then by column."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(make.ROWS) as file:
        for name in file:
            run, _, column = name.partition("/")
            found.setdefault(run, {})[column] = file[name]
    return found


PIXELS, ROWS = golden_pixels(), golden_rows()


@pytest.fixture(scope="module")
def produced(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Produced:
    return make.printed_and_rows(tmp_path_factory.mktemp("golden"))


def renamed(text: str) -> str:
    return RENAMED.get(text, text)


def test_the_golden_files_are_complete() -> None:
    assert len({name for name, _ in PIXELS}) == 54
    assert len(PIXELS) == 79
    assert {tuple(by) for by in PIXELS.values()} == {("1", "3", "5", "full")}
    assert len(CHECKSUMS["crc32"]) == 1003
    assert {run: one["prediction"].shape for run, one in ROWS.items()} == {
        f"{kind}-{letter}": (9 if kind == "noc" else 7, 128)
        for kind in make.RUNS
        for letter in make.MODELS
    }
    assert len(PRINTED) == 64


@pytest.mark.parametrize(("name", "mode"), PIXELS, ids=map("/".join, PIXELS))
def test_pixels(one_thread: None, name: str, mode: str) -> None:
    for severity, wanted in PIXELS[name, mode].items():
        found = make.pixels(renamed(name), mode, severity)
        off = np.abs(found.astype(int) - wanted)
        assert off.max() <= 1, severity
        assert (off > 0).mean() <= 0.002, severity


def test_checksums(one_thread: None) -> None:
    if not SAME_MACHINE:
        pytest.skip(f"recorded on {CHECKSUMS['platform']}; this is {make.machine()}")
    found = make.checksums()
    wanted = {_renamed_parts(name): value for name, value in CHECKSUMS["crc32"].items()}
    assert sorted(name for name in wanted if wanted[name] != found.get(name)) == []


def _renamed_parts(name: str) -> str:
    return "".join(map(renamed, re.split(r"([ /@])", name)))


@pytest.mark.parametrize("run", ROWS)
def test_rows(produced: Produced, run: str) -> None:
    wanted, found = ROWS[run], produced[1][run]
    assert [_renamed_parts(str(one)) for one in wanted["conditions"]] == list(
        found["conditions"]
    )
    for column in ("prediction", "label_rank"):
        share = (found[column] != wanted[column]).mean()
        assert share <= (0 if SAME_MACHINE else 0.01), column
    if SAME_MACHINE:
        for column in ("confidence", "loss"):
            np.testing.assert_allclose(found[column], wanted[column], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PRINTED)
def test_printed(produced: Produced, name: str) -> None:
    texts, rows = produced
    same_rows = all(
        np.array_equal(rows[run][column], ROWS[run][column])
        for run in ROWS
        for column in ("prediction", "label_rank")
    )
    if not (same_rows or SAME_MACHINE):
        pytest.skip(f"other predictions than those recorded on {CHECKSUMS['platform']}")
    new_name = renamed(name)
    assert new_name in texts
    left = records(new_name, texts[new_name])
    golden = records(name, (make.PRINTED / name).read_text())
    missing = []
    for record in golden:
        for index, one in enumerate(left):
            if holds(one, record):
                del left[index]
                break
        else:
            missing.append(record)
    assert missing == []
    assert len(golden) >= 1


def records(name: str, text: str) -> list[Record]:
    """Rows of a table, or objects of JSON and TOML, or lines of text: cells by their names."""
    if name.endswith(".csv"):
        return [
            {key: _number(cell) for key, cell in row.items()}
            for row in csv.DictReader(io.StringIO(text))
        ]
    if name.endswith("metrics.json"):
        return _score_records(json.loads(text))
    if name.endswith("compare.json"):
        return _difference_records(json.loads(text))
    if name.endswith(".json"):
        return _objects(json.loads(text), "")
    if name.endswith(".toml"):
        return _objects(tomllib.loads(text), "")
    # Of a line: its numbers, and its names of corruptions.
    known = {*make.corruption_names(), *(one for one, _ in PIXELS)}
    found = []
    for line in text.splitlines():
        words = re.findall(r"[−-]?\d+(?:\.\d+)?(?![\w.])|[a-z_]+", line)
        cells = Counter(w for w in words if w in known or w[-1].isdigit())
        if cells:
            found.append({"words": cells})
    return found


def _score_records(data: Any) -> list[Record]:
    """Of scores: the golden files have them in a tree, newer ones in a table."""
    if "scores" in data:
        settings = {key: value for key, value in data.items() if key != "scores"}
        return [settings, *data["scores"]]
    benchmark, found = data["benchmark"], []
    parts = [
        ("condition", one["condition"], one) for one in (data["clean"], *data["conditions"])
    ]
    parts += [("corruption", one["corruption"], one) for one in data["corruptions"]]
    parts.append(("benchmark", benchmark, data))
    for scope, name, part in parts:
        for metric, value in part.items():
            if isinstance(value, dict) and "reason" in value:
                found.append({"scope": scope, "name": name, "metric": metric, **value})
    plain = {key: one for key, one in data.items() if not isinstance(one, (dict, list))}
    return [plain, *found]


def _difference_records(data: Any) -> list[Record]:
    """Of a comparison: the golden files have some differences under names of their own."""
    settings = {key: one for key, one in data.items() if not _has_objects(one)}
    settings.pop("clean", None)  # null where it was not tested
    if "mean_error" not in data:
        return [settings, *data["differences"]]
    parts = [
        *data["differences"],
        *(data[name] for name in ("mean_error", "mce", "relative_mce")),
    ]
    if data["clean"] is not None:
        parts.append(data["clean"])
    found = []
    for part in parts:
        estimate = part["points"]
        points = {"points": estimate["value"], **estimate}
        points.pop("value")
        found.append({"metric": "error", **part, **points})
    return [settings, *found]


def _number(cell: str | None) -> float | str | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell


def _objects(data: Any, key: str) -> list[Record]:
    """Every object in JSON: its plain values, and the key that it is under."""
    if isinstance(data, list):
        return [record for one in data for record in _objects(one, key)]
    if not isinstance(data, dict):
        return []
    plain = {k: v for k, v in data.items() if not _has_objects(v)}
    inner = [record for k, v in data.items() if _has_objects(v) for record in _objects(v, k)]
    return [{"key": key, **plain}, *inner]


def _has_objects(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(map(_has_objects, value))
    )


def holds(new: Record, golden: Record) -> bool:
    """Whether a record has all cells of a golden one."""
    return all(
        renamed(key) in new and _same(new[renamed(key)], cell, key in PROSE)
        for key, cell in golden.items()
    )


def _same(new: Any, golden: Any, prose: bool) -> bool:
    if isinstance(golden, Counter):
        wanted = Counter({renamed(word): count for word, count in golden.items()})
        return isinstance(new, Counter) and wanted <= new
    if isinstance(golden, list):
        return (
            isinstance(new, list)
            and len(new) == len(golden)
            and all(_same(a, b, prose) for a, b in zip(new, golden, strict=True))
        )
    if prose:
        return bool(new) == bool(golden)
    if isinstance(golden, str):
        return bool(new == renamed(golden) or new == _renamed_parts(golden))
    if golden is None or isinstance(golden, bool):
        return new is golden
    if isinstance(new, bool) or not isinstance(new, (int, float)):
        return False
    tolerance = 1e-9 if SAME_MACHINE else 1e-4
    return math.isclose(new, golden, rel_tol=tolerance, abs_tol=tolerance / 1000)


def test_the_comparison_can_tell() -> None:
    """Changed, lost and swapped cells are found; added rows, columns and keys are not."""
    golden = records("t.csv", "name,value,reason\na,0.25,\nb,,no number\n")
    for text, same in (
        ("reason,value,more,name\n,0.25,1,a\n,1,,c\nother words,,1,b\n", True),
        ("name,value,reason\na,0.2500001,\nb,,no number\n", False),
        ("name,value,reason\na,0.25,\nb,0.25,\n", False),
        ("name,value\na,0.25\nb,\n", False),
        ("name,value,reason\nb,0.25,\na,,no number\n", False),
    ):
        new = records("t.csv", text)
        assert all(any(holds(one, row) for one in new) for row in golden) is same
    older, newer = (
        {"m": {"low": low}, "n": [{"x": 1}, {"x": None}]} for low in (1.5, 1.5 + 1e-6)
    )
    assert records("t.json", json.dumps(older))[1] == {"key": "m", "low": 1.5}
    assert not any(holds(one, {"key": "m", "low": 1.5}) for one in _objects(newer, ""))
