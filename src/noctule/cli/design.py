"""`noctule design`: from an overlap matrix to a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noctule.cli.app import EXIT_INTERRUPTED, Group, app
from noctule.cli.echo import echo, echo_message
from noctule.errors import InputError, OutputError

if TYPE_CHECKING:
    from noctule.benchmarks import Benchmark
    from noctule.report.terminal import Part
    from noctule.studies.design import Choice, DesignScores
    from noctule.studies.matrix import OverlapMatrix

DEFAULT_COMMAND = "choose"
UNDEFINED = "–"  # as in noctule.report.tables, which takes long to import

MatrixArgument = Annotated[
    Path, typer.Argument(help="A square CSV of overlap scores, or a study folder.")
]


class _Group(Group):
    """`noctule design MATRIX` is `noctule design choose MATRIX`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)


design = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    help="Choose corruptions for a benchmark from an overlap matrix: "
    "`noctule design MATRIX --size 8 --max-overlap 0.3`.",
)
app.add_typer(design, name="design")


@design.command()
def choose(
    matrix: MatrixArgument,
    size: Annotated[int, typer.Option(help="Corruptions in the benchmark.")] = 8,
    max_overlap: Annotated[
        float | None,
        typer.Option(help="Every pair overlaps by less than this; by default no limit."),
    ] = None,
    method: Annotated[
        Literal["exact", "greedy"], typer.Option(help="Whose choice is taken.")
    ] = "exact",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The benchmark to write, a .toml.")
    ] = None,
    resamples: Annotated[
        int,
        typer.Option(min=0, help="Bootstrap resamples to repeat the choice on; 0 for none."),
    ] = 200,
    seed: Annotated[int, typer.Option(help="Of the bootstrap, for a study folder.")] = 0,
    time_limit: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Most time for the exact choice, and for the resamples; then the best set "
            "found so far is taken. By default no limit.",
        ),
    ] = None,
) -> None:
    """Choose the corruptions that cover most candidates; what `noctule design MATRIX` does."""
    from noctule.report.text_tables import text_table
    from noctule.studies.design import benchmark_of, choose_greedy
    from noctule.studies.design.benchmark import limit_text
    from noctule.studies.design.exact import check_time_limit

    check_time_limit(time_limit)
    if out is not None:
        _check_toml(out)
    overlap = _read(matrix, seed)
    greedy = choose_greedy(overlap, size, max_overlap)
    exact = _exact(overlap, size, max_overlap, time_limit)
    choice = exact if method == "exact" else greedy
    title = f"{size} of {len(overlap.names)} candidates, {limit_text(max_overlap)}"
    echo(
        text_table(title, ["", "exact", "greedy"], _side_by_side(exact, greedy)),
        *(f"{one.method}: {', '.join(one.names)}" for one in (exact, greedy)),
        *(one.note for one in (exact, greedy) if one.note),
        *exact.tie_notes,
        *_covers(choice),
        *_undefined(overlap),
    )
    if out is not None:
        _write(benchmark_of(choice, overlap, out.stem), out)
        echo(f"{out}: evaluate it with noctule evaluate MODEL DATA --benchmark {out}")
    echo("", *_stability(overlap, choice, resamples, time_limit))


@design.command()
def score(
    benchmark: Annotated[str, typer.Argument(help="Name, or path of a TOML file.")],
    matrix: Annotated[
        Path, typer.Option(help="A square CSV of overlap scores, or a study folder.")
    ],
) -> None:
    """Say how far a benchmark covers the candidates, and which ones count more than others."""
    from noctule.benchmarks import load_benchmark
    from noctule.report.text_tables import text_table
    from noctule.studies.design import score_design

    spec, overlap = load_benchmark(benchmark), _read(matrix)
    names = _within(spec, overlap)
    scores = score_design(overlap, names)
    how_many = f"{len(names)} of its {len(spec.corruptions)} corruptions"
    title = f"{spec.title}: {how_many} among {len(overlap.names)} candidates"
    weights = {name: len(overlap.names) * share for name, share in scores.emphasis.items()}
    rows = []
    for name in sorted(weights, key=lambda name: (-weights[name], name)):
        by, share = scores.covered_by[name]
        rows.append([name, f"{weights[name]:.2f}", f"{share:.2f}", by or UNDEFINED])
    notes = ["Weight 1 is what each candidate has if all count alike."]
    if left_out := [name for name in spec.corruptions if name not in names]:
        notes.append(f"Left out, their overlap is not defined: {', '.join(left_out)}.")
    header = ["candidate", "weight", "covered", "best by"]
    echo(
        text_table(title, ["", ""], _numbers(scores)),
        text_table("Weight of each candidate", header, rows),
        *notes,
        *_undefined(overlap),
    )


