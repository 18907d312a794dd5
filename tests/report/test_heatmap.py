"""The figure shows the matrix's own numbers, and nobody needs a magnifying glass or luck."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from noctule import InputError
from noctule.errors import OutputError
from noctule.report.heatmap import (
    COLOR_MAP,
    FAMILY_COLORS,
    UNDEFINED,
    draw_heatmap,
    save_heatmap,
    text_color,
)
from noctule.studies.matrix import OverlapMatrix

RAW = np.array([[1, 0.424, -0.2], [0.424, 1, 1.34], [-0.2, 1.34, 1]])
ENDS = {(0, 1): (-0.1, 0.9), (0, 2): (-0.4, 0.1), (1, 2): (0.7, 2.0)}


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
    return draw_heatmap(matrix, order, families, title="Title")


def many(n: int, undefined: int = 0, prefix: str = "corruption_") -> OverlapMatrix:
    raw = np.fromfunction(lambda i, j: 1 / (1 + abs(i - j)), (n, n))
    names = tuple(f"{prefix}{i}" for i in range(n + undefined))
    replicates = np.stack([raw, raw])
    return OverlapMatrix(
        names[:n], raw, dict.fromkeys(names[n:], "why"), "accuracy", replicates
    )


def cell_texts(figure: Figure) -> dict[tuple[float, float], Text]:
    """By row and column."""
    return {(one.get_position()[1], one.get_position()[0]): one for one in figure.axes[0].texts}


def boxes(axes: Axes) -> list[Rectangle]:
    return [one for one in axes.patches if isinstance(one, Rectangle)]


def hatched(figure: Figure) -> set[tuple[float, float]]:
    return {
        (one.get_y() + 0.5, one.get_x() + 0.5)
        for one in boxes(figure.axes[0])
        if one.get_hatch()
    }


def all_words(figure: Figure) -> list[str]:
    return [one.get_text() for one in figure.findobj(Text)]


def luminance(color: object) -> float:
    # https://www.w3.org/TR/WCAG21/#dfn-relative-luminance
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4
        for one in to_rgb(color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: object, other: object) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_the_numbers_are_the_matrixs_in_the_order() -> None:
    shown = {at: text.get_text() for at, text in cell_texts(draw(FULL)).items()}
    # Rows and columns c, a, b; −.2 is cut off at 0.
    rows = [["1", "0", "1.3"], ["0", "1", ".42"], ["1.3", ".42", "1"]]
    assert shown == {(i, j): rows[i][j] for i in range(3) for j in range(3)}


def test_names_are_in_the_order_and_undefined_ones_last() -> None:
    cells = draw(FULL).axes[0]
    for axis in (cells.xaxis, cells.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == [
            "c",
            "a",
            "b",
            "d",
            "e",
        ]
    assert cells.yaxis_inverted()  # the first row is on top


def test_cells_have_the_colors_of_the_map_and_1_for_more() -> None:
    colors = {
        (one.get_y() + 0.5, one.get_x() + 0.5): one.get_facecolor()
        for one in boxes(draw(BARE).axes[0])
        if one.get_fill()
    }
    assert len(colors) == 9
    assert colors[1, 2] == colormaps[COLOR_MAP](0.424)
    assert colors[0, 1] == colormaps[COLOR_MAP](0.0)
    assert colors[0, 2] == colors[0, 0] == colormaps[COLOR_MAP](1.0)


def test_exactly_the_undefined_cells_are_hatched_and_explained() -> None:
    figure = draw(FULL)
    assert hatched(figure) == {(i, j) for i in range(5) for j in range(5) if max(i, j) >= 3}
    assert UNDEFINED in all_words(figure)
    assert hatched(draw(BARE)) == set()
    assert UNDEFINED not in all_words(draw(BARE))


def test_exactly_the_scores_whose_interval_lies_above_0_are_bold() -> None:
    # (1, 2) is above 0; (0, 1) reaches below, (0, 2) too.
    bold = {
        at for at, text in cell_texts(draw(FULL)).items() if text.get_fontweight() == "bold"
    }
    assert bold == {(0, 2), (2, 0)}  # c and b are places 0 and 2
    assert "bold: the 95 % CI lies above 0" in all_words(draw(FULL))
    assert all(text.get_fontweight() == "normal" for text in cell_texts(draw(BARE)).values())
    assert not any("bold" in word for word in all_words(draw(BARE)))


def test_an_end_without_a_bound_establishes_nothing() -> None:
    ends = {(0, 1): (0.1, np.inf), (0, 2): (-np.inf, 0.9), (1, 2): (np.inf, np.inf)}
    expected = [[False, True, False], [True, False, False], [False, False, False]]
    assert with_replicates(ends).established().tolist() == expected


def test_text_stands_out_from_every_color() -> None:
    colors = [*(color[:3] for color in colormaps[COLOR_MAP](range(256))), *FAMILY_COLORS]
    assert len(colors) > 256
    assert min(contrast(text_color(to_rgb(color)), color) for color in colors) >= 4.5


def test_the_contrast_of_these_tests_is_the_published_one() -> None:
    # Known from WCAG's own material: black on white 21; #777777 just fails, #767676 passes.
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#777777", "white") < 4.5 < contrast("#767676", "white")


def test_the_map_darkens_steadily() -> None:
    values = [luminance(color[:3]) for color in colormaps[COLOR_MAP](range(256))]
    assert all(one > other for one, other in pairwise(values))
    assert contrast(colormaps[COLOR_MAP](0)[:3], "white") < 1.1


@pytest.mark.parametrize(
    ("order", "letters", "frames"),
    [
        ((0, 1, 2), "AB", {(-0.5, -0.5, 2, 2)}),
        ((2, 0, 1), "BA", {(0.5, 0.5, 2, 2)}),
        # Parted: four pieces of one cell each, corner by corner.
        ((0, 2, 1), "ABA", {(x, y, 1, 1) for x in (-0.5, 1.5) for y in (-0.5, 1.5)}),
    ],
)
def test_families_are_framed_and_lettered(
    order: tuple[int, ...], letters: str, frames: set[tuple[float, float, float, float]]
) -> None:
    figure = draw(BARE, order)
    cells, rows, columns = figure.axes[:3]
    found = {
        (*b.get_xy(), b.get_width(), b.get_height()) for b in boxes(cells) if not b.get_fill()
    }
    assert found == frames
    for strip in (rows, columns):
        assert "".join(text.get_text() for text in strip.texts) == letters


def test_families_of_one_have_no_frames() -> None:
    figure = draw(BARE, families=(0, 1, 2))
    assert all(box.get_fill() for box in boxes(figure.axes[0]))
    assert not any("family" in word for word in all_words(figure))


@pytest.mark.parametrize(
    ("matrix", "width_in"),
    [
        (many(1, prefix="x"), 3.4),
        (many(1, undefined=3), 3.4),
        (many(4, undefined=1), 3.4),
        (many(12, prefix="corrupt_"), 3.4),
        (many(12), 7),
        (many(23, undefined=2), 7),
        (many(40), 10),
        (many(4, 1, "an_exceedingly_long_name_of_a_corruption_"), 7),
    ],
    ids=lambda value: f"{len(value.names)}" if isinstance(value, OverlapMatrix) else str(value),
)
def test_everything_is_inside_and_nothing_overlaps(
    matrix: OverlapMatrix, width_in: float
) -> None:
    n = len(matrix.names)
    title = "A title of some length, about models and about images"
    figure = draw_heatmap(matrix, range(n), [i // 3 for i in range(n)], title=title)
    figure.set_dpi(300)  # hinting moves letters by a dot
    figure.draw(renderer := FigureCanvasAgg(figure).get_renderer())
    assert figure.get_size_inches()[0] <= width_in + 1e-9
    whole = figure.bbox
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text():
            box = text.get_window_extent(renderer)
            assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text
            assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, text
    cells = figure.axes[0]
    cell_px = cells.bbox.width / (n + len(matrix.undefined))
    assert cells.bbox.height == pytest.approx(cells.bbox.width)  # square
    assert max(t.get_window_extent(renderer).width for t in cells.texts) < cell_px
    assert min(float(t.get_fontsize()) for t in figure.findobj(Text) if t.get_text()) >= 5.7
    labels = [label.get_window_extent(renderer) for label in cells.get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(labels))


def test_dollars_in_names_and_title_are_no_formulas() -> None:
    matrix = OverlapMatrix(("a$_b$", "c"), np.eye(2))
    figure = draw_heatmap(matrix, (0, 1), (0, 1), title="$x^2$")
    words = [one for one in figure.findobj(Text) if "$" in one.get_text()]
    assert {one.get_text() for one in words} == {"a$_b$", "$x^2$"}
    assert not any(one.get_parse_math() for one in words)


def test_an_order_that_does_not_fit_is_refused() -> None:
    for order, families in [((0, 1), (0, 0, 0)), ((0, 0, 1), (0, 0, 0)), ((0, 1, 2), (0, 0))]:
        with pytest.raises(ValueError, match="do not fit 3 candidates"):
            draw(BARE, order, families)


def test_the_formats_are_written_and_the_same_again(tmp_path: Path) -> None:
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    first = save_heatmap(draw(FULL), tmp_path / "v1.0")
    assert [path.name for path in first] == [f"v1.0.{name}" for name in starts]
    own: Any = {
        "font.size": 30,
        "text.color": "red",
        "savefig.transparent": True,
        "axes.grid": True,
    }
    with matplotlib.rc_context({**own, "svg.hashsalt": None}):  # the user's configuration
        second = save_heatmap(draw(FULL), tmp_path / "again")
    for one, other, start in zip(first, second, starts.values(), strict=True):
        assert one.read_bytes().startswith(start)
        assert one.read_bytes() == other.read_bytes()


SCRIPT = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from test_heatmap import *
for path in save_heatmap(draw(FULL), Path({stem!r})):
    print(hashlib.sha256(path.read_bytes()).hexdigest())
assert "matplotlib.pyplot" not in sys.modules
"""


def test_another_process_on_another_day_writes_the_same(tmp_path: Path) -> None:
    script = SCRIPT.format(tests=str(Path(__file__).parent), stem=str(tmp_path / "other"))
    environment = {"PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1000000000"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    own = save_heatmap(draw(FULL), tmp_path / "own")
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in own]
    assert done.stdout.split() == hashes


def test_what_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        save_heatmap(draw(BARE), tmp_path / "file" / "heatmap", ["png"])
    assert str(caught.value.where).endswith("heatmap.png")
    with pytest.raises(InputError, match="unknown format of a figure 'bmp'"):
        save_heatmap(draw(BARE), tmp_path / "heatmap", ["bmp"])
