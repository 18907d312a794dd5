"""The tables of a study's page; they hold every number that its charts show."""

from __future__ import annotations

from collections.abc import Sequence

from noctule.benchmarks import CLEAN
from noctule.metrics.estimates import Estimate
from noctule.report.study_files import Pair, pairs_of
from noctule.report.study_page.designs import Design, ScoredBenchmark
from noctule.report.study_page.findings import Findings, Gain, Measured
from noctule.report.study_page.words import (
    pair_interval,
    percent,
    percent_interval,
    score_number,
    share,
)
from noctule.report.tables import UNDEFINED
from noctule.report.web.page import Column, Row, Table
from noctule.studies.design import DesignScores
from noctule.studies.families import Families, family_letter
from noctule.studies.spec import STANDARD

DESIGNED = "this design"


def pairs_table(findings: Findings) -> Table:
    """Every pair, the largest overlap first, the undefined last."""
    matrix = findings.matrix
    families = dict(zip(matrix.names, findings.families.labels, strict=True))
    pairs = pairs_of(matrix)
    pairs.sort(key=lambda pair: -float("inf") if pair.raw is None else pair.raw, reverse=True)
    known = matrix.intervals() is not None
    interval = Column(
        f"{100 * matrix.confidence:g} % CI", True, "of raw; sorted by its lower end"
    )
    columns = [
        Column("corruption"), Column("and"), Column("overlap", True, "max(0, raw)"),
        Column("raw", True, "before it is cut off at 0"),
        *([interval] if known else []),
        Column("families"),
    ]  # fmt: skip
    rows = [_pair_row(pair, families, known) for pair in pairs]
    filters = ["pair", "interval"] if known else ["pair"]
    return Table("pairs", "Overlap of every two candidates, the strongest first", columns, rows,
                 searchable=True, filters=filters)  # fmt: skip


def _pair_row(pair: Pair, families: dict[str, int], known: bool) -> Row:
    letters = [family_letter(families[one]) for one in (pair.a, pair.b) if one in families]
    facets = {"pair": "undefined"}
    if pair.raw is not None:
        within = families[pair.a] == families[pair.b]
        facets["pair"] = "within a family" if within else "between families"
        if known:
            above = pair.low is not None and pair.low > 0
            facets["interval"] = "above 0" if above else "not above 0"
    numbers = [score_number(pair.score), score_number(pair.raw)]
    keys: list[str | float | None] = [pair.a, pair.b, pair.score, pair.raw]
    if known:
        numbers.append(pair_interval(pair))
        keys.append(pair.low)
    family = " ".join(dict.fromkeys(letters)) if pair.raw is not None else "undefined"
    return Row([pair.a, pair.b, *numbers, family], [*keys, family], facets=facets)


def families_tables(findings: Findings) -> list[Table]:
    """The families of both methods, with their members in the order of the heat map."""
    return [
        _families_table(findings, findings.families, "kmeans", "k-means"),
        _families_table(
            findings, findings.hierarchical, "hierarchical", "Hierarchical clustering"
        ),
    ]


def _families_table(findings: Findings, families: Families, name: str, method: str) -> Table:
    members: dict[int, list[str]] = {}
    for i in findings.order:
        members.setdefault(families.labels[i], []).append(findings.matrix.names[i])
    is_lettered = name == "kmeans"
    rows = [
        Row(
            [family_letter(label) if is_lettered else str(label + 1), ", ".join(members[label])]
        )
        for label in sorted(members)
    ]
    mean = families.mean_correlation
    within = (
        "every candidate is its own family"
        if mean is None
        else f"mean correlation within families {score_number(mean)}"
    )
    columns = [Column("family"), Column("members")]
    return Table(f"families-{name}", f"{method}: {within}", columns, rows, sortable=False)