@design.command(name="n-by-k")
def n_by_k(
    matrix: MatrixArgument,
    families: Annotated[int, typer.Option(help="Families in each benchmark.")],
    per_family: Annotated[int, typer.Option(help="Corruptions of each family.")],
    count: Annotated[int, typer.Option(help="Benchmarks wanted.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the families and of the draws.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the benchmarks.")
    ] = None,
) -> None:
    """Make benchmarks of N families with K corruptions each."""
    from noctule.report.text_tables import text_table
    from noctule.studies.design import benchmark_of
    from noctule.studies.design import n_by_k as benchmarks_of_families
    from noctule.studies.families import family_letter, kmeans_families

    overlap = _read(matrix)
    labels = kmeans_families(overlap, seed=seed).labels
    designs = benchmarks_of_families(overlap, labels, families, per_family, count, seed=seed)
    members: dict[str, list[str]] = {}
    for name, label in zip(overlap.names, labels, strict=True):
        members.setdefault(family_letter(label), []).append(name)
    rows = [[letter, ", ".join(names)] for letter, names in members.items()]
    table = text_table("Families", ["family", "candidates"], rows)
    rows = [
        [str(number), *_short(one.scores), ", ".join(one.names)]
        for number, one in enumerate(designs, start=1)
    ]
    header = ["", "coverage", "redundancy", "balance", "corruptions"]
    echo(
        table,
        text_table(f"{families} families with {per_family} corruptions each", header, rows),
        *([f"There are no more than these {len(designs)}."] if len(designs) < count else []),
        *_undefined(overlap),
    )
    if out is not None:
        for number, one in enumerate(designs, start=1):
            name = f"{families}-by-{per_family}-{number:03d}"
            _write(benchmark_of(one, overlap, name), out / f"{name}.toml")
        echo(f"{out}: {len(designs)} benchmarks")


def _read(path: Path, seed: int = 0) -> OverlapMatrix:
    if path.is_dir():
        from noctule.studies.results import overlap_of

        matrix = overlap_of(path, seed=seed)
    else:
        from noctule.studies.matrix import read_matrix

        matrix = read_matrix(path)
    matrix.check_defined()
    return matrix


def _within(spec: Benchmark, overlap: OverlapMatrix) -> list[str]:
    """The benchmark's corruptions whose overlap is defined."""
    known = {*overlap.names, *overlap.undefined}
    if unknown := [name for name in spec.corruptions if name not in known]:
        raise InputError(
            f"{spec.name} has {', '.join(unknown)}, not among the {len(known)} candidates",
            where=overlap.source,
            remedy="Their overlap is not known; use a matrix that has them.",
        )
    names = [name for name in spec.corruptions if name in overlap.names]
    if not names:
        raise InputError(
            f"the overlap of no corruption of {spec.name} is defined", where=overlap.source
        )
    return names


def _check_toml(path: Path) -> None:
    if path.suffix != ".toml":
        raise InputError(
            f"'{path}' is not a .toml file",
            where="--out",
            remedy=f"Use {path.with_suffix('.toml')}.",
        )


def _write(benchmark: Benchmark, path: Path) -> None:
    from noctule.benchmarks import write_benchmark

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {error.strerror}", where=path.parent) from error
    write_benchmark(benchmark, path)


