"""`noctule design` as a user meets it: exit status, messages, files."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import noctule.cli.design
from command_line import run
from noctule.benchmarks import Benchmark, load_benchmark, write_benchmark
from noctule.studies.matrix import OverlapMatrix, write_matrix
from synthetic_studies import hard_matrix

# Under .45 three pairs may go together, and of the candidates in this order they cover
# rain-hue (1, .7, 1, .7), rain-border (1, .6, .7, 1), shear-border (.6, 1, .7, 1).
MATRIX = OverlapMatrix(
    ("rain", "shear", "hue", "border"),
    np.array(
        [
            [1.0, 0.6, 0.0, 0.1],
            [0.6, 1.0, 0.7, 0.4],
            [0.0, 0.7, 1.0, 0.7],
            [0.1, 0.4, 0.7, 1.0],
        ]
    ),
    {"blur": "training on it did not help"},
    source="study",
)


@pytest.fixture
def design(monkeypatch, capsys, tmp_path):
    """(exit status, stdout, stderr) of `noctule design ARGUMENTS` beside overlap.csv."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_matrix(MATRIX, tmp_path / "overlap.csv")

    return lambda *arguments: run(monkeypatch, capsys, "design", *arguments)


def cells(out: str, name: str) -> list[str]:
    """The words of the first line that begins with this one."""
    line = next(line for line in out.splitlines() if line.split()[:1] == [name])
    return re.split(r"\s{2,}", line.strip())[1:]


def test_a_design_is_printed_and_written_as_a_benchmark(design, tmp_path) -> None:
    status, out, err = design(
        "overlap.csv", "--size", 2, "--max-overlap", 0.45, "--out", "new/two.toml"
    )
    assert (status, err) == (0, "")
    benchmark = load_benchmark(tmp_path / "new" / "two.toml")
    assert (benchmark.name, benchmark.corruptions) == ("two", ("hue", "rain"))
    assert "from overlap.csv: 2 corruptions, every overlap below 0.45" in benchmark.source
    assert "blur (empty in overlap.csv)" in benchmark.source
    assert "noctule evaluate MODEL DATA --benchmark new/two.toml" in out
    assert "omitted because their overlap is undefined: blur (empty in overlap.csv)" in out
    assert "not computed: overlap.csv holds scores only" in out


def test_exact_and_greedy_stand_side_by_side(design) -> None:
    # Greedy takes shear, of sum 2.7, and only border may go with it: 3.3 / 4 against 3.4 / 4.
    status, out, _ = design("overlap.csv", "--size", 2, "--max-overlap", 0.45)
    assert status == 0
    assert "2 of 4 candidates, every overlap below 0.45" in out
    assert cells(out, "coverage") == ["0.850", "0.825"]
    assert cells(out, "redundancy") == cells(out, "largest") == ["0.000", "0.400"]
    assert "\nexact: hue, rain\ngreedy: shear, border\n" in out
    # exp(entropy) / 4 of (1, 1.3, 1, .8) / 4.1 and of (.7, 1.4, 1.4, 1.4) / 4.9
    one, other = (
        math.prod((w / sum(ws)) ** (-w / sum(ws)) for w in ws) / 4
        for ws in ((1, 1.3, 1, 0.8), (0.7, 1.4, 1.4, 1.4))
    )
    assert cells(out, "balance") == [f"{one:.3f}", f"{other:.3f}"]


def test_what_each_covers_is_listed_best_first(design) -> None:
    status, out, _ = design("overlap.csv", "--size", 1)
    assert status == 0
    assert "1 of 4 candidates, no limit on overlap" in out
    last = out[out.index("What the exact choice covers") :]
    assert cells(last, "shear") == ["hue 0.70, rain 0.60, border 0.40"]
    assert cells(out, "redundancy") == ["–", "–"]