def gains_table(gains: Sequence[Gain], confidence: float) -> Table:
    """What training with each corruption bought against itself, the largest gain first."""
    interval = f"{100 * confidence:g} % CI"
    columns = [
        Column("corruption"), Column("standard %", True, "accuracy of the standard network"),
        Column(interval, True), Column("trained with it %", True), Column(interval, True),
        Column("gain, points", True), Column(interval, True, "of the difference, paired"),
        Column("its clean %", True, "clean accuracy of the network trained with it"),
    ]  # fmt: skip
    rows = []
    for one in sorted(gains, key=lambda one: -(one.gain.value or 0.0)):
        cells = [one.candidate]
        keys: list[str | float | None] = [one.candidate]
        for estimate in (one.standard, one.own, one.gain):
            cells += [percent(estimate), percent_interval(estimate)]
            keys += [estimate.value, estimate.low]
        rows.append(Row([*cells, percent(one.clean)], [*keys, one.clean.value]))
    return Table("gains-table", "What training with a corruption bought against itself",
                 columns, rows)  # fmt: skip


def accuracies_table(measured: Measured, order: Sequence[str]) -> Table:
    """The accuracy of every model under every condition, in percent."""
    found = {(row.model, row.condition): row.accuracy for row in measured.accuracies}
    conditions = [CLEAN, *order]
    rows = []
    for model in (STANDARD, *order):
        cells: list[Estimate] = [found[model, condition] for condition in conditions]
        rows.append(Row([model, *map(percent, cells)], [model, *(one.value for one in cells)]))
    columns = [Column("trained with"), *(Column(one, True) for one in conditions)]
    return Table("accuracies", "Accuracy in % of each network (rows) under each condition "
                 "(columns)", columns, rows)  # fmt: skip


def benchmarks_table(scored: Sequence[ScoredBenchmark], design: Design | None) -> Table:
    """Coverage and balance of the shipped benchmarks and of the design."""
    rows = [(one.name, one.title, one.scored, one.total, one.scores) for one in scored]
    if design is not None:
        size = len(design.choice.names)
        rows.append((DESIGNED, "see below", size, size, design.choice.scores))
    columns = [
        Column("benchmark"), Column("title"),
        Column("corruptions", True, "whose overlap is defined"),
        Column("coverage", True), Column("balance", True), Column("redundancy", True),
        Column("largest overlap", True, "of two of its corruptions"),
    ]  # fmt: skip
    return Table(
        "benchmarks-table",
        "Benchmarks among these candidates",
        columns,
        [_benchmark_row(*row) for row in rows],
    )


def _benchmark_row(name: str, title: str, part: int, total: int, scores: DesignScores) -> Row:
    numbers = (scores.coverage, scores.balance, scores.redundancy, scores.largest_overlap)
    cells = [name, title, f"{part} of {total}", *map(share, numbers)]
    return Row(cells, [name, title, part, *numbers])


def design_table(design: Design, order: Sequence[str]) -> Table:
    """Which chosen corruption covers each candidate best, and how often it is chosen."""
    choice, stable = design.choice, design.stability
    columns = [
        Column("candidate"), Column("chosen"), Column("covered best by"),
        Column("covered", True, "overlap with it, cut off at 1"),
        Column("weight", True, "1 is what each candidate has if all count alike"),
    ]  # fmt: skip
    if stable is not None:
        columns.append(Column("chosen on % of resamples", True))
    rows = []
    for name in sorted(order, key=lambda name: name not in choice.names):
        by, covered = choice.scores.covered_by[name]
        weight = len(choice.scores.emphasis) * choice.scores.emphasis[name]
        chosen = "yes" if name in choice.names else "no"
        cells = [name, chosen, by or UNDEFINED, score_number(covered), score_number(weight)]
        keys: list[str | float | None] = [name, chosen, by or "", covered, weight]
        if stable is not None:
            often = stable.share[name]
            cells.append(UNDEFINED if often is None else f"{100 * often:.0f}")
            keys.append(often)
        rows.append(Row(cells, keys))
    return Table("design", "What the design covers", columns, rows)
