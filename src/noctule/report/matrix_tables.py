"""The overlap matrix as a table for Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from noctule.report.heatmap import score_text
from noctule.report.text_tables import UNDEFINED, escape_latex, escape_markdown
from noctule.studies.families import Families, family_letter
from noctule.studies.matrix import OverlapMatrix

FORMULA = (
    "O(a, b) = max(0, ½ · [(R(a, b) − R(std, b)) / (R(b, b) − R(std, b)) + "
    "(R(b, a) − R(std, a)) / (R(a, a) − R(std, a))])"
)
FORMULA_LATEX = (
    r"$O(a, b) = \max\Bigl(0, \frac{1}{2}\Bigl["
    r"\frac{R(a, b) - R(\mathrm{std}, b)}{R(b, b) - R(\mathrm{std}, b)} + "
    r"\frac{R(b, a) - R(\mathrm{std}, a)}{R(a, a) - R(\mathrm{std}, a)}\Bigr]\Bigr)$"
)
FORMS = {"robustness": "A(m, c) / A(m, clean)", "accuracy": "A(m, c)"}


def _square(
    matrix: OverlapMatrix,
    families: Families,
    order: Sequence[int],
    escape: Callable[[str], str],
    bold: str,
) -> list[list[str]]:
    """Rows of cells: the name, the family, the scores in the order, then the undefined."""
    scores, are_bold = matrix.scores, matrix.established()

    def cell(i: int, j: int) -> str:
        text = "1" if i == j else score_text(scores[i, j])
        return bold.format(text) if are_bold[i, j] else text

    missing = [UNDEFINED] * len(matrix.undefined)
    rows = [[family_letter(families.labels[i]), *(cell(i, j) for j in order)] for i in order]
    rows = [
        [escape(matrix.names[i]), *row, *missing] for i, row in zip(order, rows, strict=True)
    ]
    nothing = [UNDEFINED] * (1 + len(order)) + missing
    return rows + [[escape(name), *nothing] for name in matrix.undefined]


def terms(matrix: OverlapMatrix) -> str:
    """What the letters of `FORMULA` stand for, in the form that this matrix has."""
    return (
        f"where R(m, c) = {FORMS[matrix.form]} ({matrix.form}), A(m, c) is the accuracy of "
        "model m under c, model a was trained with a, and model std with none"
    )


def _notes(matrix: OverlapMatrix) -> list[str]:
    """What has to be said under the table, after the formula."""
    notes = [f"{terms(matrix)}.", "Families are by k-means."]
    if matrix.intervals() is not None:
        notes.append(f"Bold: the {100 * matrix.confidence:g} % CI lies above 0.")
    if matrix.undefined:
        whys = "; ".join(f"{name} ({why})" for name, why in matrix.undefined.items())
        notes.append(f"{UNDEFINED}: undefined, {whys}.")
    return [*notes, f"Source: {matrix.source}."]


def markdown_square(
    matrix: OverlapMatrix, families: Families, order: Sequence[int], title: str
) -> str:
    """The square, to two digits, with what has to be said of it below."""
    rows = _square(matrix, families, order, escape_markdown, "**{}**")
    header = ["corruption", "family", *(row[0] for row in rows)]
    rule = ["---", ":---:", *["---:"] * len(rows)]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]
    notes = escape_markdown(" ".join([f"Overlap score {FORMULA},", *_notes(matrix)]))
    return "\n".join([f"**{escape_markdown(title)}**", "", *lines, "", notes, ""])


def latex_square(
    matrix: OverlapMatrix, families: Families, order: Sequence[int], title: str
) -> str:
    """A table with booktabs' rules; the names of the columns are turned."""
    rows = _square(matrix, families, order, escape_latex, r"\textbf{{{}}}")
    rotated = [rf"\rotatebox{{90}}{{{row[0]}}}" for row in rows]
    notes = escape_latex(" ".join(_notes(matrix)))
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.",
            r"\begin{table}",
            rf"\caption{{{escape_latex(title)}. Overlap score {FORMULA_LATEX}, {notes}}}",
            r"\label{tab:overlap}",
            r"\scriptsize\setlength{\tabcolsep}{2pt}",
            rf"\begin{{tabular}}{{lc{'r' * len(rows)}}}",
            r"\toprule",
            " & ".join(["corruption", "family", *rotated]) + r" \\",
            r"\midrule",
            *(" & ".join(row).replace(UNDEFINED, "--") + r" \\" for row in rows),
            "\\bottomrule\n\\end{tabular}\n\\end{table}\n",
        ]
    )