def test_what_nothing_covers_is_said(design, tmp_path) -> None:
    write_matrix(OverlapMatrix(("rain", "hue"), np.eye(2)), tmp_path / "apart.csv")
    _, out, _ = design("apart.csv", "--size", 1)
    assert "Covered by none of them: rain." in out
    assert "2 sets have the same coverage" in out
    assert out.index("\n  hue\n") < out.index("\n  rain\n")


def test_a_greedy_choice_that_is_stuck_is_shown_and_not_written(design, tmp_path) -> None:
    # Under .3 greedy's first, shear, may go with none.
    arguments = ["overlap.csv", "--size", 2, "--max-overlap", 0.3]
    status, out, _ = design(*arguments)
    assert status == 0
    assert "greedy stopped at 1 of 2 corruptions" in out
    status, _, err = design(*arguments, "--method", "greedy", "--out", "two.toml")
    assert status == 2
    assert "greedy stopped at 1 of 2" in err
    assert not (tmp_path / "two.toml").exists()


def test_the_greedy_choice_is_written_if_asked_for(design, tmp_path) -> None:
    design("overlap.csv", "--size", 2, "--method", "greedy", "--out", "g.toml")
    benchmark = load_benchmark(tmp_path / "g.toml")
    assert "greedy method" in benchmark.source
    assert benchmark.corruptions == ("shear", "border")  # hue adds as much


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--size", 4, "--max-overlap", 0.3],
            "no 4 corruptions have pairwise overlaps below 0.3",
        ),
        (["--size", 5], "there are not 5 corruptions among 4 candidates"),
        (["--size", 2, "--max-overlap", 0], "max_overlap: 0.0 is out of range"),
        (["--size", 2, "--out", "two.json"], "'two.json' is not a .toml file"),
    ],
)
def test_impossible_requests_exit_2_with_a_message(design, arguments, message) -> None:
    status, _, err = design("overlap.csv", *arguments)
    assert (status, message in err, "Traceback" in err) == (2, True, False), err


def test_a_matrix_that_is_not_there_exits_2(design) -> None:
    status, _, err = design("nowhere.csv")
    assert (status, "nowhere.csv: cannot be read" in err) == (2, True)


def test_candidates_of_ones_own_stop_only_the_toml(design, tmp_path) -> None:
    write_matrix(OverlapMatrix(("rain", "wobble"), np.eye(2)), tmp_path / "own.csv")
    status, out, _ = design("own.csv", "--size", 2)
    assert (status, "wobble" in out) == (0, True)
    status, _, err = design("own.csv", "--size", 2, "--out", "own.toml")
    assert status == 2
    assert "the candidate wobble is not a registered corruption" in err
    assert not (tmp_path / "own.toml").exists()


def test_a_study_folder_brings_its_resamples(design, tmp_path, monkeypatch) -> None:
    crowded = np.ones((4, 4))
    study = replace(MATRIX, replicates=np.stack([MATRIX.raw, MATRIX.raw, MATRIX.raw, crowded]))
    fake = ModuleType("noctule.studies.overlap")
    asked_for = []

    def overlap_of(folder: Path, *, seed: int) -> OverlapMatrix:
        asked_for.append((folder, seed))
        return study

    fake.overlap_of = overlap_of  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "noctule.studies.overlap", fake)
    (tmp_path / "folder").mkdir()
    status, out, err = design("folder", "--size", 2, "--max-overlap", 0.05, "--seed", 5)
    assert (status, err) == (0, "")
    assert asked_for == [(Path("folder"), 5)]
    # The only pair under .05 is rain and hue; on the last resample there is none.
    shown = out[out.index("Chosen by the exact method on 4 bootstrap resamples") :]
    assert cells(shown, "rain") == cells(shown, "hue") == ["100", "yes"]
    assert "On 25 % of the resamples no such set exists" in out
    assert "blur (training on it did not help)" in out
    _, out, _ = design("folder", "--size", 2, "--max-overlap", 0.05, "--resamples", 3)
    assert "on 3 bootstrap resamples" in out
    assert "no such set exists" not in out
    _, out, _ = design("folder", "--size", 2, "--resamples", 0)
    assert "not computed: --resamples is 0" in out


