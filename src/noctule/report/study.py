"""The page of an overlap study: what overlaps, in families, and which benchmark follows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from noctule.benchmarks import CLEAN
from noctule.metrics.estimates import Estimate
from noctule.report.charts import Dot, Figure, dot_chart
from noctule.report.formatting import UNDEFINED, counted, interval_name, number
from noctule.report.heatmap import overlap_figure
from noctule.report.outputs import check_outputs, write_files
from noctule.report.page import (
    Block,
    Bullets,
    CommandText,
    Details,
    Grid,
    Heading,
    Page,
    Text,
    Tile,
    Tiles,
    render,
    write_page,
)
from noctule.report.pairs import Pair, pair_interval, pairs_of
from noctule.report.provenance import NOT_RECORDED, command_text, commit_text, recorded
from noctule.report.study_files import FORMULA, summary, terms, write_study_files
from noctule.report.study_findings import (
    DEFAULT_SIZE,
    ChosenDesign,
    Findings,
    Gain,
    Measured,
    ScoredBenchmark,
    design_of,
    findings_of_matrix,
    findings_of_study,
    gains_of,
    score_shipped,
)
from noctule.report.table import Cell, Column, Row, Table, Value
from noctule.report.terminal import Part
from noctule.store.disk import locked, remove_temporaries
from noctule.studies.design import DesignScores
from noctule.studies.families import Families, family_letter
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import Form, OverlapMatrix
from noctule.studies.spec import STANDARD

PAGE_NAME = "report.html"
DESIGN_RESAMPLES = 100
_NETWORKS = ("standard network", "trained with the corruption")
_MEASURES = ("coverage", "balance", "redundancy")


class Results(NamedTuple):
    """The results of `write_results`.

    Attributes:
        matrix: The overlap matrix, with its bootstrap replicates.
        files: The files that were written.
        summary: A summary for the terminal.
    """

    matrix: OverlapMatrix
    files: list[Path]
    summary: Sequence[Part]


def write_results(
    folder: StudyFolder,
    out: Path,
    *,
    form: Form = "robustness",
    candidates: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Results:
    """Score a study from its rows, and write matrix, tables, figures and the page.

    Args:
        folder: Folder of the study.
        out: The folder to write to; it is made if need be.
        form: Form of the overlap score, "robustness" or "accuracy".
        candidates: Candidates to score; None is all.
        seeds: Seeds of the study to score; None is all.
        resamples: Number of bootstrap resamples.
        confidence: Confidence of the intervals.
        seed: Seed of the bootstrap and of the families.

    Raises:
        InputError: Networks are missing, or a chosen candidate or seed is not in the study.
        OutputError: A file cannot be written.
    """
    findings = findings_of_study(
        folder,
        form=form,
        candidates=candidates,
        seeds=seeds,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )
    matrix, families = findings.matrix, findings.families
    page = page_of(findings, folder.folder)
    with locked(out, "writing results into"):
        remove_temporaries(out)
        files = write_study_files(
            out,
            matrix=matrix,
            accuracies=findings.measured.accuracies if findings.measured else (),
            families=families,
            hierarchical=findings.hierarchical,
            order=findings.order,
            title=findings.title,
        )
        write_page(out / PAGE_NAME, render(page))
    return Results(matrix, [*files, out / PAGE_NAME], summary(matrix, families))


def study_page(
    path: Path,
    *,
    form: Form = "robustness",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Page:
    """The page of a finished study, or of an overlap matrix alone.

    Args:
        path: A study folder, or a square CSV of overlap scores: then there are no intervals,
            no accuracies and no provenance.
        form: Form of the overlap score; a CSV has one already.
        resamples: Number of bootstrap resamples; for a study folder.
        confidence: Confidence of the intervals; for a study folder.
        seed: Seed of the bootstrap and of the families.

    Raises:
        InputError: The path is neither a study nor a matrix, or networks are missing.
    """
    return page_of(_findings(path, form, resamples, confidence, seed), path)


def write_study_page(
    path: Path,
    out: Path,
    *,
    figures: Path | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> None:
    """Write the page of a study or of a matrix; see `study_page`.

    Args:
        path: A study folder, or a square CSV of overlap scores.
        out: The page.
        figures: Folder for its charts as SVG, PNG and PDF.
        confidence: Confidence of the intervals.
        seed: Seed of the bootstrap and of the families.

    Raises:
        InputError: See `study_page`.
        OutputError: A file cannot be written.
    """
    check_outputs(out, figures)
    page = study_page(path, confidence=confidence, seed=seed)
    write_page(out, render(page))
    if figures is not None:
        write_files(figures, page)


def _findings(path: Path, form: Form, resamples: int, confidence: float, seed: int) -> Findings:
    if not path.is_dir():
        return findings_of_matrix(path, seed=seed)
    return findings_of_study(
        StudyFolder.open(path),
        form=form,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )


def page_of(findings: Findings, path: Path) -> Page:
    """The page of findings.

    Args:
        findings: Those of a study or of a matrix.
        path: The study folder or the CSV file, for the commands.
    """
    matrix = findings.matrix
    order = [matrix.names[i] for i in findings.order]
    design = design_of(matrix, resamples=DESIGN_RESAMPLES)
    blocks: list[Block] = [Tiles(_tiles(findings)), Text(_lead(findings)), *_overlap(findings)]
    if order:
        blocks += _families(findings)
    if findings.measured is not None:
        blocks += _training(findings, findings.measured, order)
    if design is not None:
        blocks += _benchmarks(matrix, design)
        blocks += [
            Heading("A benchmark from this study"),
            *map(Text, _design_sentences(design, len(order))),
            _design_table(design, order),
        ]
    blocks += [
        Heading("How to read the numbers"),
        Text(f"{FORMULA}, {terms(matrix)}."),
        Bullets([("", limit) for limit in _limits(findings)]),
        *_provenance(findings, path, design),
    ]
    return Page(findings.title, blocks)


def _overlap(findings: Findings) -> list[Block]:
    matrix = findings.matrix
    labels = findings.families.labels
    blocks: list[Block] = [
        Heading("Overlap"),
        Grid(
            [
                overlap_figure(matrix, findings.order, labels, title=findings.title),
                _pairs_table(findings),
            ],
        ),
    ]
    if matrix.undefined:
        blocks += [Heading("Undefined", 3), Bullets(list(matrix.undefined.items()))]
    return blocks


def _families(findings: Findings) -> list[Block]:
    return [
        Heading("Families"),
        Text(
            "Candidates whose rows of the matrix are similar. k-means is the published rule; "
            "hierarchical clustering is less sensitive to a single very large score."
        ),
        Grid(_families_tables(findings), least_rem=26),
    ]


def _training(findings: Findings, measured: Measured, order: list[str]) -> list[Block]:
    confidence = findings.matrix.confidence
    gains = gains_of(measured.means, confidence)
    return [
        Heading("Gains from training"),
        Text(
            "Where the standard network loses little accuracy there is little to gain, and "
            "overlap is most uncertain."
        ),
        Grid([_gains_figure(gains, confidence), _gains_table(gains, confidence)]),
        _accuracies_table(measured, [*order, *findings.matrix.undefined]),
        Text(
            "The intervals of all accuracies are in accuracies.csv, among the results of the "
            "study.",
            note=True,
        ),
    ]


def _benchmarks(matrix: OverlapMatrix, design: ChosenDesign) -> list[Block]:
    scored, unscored = score_shipped(matrix)
    scores = [(one.name, one.scores) for one in scored]
    figures = [_benchmarks_figure([*scores, (DESIGNED, design.choice.scores)])]
    return [
        Heading("Benchmarks"),
        Text(
            "Coverage is the share of the candidates’ robustness that doing well on a "
            "benchmark vouches for; balance is 1 when all candidates count equally; redundancy "
            "is the mean overlap of two of its corruptions. These measures are noctule’s own."
        ),
        *(figures if scored else []),
        _benchmarks_table(scored, design),
        *(
            Text(f"Not scored, {reason}: {', '.join(names)}.", note=True)
            for reason, names in unscored.items()
        ),
    ]


def _gains_figure(gains: Sequence[Gain], confidence: float) -> Figure:
    """Accuracy under each corruption, without and with training on it; largest gain first."""
    return dot_chart(
        "gains",
        [
            Dot(one.candidate, estimate, network)
            for one in sorted(gains, key=lambda one: -(one.gain.value or 0.0))
            for network, estimate in zip(_NETWORKS, (one.standard, one.own), strict=True)
        ],
        axis="accuracy under the corruption, %",
        series=_NETWORKS,
        side_by_side=True,
        caption="Accuracy under each corruption of the standard network and of the network "
        f"trained with it, the largest gain first; lines are {interval_name(confidence)}s.",
        description="For each corruption two accuracies: of the standard network and of the "
        "network trained with the corruption. The table holds the numbers.",
    )


def _benchmarks_figure(rows: Sequence[tuple[str, DesignScores]]) -> Figure:
    """Coverage, balance and redundancy of several benchmarks."""
    return dot_chart(
        "benchmarks",
        [
            Dot(name, Estimate(value, None, None), measure)
            for name, scores in rows
            for measure, value in zip(
                _MEASURES, (scores.coverage, scores.balance, scores.redundancy), strict=True
            )
        ],
        axis="share, 0 to 1",
        scale=1,
        digits=3,
        series=_MEASURES,
        domain=(0, 1),
        caption="Coverage and balance: higher is better. Redundancy: lower is better.",
        description="For each benchmark its coverage, balance and redundancy among the "
        "candidates. The table holds the numbers.",
    )


def _tiles(findings: Findings) -> list[Tile]:
    matrix = findings.matrix
    defined, undefined = len(matrix.names), len(matrix.undefined)
    note = f"{undefined} undefined" if undefined else "all defined"
    tiles = [Tile("Candidates", str(defined + undefined), note)]
    if (measured := findings.measured) is not None:
        networks = (1 + len(measured.means.candidates)) * len(measured.seeds)
        side = measured.folder.study.images.side_px
        tiles.append(Tile("Seeds", str(len(measured.seeds)), counted(networks, "network")))
        tiles.append(Tile("Test images", f"{measured.num_images:,}", f"{side} × {side} px"))
    pairs = defined * (defined - 1) // 2
    if matrix.intervals() is not None:
        established = int(matrix.established().sum()) // 2
        note = f"of {counted(pairs, 'pair')}: interval above 0"
        tiles.append(Tile("Shown to overlap", str(established), note))
    num_families = len(set(findings.families.labels))
    return [*tiles, Tile("Families", str(num_families), "by k-means")]


def _lead(findings: Findings) -> str:
    if (measured := findings.measured) is None:
        return (
            f"Overlap scores of {findings.title}. This is a matrix without its study: there "
            "are no intervals, no accuracies and no provenance."
        )
    study = measured.folder.study
    return (
        "How much does robustness to one corruption improve robustness to another? One network "
        f"(architecture {study.architecture}) was trained with each candidate and measured on "
        "all the others."
    )


def _design_sentences(design: ChosenDesign, count: int) -> list[str]:
    choice, scores = design.choice, design.choice.scores
    sentences = [
        f"The {choice.size} of {counted(count, 'candidate')} that cover most, by the exact "
        f"method, without a limit on overlap: {', '.join(choice.names)}.",
        f"Coverage {number(scores.coverage, 3)}, balance {number(scores.balance, 3)}, "
        f"redundancy {number(scores.redundancy, 3)}, largest overlap "
        f"{number(scores.largest_overlap, 3)}.",
        *choice.tie_notes,
    ]
    if not design.is_default:
        sentences.append(
            f"The default size, {DEFAULT_SIZE}, would take all of so few candidates; this is "
            "half of them."
        )
    if design.stability is None:
        sentences.append("The stability of the choice is not known: there are no resamples.")
    else:
        resamples = counted(design.stability.resamples, "bootstrap resample")
        sentences.append(
            f"How stable is the choice? It was repeated on {resamples}; a corruption that is "
            "rarely chosen again could be replaced by another of its family."
        )
        sentences += design.stability.notes
    return sentences


def _limits(findings: Findings) -> list[str]:
    matrix = findings.matrix
    limits = [
        "The published score is cut off at 0 and has no upper bound. The raw value may be "
        "negative, where training on one corruption harms the other. Coverage, balance and "
        "redundancy also cut it off at 1.",
        "An undefined overlap is not 0: training on that corruption is not shown to help "
        "against it, so there is nothing to divide by.",
        "Families summarise the matrix; another seed of k-means may find others.",
    ]
    if (measured := findings.measured) is None:
        return [*limits, "Without intervals, no two scores are known to differ."]
    if matrix.intervals() is None:
        return [*limits, "There are no resamples, so the uncertainty is not known."]
    limits.append(
        f"Intervals are {100 * matrix.confidence:g} % percentile bootstrap intervals of the "
        "raw value, for these images, this network and this recipe. Each is for one pair: "
        "among many pairs, some intervals miss."
    )
    several = len(measured.seeds)
    limits.append(
        "With one seed, the variation between training runs is not known: another run may "
        "well lie outside the intervals."
        if several == 1
        else f"Both the images and the {several} seeds are resampled. With so few seeds, their "
        f"spread is underestimated, by √({several - 1} / {several}) where nothing else differs."
    )
    return limits


def _provenance(findings: Findings, path: Path, design: ChosenDesign | None) -> list[Block]:
    blocks: list[Block] = [
        Heading("Provenance"),
        Text(f"Source: {findings.matrix.source}."),
        CommandText("\n".join(_commands(findings, path, design))),
    ]
    if (measured := findings.measured) is not None:
        blocks.append(_starts_table(measured))
        blocks.append(Details("Every setting of the study", [_settings_table(measured)]))
    return blocks


DESIGNED = "this design"


def _pairs_table(findings: Findings) -> Table:
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


def _families_tables(findings: Findings) -> list[Table]:
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


def _gains_table(gains: Sequence[Gain], confidence: float) -> Table:
    """Accuracy without and with training on each corruption, the largest gain first."""
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


def _accuracies_table(measured: Measured, order: Sequence[str]) -> Table:
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


def _benchmarks_table(scored: Sequence[ScoredBenchmark], design: ChosenDesign | None) -> Table:
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


def _design_table(design: ChosenDesign, order: Sequence[str]) -> Table:
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


_LISTED_ELSEWHERE = ("name", "title", "source", "candidates", "seeds", "train", "test")


def _settings_table(measured: Measured) -> Table:
    """The study, its data and its recipe, as `study.json` records them."""
    identity, study = measured.folder.identity, measured.folder.study
    rows = [
        Row(["name", study.name]),
        Row(["source", study.source]),
        *(Row([split, _data(identity, split)]) for split in ("train", "test")),
        Row(["seeds", ", ".join(map(str, study.seeds))]),
        *(
            Row([key, value])
            for key, value in _flat(study.to_dict())
            if key not in _LISTED_ELSEWHERE
        ),
        Row(["device", recorded(identity.get("device_type"))]),
        Row(["precision used", recorded(identity.get("precision"))]),
    ]
    columns = [Column("setting"), Column("value")]
    title = "What determines the results"
    return Table(title, columns, rows, name="settings", sortable=False)


def _starts_table(measured: Measured) -> Table:
    """When the study was run, with what, and where."""
    columns = [
        Column("started (UTC)"), Column("noctule"), Column("commit"), Column("device"),
        Column("Python"), Column("torch"), Column("command"),
    ]  # fmt: skip
    starts = measured.folder.starts()
    rows = [Row(_start(one)) for one in starts if isinstance(one, Mapping)]
    title = "Every start of the study"
    return Table(title, columns, rows, name="starts", sortable=False)


def _commands(findings: Findings, path: Path, design: ChosenDesign | None) -> list[str]:
    """Commands that reproduce the study's numbers, the page and the design."""
    where = shlex.quote(str(path))
    lines = []
    if (measured := findings.measured) is not None:
        lines.append(f"noctule study run {shlex.quote(str(path / 'study.toml'))}")
        lines.append(f"noctule study overlap {where}{_choices(findings, measured)}")
    lines.append(f"noctule report {where} -o study.html")
    if design is not None:
        lines.append(f"noctule design {where} --size {design.choice.size} --out mine.toml")
    return lines


