"""Tables show the numbers they are given, say why one is missing, and escape what needs it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from noctule import InputError
from noctule.metrics import METRICS, Estimate, Scores
from noctule.metrics.registry import Scope
from noctule.report.scores import render, score_table
from noctule.report.terminal import terminal_text

CE = Estimate(81.4, 79.6, 83.5)
NONE = Estimate(None, None, None, "the reference's error does not rise under it")


def fraction(value: float) -> Estimate:
    return Estimate(value, value - 0.01, value + 0.01)


def corruption(
    name: str, error: float, ce: Estimate, relative: Estimate
) -> dict[tuple[Scope, str, str], Estimate]:
    return {
        ("condition", name, "error"): fraction(error),
        ("condition", name, "top5_error"): fraction(error / 2),
        ("condition", name, "ece"): fraction(0.03),
        ("corruption", name, "error"): fraction(error),
        ("corruption", name, "ce"): ce,
        ("corruption", name, "relative_ce"): relative,
    }


SCORES = Scores(
    benchmark="b",
    metric="ce",
    num_images=1234,
    conditions=("clean", "shear", "hue"),
    corruptions=("shear", "hue"),
    estimates={
        ("condition", "clean", "error"): fraction(0.2),
        ("condition", "clean", "top5_error"): fraction(0.1),
        ("condition", "clean", "ece"): fraction(0.03),
        **corruption("shear", 0.5, CE, Estimate(71.2, 70, 72)),
        **corruption("hue", 0.25, NONE, Estimate(55, 50, 60)),
        ("benchmark", "b", "mean_error"): fraction(0.375),
        ("benchmark", "b", "mce"): Estimate(None, None, None, "CE is not defined for hue"),
        ("benchmark", "b", "relative_mce"): Estimate(63.1, 60, 66),
    },
    reference="AlexNet_1 & co",
    no_reference_reason=None,
    confidence=0.95,
    resamples=1000,
    seed=0,
)
DEFINED = replace(
    SCORES,
    estimates={**SCORES.estimates, ("benchmark", "b", "mce"): Estimate(65.8, 60.1, 71.5)},
)


def test_a_single_image_is_one_image() -> None:
    notes = score_table(replace(SCORES, num_images=1), "t").notes
    assert notes[0].startswith("1 image; on clean ones: top-5 error 10.0 %, ECE 3.0 %.")


def test_the_table_shows_percent_intervals_and_reasons() -> None:
    table = score_table(SCORES, "model [bold] on data")
    assert table.header[3:] == ("CE", "95 % CI", "relative CE")
    assert table.texts[0] == ("clean", "20.0", "19.0 to 21.0", "", "", "")
    assert table.texts[1] == ("shear", "50.0", "49.0 to 51.0", "81", "80 to 84", "71")
    assert table.texts[2] == ("hue", "25.0", "24.0 to 26.0", "–", "", "55")
    assert table.texts[3] == ("mean", "37.5", "36.5 to 38.5", "–", "", "63.1")
    assert table.lines == [
        "mCE: not defined, CE is not defined for hue",
        "relative mCE: 63.1 (95 % CI: 60.0 to 66.0)",
        "mean error: 37.5 % (95 % CI: 36.5 to 38.5)",
        "clean error: 20.0 % (95 % CI: 19.0 to 21.0)",
    ]
    notes = " ".join(table.notes)
    assert "1,234 images" in notes
    assert "top-5 error 10.0 %" in notes
    assert "CE of hue: the reference's error does not rise under it." in notes
    assert "Relative to AlexNet_1 & co." in notes


def test_the_authors_own_score_comes_first_and_each_has_its_formula() -> None:
    table = score_table(replace(SCORES, metric="relative_ce"), "t")
    assert table.header[3:] == ("relative CE", "95 % CI", "CE")
    assert table.texts[1][3:] == ("71", "70 to 72", "81")
    assert table.texts[3] == ("mean", "37.5", "36.5 to 38.5", "63.1", "60.0 to 66.0", "–")
    assert table.lines[0] == "relative mCE: 63.1 (95 % CI: 60.0 to 66.0)"
    assert "ImageNet-NOC publishes as mCE" in " ".join(table.notes)
    for notes in (table.notes, score_table(SCORES, "t").notes):
        for name in ("error", "ce", "relative_ce"):
            formula = METRICS[name].formula
            assert formula[1:] in " ".join(notes)
    assert "ImageNet-NOC" not in " ".join(score_table(SCORES, "t").notes)


def test_without_a_reference_the_table_says_why() -> None:
    bare = replace(SCORES, reference=None, no_reference_reason="this data is of unknown origin")
    table = score_table(bare, "t")
    assert "No CE: this data is of unknown origin." in table.notes
    assert table.header == ("corruption", "error %", "95 % CI")
    assert table.texts[-1] == ("mean", "37.5", "36.5 to 38.5")
    assert [line.split(":")[0] for line in table.lines] == ["mean error", "clean error"]


def test_without_clean_images_the_table_has_no_such_row() -> None:
    table = score_table(replace(SCORES, conditions=("shear", "hue")), "t")
    assert table.texts[0][0] == "shear"
    assert "the clean ones were not evaluated" in table.notes[0]


def test_markup_in_names_is_printed_and_not_obeyed() -> None:
    text = terminal_text([score_table(SCORES, "model [bold] on data")], 120)
    assert "model [bold] on data" in text


def test_csv_carries_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(render(SCORES, "csv", title="t"))))
    shear = next(r for r in rows if r["name"] == "shear" and r["metric"] == "ce")
    assert [float(shear[k]) for k in ("value", "low", "high")] == [81.4, 79.6, 83.5]
    hue = next(r for r in rows if r["name"] == "hue" and r["metric"] == "ce")
    assert (hue["value"], hue["reason"]) == ("", NONE.reason)


def test_markdown_and_latex_escape_what_they_must() -> None:
    estimates = {**SCORES.estimates, **corruption("a|b_c", 0.5, NONE, CE)}
    odd = replace(SCORES, corruptions=("a|b_c",), estimates=estimates)
    assert r"| a\|b\_c | 50.0 |" in render(odd, "markdown", title="t")
    latex = render(odd, "latex", title="50 % & more")
    assert r"a\textbar{}b\_c & 50.0 & 49.0 to 51.0 & -- &  & 81 \\" in latex
    assert r"\caption{50 \% \& more." in latex
    assert r"AlexNet\_1 \& co" in latex


def test_an_unknown_format_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'markdown'"):
        render(SCORES, "markdwn", title="t")


@pytest.mark.parametrize("columns", [20, 40, 60, 80, None])
def test_every_name_and_number_is_whole_at_any_width(columns) -> None:
    table = score_table(DEFINED, "t")
    text = terminal_text([table], columns)
    words = " ".join(text.split())
    for sentence in (*table.lines, *table.notes):
        assert sentence in words
    for cell in {cell for row in table.texts for cell in row}:
        assert cell in words
    assert words.startswith("t mCE: 65.8 (95 % CI: 60.1 to 71.5)")
    if columns in (40, 60, 80):
        assert max(map(len, text.splitlines())) <= columns


def test_a_table_that_fits_80_columns_is_one() -> None:
    table = score_table(DEFINED, "t")
    text = terminal_text([table], 80)
    row = next(line for line in text.splitlines() if line.startswith("shear"))
    assert row.split("  ")[0] == "shear"
    assert " ".join(row.split()) == "shear 50.0 49.0 to 51.0 81 80 to 84 71"
    assert text.index("mCE: 65.8 (95 % CI: 60.1 to 71.5)") < text.index(row)


def test_a_latex_caption_is_made_of_sentences() -> None:
    caption = render(SCORES, "latex", title="t").split(r"\caption{")[1].split("\n")[0]
    assert caption.startswith(
        "t. mCE: not defined, CE is not defined for hue. relative mCE: 63.1 "
    )
    assert (
        r"(95 \% CI: 36.5 to 38.5). clean error: 20.0 \% (95 \% CI: 19.0 to 21.0). 1,234 "
        in caption
    )