def test_all_best_sets_are_listed_and_counted_alike(design, tmp_path, monkeypatch) -> None:
    # shear or rain beside hue or border: nothing tells the two of a pair apart.
    pairs = np.kron(np.eye(2), np.array([[1, 0.5], [0.5, 1]]))
    twins = OverlapMatrix(("shear", "rain", "hue", "border"), pairs)
    write_matrix(twins, tmp_path / "twins.csv")
    _, out, _ = design("twins.csv", "--size", 2)
    assert "4 sets have the same coverage" in out
    listed = ["border, rain", "border, shear", "hue, rain", "hue, shear"]
    assert re.findall(r"^  (\w+, \w+)$", out, re.MULTILINE) == listed
    fake = ModuleType("noctule.studies.overlap")
    fake.overlap_of = lambda folder, *, seed: replace(  # type: ignore[attr-defined]
        twins, replicates=np.stack([pairs] * 3)
    )
    monkeypatch.setitem(sys.modules, "noctule.studies.overlap", fake)
    (tmp_path / "folder").mkdir()
    _, out, _ = design("folder", "--size", 2)
    shown = out[out.index("Chosen by the exact method on 3 bootstrap resamples") :]
    assert {name: cells(shown, name)[0] for name in twins.names} == dict.fromkeys(
        twins.names, "50"
    )
    assert "On 100 % of the resamples several sets are best" in out


def test_a_time_limit_shows_the_bound(design, tmp_path) -> None:
    write_matrix(hard_matrix(150), tmp_path / "hard.csv")
    status, out, err = design("hard.csv", "--size", 12, "--time-limit", 1)
    assert (status, err) == (0, "")
    assert re.search(r"coverage\s+0\.\d{3}, and at most \d\.\d{3} is possible", out)
    assert "is not proven" in out
    status, _, err = design("hard.csv", "--time-limit", 0)
    assert (status, "Use seconds above 0" in err) == (2, True)


