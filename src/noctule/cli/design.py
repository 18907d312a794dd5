"""`noctule design`: from an overlap matrix to a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noctule.cli.app import app
from noctule.cli.echo import echo, interruptible
from noctule.cli.help import HELP_NAMES, Command, CommandGroup
from noctule.cli.options import BenchmarkArgument, arg, opt
from noctule.errors import InputError, OutputError
from noctule.extras import require
from noctule.report.formatting import UNDEFINED, number

if TYPE_CHECKING:
    from noctule.benchmarks import Benchmark
    from noctule.report.terminal import Part
    from noctule.studies.design import ChosenSet, DesignScores
    from noctule.studies.matrix import OverlapMatrix

DEFAULT_COMMAND = "choose"

MatrixArgument = Annotated[
    Path,
    arg("MATRIX", help="Square CSV file of overlap scores, or a study folder."),
]


class DesignGroup(CommandGroup):
    """Reads `noctule design MATRIX` as `noctule design choose MATRIX`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command if none is named."""
        if args and args[0] not in (*self.commands, *HELP_NAMES):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)


design_app = typer.Typer(
    cls=DesignGroup,
    no_args_is_help=True,
    help="Design a benchmark: choose corruptions that overlap little, from an overlap matrix.",
    epilog="Example: noctule design MATRIX --size 8 --max-overlap 0.3",
)
app.add_typer(design_app, name="design")


@design_app.command(cls=Command)
def choose(
    matrix: MatrixArgument,
    size: Annotated[int, opt("N")] = 8,
    max_overlap: Annotated[float | None, opt("X", default="no limit")] = None,
    method: Annotated[Literal["exact", "greedy"], opt()] = "exact",
    out: Annotated[Path | None, opt("PATH", "--out", "-o")] = None,
    resamples: Annotated[int, opt("N", min=0)] = 200,
    seed: Annotated[int, opt("N")] = 0,
    time_limit: Annotated[float | None, opt("SECONDS", default="no limit")] = None,
) -> None:
    """Choose the corruptions that best cover all candidates. This is the default command.

    Args:
        size: Number of corruptions to choose.
        max_overlap: Upper limit on the overlap of every pair.
        method: Method whose choice is used.
        out: Benchmark file to write, a .toml.
        resamples: Bootstrap resamples on which the choice is repeated, to measure its
            stability; 0 skips this.
        seed: Random seed of the bootstrap of a study folder.
        time_limit: Time limit for the exact search, and again for the resamples. When it is
            reached, the best set found so far is used, and further resamples are skipped.
    """
    require("study")
    from noctule.report.table import text_table
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
        *(f"{design.method}: {', '.join(design.names)}" for design in (exact, greedy)),
        *(design.note for design in (exact, greedy) if design.note),
        *exact.tie_notes,
        *_covers(choice),
        *_undefined(overlap),
        data={
            "matrix": matrix,
            "method": method,
            "proven": exact.proven,
            **{one.method: _data(one.names, one.scores) for one in (exact, greedy)},
            "best_sets": [list(names) for names in exact.best_sets],
            "undefined": dict(overlap.undefined),
        },
    )
    if out is not None:
        _write(benchmark_of(choice, overlap, out.stem), out)
        use_it = f"Use it with: noctule evaluate MODEL DATA --benchmark {out}"
        echo(f"{out}", use_it, data={"benchmark": out})
    echo("", *_stability(overlap, choice, resamples, time_limit))


@design_app.command(cls=Command)
def score(
    benchmark: BenchmarkArgument,
    matrix: Annotated[Path, opt("MATRIX")],
) -> None:
    """Score a benchmark: how well it covers the candidates, and how evenly it weighs them.

    Args:
        matrix: Square CSV file of overlap scores, or a study folder.
    """
    require("study")
    from noctule.benchmarks import load_benchmark
    from noctule.report.table import text_table
    from noctule.studies.design import score_design

    spec, overlap = load_benchmark(benchmark), _read(matrix)
    names = _within(spec, overlap)
    scores = score_design(overlap, names)
    num_scored = f"{len(names)} of its {len(spec.corruptions)} corruptions"
    title = f"{spec.title}: {num_scored} among {len(overlap.names)} candidates"
    weights = {name: len(overlap.names) * share for name, share in scores.emphasis.items()}
    rows = []
    for name in sorted(weights, key=lambda name: (-weights[name], name)):
        by, share = scores.covered_by[name]
        rows.append([name, number(weights[name], 2), number(share, 2), by or UNDEFINED])
    notes = ["A weight of 1 means that the candidate counts as much as under equal weights."]
    if left_out := [name for name in spec.corruptions if name not in names]:
        notes.append(f"Omitted because their overlap is undefined: {', '.join(left_out)}.")
    header = ["candidate", "weight", "covered", "best by"]
    echo(
        text_table(title, ["", ""], _numbers(scores)),
        text_table("Weight of each candidate", header, rows),
        *notes,
        *_undefined(overlap),
        data={
            "benchmark": spec.name,
            "left_out": left_out,
            "score": _data(names, scores),
            "weights": weights,
            "undefined": dict(overlap.undefined),
        },
    )


@design_app.command(name="n-by-k", cls=Command)
def n_by_k(
    matrix: MatrixArgument,
    families: Annotated[int, opt("N")],
    per_family: Annotated[int, opt("K")],
    count: Annotated[int, opt("N")] = 20,
    seed: Annotated[int, opt("N")] = 0,
    out: Annotated[Path | None, opt("PATH", "--out", "-o")] = None,
) -> None:
    """Generate benchmarks of N families with K corruptions each.

    Args:
        families: Families of corruptions in each benchmark.
        per_family: Corruptions per family.
        count: Number of benchmarks to generate.
        seed: Random seed of the families and benchmarks.
        out: Folder for the benchmarks.
    """
    require("study")
    from noctule.report.table import text_table
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
        [str(number), *_short(design.scores), ", ".join(design.names)]
        for number, design in enumerate(designs, start=1)
    ]
    header = ["", "coverage", "redundancy", "balance", "corruptions"]
    echo(
        table,
        text_table(f"{families} families with {per_family} corruptions each", header, rows),
        *([f"Only {len(designs)} such benchmarks exist."] if len(designs) < count else []),
        *_undefined(overlap),
        data={
            "families": members,
            "benchmarks": [_data(one.names, one.scores) for one in designs],
            "undefined": dict(overlap.undefined),
        },
    )
    if out is not None:
        for number, design in enumerate(designs, start=1):
            name = f"{families}-by-{per_family}-{number:03d}"
            _write(benchmark_of(design, overlap, name), out / f"{name}.toml")
        echo(f"{out}: {len(designs)} benchmarks", data={"folder": out})


def _read(path: Path, seed: int = 0) -> OverlapMatrix:
    if path.is_dir():
        from noctule.studies.overlap import overlap_of

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
            f"lacks {', '.join(unknown)} of {spec.name} among its {len(known)} candidates",
            where=overlap.source,
            remedy="Use a matrix that includes these corruptions.",
        )
    names = [name for name in spec.corruptions if name in overlap.names]
    if not names:
        raise InputError(
            f"defines no overlap for any corruption of {spec.name}", where=overlap.source
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
        raise OutputError(f"cannot be created: {error.strerror}", where=path.parent) from error
    write_benchmark(benchmark, path)


def _exact(
    overlap: OverlapMatrix, size: int, max_overlap: float | None, time_limit_s: float | None
) -> ChosenSet:
    from noctule.report.progress import status_line
    from noctule.studies.design import choose_exact

    message = (
        "The best set was not proven optimal yet. Use --time-limit to get the best "
        "set found in a given time."
    )
    with interruptible(message), status_line("searching for the best set") as report:
        return choose_exact(
            overlap,
            size,
            max_overlap,
            time_limit_s=time_limit_s,
            on_search=lambda search: report(str(search)),
        )


def _side_by_side(exact: ChosenSet, greedy: ChosenSet) -> list[list[str]]:
    numbers = zip(_numbers(exact.scores), _numbers(greedy.scores), strict=True)
    return [[name, left, right] for (name, left), (_, right) in numbers]


def _numbers(scores: DesignScores) -> list[tuple[str, str]]:
    largest = scores.largest_overlap
    names = ("coverage", "redundancy", "balance", "largest overlap")
    cells = (*_short(scores), number(largest, 3))
    return list(zip(names, cells, strict=True))


def _data(names: Sequence[str], scores: DesignScores) -> dict[str, Any]:
    """A set of corruptions and its scores as data; what is not defined is None."""
    return {
        "corruptions": list(names),
        "coverage": scores.coverage,
        "redundancy": scores.redundancy,
        "balance": scores.balance,
        "largest_overlap": scores.largest_overlap,
    }


def _short(scores: DesignScores) -> tuple[str, str, str]:
    return (
        number(scores.coverage, 3),
        number(scores.redundancy, 3),
        number(scores.balance, 3),
    )


def _covers(choice: ChosenSet) -> list[Part]:
    """The candidates that each chosen corruption covers best."""
    from noctule.report.table import text_table

    covers = sorted(choice.scores.covered_by.items(), key=lambda item: -item[1].share)
    rows = []
    for name in choice.names:
        others = [
            f"{candidate} {cover.share:.2f}"
            for candidate, cover in covers
            if cover.by == name and candidate != name
        ]
        rows.append([name, ", ".join(others) or UNDEFINED])
    header = ["corruption", "others it covers best"]
    parts: list[Part] = [text_table(f"What the {choice.method} choice covers", header, rows)]
    if uncovered := [name for name, cover in covers if cover.by is None]:
        parts.append(f"Covered by none of them: {', '.join(uncovered)}.")
    return parts


def _stability(
    overlap: OverlapMatrix, choice: ChosenSet, resamples: int, time_limit_s: float | None
) -> list[Part]:
    from noctule.report.progress import progress_bar
    from noctule.report.table import text_table
    from noctule.studies.design import stability

    if overlap.replicates is None or not resamples:
        reason = (
            "--resamples is 0"
            if overlap.replicates is not None
            else f"{overlap.source} holds scores only; pass the study folder"
        )
        return [f"Stability across bootstrap resamples was not computed: {reason}."]
    message = (
        "The stability is not known yet. Use --time-limit to stop after a given "
        "time with the resamples finished so far."
    )
    with interruptible(message), progress_bar("choosing on resamples") as advance:
        result = stability(
            overlap,
            choice.size,
            choice.max_overlap,
            resamples=resamples,
            time_limit_s=time_limit_s,
            on_resample=advance,
        )
    shares = {name: share for name, share in result.share.items() if share}
    echo(data={"stability": {"resamples": result.resamples, "share": shares}})
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
    return [f"Candidates omitted because their overlap is undefined: {listed}."]
