"""The overlap figure shows the matrix's own numbers, legibly, and is the same every time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noctule.report.charts import COLORS, COLUMN_WIDTH_PT, FIGURE_FORMATS, Figure, save_figure
from noctule.report.heatmap import (
    FAMILY_COLORS,
    PAGE_WIDTH_PT,
    UNDEFINED_NOTE,
    blend,
    overlap_figure,
    text_color,
)
from noctule.studies.matrix import OverlapMatrix

RAW = np.array([[1, 0.424, -0.2], [0.424, 1, 1.34], [-0.2, 1.34, 1]])
ENDS = {(0, 1): (-0.1, 0.9), (0, 2): (-0.4, 0.1), (1, 2): (0.7, 2.0)}
Spec = dict[str, Any]


def with_replicates(ends: dict[tuple[int, int], tuple[float, float]]) -> OverlapMatrix:
    """Half of the resamples at each end, so that these are the ends of the intervals."""
    replicates = np.ones((40, 3, 3))
    for (i, j), pair in ends.items():
        replicates[:, i, j] = replicates[:, j, i] = np.repeat(pair, 20)
    return OverlapMatrix(
        ("a", "b", "c"), RAW, {"d": "no gain", "e": "loss"}, "robustness", replicates
    )


BARE = OverlapMatrix(("a", "b", "c"), RAW)
FULL = with_replicates(ENDS)


def draw(
    matrix: OverlapMatrix, order: Sequence[int] = (2, 0, 1), families: Sequence[int] = (0, 0, 1)
) -> Figure:
    return overlap_figure(matrix, order, families, title="Title")


def many(n: int, undefined: int = 0, prefix: str = "corruption_") -> OverlapMatrix:
    raw = np.fromfunction(lambda i, j: 1 / (1 + abs(i - j)), (n, n))
    names = tuple(f"{prefix}{i}" for i in range(n + undefined))
    replicates = np.stack([raw, raw])
    return OverlapMatrix(
        names[:n], raw, dict.fromkeys(names[n:], "why"), "accuracy", replicates
    )


def layers(figure: Figure, mark: str) -> list[tuple[Spec, list[Spec]]]:
    """The layers of a kind of mark in the paper's chart, with their data."""
    spec = figure.paper_spec()
    return [
        (layer, spec["datasets"][layer["data"]["name"]])
        for layer in spec["layer"]
        if layer["mark"]["type"] == mark
    ]


def numbers(figure: Figure) -> list[tuple[Spec, Spec]]:
    """The mark and the record of each number in a cell."""
    return [
        (layer["mark"], record)
        for layer, records in layers(figure, "text")
        for record in records
        if "text" in record
    ]


def subtitle(figure: Figure) -> str:
    return " ".join(figure.paper_spec()["title"]["subtitle"])


def luminance(color: Sequence[float]) -> float:
    # https://www.w3.org/TR/WCAG21/#dfn-relative-luminance
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in color
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


INKS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}


def test_the_numbers_are_the_matrixs() -> None:
    shown = {(record["a"], record["b"]): record["text"] for _, record in numbers(draw(FULL))}
    # −.2 is cut off at 0.
    rows = {"a": ["1", ".42", "0"], "b": [".42", "1", "1.3"], "c": ["0", "1.3", "1"]}
    assert shown == {(a, b): row["abc".index(b)] for a, row in rows.items() for b in "abc"}


def test_names_are_in_the_order_and_undefined_ones_last() -> None:
    for layer, _ in layers(draw(FULL), "rect")[:1]:
        for axis in ("x", "y"):
            assert layer["encoding"][axis]["scale"]["domain"] == ["c", "a", "b", "d", "e"]


def test_cells_are_bluer_the_larger_the_score_and_1_for_more() -> None:
    layer, records = layers(draw(BARE), "rect")[0]
    scale = layer["encoding"]["color"]["scale"]
    assert (scale["domain"], scale["clamp"]) == ([0, 1], True)
    assert [one.rsplit(",", 1)[1] for one in scale["range"]] == [" 0)", " 1)"]
    assert {record["score"] for record in records} == {0.0, 0.424, 1.0, 1.34}


def test_exactly_the_undefined_cells_are_crossed_out_and_explained() -> None:
    ((_, records),) = layers(draw(FULL), "point")
    assert {(one["a"], one["b"]) for one in records} == {
        (a, b) for a in "abcde" for b in "abcde" if {a, b} & {"d", "e"}
    }
    assert UNDEFINED_NOTE in subtitle(draw(FULL))
    assert layers(draw(BARE), "point") == []
    assert UNDEFINED_NOTE not in subtitle(draw(BARE))


def test_exactly_the_scores_whose_interval_lies_above_0_are_bold() -> None:
    # (b, c) is above 0; (a, b) reaches below, (a, c) too.
    bold = {
        (record["a"], record["b"])
        for mark, record in numbers(draw(FULL))
        if mark["fontWeight"] == "bold"
    }
    assert bold == {("b", "c"), ("c", "b")}
    assert "Bold: the 95 % CI lies above 0." in subtitle(draw(FULL))
    assert all(mark["fontWeight"] == "normal" for mark, _ in numbers(draw(BARE)))
    assert "Bold" not in subtitle(draw(BARE))


