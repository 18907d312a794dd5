from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest

from noctule.benchmarks import Benchmark, load_benchmark, write_benchmark
from noctule.errors import InputError, NoctuleError
from noctule.sampling import image_words, key_of, unit_interval
from noctule.studies.design import (
    benchmark_of,
    choose_exact,
    choose_greedy,
    coverage,
    largest_set,
    n_by_k,
    programme,
    score_design,
)
from noctule.studies.design.exact import MOST_BEST_SETS
from noctule.studies.design.programme import Search
from noctule.studies.matrix import OverlapMatrix
from synthetic_studies import hard_matrix

# What the solver may leave on the table, of a sum of shares.
GAP = 1e-6


def drawn_matrix(n: int, number: int) -> OverlapMatrix:
    """Symmetric, 1 on the diagonal, elsewhere uniform in [−.3, 1.2): both cuts occur."""
    ((words, _),) = image_words([key_of("design", number)], range(n * n))
    values = 1.5 * unit_interval(words).double().numpy().reshape(n, n) - 0.3
    raw = np.triu(values, 1)
    return OverlapMatrix(tuple("abcdefgh"[:n]), raw + raw.T + np.eye(n))


def star(overlap: float) -> OverlapMatrix:
    """A hub that overlaps three leaves, which do not overlap each other."""
    raw = np.eye(4)
    raw[0, 1:] = raw[1:, 0] = overlap
    return OverlapMatrix(("hub", "x", "y", "z"), raw)


def possible(matrix: OverlapMatrix, size: int, limit: float | None) -> list[tuple[int, ...]]:
    """Every set of this size within the limit, by trying all."""
    return [
        chosen
        for chosen in combinations(range(len(matrix.names)), size)
        if limit is None
        or all(max(0.0, matrix.raw[i, j]) < limit for i, j in combinations(chosen, 2))
    ]


def best_coverage(matrix: OverlapMatrix, sets: list[tuple[int, ...]]) -> float:
    def covered(chosen: tuple[int, ...], c: int) -> float:
        return max(min(1.0, max(0.0, float(matrix.raw[b, c]))) for b in chosen)

    n = len(matrix.names)
    return max((sum(covered(one, c) for c in range(n)) / n for one in sets), default=0.0)


CASES = [(n, number) for n in range(2, 9) for number in range(2)]


@pytest.mark.parametrize("limit", [None, 0.15, 0.5, 0.9, 1.1])
@pytest.mark.parametrize(("n", "number"), CASES)
def test_exact_is_the_best_of_all_sets_and_greedy_no_better(n, number, limit) -> None:
    matrix = drawn_matrix(n, number)
    smaller_best = 0.0
    for size in range(1, n + 1):
        sets = possible(matrix, size, limit)
        greedy = choose_greedy(matrix, size, limit)
        positions = tuple(sorted(map(matrix.names.index, greedy.names)))
        assert positions in possible(matrix, len(positions), limit)
        assert greedy.complete == (len(greedy.names) == size)
        if not sets:
            assert not greedy.complete
            with pytest.raises(InputError, match=f"no {size} corruptions have pairwise"):
                choose_exact(matrix, size, limit)
            continue
        best = best_coverage(matrix, sets)
        exact = choose_exact(matrix, size, limit)
        assert tuple(map(matrix.names.index, exact.names)) in sets
        assert exact.proven
        assert exact.scores.coverage == pytest.approx(best, abs=GAP)
        if greedy.complete:
            assert greedy.scores.coverage <= best + 1e-12
        assert bool(exact.note) == (smaller_best > best + GAP), exact.note
        smaller_best = max(smaller_best, best)


def test_the_cases_above_have_infeasible_ones_stuck_ones_and_better_smaller_ones() -> None:
    infeasible = stuck = fewer_better = suboptimal = 0
    for n, number in CASES:
        matrix = drawn_matrix(n, number)
        for limit in (0.15, 0.5, 0.9, 1.1):
            bests = [
                best_coverage(matrix, possible(matrix, size, limit)) for size in range(1, n + 1)
            ]
            for size, best in enumerate(bests, start=1):
                greedy = choose_greedy(matrix, size, limit)
                infeasible += best == 0
                stuck += best > 0 and not greedy.complete
                suboptimal += greedy.complete and greedy.scores.coverage < best - GAP
                fewer_better += 0 < best < max(bests[: size - 1], default=0) - GAP
    assert min(infeasible, stuck, fewer_better, suboptimal) >= 2


