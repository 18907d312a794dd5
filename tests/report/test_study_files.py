"""What a study's files say is what the study found, and hostile names do no harm."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noctule.errors import OutputError
from noctule.metrics import Estimate
from noctule.report.pairs import pairs_of
from noctule.report.study_files import summary, write_study_files
from noctule.report.terminal import terminal_text
from noctule.studies.accuracy import AccuracyRow
from noctule.studies.families import Families
from noctule.studies.matrix import OverlapMatrix, read_matrix

INF = float("inf")
THIRD = 1 / 3
RAW = np.array([[1, THIRD, -0.25], [THIRD, 1, 1.5], [-0.25, 1.5, 1]])
# Forty resamples, half at each end: so these are the ends of the 95 % CIs.
REPLICATES = np.ones((40, 3, 3))
for _i, _j, _ends in [(0, 1, (0.1, INF)), (0, 2, (-INF, 0.1)), (1, 2, (1.1, 1.9))]:
    REPLICATES[:, _i, _j] = REPLICATES[:, _j, _i] = np.repeat(_ends, 20)
MATRIX = OverlapMatrix(
    ("rain", "shear", "hue"),
    RAW,
    {"border": "no gain", "blur": "a loss"},
    "robustness",
    REPLICATES,
    source="a test",
)
ACCURACIES = (
    AccuracyRow("standard", "clean", Estimate(0.1 + 0.2, 0.25, 0.35)),
    AccuracyRow("rain", "rain", Estimate(0.5, None, None, "a single image")),
)
ORDER = (2, 0, 1)
HOSTILE = "a_b & 50% {x} #1 $y$ \\z ~^ |<i>[l](u)*`"


def write(folder: Path, matrix: OverlapMatrix = MATRIX, **changes: Any) -> Path:
    settings: dict[str, Any] = {
        "accuracies": ACCURACIES,
        "families": Families((0, 1, 1), 0.75),
        "hierarchical": Families((0, 0, 1), None),
        "order": ORDER,
        "title": "A study",
    }
    paths = write_study_files(folder, matrix=matrix, **{**settings, **changes})
    assert sorted(paths) == sorted(folder.iterdir())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("study") / "new" / "folder")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_all_files_are_there(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "accuracies.csv", "overlap.csv", "overlap-pairs.csv", "families.csv", "overlap.md",
        "overlap.tex", "overlap.json", "heatmap.png", "heatmap.svg", "heatmap.pdf",
    }  # fmt: skip


def test_the_square_reads_back_equal(folder: Path) -> None:
    back = read_matrix(folder / "overlap.csv")
    assert back.names == MATRIX.names
    assert np.array_equal(back.scores, MATRIX.scores)
    assert set(back.undefined) == {"border", "blur"}


def test_accuracies_read_back_equal(folder: Path) -> None:
    first, second = rows(folder / "accuracies.csv")
    assert (first["model"], first["condition"], first["reason"]) == ("standard", "clean", "")
    numbers = [float(first[name]) for name in ("accuracy", "low", "high")]
    assert numbers == [0.1 + 0.2, 0.25, 0.35]
    assert list(second.values()) == ["rain", "rain", "0.5", "", "", "a single image"]


def test_pairs_are_there_once_with_bounds_or_a_reason(folder: Path) -> None:
    pairs = rows(folder / "overlap-pairs.csv")
    assert len({frozenset((one["a"], one["b"])) for one in pairs}) == len(pairs) == 5 * 4 / 2
    by_names = {(one.pop("a"), one.pop("b")): list(one.values()) for one in pairs}
    no_bound = "the interval has no bound where its end is missing"
    third = repr(THIRD)
    assert by_names["rain", "shear"] == [third, third, "0.1", "", no_bound]
    assert by_names["rain", "hue"] == ["0.0", "-0.25", "", "0.1", no_bound]
    assert by_names["shear", "hue"] == ["1.5", "1.5", "1.1", "1.9", ""]
    assert by_names["rain", "border"] == ["", "", "", "", "border: no gain"]
    assert by_names["border", "blur"] == ["", "", "", "", "border: no gain; blur: a loss"]


def test_without_resamples_pairs_say_so() -> None:
    first = pairs_of(replace(MATRIX, replicates=None))[0]
    assert first == ("rain", "shear", THIRD, THIRD, None, None, "there are no resamples")


def test_families_and_places(folder: Path) -> None:
    # Order: hue, rain, shear.
    assert [list(row.values()) for row in rows(folder / "families.csv")] == [
        ["rain", "A", "1", "2", ""],
        ["shear", "B", "1", "3", ""],
        ["hue", "B", "2", "1", ""],
        ["border", "", "", "", "no gain"],
        ["blur", "", "", "", "a loss"],
    ]


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_json_is_json_and_holds_everything(folder: Path) -> None:
    text = (folder / "overlap.json").read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=refuse)
    assert (data["title"], data["form"], data["source"]) == ("A study", "robustness", "a test")
    assert (data["confidence"], data["resamples"]) == (0.95, 40)
    assert data["mean_correlation"] == {"kmeans": 0.75, "hierarchical": None}
    assert [tuple(pair.values()) for pair in data["overlap"]] == pairs_of(MATRIX)
    assert data["overlap"][0]["raw"] == THIRD
    assert data["overlap"][0]["high"] is None
    assert data["candidates"][2]["kmeans"] == "B"
    assert data["candidates"][3]["place"] is None
    assert data["accuracies"][0]["accuracy"] == 0.1 + 0.2
    assert data["accuracies"][1]["reason"] == "a single image"


def test_markdown_shows_the_square_in_the_order(folder: Path) -> None:
    lines = (folder / "overlap.md").read_text(encoding="utf-8").splitlines()
    # Scores rain-shear .33 (interval above 0, so bold), rain-hue 0, shear-hue 1.5 (bold).
    assert lines[2:9] == [
        "| corruption | family | hue | rain | shear | border | blur |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| hue | B | 1 | 0 | **1.5** | – | – |",
        "| rain | A | 0 | 1 | **.33** | – | – |",
        "| shear | B | **1.5** | **.33** | 1 | – | – |",
        "| border | – | – | – | – | – | – |",
        "| blur | – | – | – | – | – | – |",
    ]
    notes = " ".join(lines[9:])
    for part in ("A(m, c) / A(m, clean) (robustness)", "95 %", "border (no gain)", "a test"):
        assert part in notes


def test_plain_accuracies_are_called_so(tmp_path: Path) -> None:
    write(tmp_path, replace(MATRIX, form="accuracy", replicates=None, undefined={}))
    for name in ("overlap.md", "overlap.tex"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "R(m, c) = A(m, c) (accuracy)" in text
        assert "Bold" not in text
        assert "ndefined" not in text


def test_latex_shows_the_square_in_the_order(folder: Path) -> None:
    text = (folder / "overlap.tex").read_text(encoding="utf-8")
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert body == [
        r"hue & B & 1 & 0 & \textbf{1.5} & -- & -- \\",
        r"rain & A & 0 & 1 & \textbf{.33} & -- & -- \\",
        r"shear & B & \textbf{1.5} & \textbf{.33} & 1 & -- & -- \\",
        r"border & -- & -- & -- & -- & -- & -- \\",
        r"blur & -- & -- & -- & -- & -- & -- \\",
    ]
    assert r"\begin{tabular}{llrrrrr}" in text
    assert r"95 \% CI" in text


def as_typeset(latex: str) -> str:
    """What LaTeX prints for text, by its own rules: the commands that escaping may use."""
    commands = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^",
                "textless": "<", "textgreater": ">", "textbar": "|"}  # fmt: skip
    special = set("&%$#_{}~^\\")

    def printed(match: re.Match[str]) -> str:
        word, mark, group, plain = match.groups()
        if word:
            return commands[word]
        assert plain not in special, f"{plain} is not escaped in {latex}"
        return mark or group or plain

    return re.sub(r"\\([a-z]+)\{\}|\\([^a-z])|\{(\[|\*)\}|(.)", printed, latex)


def test_hostile_names_are_printed_and_not_obeyed(tmp_path: Path) -> None:
    names = (HOSTILE, "[2pt] b", "* c\nd")
    matrix = replace(MATRIX, names=names, undefined={HOSTILE + "!": "50% & _"}, source="a_%")
    write(tmp_path, matrix, order=(0, 1, 2), title=HOSTILE)
    square = (tmp_path / "overlap.tex").read_text(encoding="utf-8").split("\\midrule\n")[1]
    lines = square.split("\\bottomrule")[0].splitlines()
    cells = [re.split(r" (?<!\\)& ", line.removesuffix(r" \\"))[0] for line in lines]
    # A line break in a name is a blank; after a row's \\ neither [ nor * may follow.
    assert [as_typeset(cell) for cell in cells] == [HOSTILE, names[1], "* c d", HOSTILE + "!"]
    assert not any(line.startswith(("[", "*")) for line in lines)
    markdown = (tmp_path / "overlap.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in markdown if line.startswith("| a"))
    first, family, *_ = re.split(r"(?<!\\)\|", row)[1:]
    # CommonMark: a backslash before any ASCII punctuation prints that mark.
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", first).strip() == HOSTILE
    assert family.strip() == "A"
    assert not re.search(r"(?<!\\)[`*_\[\]<>#|~$&]", first.replace("\\\\", ""))
    assert read_matrix(tmp_path / "overlap.csv").names[0] == HOSTILE


def test_a_single_candidate_is_a_study_too(tmp_path: Path) -> None:
    alone = OverlapMatrix(("rain",), np.ones((1, 1)))
    one = Families((0,), None)
    write(tmp_path, alone, order=(0,), families=one, hierarchical=one, accuracies=())
    header = (tmp_path / "overlap-pairs.csv").read_text(encoding="utf-8")
    assert header == "a,b,score,raw,low,high,reason\n"
    assert rows(tmp_path / "accuracies.csv") == []
    assert "rain" in printed(alone, one)


def test_what_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file")
    (tmp_path / "study" / "overlap-pairs.csv").mkdir(parents=True)
    with pytest.raises(OutputError) as caught:
        write(tmp_path / "study")
    assert caught.value.where == str(tmp_path / "study" / "overlap-pairs.csv")


def printed(matrix: OverlapMatrix, families: Families) -> str:
    return terminal_text(summary(matrix, families), 100)


def test_the_summary_tells_families_and_the_pairs_at_odds_with_them() -> None:
    names = ("rain[red]", "shear", "hue")  # rich would read a style into this
    matrix = replace(MATRIX, names=names, undefined={"[bold]x": "no gain"})
    text = printed(matrix, Families((0, 1, 1), 0.75))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines.index("A rain[red]") < lines.index("B shear, hue")
    within = lines.index("Least overlap within a family")
    between = lines.index("Most overlap between families")
    assert within < lines.index("shear hue 1.50 1.10 to 1.90") < between
    # The larger first: 1/3 and then −1/4, which counts as 0.
    assert lines[between + 4 : between + 6] == [
        "rain[red] shear 0.33 0.10 to no bound",
        "rain[red] hue 0.00 no bound to 0.10",
    ]
    assert "[bold]x is undefined: no gain" in lines


def test_the_summary_shows_the_few_weakest_and_strongest() -> None:
    # Seven alike of one family: overlap of i and j within is (i + j) / 20, so the weakest are
    # 01 02 03|12 04|13 05|...; with the eighth, of its own family, i / 10: from 6 downwards.
    i, j = np.indices((8, 8))
    raw = np.where(i == j, 1.0, (i + j) / 20)
    raw[7, :7] = raw[:7, 7] = np.arange(7) / 10
    matrix = OverlapMatrix(tuple("abcdefgh"), raw)
    text = printed(matrix, Families((0,) * 7 + (1,), None))
    found = re.findall(r"^([a-h])\s+([a-h])\s+(\d\.\d\d)", text, flags=re.MULTILINE)
    assert [float(score) for *_, score in found[:5]] == [0.05, 0.1, 0.15, 0.15, 0.2]
    assert [(a + b, float(score)) for a, b, score in found[5:]] == [
        ("gh", 0.6), ("fh", 0.5), ("eh", 0.4), ("dh", 0.3), ("ch", 0.2)
    ]  # fmt: skip