def _choices(findings: Findings, measured: Measured) -> str:
    """The options of `noctule study overlap` that differ from its defaults."""
    matrix, study, means = findings.matrix, measured.folder.study, measured.means
    resamples = len(means.values) - 1
    options = {
        "form": (matrix.form, "robustness"),
        "candidates": (",".join(means.candidates), ",".join(study.candidates)),
        "seeds": (",".join(map(str, measured.seeds)), ",".join(map(str, study.seeds))),
        "resamples": (resamples, 1000),
        "confidence": (f"{matrix.confidence:g}", "0.95"),
        "seed": (measured.bootstrap_seed, 0),
    }
    return "".join(
        f" --{name} {shlex.quote(str(value))}"
        for name, (value, default) in options.items()
        if value != default
    )


def _data(identity: Mapping[str, Any], split: str) -> str:
    data = _within(identity, split)
    if not data:
        return NOT_RECORDED
    fingerprint = recorded(data.get("fingerprint"))
    return (
        f"{data.get('name')}: {data.get('num_images')} images, {data.get('num_classes')} "
        f"classes, fingerprint {fingerprint}"
    )


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            yield f"{prefix}{key}", str(text)


def _within(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table in a record that anybody may have edited."""
    inner = table.get(key)
    return inner if isinstance(inner, Mapping) else {}


def _start(start: Mapping[str, Any]) -> list[str]:
    return [
        recorded(start.get("started_utc")),
        recorded(start.get("noctule")),
        commit_text(start),
        f"{recorded(start.get('device'))}, {recorded(start.get('device_name'))}",
        recorded(start.get("python")),
        recorded(_within(start, "packages").get("torch")),
        command_text(start.get("argv")),
    ]