@pytest.mark.parametrize("limit", [None, 0.15, 0.5, 1.1])
def test_the_largest_set_is_as_large_as_any(limit) -> None:
    for n, number in CASES:
        matrix = drawn_matrix(n, number)
        largest = max(size for size in range(1, n + 1) if possible(matrix, size, limit))
        found = largest_set(matrix, limit)
        assert tuple(map(matrix.names.index, found)) in possible(matrix, largest, limit)


def test_what_is_infeasible_is_said_with_the_largest_set() -> None:
    with pytest.raises(InputError) as error:
        choose_exact(star(0.5), 4, 0.4)
    assert error.value.what == (
        "no 4 corruptions have pairwise overlaps below 0.4; "
        "the largest possible set has 3 (x, y, z)"
    )


def test_a_pair_at_the_limit_is_not_below_it() -> None:
    matrix = OverlapMatrix(("a", "b"), np.array([[1.0, 0.3], [0.3, 1.0]]))
    assert choose_greedy(matrix, 2, 0.3).names == ("a",)
    with pytest.raises(InputError, match="the largest possible set has 1"):
        choose_exact(matrix, 2, 0.3)
    above = float(np.nextafter(0.3, 1))
    assert choose_greedy(matrix, 2, above).names == ("a", "b")
    assert choose_exact(matrix, 2, above).names == ("a", "b")


def test_conflicts_count_overlap_beyond_1() -> None:
    # Shares are cut off at 1, conflicts are not: 1.5 is not below 1.2, and 1.1 is.
    matrix = OverlapMatrix(("a", "b"), np.array([[1.0, 1.5], [1.5, 1.0]]))
    assert not choose_greedy(matrix, 2, 1.2).complete
    with pytest.raises(InputError, match="no 2 corruptions have"):
        choose_exact(matrix, 2, 1.2)
    matrix = OverlapMatrix(("a", "b"), np.array([[1.0, 1.1], [1.1, 1.0]]))
    assert choose_exact(matrix, 2, 1.2).names == ("a", "b")


# Ties


def tied_matrix(n: int, number: int) -> OverlapMatrix:
    """As `drawn_matrix`, with overlaps of 0, .3 and .6 only: many sets cover the same."""
    raw = drawn_matrix(n, number).raw
    coarse = np.select([raw < 0.4, raw < 0.8], [0.0, 0.3], 0.6)
    np.fill_diagonal(coarse, 1)
    return OverlapMatrix(tuple("abcdefgh"[:n]), coarse)


@pytest.mark.parametrize("limit", [None, 0.5])
def test_the_best_sets_are_all_the_best_sets(limit) -> None:
    """Against trying every set; the first by name is chosen."""
    several = 0
    for n, number in CASES:
        matrix = tied_matrix(n, number)
        for size in range(1, n):
            sets = possible(matrix, size, limit)
            if not sets:
                continue
            best = best_coverage(matrix, sets)
            expected = tuple(
                tuple(matrix.names[i] for i in one)
                for one in sets
                if best_coverage(matrix, [one]) > best - 1e-9
            )
            choice = choose_exact(matrix, size, limit)
            assert (choice.best_sets, choice.all_listed) == (expected, True)
            assert (choice.names, choice.possible) == (expected[0], choice.scores.coverage)
            several += len(expected) > 1
    assert several > 10


def test_the_order_of_the_candidates_changes_nothing() -> None:
    for number, order in enumerate(list(permutations(range(7)))[1::1200]):
        matrix = replace(tied_matrix(7, number % 3), undefined={"z": "no gain"})
        turned = OverlapMatrix(
            tuple(matrix.names[i] for i in order),
            matrix.raw[np.ix_(order, order)],
            matrix.undefined,
        )
        for size, limit in ((2, None), (3, 0.5), (4, None)):
            assert choose_greedy(turned, size, limit) == choose_greedy(matrix, size, limit)
            for one in possible(matrix, size, limit)[:1]:
                assert choose_exact(turned, size, limit) == choose_exact(matrix, size, limit)
                names = [matrix.names[i] for i in one]
                assert score_design(turned, names[::-1]) == score_design(matrix, names)
        labels = [0, 0, 1, 1, 0, 1, 2]
        assert [
            design.names for design in n_by_k(turned, [labels[i] for i in order], 2, 1, 20)
        ] == [design.names for design in n_by_k(matrix, labels, 2, 1, 20)]


