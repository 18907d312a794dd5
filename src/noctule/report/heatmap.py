"""The overlap matrix as a chart: interactive in a page, and as a figure for a paper."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby, product
from typing import Any, NamedTuple

import altair as alt

from noctule.errors import shown
from noctule.report.charts import COLORS, COLUMN_WIDTH_PT, Figure
from noctule.report.formatting import counted, interval_name, number
from noctule.report.pairs import Pair, pair_interval, pairs_of
from noctule.studies.families import family_letter
from noctule.studies.matrix import OverlapMatrix

NAME = "heatmap"
# Okabe and Ito's colours without their blues, distinguishable with any colour vision.
FAMILY_COLORS = ("#E69F00", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#BBBBBB")
UNDEFINED_NOTE = "Cross: undefined, training on it is not shown to help against it."
PAGE_WIDTH_PT = 504  # of a paper, 7 inches
_BLUE = COLORS[0]
_CROSS = "M-1,-1L1,1M-1,1L1,-1"
_PAIR = (alt.Tooltip("a:N", title="corruption"), alt.Tooltip("b:N", title="and"))
_LETTER_WIDTH = 0.56  # of the font size, on average

Record = dict[str, Any]


class _Layout(NamedTuple):
    """Geometry of the chart: in CSS px for a page, in points for a paper.

    Attributes:
        names: Of rows and columns, the undefined candidates last.
        cell: Side of a cell.
        strip: (start, end) of the strips with the families' letters, outside of the cells.
        name_size, letter_size, number_size: Sizes of text.
    """

    names: list[str]
    cell: float
    strip: tuple[float, float]
    name_size: float
    letter_size: float
    number_size: float


def overlap_figure(
    matrix: OverlapMatrix, order: Sequence[int], families: Sequence[int], *, title: str
) -> Figure:
    """The overlap scores, in both triangles: a row holds all scores of a candidate.

    Scores above 1 have the colour of 1 and show their number; a score cut off at 0 shows 0.
    Bold scores have an interval above 0. Undefined candidates come last, crossed out. Families
    have letters beside the names and are framed, in pieces if `order` parts them.

    Args:
        matrix: Of n defined candidates.
        order: Order of rows and columns: the indices 0 to n − 1 into `matrix.names`.
        families: Family of each of `matrix.names`, numbered from 0.
        title: Title in a paper.

    Returns:
        A figure that is in a paper no wider than a column, if its cells fit there, or else
        than a page, or else as wide as its cells need.

    Raises:
        ValueError: `order` or `families` does not fit the matrix.
    """
    n = len(matrix.names)
    if sorted(order) != list(range(n)) or len(families) != n:
        raise ValueError(f"{order} and {families} do not fit {n} candidates")
    names = [shown(matrix.names[i]) for i in order] + list(map(shown, matrix.undefined))
    page, paper = _page_layout(names), _paper_layout(names)
    notes = _notes(matrix, families)
    return Figure(
        NAME,
        " ".join(
            [
                "Overlap of every two candidates, similar ones side by side.",
                *notes,
                "Point at a cell for its numbers; the table below has them all.",
            ]
        ),
        _description(matrix, families),
        _chart_of(matrix, order, families, page),
        responsive=False,
        paper_chart=_chart_of(matrix, order, families, paper).properties(
            title=_paper_title(title, notes, paper)
        ),
    )


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


def blend(color: str, opacity: float) -> tuple[float, ...]:
    """A colour on white, as sRGB in [0, 1].

    >>> blend("#FF0000", 0.5)
    (1.0, 0.5, 0.5)
    """
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return tuple(1 - opacity * (1 - channel) for channel in channels)


def text_color(background: Sequence[float]) -> str:
    """Black or white, whichever has more contrast with an sRGB colour in [0, 1].

    By the contrast ratio of WCAG 2, (lighter + 0.05) / (darker + 0.05) of the relative
    luminances, which is then at least 4.58 on any colour.
    """
    linear = [
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in background
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def _page_layout(names: list[str]) -> _Layout:
    cell = min(max(700 // len(names), 24), 64)
    return _Layout(names, cell, (-18, -4), 12, 10, min(0.42 * cell, 14))


def _paper_layout(names: list[str]) -> _Layout:
    beside = max(map(len, names)) * 7 * _LETTER_WIDTH + 26
    in_column = beside + 13 * len(names) <= COLUMN_WIDTH_PT
    room = (COLUMN_WIDTH_PT if in_column else PAGE_WIDTH_PT) - beside
    cell = min(max(room / len(names), 13), 26)
    return _Layout(names, round(cell, 2), (-11, -2), 7, 6.5, min(0.44 * cell, 7.5))


def _paper_title(title: str, notes: Sequence[str], layout: _Layout) -> alt.TitleParams:
    width = max(layout.cell * len(layout.names) + 60, 0.8 * COLUMN_WIDTH_PT)

    def wrapped(text: str, size: float) -> list[str]:
        return textwrap.wrap(shown(text), max(20, int(width / (_LETTER_WIDTH * size)))) or [""]

    return alt.TitleParams(
        text=wrapped(title, 8),
        subtitle=[line for note in notes for line in wrapped(note, 6.5)],
        anchor="start", frame="bounds", fontSize=8, fontWeight="bold", subtitleFontSize=6.5,
        offset=6,
    )  # fmt: skip


def _chart_of(
    matrix: OverlapMatrix, order: Sequence[int], families: Sequence[int], layout: _Layout
) -> alt.LayerChart:
    defined, undefined = _cells(matrix)
    layers: list[alt.Chart] = []
    if defined:
        layers += [_colors(defined, layout), *_numbers(defined, layout)]
        letters = [(shown(matrix.names[i]), families[i]) for i in order]
        layers += [*_strips(letters, layout), *_frames([label for _, label in letters], layout)]
        layers.append(_pointed_at(defined, layout, _tooltip(matrix)))
    if undefined:
        reason = [*_PAIR, alt.Tooltip("why:N", title="overlap")]
        layers += [_crosses(undefined, layout), _pointed_at(undefined, layout, reason)]
    side = layout.cell * len(layout.names)
    return alt.LayerChart(layer=layers, width=side, height=side)


def _cells(matrix: OverlapMatrix) -> tuple[list[Record], list[Record]]:
    """A record for each cell: those of two defined candidates, and the others."""
    pairs = {frozenset((pair.a, pair.b)): pair for pair in pairs_of(matrix)}
    is_bold = matrix.established()
    index = {name: i for i, name in enumerate(matrix.names)}
    defined, undefined = [], []
    for a, b in product((*matrix.names, *matrix.undefined), repeat=2):
        record: Record = {"a": shown(a), "b": shown(b)}
        if a in index and b in index:
            itself = Pair(a, a, 1.0, 1.0, None, None, None)
            pair = pairs[frozenset((a, b))] if a != b else itself
            record |= _defined(pair, bool(is_bold[index[a], index[b]]))
            record["said"] = f"{shown(a)} and {shown(b)}: {record['score_text']}"
            defined.append(record)
        else:
            why = matrix.undefined[a] if a == b else pairs[frozenset((a, b))].reason
            why = f"undefined: {shown(why)}"
            said = f"{shown(a)} and {shown(b)}: {why}"
            undefined.append(record | {"why": why, "said": said})
    return defined, undefined


def _defined(pair: Pair, is_bold: bool) -> Record:
    assert pair.score is not None
    is_itself = pair.a == pair.b
    background = blend(_BLUE, min(pair.score, 1.0))
    return {
        "score": pair.score,
        "score_text": number(pair.score, 2),
        "raw_text": number(pair.raw, 2),
        "interval": "1 by definition" if is_itself else pair_interval(pair),
        "text": "1" if is_itself else score_text(pair.score),
        "bold": is_bold,
        "white": text_color(background) == "white",
    }


def _x(layout: _Layout) -> alt.X:
    scale = alt.Scale(domain=layout.names, padding=0)
    return alt.X("b:N", scale=scale, axis=_axis(layout, orient="top", labelAngle=-90))


def _y(layout: _Layout) -> alt.Y:
    return alt.Y("a:N", scale=alt.Scale(domain=layout.names, padding=0), axis=_axis(layout))


def _axis(layout: _Layout, **look: Any) -> alt.Axis:
    return alt.Axis(
        title=None, ticks=False, domain=False, offset=-layout.strip[0], labelPadding=5,
        labelOverlap=False, labelFontSize=layout.name_size, labelLimit=1000, **look,
    )  # fmt: skip


def _tooltip(matrix: OverlapMatrix) -> list[alt.Tooltip]:
    lines = [
        *_PAIR,
        alt.Tooltip("score_text:N", title="overlap score"),
        alt.Tooltip("raw_text:N", title="raw value"),
    ]
    if matrix.intervals() is not None:
        lines.append(alt.Tooltip("interval:N", title=interval_name(matrix.confidence)))
    return lines


def _colors(records: list[Record], layout: _Layout) -> alt.Chart:
    """From the colour of the page, light or dark, for no overlap to blue for all of it."""
    blue = ", ".join(str(int(_BLUE[i : i + 2], 16)) for i in (1, 3, 5))
    colors = [f"rgba({blue}, 0)", f"rgba({blue}, 1)"]
    legend = alt.Legend(
        title="overlap score; 1 and more have one colour", orient="bottom", values=[0, 0.5, 1],
        gradientLength=10 * layout.letter_size, titleLimit=400, offset=layout.name_size,
        titleFontSize=layout.name_size, labelFontSize=layout.name_size,
        gradientThickness=layout.letter_size,
    )  # fmt: skip
    scale = alt.Scale(domain=[0, 1], range=colors, clamp=True)
    color = alt.Color("score:Q", scale=scale, legend=legend)
    line: Record = {"stroke": "currentColor", "strokeOpacity": 0.12, "strokeWidth": 1}
    marks = _chart(records).mark_rect(aria=False, **line)
    chart: alt.Chart = marks.encode(_x(layout), _y(layout), color=color)
    return chart


def _numbers(records: list[Record], layout: _Layout) -> Iterable[alt.Chart]:
    """Over each cell its score; white where the cell is dark."""
    for is_white, is_bold in product((False, True), repeat=2):
        some = [one for one in records if (one["white"], one["bold"]) == (is_white, is_bold)]
        look: Record = {"fontWeight": "bold" if is_bold else "normal"}
        if is_white:
            look["color"] = "white"
        marks = _chart(some).mark_text(fontSize=layout.number_size, aria=False, **look)
        if some:
            yield marks.encode(_x(layout), _y(layout), text="text:N")


def _crosses(records: list[Record], layout: _Layout) -> alt.Chart:
    look: Record = {"stroke": "currentColor", "strokeOpacity": 0.7, "strokeWidth": 1.2}
    size = (0.3 * layout.cell) ** 2
    marks = _chart(records).mark_point(
        shape=_CROSS, size=size, filled=False, aria=False, **look
    )
    chart: alt.Chart = marks.encode(_x(layout), _y(layout))
    return chart


def _pointed_at(
    records: list[Record], layout: _Layout, tooltip: list[alt.Tooltip]
) -> alt.Chart:
    """Invisible cells on top: what the pointer meets, and what a screen reader reads."""
    marks = _chart(records).mark_rect(fillOpacity=0)
    said = alt.Description("said:N")
    chart: alt.Chart = marks.encode(_x(layout), _y(layout), tooltip=tooltip, description=said)
    return chart


def _strips(letters: Sequence[tuple[str, int]], layout: _Layout) -> Iterable[alt.Chart]:
    """Beside each name, along both axes, the letter of its family."""
    records = [
        {
            "a": name, "b": name, "letter": family_letter(label),
            "color": (color := FAMILY_COLORS[label % len(FAMILY_COLORS)]),
            "ink": text_color(blend(color, 1)),
        }
        for name, label in letters
    ]  # fmt: skip
    start, end = map(alt.value, layout.strip)
    middle = alt.value(sum(layout.strip) / 2)
    x, y = _x(layout), _y(layout)
    fill, ink = alt.Fill("color:N", scale=None), alt.Fill("ink:N", scale=None)
    box = _chart(records).mark_rect(aria=False).encode(fill=fill)
    text = (
        _chart(records)
        .mark_text(fontSize=layout.letter_size, fontWeight="bold", aria=False)
        .encode(text="letter:N", fill=ink)
    )
    yield from (box.encode(x=start, x2=end, y=y), text.encode(x=middle, y=y))
    yield from (box.encode(y=start, y2=end, x=x), text.encode(y=middle, x=x))


def _frames(labels: Sequence[int], layout: _Layout) -> Iterable[alt.Chart]:
    """Around the cells of a family, in pieces if the order parts it."""
    pieces, start = [], 0
    for label, stretch in groupby(labels):
        end = start + len(list(stretch))
        pieces.append((label, alt.value(start * layout.cell), alt.value(end * layout.cell)))
        start = end
    for (label, top, bottom), (other, left, right) in product(pieces, repeat=2):
        if label == other and labels.count(label) > 1:
            yield (
                _chart([{}])
                .mark_rect(fillOpacity=0, stroke="currentColor", strokeWidth=1.8, aria=False)
                .encode(x=left, x2=right, y=top, y2=bottom)
            )


def _chart(records: list[Record]) -> alt.Chart:
    return alt.Chart({"values": records})


def _notes(matrix: OverlapMatrix, families: Sequence[int]) -> list[str]:
    notes = []
    if len(set(families)) < len(families):
        notes.append("Letters and frames: families by k-means.")
    if matrix.intervals() is not None:
        notes.append(f"Bold: the {interval_name(matrix.confidence)} lies above 0.")
    if matrix.undefined:
        notes.append(UNDEFINED_NOTE)
    return notes


def _description(matrix: OverlapMatrix, families: Sequence[int]) -> str:
    total = len(matrix.names) + len(matrix.undefined)
    return (
        f"A square of {counted(total, 'candidate')} by {total}. Every cell holds the overlap "
        f"score of two corruptions. {counted(len(matrix.undefined), 'candidate')} undefined; "
        f"{counted(len(set(families)), 'family', 'families')} by k-means."
    )
