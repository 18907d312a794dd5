"""docs/agreement.md agrees with docs/agreement.csv."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterable

import pytest

from corruption_cases import CROPS
from imagenet_c_agreement import DETERMINISTIC, NAMES, STATISTICS, STOCHASTIC, Difference
from imagenet_c_peers import REFERENCES
from noctule.corruptions import SEVERITIES
from repository import DOCS

LIMIT = 0.01 / (len(STOCHASTIC) * len(SEVERITIES))
PAGE = (DOCS / "agreement.md").read_text(encoding="utf-8")
LINE = re.compile(r"^\| `(\w+)` \| (.*) \|$", re.M)


@functools.cache
def published_rows() -> dict[tuple[str, int], list[dict[str, str]]]:
    """The lines of agreement.csv by corruption and severity."""
    rows: dict[tuple[str, int], list[dict[str, str]]] = {}
    with (DOCS / "agreement.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.setdefault((row["corruption"], int(row["severity"])), []).append(row)
    return rows


def lines_after(heading: str) -> list[tuple[str, list[str]]]:
    """The table under a heading: names, and the other cells."""
    section = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0]
    return [(name, cells.split(" | ")) for name, cells in LINE.findall(section)]


def test_the_files_are_complete() -> None:
    assert set(published_rows()) == {
        (name, severity) for name in NAMES for severity in SEVERITIES
    }
    for (name, _), rows in published_rows().items():
        expected = len(CROPS) * len(Difference._fields)
        assert len(rows) == (expected if name in DETERMINISTIC else len(STATISTICS))
    assert {row["seeds"] for rows in published_rows().values() for row in rows} - {""} == {
        re.findall(r"with (\d+) seeds", PAGE)[0]
    }


def test_the_page_names_the_references() -> None:
    table = lines_after("Which package")
    assert [name for name, _ in table] == list(NAMES)
    for name, (package, why) in table:
        assert (package, why) == REFERENCES[name][:2]
        assert {row["package"] for row in published_rows()[name, 1]} == {package}


def test_the_table_of_images_is_that_of_the_file() -> None:
    table = lines_after("Deterministic corruptions")
    assert [name for name, _ in table] == list(DETERMINISTIC)
    for name, (*cells, most) in table:
        found = [published_rows()[name, severity] for severity in SEVERITIES]
        for cell, rows in zip(cells, found, strict=True):
            least = min(float(r["found"]) for r in rows if r["statistic"] == "psnr_db")
            assert cell == ("identical" if least == float("inf") else f"{least:.1f}")
        apart = [r["found"] for rows in found for r in rows if r["statistic"] == "most_levels"]
        assert int(most) == max(map(int, apart))


def test_the_table_of_distributions_is_that_of_the_file() -> None:
    table = lines_after("Random corruptions")
    expected = [(name, str(severity)) for name in STOCHASTIC for severity in SEVERITIES]
    assert [(name, cells[0]) for name, cells in table] == expected
    for name, (severity, *cells, spectrum, p_value) in table:
        rows = {row["statistic"]: row for row in published_rows()[name, int(severity)]}
        for key, cell in zip(SHOWN, cells, strict=True):
            numbers = [float(number) for number in re.findall(r"[-+]?[\d.]+", cell)]
            scale = 1 if key.endswith("_db") else 255
            assert numbers == pytest.approx(distance(rows[key], scale), abs=0.00501 + 1e-3)
        more, error, low = map(float, re.findall(r"[-+]?[\d.]+", spectrum))
        band = distance(rows[f"power_{low:.0f}_db"], 1)
        assert [more, error] == pytest.approx(band[1:], abs=0.00501 + 1e-3)
        assert float(p_value) == pytest.approx(corrected_p(rows.values()), rel=0.06)


SHOWN = ("mean_change", "mean_abs_change", "spread", "psnr_db")


def distance(row: dict[str, str], scale: float) -> list[float]:
    """Theirs, what ours has more, and the standard error of that."""
    theirs, ours = float(row["theirs"]), float(row["ours"])
    variance = float(row["their_sd"]) ** 2 + float(row["our_sd"]) ** 2
    error = (variance / int(row["seeds"])) ** 0.5
    return [theirs * scale, (ours - theirs) * scale, error * scale]


def corrected_p(rows: Iterable[dict[str, str]]) -> float:
    found = [float(row[key]) for row in rows for key in ("p_mean", "p_distribution")]
    return min(1.0, min(found) * len(found))


def test_what_the_page_concludes() -> None:
    smallest = min(
        corrected_p(published_rows()[c]) for c in published_rows() if c[0] in STOCHASTIC
    )
    text = " ".join(PAGE.split())
    assert smallest > LIMIT
    assert f"a p below {LIMIT:.5f} would mean a difference" in text
    (stated,) = re.findall(r"The smallest is ([\d.e-]+), which is above it", text)
    assert float(stated) == pytest.approx(smallest, rel=0.06)
