"""The overlap matrix as a figure for a paper."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import groupby, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from numpy.typing import ArrayLike

from noctule.errors import unknown_name
from noctule.store.disk import output_errors, write_atomically
from noctule.studies.families import family_letter
from noctule.studies.matrix import OverlapMatrix

# One hue from paper-white to dark blue: no overlap recedes into the page, families stand out,
# and lightness falls steadily, so it reads the same with any colour vision and in black and
# white. (cividis and viridis give a score of 0 their loudest colour, yellow.)
COLOR_MAP = "Blues"
# Okabe and Ito's colours, which differ under any colour vision, but for their blues.
FAMILY_COLORS = ("#E69F00", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#BBBBBB")
UNDEFINED = "undefined: training on it is not shown to help against it"
DOTS_PER_INCH = 300
FORMATS = ("png", "svg", "pdf")
# No date, by format: equal figures are equal files.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None},
}  # fmt: skip
_FONT = "DejaVu Sans"  # comes with matplotlib: the same figure on every machine
_STYLE = {
    "font.family": _FONT,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "noctule",
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
}

# Lengths are in points, 72 to the inch, as font sizes are.
_COLUMN, _PAGE = 3.4 * 72, 7.0 * 72
_SMALLEST_CELL, _LARGEST_CELL = 13.0, 26.0
_STRIP, _GAP, _LINE, _BAR = 9.0, 3.0, 11.0, 6.5
_BAR_SHORTEST, _BAR_LONGEST = 75.0, 150.0
_NAME_SIZE, _NOTE_SIZE, _TITLE_SIZE = 7.0, 6.5, 8.0


_CENTRED: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
_LETTER: dict[str, Any] = {"size": _NOTE_SIZE, "weight": "bold", **_CENTRED}


class _Layout(NamedTuple):
    """Where things are, in points from the top left; x grows rightwards and y downwards."""

    names: tuple[str, ...]
    title: str
    notes: dict[str, str]
    cell: float
    left: float
    top: float
    width: float
    height: float

    @property
    def side(self) -> float:
        return self.cell * len(self.names)


def draw_heatmap(
    matrix: OverlapMatrix, order: Sequence[int], families: Sequence[int], *, title: str
) -> Figure:
    """Draw the overlap scores, in both triangles: so a row holds all there is on a candidate.

    Scores above 1 have the colour of 1 and show their number; a score cut off at 0 shows 0.
    A score whose interval lies above 0 is bold. Undefined candidates come last, hatched.
    Families have letters beside the names and are framed, in pieces if `order` parts them.

    Args:
        matrix: of n defined candidates.
        order: of rows and columns: the indices 0 to n − 1 into `matrix.names`.
        families: of each of `matrix.names`, numbered from 0.
        title: stands above; may be empty.

    Returns:
        A figure no wider than a paper's column, 3.4 inches, if its cells fit in there; else
        than a page, 7 inches; or as wide as the names and cells need.

    Raises:
        ValueError: `order` or `families` does not fit the matrix.
    """
    n = len(matrix.names)
    if sorted(order) != list(range(n)) or len(families) != n:
        raise ValueError(f"{order} and {families} do not fit {n} candidates")
    members = [families[i] for i in order]
    with _our_style():
        names = [*(matrix.names[i] for i in order), *matrix.undefined]
        lines = tuple(" ".join(name.split()) for name in names)
        layout = _lay_out(lines, title, _notes(matrix, members))
        figure = Figure(figsize=(layout.width / 72, layout.height / 72))
        cells = _axes(figure, layout, layout.left, layout.top, layout.side, layout.side)
        _draw_names(cells, layout)
        _draw_cells(cells, matrix, order, layout)
        _draw_families(figure, cells, members, layout)
        _draw_bar(figure, layout)
        _draw_notes(figure, layout)
        heading = figure.text(_GAP / layout.width, 1 - _GAP / layout.height, layout.title)
        heading.set(size=_TITLE_SIZE, weight="bold", va="top", parse_math=False)
    return figure


def save_heatmap(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write `stem`.png and so on; the same figure gives the same bytes.

    Raises:
        InputError: unknown format.
        OutputError: a file cannot be written.
    """
    paths = []
    for name in formats:
        if name not in _METADATA:
            raise unknown_name("format of a figure", name, _METADATA)
        buffer, path = io.BytesIO(), stem.with_name(f"{stem.name}.{name}")
        with _our_style():
            figure.savefig(buffer, format=name, dpi=DOTS_PER_INCH, metadata=_METADATA[name])
        with output_errors(path):
            write_atomically(path, buffer.getvalue())
        paths.append(path)
    return paths