def test_an_end_without_a_bound_establishes_nothing() -> None:
    ends = {(0, 1): (0.1, np.inf), (0, 2): (-np.inf, 0.9), (1, 2): (np.inf, np.inf)}
    expected = [[False, True, False], [True, False, False], [False, False, False]]
    assert with_replicates(ends).established().tolist() == expected


def test_text_stands_out_from_every_color() -> None:
    colors = [blend(COLORS[0], i / 255) for i in range(256)]
    colors += [blend(color, 1) for color in FAMILY_COLORS]
    assert min(contrast(INKS[text_color(color)], color) for color in colors) >= 4.5
    for mark, record in numbers(draw(many(12), range(12), [0] * 12)):
        background = blend(COLORS[0], min(record["score"], 1))
        ink = INKS[mark.get("color", "black")]
        assert contrast(ink, background) >= 4.5


def test_the_contrast_of_these_tests_is_the_published_one() -> None:
    # Known from WCAG's own material: black on white 21; #777777 just fails, #767676 passes.
    assert contrast(INKS["black"], INKS["white"]) == pytest.approx(21)
    assert contrast([0x77 / 255] * 3, (1, 1, 1)) < 4.5 < contrast([0x76 / 255] * 3, (1, 1, 1))


@pytest.mark.parametrize(
    ("order", "letters", "frames"),
    [
        ((0, 1, 2), "AAB", {(0, 0, 2, 2)}),
        ((2, 0, 1), "BAA", {(1, 1, 3, 3)}),
        # Parted: four pieces of one cell each, corner by corner.
        ((0, 2, 1), "ABA", {(x, y, x + 1, y + 1) for x in (0, 2) for y in (0, 2)}),
    ],
)
def test_families_are_framed_and_lettered(
    order: tuple[int, ...], letters: str, frames: set[tuple[int, int, int, int]]
) -> None:
    figure = draw(BARE, order)
    cell = figure.paper_spec()["width"] / 3
    found = {
        tuple(round(layer["encoding"][end]["value"] / cell) for end in ("x", "y", "x2", "y2"))
        for layer, _ in layers(figure, "rect")
        if layer["mark"].get("strokeWidth") == 1.8
    }
    assert found == frames
    strips = [records for _, records in layers(figure, "text") if "letter" in records[0]]
    assert ["".join(one["letter"] for one in records) for records in strips] == [letters] * 2


def test_families_of_one_have_no_frames() -> None:
    figure = draw(BARE, families=(0, 1, 2))
    assert all(one["mark"].get("strokeWidth") != 1.8 for one, _ in layers(figure, "rect"))
    assert "families" not in subtitle(figure)


@pytest.mark.parametrize(
    ("matrix", "width_pt"),
    [
        (many(1, prefix="x"), COLUMN_WIDTH_PT),
        (many(4, undefined=1), COLUMN_WIDTH_PT),
        (many(10, prefix="corrupt_"), COLUMN_WIDTH_PT),
        (many(12), PAGE_WIDTH_PT),
        (many(23, undefined=2), PAGE_WIDTH_PT),
        (many(40), 720),
        (many(4, 1, "an_exceedingly_long_name_of_a_corruption_"), PAGE_WIDTH_PT),
    ],
    ids=lambda value: f"{len(value.names)}" if isinstance(value, OverlapMatrix) else str(value),
)
def test_the_figure_fits_a_column_or_a_page_and_is_legible(
    matrix: OverlapMatrix, width_pt: float, tmp_path: Path
) -> None:
    n = len(matrix.names)
    title = "A title of some length, about models and about images"
    figure = overlap_figure(matrix, range(n), [i // 3 for i in range(n)], title=title)
    save_figure(figure, tmp_path / "heatmap.svg")
    svg = (tmp_path / "heatmap.svg").read_text()
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    assert size is not None
    assert float(size[1]) <= width_pt
    cell = figure.paper_spec()["width"] / (n + len(matrix.undefined))
    assert cell >= 13
    for mark, record in numbers(figure):
        assert mark["fontSize"] >= 5.7
        assert 0.56 * mark["fontSize"] * len(record["text"]) < cell


def test_an_order_that_does_not_fit_is_refused() -> None:
    for order, families in [((0, 1), (0, 0, 0)), ((0, 0, 1), (0, 0, 0)), ((0, 1, 2), (0, 0))]:
        with pytest.raises(ValueError, match="do not fit 3 candidates"):
            draw(BARE, order, families)


def test_the_formats_are_written_and_the_same_again(tmp_path: Path) -> None:
    starts = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}
    for format in FIGURE_FORMATS:
        for stem in ("one", "other"):
            save_figure(draw(FULL), tmp_path / f"{stem}.{format}")
        first = (tmp_path / f"one.{format}").read_bytes()
        assert first.startswith(starts[format])
        if format != "pdf":  # whose converter orders its objects at random
            assert first == (tmp_path / f"other.{format}").read_bytes()
