"""Tables show the numbers they are given, say why one is missing, and escape what needs it."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from noctule import InputError
from noctule.metrics import Estimate, Scores
from noctule.metrics.results import ConditionScores, CorruptionScores
from noctule.report.tables import render, rich_table, score_table

NONE = Estimate(None, None, None, "the reference's error does not rise under it")


def fraction(value: float) -> Estimate:
    return Estimate(value, value - 0.01, value + 0.01)


def condition(name: str, error: float) -> ConditionScores:
    return ConditionScores(
        name, 1234, fraction(1 - error), fraction(error), fraction(error / 2), fraction(0.03)
    )


SCORES = Scores(
    benchmark="b",
    num_images=1234,
    clean=condition("clean", 0.2),
    conditions=(condition("shear", 0.5), condition("hue", 0.25)),
    corruptions=(
        CorruptionScores("shear", fraction(0.5), Estimate(81.4, 79.6, 83.5)),
        CorruptionScores("hue", fraction(0.25), NONE),
    ),
    mean_error=fraction(0.375),
    mce=Estimate(None, None, None, "CE is not defined for hue"),
    reference="AlexNet_1 & co",
    no_reference_reason=None,
    confidence=0.95,
    resamples=1000,
    seed=0,
)


def test_the_table_shows_percent_intervals_and_reasons() -> None:
    table = score_table(SCORES, "model [bold] on data")
    assert table.rows[0] == ("clean", "20.0", "19.0 to 21.0", "", "")
    assert table.rows[1] == ("shear", "50.0", "49.0 to 51.0", "81", "80 to 84")
    assert table.rows[2] == ("hue", "25.0", "24.0 to 26.0", "–", "")
    assert table.rows[3][:3] == ("mean error, mCE", "37.5", "36.5 to 38.5")
    notes = " ".join(table.notes)
    assert "1,234 images" in notes
    assert "top-5 error is 10.0 %" in notes
    assert "CE of hue: the reference's error does not rise under it." in notes
    assert "Relative to AlexNet_1 & co." in notes


def test_without_a_reference_the_table_says_why() -> None:
    from dataclasses import replace

    bare = replace(SCORES, reference=None, no_reference_reason="this data is of unknown origin")
    assert "No CE: this data is of unknown origin." in score_table(bare, "t").notes


def test_markup_in_names_is_printed_and_not_obeyed() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(rich_table(score_table(SCORES, "model [bold] on data")))
    assert "model [bold] on data" in console.export_text()


def test_csv_and_json_carry_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(render(SCORES, "csv", title="t"))))
    shear = next(r for r in rows if r["name"] == "shear" and r["metric"] == "ce")
    assert [float(shear[k]) for k in ("value", "low", "high")] == [81.4, 79.6, 83.5]
    hue = next(r for r in rows if r["name"] == "hue" and r["metric"] == "ce")
    assert (hue["value"], hue["reason"]) == ("", NONE.reason)
    data = json.loads(render(SCORES, "json", title="t"))
    assert data["corruptions"][0]["ce"]["value"] == 81.4
    assert data["mce"]["value"] is None


def test_markdown_and_latex_escape_what_they_must() -> None:
    from dataclasses import replace

    odd = replace(SCORES, corruptions=(CorruptionScores("a|b_c", fraction(0.5), NONE),))
    assert r"| a\|b_c | 50.0 |" in render(odd, "markdown", title="t")
    latex = render(odd, "latex", title="50 % & more")
    assert r"a\textbar{}b\_c & 50.0 & 49.0 to 51.0 & -- &  \\" in latex
    assert r"\caption{50 \% \& more." in latex
    assert r"AlexNet\_1 \& co" in latex


def test_an_unknown_format_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'markdown'"):
        render(SCORES, "markdwn", title="t")