def _exact(
    overlap: OverlapMatrix, size: int, max_overlap: float | None, time_limit_s: float | None
) -> Choice:
    from noctule.report.progress import status_line
    from noctule.studies.design import choose_exact

    try:
        with status_line("searching for the best set") as report:
            return choose_exact(
                overlap,
                size,
                max_overlap,
                time_limit_s=time_limit_s,
                on_search=lambda search: report(str(search)),
            )
    except KeyboardInterrupt as error:
        echo_message(
            "stopped before the best set was proven. With --time-limit the "
            "best set found in time is shown."
        )
        raise typer.Exit(EXIT_INTERRUPTED) from error


def _side_by_side(exact: Choice, greedy: Choice) -> list[list[str]]:
    numbers = zip(_numbers(exact.scores), _numbers(greedy.scores), strict=True)
    return [[name, one, other] for (name, one), (_, other) in numbers]


def _numbers(scores: DesignScores) -> list[tuple[str, str]]:
    largest = scores.largest_overlap
    names = ("coverage", "redundancy", "balance", "largest overlap")
    cells = (*_short(scores), UNDEFINED if largest is None else f"{largest:.3f}")
    return list(zip(names, cells, strict=True))


def _short(scores: DesignScores) -> tuple[str, str, str]:
    redundancy = UNDEFINED if scores.redundancy is None else f"{scores.redundancy:.3f}"
    return f"{scores.coverage:.3f}", redundancy, f"{scores.balance:.3f}"


def _covers(choice: Choice) -> list[Part]:
    """What each chosen corruption covers better than the others do."""
    from noctule.report.text_tables import text_table

    covers = sorted(choice.scores.covered_by.items(), key=lambda item: -item[1].share)
    rows = []
    for name in choice.names:
        others = [
            f"{one} {cover.share:.2f}"
            for one, cover in covers
            if cover.by == name and one != name
        ]
        rows.append([name, ", ".join(others) or UNDEFINED])
    header = ["corruption", "others it covers best"]
    parts: list[Part] = [text_table(f"What the {choice.method} choice covers", header, rows)]
    if bare := [name for name, cover in covers if cover.by is None]:
        parts.append(f"Covered by none of them: {', '.join(bare)}.")
    return parts


def _stability(
    overlap: OverlapMatrix, choice: Choice, resamples: int, time_limit_s: float | None
) -> list[Part]:
    from noctule.report.progress import progress_bar
    from noctule.report.text_tables import text_table
    from noctule.studies.design import stability

    if overlap.replicates is None or not resamples:
        why = (
            "none is asked for"
            if overlap.replicates is not None
            else f"{overlap.source} holds scores only; give the study folder"
        )
        return [f"How often each is chosen on bootstrap resamples is not known: {why}."]
    try:
        with progress_bar("choosing again on resamples") as advance:
            result = stability(
                overlap,
                choice.size,
                choice.max_overlap,
                resamples=resamples,
                time_limit_s=time_limit_s,
                on_resample=advance,
            )
    except KeyboardInterrupt as error:
        echo_message(
            "stopped; how often each is chosen on resamples is not known. With --time-limit "
            "as many resamples are taken as there is time for."
        )
        raise typer.Exit(EXIT_INTERRUPTED) from error
    shares = {name: share for name, share in result.share.items() if share}
    rows = [
        [name, f"{100 * shares[name]:.0f}", "yes" if name in choice.names else "no"]
        for name in sorted(shares, key=lambda name: (-shares[name], name))
    ]
    title = f"Chosen by the exact method on {result.resamples} bootstrap resamples"
    header = ["corruption", "% of resamples", f"in the {choice.method} choice"]
    return [text_table(title, header, rows), *result.notes]


def _undefined(overlap: OverlapMatrix) -> list[str]:
    reasons: Mapping[str, str] = overlap.undefined
    if not reasons:
        return []
    listed = "; ".join(f"{name} ({reason})" for name, reason in reasons.items())
    return [f"Candidates left out, their overlap is not defined: {listed}."]