def test_an_interrupt_is_a_message_and_status_130(design, monkeypatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("noctule.studies.design.choose_exact", interrupted)
    status, out, err = design("overlap.csv", "--size", 2)
    assert (status, out) == (130, "")
    assert "The best set was not proven" in err


# design score


def test_a_benchmark_is_scored_within_the_candidates(design, tmp_path) -> None:
    spec = Benchmark(name="b", title="Mine", source="s", corruptions=("rain", "shear", "blur"))
    write_benchmark(spec, tmp_path / "mine.toml")
    status, out, err = design("score", "mine.toml", "--matrix", "overlap.csv")
    assert (status, err) == (0, "")
    assert "Mine: 2 of its 3 corruptions among 4 candidates" in out
    assert cells(out, "coverage") == ["0.775"]  # (1 + 1 + .7 + .4) / 4
    assert cells(out, "redundancy") == ["0.600"]
    # Sums: 1.6, 1.6, .7, .5 of 4.4; times 4: 1.45, 1.45, .64, .45.
    assert cells(out, "shear") == ["1.45", "1.00", "shear"]
    assert cells(out, "border") == ["0.45", "0.40", "shear"]
    listed = [
        line.split()[0] for line in out.splitlines() if re.search(r" \d\.\d\d +\d\.", line)
    ]
    assert listed == ["rain", "shear", "hue", "border"]
    assert "Omitted because their overlap is undefined: blur." in out


def test_the_most_weighted_come_first(design, tmp_path) -> None:
    spec = Benchmark(name="b", title="t", source="s", corruptions=("border",))
    write_benchmark(spec, tmp_path / "mine.toml")
    _, out, _ = design("score", "mine.toml", "--matrix", "overlap.csv")
    listed = [
        line.split()[0] for line in out.splitlines() if re.search(r" \d\.\d\d +\d\.", line)
    ]
    assert listed == ["border", "hue", "shear", "rain"]
    # 1, .7, .4 and .1 of 2.2, times 4
    assert [cells(out, name)[0] for name in listed] == ["1.82", "1.27", "0.73", "0.18"]


@pytest.mark.parametrize(
    ("corruptions", "message"),
    [
        (("rain", "circle", "contrast"), "lacks circle, contrast of b among its 5 candidates"),
        (("blur",), "defines no overlap for any corruption of b"),
    ],
)
def test_a_benchmark_of_others_is_refused(design, tmp_path, corruptions, message) -> None:
    spec = Benchmark(name="b", title="t", source="s", corruptions=corruptions)
    write_benchmark(spec, tmp_path / "mine.toml")
    status, _, err = design("score", "mine.toml", "--matrix", "overlap.csv")
    assert (status, message in err) == (2, True), err


# design n-by-k


@pytest.fixture
def blocks(tmp_path) -> Path:
    """Two families of three: rain, shear, hue and border, circle, contrast."""
    raw = np.kron(np.eye(2), np.full((3, 3), 0.9)) + 0.1 * np.eye(6)
    names = ("rain", "shear", "hue", "border", "circle", "contrast")
    path = tmp_path / "blocks.csv"
    write_matrix(OverlapMatrix(names, raw, {"blur": "no gain"}), path)
    return path


def test_benchmarks_of_families_are_printed_and_written(design, blocks, tmp_path) -> None:
    status, out, err = design(
        "n-by-k", blocks, "--families", 2, "--per-family", 1, "--out", "made/all"
    )
    assert (status, err) == (0, "")
    files = sorted((tmp_path / "made" / "all").iterdir())
    sets = [load_benchmark(path).corruptions for path in files]
    first, second = ("border", "circle", "contrast"), ("hue", "rain", "shear")
    assert sets == [(one, other) for one in first for other in second]
    assert [files[0].name, files[-1].name] == ["2-by-1-001.toml", "2-by-1-009.toml"]
    assert load_benchmark(files[0]).name == "2-by-1-001"
    assert "rain, shear, hue" in out
    assert "Only 9 such benchmarks exist." in out
    assert "blur (empty in blocks.csv)" in out
    assert re.search(r"^1 +0\.933", out, re.MULTILINE)  # (1 + .9 + .9) / 3


def test_a_count_and_a_seed_choose_among_them(design, blocks) -> None:
    arguments = ["n-by-k", blocks, "--families", 2, "--per-family", 2, "--count", 4]
    _, out, _ = design(*arguments)
    assert design(*arguments, "--seed", 0)[1] == out
    assert design(*arguments, "--seed", 1)[1] != out
    assert "no more than" not in out
    assert len(re.findall(r"^\d +0\.967", out, re.MULTILINE)) == 4  # (1 + 1 + .9) / 3


def test_too_few_families_exit_2(design, blocks) -> None:
    status, _, err = design("n-by-k", blocks, "--families", 3, "--per-family", 1)
    assert status == 2
    assert "there are not 3 families with 1 corruptions: the 2 families have 3, 3" in err


def test_a_folder_that_cannot_be_made_exits_2(design, blocks) -> None:
    status, _, err = design(
        "n-by-k", blocks, "--families", 1, "--per-family", 1, "--out", blocks
    )
    assert (status, "Traceback" in err) == (2, False)
    assert "blocks.csv: cannot be created" in err


# The word `choose` may be left out


def test_the_default_command_has_a_name_and_options_may_come_first(design) -> None:
    _, out, _ = design("overlap.csv", "--size", 1)
    assert design("choose", "overlap.csv", "--size", 1)[1] == out
    assert design("--size", 1, "overlap.csv")[1] == out


def test_help_is_the_groups_or_the_commands(design) -> None:
    status, out, _ = design("--help")
    assert status == 0
    assert all(word in out for word in ("score", "n-by-k", "choose"))
    assert "--max-overlap" in design("overlap.csv", "--help")[1]
    status, out, err = design()
    assert "n-by-k" in out + err
    assert status == 2
    assert noctule.cli.design.DEFAULT_COMMAND == "choose"
