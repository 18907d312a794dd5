"""The tables of a study's page; they hold every number that its charts show."""

from __future__ import annotations

from collections.abc import Sequence

from noctule.benchmarks import CLEAN
from noctule.report.formatting import UNDEFINED, interval_name, number
from noctule.report.study_files import Pair, pair_interval, pairs_of
from noctule.report.study_page.designs import Design, ScoredBenchmark
from noctule.report.study_page.findings import Findings, Gain, Measured
from noctule.report.table import Cell, Column, Row, Table, Value
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
    columns = [
        Column("corruption"), Column("and"), Column("overlap", 2, note="max(0, raw)"),
        Column("raw", 2, note="before it is cut off at 0"),
        Column(interval_name(matrix.confidence), 2, note="of raw; sorted by its lower end"),
        Column("families"),
    ]  # fmt: skip
    if not known:
        del columns[4]
    rows = [_pair_row(pair, families, known) for pair in pairs]
    title = "Overlap of every two candidates, the strongest first"
    filters = ["pair", "interval"] if known else ["pair"]
    return Table(title, columns, rows, name="pairs", searchable=True, filters=filters)


def _pair_row(pair: Pair, families: dict[str, int], known: bool) -> Row:
    facets, family = {"pair": "undefined"}, "undefined"
    if pair.raw is not None:
        within = families[pair.a] == families[pair.b]
        facets["pair"] = "within a family" if within else "between families"
        letters = [family_letter(families[name]) for name in (pair.a, pair.b)]
        family = " ".join(dict.fromkeys(letters))
        if known:
            above = pair.low is not None and pair.low > 0
            facets["interval"] = "above 0" if above else "not above 0"
    interval = [Cell(pair.low, pair_interval(pair))] if known else []
    return Row([pair.a, pair.b, pair.score, pair.raw, *interval, family], facets=facets)


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
        else f"mean correlation within families {number(mean, 2)}"
    )
    columns = [Column("family"), Column("members")]
    title = f"{method}: {within}"
    return Table(title, columns, rows, name=f"families-{name}", sortable=False)


def gains_table(gains: Sequence[Gain], confidence: float) -> Table:
    """What training with each corruption gained against itself, the largest gain first."""
    interval = interval_name(confidence)
    columns = [
        Column("corruption"),
        Column("standard %", 1, 100, interval, "accuracy of the standard network"),
        Column("trained with it %", 1, 100, interval),
        Column("gain, points", 1, 100, interval, "its interval is paired"),
        Column("its clean %", 1, 100, note="clean accuracy of the network trained with it"),
    ]
    rows = [
        Row([one.candidate, one.standard, one.own, one.gain, one.clean])
        for one in sorted(gains, key=lambda one: -(one.gain.value or 0.0))
    ]
    title = "Accuracy gained under a corruption by training with it"
    return Table(title, columns, rows, name="gains-table")


def accuracies_table(measured: Measured, order: Sequence[str]) -> Table:
    """The accuracy of every model under every condition, in percent."""
    accuracies = {(row.model, row.condition): row.accuracy for row in measured.accuracies}
    conditions = [CLEAN, *order]
    rows = [
        Row([model, *(accuracies[model, condition] for condition in conditions)])
        for model in (STANDARD, *order)
    ]
    columns = [Column("trained with"), *(Column(name, 1, 100) for name in conditions)]
    title = "Accuracy in % of each network (rows) under each condition (columns)"
    return Table(title, columns, rows, name="accuracies")


def benchmarks_table(scored: Sequence[ScoredBenchmark], design: Design | None) -> Table:
    """Coverage and balance of the benchmarks that come with noctule, and of the design."""
    rows = [
        _benchmark_row(one.name, one.title, one.scored, one.total, one.scores) for one in scored
    ]
    if design is not None:
        size = len(design.choice.names)
        rows.append(_benchmark_row(DESIGNED, "see below", size, size, design.choice.scores))
    columns = [
        Column("benchmark"), Column("title"),
        Column("corruptions", 0, note="whose overlap is defined"),
        Column("coverage", 3), Column("balance", 3), Column("redundancy", 3),
        Column("largest overlap", 3, note="of two of its corruptions"),
    ]  # fmt: skip
    return Table("Benchmarks among these candidates", columns, rows, name="benchmarks-table")


def _benchmark_row(name: str, title: str, part: int, total: int, scores: DesignScores) -> Row:
    numbers = (scores.coverage, scores.balance, scores.redundancy, scores.largest_overlap)
    return Row([name, title, Cell(part, f"{part} of {total}"), *numbers])


def design_table(design: Design, order: Sequence[str]) -> Table:
    """Which chosen corruption covers each candidate best, and how often it is chosen."""
    choice, stable = design.choice, design.stability
    columns = [
        Column("candidate"), Column("chosen"), Column("covered best by"),
        Column("covered", 2, note="overlap with it, cut off at 1"),
        Column("weight", 2, note="1 where all candidates count equally"),
    ]  # fmt: skip
    if stable is not None:
        columns.append(Column("chosen on % of resamples", 0, 100))
    rows = []
    for name in sorted(order, key=lambda name: name not in choice.names):
        by, covered = choice.scores.covered_by[name]
        weight = len(choice.scores.emphasis) * choice.scores.emphasis[name]
        chosen = "yes" if name in choice.names else "no"
        values: list[Value] = [name, chosen, Cell(by or "", by or UNDEFINED), covered, weight]
        rows.append(Row(values if stable is None else [*values, stable.share[name]]))
    return Table("What the design covers", columns, rows, name="design")