def score_text(score: float) -> str:
    """A score in two digits; 0 is what was cut off at 0, and .00 is rounded.

    >>> [score_text(score) for score in (0, 0.004, 0.42, 0.996, 1.34, 12.3)]
    ['0', '.00', '.42', '1.0', '1.3', '12']
    """
    if score == 0:
        return "0"
    if score < 0.995:
        return f"{score:.2f}"[1:]
    return f"{score:.1f}" if score < 9.95 else f"{score:.0f}"


def text_color(background: ArrayLike) -> str:
    """Black or white, whichever contrasts more with an sRGB colour in [0, 1].

    By the contrast ratio of WCAG 2, (lighter + 0.05) / (darker + 0.05) of the relative
    luminances, that is at least 4.58 on any colour.
    """
    channels = np.asarray(background, dtype=np.float64)[:3]
    curved = ((channels + 0.055) / 1.055) ** 2.4
    linear = np.where(channels <= 0.04045, channels / 12.92, curved)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def _our_style() -> AbstractContextManager[None]:
    """From matplotlib's own defaults, whatever the user's configuration file says."""
    return style.context(["default", _STYLE])


def _notes(matrix: OverlapMatrix, members: Sequence[int]) -> dict[str, str]:
    """The legend: what a key means, line by line."""
    notes = {}
    if len(set(members)) < len(members):
        notes["frame"] = "within a family of corruptions that overlap"
    if matrix.intervals() is not None:
        notes["bold"] = f"bold: the {100 * matrix.confidence:g} % CI lies above 0"
    if matrix.undefined:
        notes["hatch"] = UNDEFINED
    return notes


def _lay_out(names: tuple[str, ...], title: str, notes: dict[str, str]) -> _Layout:
    top = max(_text_width(name, _NAME_SIZE) for name in names) + _STRIP + 3 * _GAP
    left = max(top, _text_width("overlap score", _NOTE_SIZE) + 3 * _GAP)
    in_column = left + len(names) * _SMALLEST_CELL + 2 * _GAP <= _COLUMN
    room = (_COLUMN if in_column else _PAGE) - left - 2 * _GAP
    cell = min(max(room / len(names), _SMALLEST_CELL), _LARGEST_CELL)
    right = left + max(len(names) * cell, _BAR_SHORTEST)
    for note in notes.values():
        right = max(right, cell + 3 * _GAP + _text_width(note, _NOTE_SIZE))
    lines = textwrap.wrap(title, int(right / (0.7 * _TITLE_SIZE)))
    top += _LINE * len(lines) + _GAP
    bottom = 4 * _GAP + _BAR + _LINE * (1 + len(notes))
    height = top + len(names) * cell + bottom
    text = "\n".join(lines)
    return _Layout(names, text, notes, cell, left, top, right + 2 * _GAP, height)