def test_of_very_many_best_sets_the_first_by_name_is_chosen() -> None:
    # Nothing overlaps: every set of four of twelve is as good, 495 of them.
    names = tuple("lkjihgfedcba")
    choice = choose_exact(OverlapMatrix(names, np.eye(12)), 4)
    assert choice.names == choice.best_sets[0] == tuple("abcd")
    assert (len(choice.best_sets), choice.all_listed) == (MOST_BEST_SETS, False)
    assert len(set(choice.best_sets)) == MOST_BEST_SETS
    assert choice.tie_notes[0].startswith("100 or more sets have the same")
    # 3 of them are as many as there are.
    assert choose_exact(OverlapMatrix(names[:3], np.eye(3)), 2).all_listed


def test_sets_that_are_a_little_worse_are_no_ties() -> None:
    # Sums of b and of the others differ by 10⁻⁵: less than anyone cares, more than rounding.
    raw = np.eye(3)
    raw[0, 1] = raw[1, 0] = 0.3
    raw[1, 2] = raw[2, 1] = 1e-5
    assert choose_exact(OverlapMatrix(tuple("abc"), raw), 1).best_sets == (("b",),)


def test_a_time_limit_leaves_the_best_set_found_and_a_bound() -> None:
    searches: list[Search] = []
    matrix = hard_matrix(150)
    choice = choose_exact(matrix, 12, time_limit_s=2, on_search=searches.append)
    assert (len(choice.names), choice.proven, choice.all_listed) == (12, False, False)
    assert choice.possible is not None
    assert choose_greedy(matrix, 12).scores.coverage <= choice.scores.coverage < choice.possible
    assert choice.possible <= 1
    assert searches
    assert all(0 <= one.possible <= 1 for one in searches)
    assert "is not proven" in choice.tie_notes[0]
    assert f"at most {choice.possible:.3f} is possible" in choice.tie_notes[0]
    with pytest.raises(InputError, match="time limit: 0 is out of range"):
        choose_exact(star(0.5), 2, time_limit_s=0)


def test_an_interrupt_ends_a_long_search() -> None:
    """In a program of its own, which says when the search runs."""
    code = """
from test_design_choose import choose_exact, hard_matrix
choose_exact(hard_matrix(150), 12, on_search=lambda search: print("searching", flush=True))
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"searching\n"
        program.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, errors = program.communicate(timeout=120)
    assert time.monotonic() - begun < 60
    assert b"KeyboardInterrupt" in errors
    assert program.returncode in (-signal.SIGINT, 1)


def test_a_solver_that_is_killed_is_a_message_and_the_next_search_works() -> None:
    def kill(search: Search) -> None:
        assert programme._solver._process is not None
        programme._solver._process.kill()

    with pytest.raises(NoctuleError, match="solver failed: its process ended"):
        choose_exact(hard_matrix(100), 12, on_search=kill)
    assert choose_exact(star(0.5), 3, 0.4).names == ("x", "y", "z")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_solver_does_not_outlive_who_asked() -> None:
    code = """
from test_design_choose import choose_exact, hard_matrix, programme
choose_exact(hard_matrix(150), 12, on_search=lambda search: print(
    programme._solver._process.pid, flush=True))
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        solver = int(program.stdout.readline())
        assert Path(f"/proc/{solver}").exists()
        program.kill()
    for _ in range(300):
        time.sleep(0.1)
        if _has_ended(solver):
            return
    raise AssertionError("the solver still runs after 30 s")


