"""The figure of many models by many corruptions."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from noctule.report.run_page.charts import STEP_PX, layered
from noctule.report.web.figures import Figure, axis_ends

CELL_PX = 40
# A heat map with more rows or columns than this has no room for numbers in its cells.
_MOST_ROWS_WITH_NUMBERS, _MOST_COLUMNS_WITH_NUMBERS = 40, 8


def heat_map(
    name: str,
    cells: Sequence[tuple[str, str, float | None]],
    *,
    measure: str,
    caption: str,
    description: str,
) -> Figure:
    """One value per model (row) and corruption (column), dark where it is large.

    Args:
        name: of the figure.
        cells: (model, corruption, value); what is not defined is left blank.
        measure: what the values are, with the unit.
        caption, description: of the figure.
    """
    models = list(dict.fromkeys(model for model, _, _ in cells))
    corruptions = list(dict.fromkeys(corruption for _, corruption, _ in cells))
    defined = [value for _, _, value in cells if value is not None]
    ends = axis_ends(defined)
    low, high = ends or (min(defined, default=0.0), max(defined, default=1.0))
    if ends is not None:
        caption += f" Colours end at {low:.0f} and {high:.0f}; some values are beyond."
    # From here on black stands out less than white.
    dark = low + 0.65 * (high - low)
    records = [
        {
            "model": model,
            "corruption": corruption,
            "value": value,
            "text": f"{value:.0f}".replace("-", "−"),
            "ink": "white" if value > dark else "black",
        }
        for model, corruption, value in cells
        if value is not None
    ]
    base = alt.Chart(alt.InlineData(values=records)).encode(
        x=alt.X(
            "corruption:N",
            title=None,
            scale=alt.Scale(domain=corruptions),
            axis=alt.Axis(labelAngle=-45, orient="top", ticks=False, domain=False),
        ),
        y=alt.Y(
            "model:N",
            title=None,
            scale=alt.Scale(domain=models),
            axis=alt.Axis(ticks=False, domain=False, labelPadding=6),
        ),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("corruption:N"),
            alt.Tooltip("value:Q", title=measure, format=".1f"),
        ],
    )
    color = alt.Color(
        "value:Q",
        title=measure,
        scale=alt.Scale(scheme="blues", domain=[low, high], clamp=True),
        legend=alt.Legend(orient="bottom", direction="horizontal", gradientLength=160),
    )
    layers = [base.mark_rect().encode(color=color)]
    if (
        len(models) <= _MOST_ROWS_WITH_NUMBERS
        and len(corruptions) <= _MOST_COLUMNS_WITH_NUMBERS
    ):
        ink = alt.Color("ink:N", scale=None)
        layers.append(base.mark_text().encode(text="text:N", color=ink))
    # Room for the last of the slanted names.
    room = {"left": 5, "right": 36, "top": 5, "bottom": 5}
    chart = layered(*layers).properties(height=alt.Step(STEP_PX + 2), padding=room)
    return Figure(
        name, caption, description, chart.resolve_scale(color="independent"), step_px=CELL_PX
    )