def _text_width(text: str, size: float) -> float:
    font = FontProperties(family=_FONT, size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def _axes(
    figure: Figure, layout: _Layout, left: float, top: float, width: float, height: float
) -> Axes:
    x, y = left / layout.width, 1 - (top + height) / layout.height
    axes = figure.add_axes((x, y, width / layout.width, height / layout.height))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    return axes


def _draw_names(cells: Axes, layout: _Layout) -> None:
    n = len(layout.names)
    cells.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    cells.tick_params(pad=_STRIP + 2 * _GAP, labelsize=_NAME_SIZE)
    cells.xaxis.tick_top()
    cells.set_xticks(range(n), layout.names, rotation=90, parse_math=False)
    cells.set_yticks(range(n), layout.names, parse_math=False)


def _draw_cells(
    cells: Axes, matrix: OverlapMatrix, order: Sequence[int], layout: _Layout
) -> None:
    size, scores, bold = min(0.44 * layout.cell, 7.5), matrix.scores, matrix.established()
    for row, column in product(range(len(layout.names)), repeat=2):
        corner = (column - 0.5, row - 0.5)
        if max(row, column) >= len(order):
            cells.add_patch(_undefined_box(corner, 1, 1))
            continue
        i, j = order[row], order[column]
        color = colormaps[COLOR_MAP](min(scores[i, j], 1.0))
        cells.add_patch(Rectangle(corner, 1, 1, fc=color, ec="#DDDDDD", lw=0.4))
        cells.text(
            column, row, "1" if i == j else score_text(scores[i, j]), size=size,
            color=text_color(color), weight="bold" if bold[i, j] else "normal", **_CENTRED,
        )  # fmt: skip


def _undefined_box(corner: tuple[float, float], width: float, height: float) -> Rectangle:
    return Rectangle(corner, width, height, fc="#EEEEEE", ec="#999999", lw=0, hatch="//////")


def _draw_families(
    figure: Figure, cells: Axes, members: Sequence[int], layout: _Layout
) -> None:
    """A lettered strip along both axes, and frames around what a family has together."""
    before = _STRIP + _GAP
    rows = _axes(figure, layout, layout.left - before, layout.top, _STRIP, layout.side)
    columns = _axes(figure, layout, layout.left, layout.top - before, layout.side, _STRIP)
    rows.set(ylim=cells.get_ylim(), xticks=[], yticks=[])
    columns.set(xlim=cells.get_xlim(), xticks=[], yticks=[])
    pieces, edge = [], -0.5  # cell i is at i ± 1/2
    for label, stretch in groupby(members):
        length = len(list(stretch))
        pieces.append((label, edge, length))
        edge += length
    for label, start, length in pieces:
        middle = start + length / 2
        _draw_letter(rows, label, Rectangle((0, start), 1, length), 0.5, middle)
        _draw_letter(columns, label, Rectangle((start, 0), length, 1), middle, 0.5)
    for (label, top, height), (other, left, width) in product(pieces, repeat=2):
        if label == other and members.count(label) > 1:
            for color, line in (("white", 2.4), ("black", 1.1)):
                frame = Rectangle((left, top), width, height, fill=False, ec=color, lw=line)
                frame.set(zorder=1.5, clip_on=False)
                cells.add_patch(frame)


def _draw_letter(axes: Axes, label: int, box: Rectangle, x: float, y: float) -> None:
    color = FAMILY_COLORS[label % len(FAMILY_COLORS)]
    box.set(facecolor=color, edgecolor="white", linewidth=0.8)
    axes.add_patch(box)
    axes.text(x, y, family_letter(label), color=text_color(to_rgb(color)), **_LETTER)


def _draw_bar(figure: Figure, layout: _Layout) -> None:
    length = min(max(layout.side, _BAR_SHORTEST), _BAR_LONGEST)
    top = layout.top + layout.side + 2 * _GAP
    axes = _axes(figure, layout, layout.left, top, length, _BAR)
    colors = ScalarMappable(Normalize(0, 1), COLOR_MAP)
    bar = figure.colorbar(colors, axes, orientation="horizontal", extend="max")
    bar.outline.set_linewidth(0.4)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", ".25", ".5", ".75", "1"])
    axes.tick_params(length=2, width=0.4, pad=1.5, labelsize=_NOTE_SIZE)
    axes.set_ylabel("overlap score", size=_NOTE_SIZE, rotation=0, labelpad=2 * _GAP)
    axes.yaxis.label.set(ha="right", va="center")


def _draw_notes(figure: Figure, layout: _Layout) -> None:
    height = _LINE * len(layout.notes) + _GAP  # without notes, still something
    axes = _axes(figure, layout, 0, layout.height - height, layout.width, height)
    axes.set(xlim=(0, layout.width), ylim=(height, 0), xticks=[], yticks=[])
    left, width = 2 * _GAP, layout.cell - _GAP
    for line, (key, meaning) in enumerate(layout.notes.items()):
        middle, corner = (line + 0.5) * _LINE, (left, line * _LINE + 2)
        if key == "hatch":
            axes.add_patch(_undefined_box(corner, width, _LINE - 4))
        elif key == "frame":
            axes.add_patch(Rectangle(corner, width, _LINE - 4, fill=False, lw=1.1))
        else:
            axes.text(left + width / 2, middle, ".42", **_LETTER)
        axes.text(left + width + 2 * _GAP, middle, meaning, size=_NOTE_SIZE, va=_CENTRED["va"])