def _has_ended(process: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True


# Greedy, by hand


def test_greedy_takes_the_largest_gain_each_time() -> None:
    # Sums of the rows: a 1.6, b 1.9, c 1.7, d 1.4; so b, which covers (.6, 1, .3, 0).
    # Gains then: a .4, c .7 + .4 = 1.1, d (.4 − .3) + 1 = 1.1; alike, so c, the first.
    # Covered: (.6, 1, 1, .4); gains a .4, d .6; so d, then a.
    raw = np.array(
        [[1.0, 0.6, 0.0, 0.0], [0.6, 1.0, 0.3, 0.0], [0.0, 0.3, 1.0, 0.4], [0.0, 0.0, 0.4, 1.0]]
    )
    matrix = OverlapMatrix(tuple("abcd"), raw)
    assert choose_greedy(matrix, 4).names == ("b", "c", "d", "a")
    # With a limit of .3, c may not go with b, so d is next; then neither a nor c may come.
    choice = choose_greedy(matrix, 3, 0.3)
    assert choice.names == ("b", "d")
    assert choice.note == (
        "greedy stopped at 2 of 3 corruptions: every other candidate overlaps one of them "
        "by 0.3 or more"
    )


def test_ties_go_to_the_first_by_name_whatever_the_rounding() -> None:
    # Rows 0 and 1 sum to 1 + .9, row 2 to 1 + .3 + .3 + .3, the others to less.
    raw = np.eye(6)
    raw[0, 1] = 0.9
    raw[2, 3:] = 0.3
    raw = np.maximum(raw, raw.T)
    rounding_decides = 0
    for order in permutations(range(6)):
        matrix = OverlapMatrix(tuple(f"n{i}" for i in order), raw[np.ix_(order, order)])
        assert choose_greedy(matrix, 1).names == ("n0",)
        if order[:3] in ((2, 1, 0), (1, 2, 5)):
            assert choose_exact(matrix, 1).best_sets == (("n0",), ("n1",), ("n2",))
        rounding_decides += order[int(matrix.shares.mean(axis=1).argmax())] != 0
    assert rounding_decides > 100


def test_greedy_may_get_stuck_where_exact_does_not() -> None:
    greedy = choose_greedy(star(0.5), 3, 0.4)
    assert (greedy.names, greedy.complete) == (("hub",), False)
    assert choose_exact(star(0.5), 3, 0.4).names == ("x", "y", "z")


def test_a_smaller_set_that_covers_more_is_pointed_out() -> None:
    # The hub alone: (1 + 3 · .8) / 4 = .85; two leaves: (2 + .8) / 4 = .7.
    choice = choose_exact(star(0.8), 2, 0.4)
    assert choice.scores.coverage == pytest.approx(0.7)
    assert (
        choice.note == "a smaller set, hub, covers more than the best of 2: 0.850 against 0.700"
    )
    assert choose_exact(star(0.8), 1, 0.4).note is None
    assert choose_exact(star(0.8), 2).note is None


@pytest.mark.parametrize("choose", [choose_exact, choose_greedy])
@pytest.mark.parametrize(
    ("size", "limit", "message"),
    [
        (0, None, "there are not 0 corruptions among 4 candidates. Use a size from 1 to 4"),
        (5, None, "there are not 5 corruptions among 4 candidates"),
        (2, 0.0, "max_overlap: 0.0 is out of range"),
        (2, -0.1, "max_overlap: -0.1 is out of range"),
        (2, float("nan"), "max_overlap: nan is out of range"),
    ],
)
def test_impossible_requests_are_refused(choose, size, limit, message) -> None:
    with pytest.raises(InputError, match=message):
        choose(star(0.5), size, limit)


def test_undefined_candidates_are_counted_in_the_refusal() -> None:
    matrix = OverlapMatrix(("a",), np.eye(1), {"b": "no gain"})
    with pytest.raises(InputError, match=r"among 1 candidate \(1 more are undefined\)"):
        choose_exact(matrix, 2)
    assert choose_exact(matrix, 1, 0.1).scores.undefined == {"b": "no gain"}


# A benchmark from a choice

REGISTERED = OverlapMatrix(
    ("rain", "shear", "hue"),
    np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.4], [0.0, 0.4, 1.0]]),
    {"blur": "training on it did not help"},
    source="overlap.csv",
)


def test_a_choice_becomes_a_benchmark_file(tmp_path) -> None:
    choice = choose_exact(REGISTERED, 2, 0.3)
    assert choice.names == ("hue", "rain")  # coverage (1 + .5 + 1) / 3
    benchmark = benchmark_of(choice, REGISTERED, "mine")
    write_benchmark(benchmark, tmp_path / "mine.toml")
    loaded = load_benchmark(tmp_path / "mine.toml")
    assert loaded == benchmark
    assert isinstance(loaded, Benchmark)
    assert (loaded.name, loaded.corruptions, loaded.severities) == (
        "mine",
        ("hue", "rain"),
        None,
    )
    assert loaded.source == (
        "Designed by noctule from overlap.csv: 2 corruptions, every overlap below 0.3, exact "
        "method; coverage 0.833 of 3 candidates. Left out, their overlap is not defined: blur "
        "(training on it did not help)"
    )


def test_a_benchmark_of_families_says_so() -> None:
    (design,) = n_by_k(REGISTERED, [0, 0, 1], n=1, k=2, count=5)
    source = benchmark_of(design, REGISTERED, "f").source
    assert "1 families with 2 corruptions each; coverage 0.800" in source  # (1 + 1 + .4) / 3


def test_only_registered_corruptions_and_complete_choices_make_a_benchmark() -> None:
    choice = choose_greedy(star(0.5), 1)
    with pytest.raises(InputError, match="candidate hub is not a registered corruption"):
        benchmark_of(choice, star(0.5), "b")
    stuck = choose_greedy(REGISTERED, 3, 0.3)
    with pytest.raises(InputError, match="greedy stopped at 1 of 3"):
        benchmark_of(stuck, REGISTERED, "b")
    assert coverage(REGISTERED, stuck.names) == stuck.scores.coverage
