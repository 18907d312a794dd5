"""The overlap matrix as a chart of a page: its numbers answer to the pointer."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, product
from typing import Any

import altair as alt

from noctule.report.formatting import counted, number
from noctule.report.heatmap import FAMILY_COLORS, score_text, text_color
from noctule.report.study_files import Pair, pair_interval, pairs_of
from noctule.report.study_page.findings import Findings
from noctule.report.web.figures import COLORS, Figure
from noctule.report.web.text import shown
from noctule.studies.families import family_letter
from noctule.studies.matrix import OverlapMatrix

NAME = "heatmap"
# Lengths are in CSS px.
_SIDE, _SMALLEST_CELL, _LARGEST_CELL = 700, 24, 64
_STRIP_FROM, _STRIP_TO = -18, -4
# Above this score white is read better on the cell than the ink of a light page.
_WHITE_FROM = 0.85
_BLUE = COLORS[0]
_BLUE_RGB = ", ".join(str(int(_BLUE[i : i + 2], 16)) for i in (1, 3, 5))
_CROSS = "M-1,-1L1,1M-1,1L1,-1"

_PAIR = (alt.Tooltip("a:N", title="corruption"), alt.Tooltip("b:N", title="and"))

Record = dict[str, Any]


def heatmap_figure(findings: Findings) -> Figure:
    """The square of scores in the order of `findings`, the undefined candidates last."""
    matrix, order = findings.matrix, findings.order
    names = [shown(matrix.names[i]) for i in order] + list(map(shown, matrix.undefined))
    cell = min(max(_SIDE // len(names), _SMALLEST_CELL), _LARGEST_CELL)
    defined, undefined = _cells(findings)
    layers: list[alt.Chart] = []
    if defined:
        layers += [_colors(defined, names), *_numbers(defined, names, cell)]
        layers += [*_strips(findings, names), *_frames(findings, cell)]
        layers.append(_touched(defined, names, _tooltip(matrix)))
    if undefined:
        why = [*_PAIR, alt.Tooltip("why:N", title="overlap")]
        layers += [_crosses(undefined, names, cell), _touched(undefined, names, why)]
    side = cell * len(names)
    chart = alt.LayerChart(layer=layers, width=side, height=side)
    return Figure(NAME, _caption(findings), _description(findings), chart, responsive=False)


def _cells(findings: Findings) -> tuple[list[Record], list[Record]]:
    """A record for each cell: of two defined candidates, and of others."""
    matrix = findings.matrix
    pairs = {frozenset((pair.a, pair.b)): pair for pair in pairs_of(matrix)}
    bold = matrix.established()
    place = {name: i for i, name in enumerate(matrix.names)}
    defined, undefined = [], []
    for a, b in product((*matrix.names, *matrix.undefined), repeat=2):
        record: Record = {"a": shown(a), "b": shown(b)}
        if a in place and b in place:
            pair = pairs[frozenset((a, b))] if a != b else _itself(a)
            is_bold = bool(bold[place[a], place[b]])
            defined.append(record | _defined(pair, is_bold))
            defined[-1]["said"] = f"{a} and {b}: {defined[-1]['score_text']}"
        else:
            why = matrix.undefined[a] if a == b else pairs[frozenset((a, b))].reason
            why = f"undefined: {shown(why)}"
            undefined.append(record | {"why": why, "said": f"{a} and {b}: {why}"})
    return defined, undefined


def _itself(name: str) -> Pair:
    return Pair(name, name, 1.0, 1.0, None, None, "1 by definition")


def _defined(pair: Pair, is_bold: bool) -> Record:
    assert pair.score is not None
    assert pair.raw is not None
    is_itself = pair.a == pair.b
    return {
        "score": pair.score,
        "score_text": number(pair.score, 2),
        "raw_text": number(pair.raw, 2),
        "interval": "1 by definition" if is_itself else pair_interval(pair),
        "text": "1" if is_itself else score_text(pair.score),
        "bold": is_bold,
        "white": pair.score > _WHITE_FROM,
    }


def _x(names: list[str]) -> alt.X:
    look = alt.Axis(
        orient="top", labelAngle=-90, title=None, ticks=False, domain=False,
        offset=-_STRIP_FROM, labelPadding=5, labelOverlap=False,
    )  # fmt: skip
    return alt.X("b:N", scale=alt.Scale(domain=names, padding=0), axis=look)


def _y(names: list[str]) -> alt.Y:
    look = alt.Axis(
        title=None,
        ticks=False,
        domain=False,
        offset=-_STRIP_FROM,
        labelPadding=5,
        labelOverlap=False,
    )
    return alt.Y("a:N", scale=alt.Scale(domain=names, padding=0), axis=look)


def _tooltip(matrix: OverlapMatrix) -> list[alt.Tooltip]:
    lines = [
        *_PAIR,
        alt.Tooltip("score_text:N", title="overlap score"),
        alt.Tooltip("raw_text:N", title="raw value"),
    ]
    if matrix.intervals() is not None:
        interval = f"{100 * matrix.confidence:g} % CI"
        lines.append(alt.Tooltip("interval:N", title=interval))
    return lines


def _colors(records: list[Record], names: list[str]) -> alt.Chart:
    """No overlap has the colour of the page, light or dark; all of it is blue."""
    scale = alt.Scale(
        domain=[0, 1], range=[f"rgba({_BLUE_RGB}, 0)", f"rgba({_BLUE_RGB}, 1)"], clamp=True
    )
    legend = alt.Legend(
        title="overlap score; 1 and more have one colour", orient="bottom", values=[0, 0.5, 1],
        gradientLength=220, titleLimit=400, offset=12,
    )  # fmt: skip
    color = alt.Color("score:Q", scale=scale, legend=legend)
    line: Record = {"stroke": "currentColor", "strokeOpacity": 0.12, "strokeWidth": 1}
    chart: alt.Chart = (
        _chart(records).mark_rect(aria=False, **line).encode(_x(names), _y(names), color=color)
    )
    return chart


def _numbers(records: list[Record], names: list[str], cell: int) -> Iterable[alt.Chart]:
    """Over each cell its score; white where the cell is dark."""
    size = min(0.42 * cell, 14)
    for white, bold in product((False, True), repeat=2):
        some = [one for one in records if one["white"] == white and one["bold"] == bold]
        look: Record = {"fontWeight": "bold" if bold else "normal"}
        if white:
            look["color"] = "white"
        marks = _chart(some).mark_text(fontSize=size, aria=False, **look)
        if some:
            yield marks.encode(_x(names), _y(names), text="text:N")


def _crosses(records: list[Record], names: list[str], cell: int) -> alt.Chart:
    look: Record = {"stroke": "currentColor", "strokeOpacity": 0.7, "strokeWidth": 1.2}
    size = (0.3 * cell) ** 2
    marks = _chart(records).mark_point(
        shape=_CROSS, size=size, filled=False, aria=False, **look
    )
    chart: alt.Chart = marks.encode(_x(names), _y(names))
    return chart


def _touched(records: list[Record], names: list[str], tooltip: list[alt.Tooltip]) -> alt.Chart:
    """Unseen, over all the rest: what the pointer meets, and what a screen reader is told."""
    marks = _chart(records).mark_rect(fillOpacity=0)
    said = alt.Description("said:N")
    chart: alt.Chart = marks.encode(_x(names), _y(names), tooltip=tooltip, description=said)
    return chart


def _strips(findings: Findings, names: list[str]) -> Iterable[alt.Chart]:
    """Beside each name, along both axes, the letter of its family."""
    records = [
        {
            "a": shown(findings.matrix.names[i]),
            "b": shown(findings.matrix.names[i]),
            "letter": family_letter(label),
            "color": (color := FAMILY_COLORS[label % len(FAMILY_COLORS)]),
            "ink": text_color([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]),
        }
        for i in findings.order
        for label in [findings.families.labels[i]]
    ]
    start, end = alt.value(_STRIP_FROM), alt.value(_STRIP_TO)
    middle = alt.value((_STRIP_FROM + _STRIP_TO) / 2)
    base = _chart(records)
    fill, ink = alt.Fill("color:N", scale=None), alt.Fill("ink:N", scale=None)
    letter: Record = {"fontSize": 10, "fontWeight": "bold", "aria": False}
    yield base.mark_rect(aria=False).encode(x=start, x2=end, y=_y(names), fill=fill)
    yield base.mark_text(**letter).encode(x=middle, y=_y(names), text="letter:N", fill=ink)
    yield base.mark_rect(aria=False).encode(y=start, y2=end, x=_x(names), fill=fill)
    yield base.mark_text(**letter).encode(y=middle, x=_x(names), text="letter:N", fill=ink)


def _frames(findings: Findings, cell: int) -> Iterable[alt.Chart]:
    """Around what a family has together, in pieces if the order parts it."""
    labels = [findings.families.labels[i] for i in findings.order]
    pieces, start = [], 0
    for label, stretch in groupby(labels):
        end = start + len(list(stretch))
        pieces.append((label, alt.value(start * cell), alt.value(end * cell)))
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


def _caption(findings: Findings) -> str:
    matrix = findings.matrix
    parts = ["Overlap of every two candidates, those that overlap side by side."]
    if len(set(findings.families.labels)) < len(matrix.names):
        parts.append("Letters and frames: families by k-means.")
    if matrix.intervals() is not None:
        parts.append(f"Bold: the {100 * matrix.confidence:g} % CI lies above 0.")
    if matrix.undefined:
        parts.append("A cross: undefined, training on it is not shown to help against it.")
    parts.append("Point at a cell for its numbers; the table below has them all.")
    return " ".join(parts)


def _description(findings: Findings) -> str:
    matrix = findings.matrix
    total = len(matrix.names) + len(matrix.undefined)
    families = len(set(findings.families.labels))
    return (
        f"A square of {counted(total, 'candidate')} by {total}. Every cell holds the overlap "
        f"score of two corruptions. {counted(len(matrix.undefined), 'candidate')} undefined; "
        f"{counted(families, 'family', 'families')} by k-means."
    )
