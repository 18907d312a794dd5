"""How often 95 % intervals hold the truth, and how often a comparison of equal models errs.

    python scripts/interval_coverage.py --data-sets 1000

draws outcomes with known error rates, scores them, and prints the coverage of each score by
number of images and error rate: over numbers of corruptions and severities and over reference
error rates, the smallest of four ways that conditions can be correlated (independent,
identical, mixed, and wholly common for some images). A data set where a score has no interval
does not count; the share of those that have one stands in brackets. Then the coverage of the
NLL and the AURC, that of scores on a part of a finite set of images, and the false findings of
`compare`'s tests among models of equal error rates.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from noctule.benchmarks import Benchmark
from noctule.comparison import differences_of
from noctule.metrics import METRICS, Estimate
from noctule.metrics.estimates import population_factor
from noctule.metrics.means import Estimates, ImageValues, mean_estimates, ratio_estimates
from noctule.metrics.outcome_matrix import OutcomeMatrix
from noctule.metrics.scores import image_values

IMAGES = (20, 100, 1000)
RATES = (0.01, 0.05, 0.5, 0.95, 0.99)
REFERENCE_RATES = (0.05, 0.3, 0.8)
SHAPES = ((1, 1), (3, 5), (15, 1))  # corruptions, severities
NAMES = (
    "shear", "rain", "hue", "fog", "snow", "frost", "blur", "contrast", "brightness",
    "pixelate", "rotation", "elastic", "spatter", "saturate", "translation",
)  # fmt: skip
Luck = NDArray[np.float64]
Flags = NDArray[np.bool_]
Found = tuple[str, float, Estimate]


def lucks(rng: np.random.Generator, images: int, columns: int, kind: str) -> Luck:
    """Uniform numbers, (images, columns), with a correlation over the columns."""
    own, common = rng.random((images, columns)), rng.random((images, 1))
    match kind:
        case "independent":
            return own
        case "identical":
            return np.repeat(common, columns, axis=1)
        case "mixed":
            return np.where(rng.random((images, columns)) < 0.8, common, own)
        case "some images":
            return np.where(rng.random((images, 1)) < 0.3, common, own)
    raise ValueError(kind)


KINDS = ("independent", "identical", "mixed", "some images")


def benchmark_of(corruptions: int, severities: int) -> Benchmark:
    """A benchmark of this shape."""
    plain = {"name": "b", "title": "t", "source": "s", "corruptions": list(NAMES[:corruptions])}
    chosen = "full" if severities == 1 else list(range(1, severities + 1))
    return Benchmark.from_dict({**plain, "severities": chosen})


def clean_rate(rate: float) -> float:
    """A clean error rate below this rate under corruption."""
    return rate / 2


def scores_of(
    rng: np.random.Generator, images: int, rate: float, other: float, kind: str, spec: Benchmark
) -> Iterator[Found]:
    """Scores of one data set with their true values: exact reference, reference rows, B − A."""
    columns = len(spec.conditions)
    names = [str(one) for one in spec.conditions]
    second_rate = rate if rng.random() < 0.5 else 0.7 * rate
    rates = [np.r_[clean_rate(p), np.full(columns - 1, p)] for p in (rate, other, second_rate)]
    if rng.random() < 0.5:  # models share their luck, or each has its own
        luck = lucks(rng, images, 3 * columns, kind)
    else:
        luck = np.hstack([lucks(rng, images, columns, kind) for _ in range(3)])
    ours, reference, second = np.split(luck < np.concatenate(rates), 3, axis=1)
    exact = dict(zip(names, rates[1].tolist(), strict=True))

    def found(values: ImageValues, relative_to: object) -> dict[str, Estimates]:
        ratios = {
            name: ratio_estimates(
                METRICS[name], values, spec, relative_to,  # type: ignore[arg-type]
                no_reference_reason="", confidence=0.95,
            )
            for name in ("ce", "relative_ce")
        }  # fmt: skip
        return ratios | {"error": mean_estimates(METRICS["error"], values, spec, 0.95)}

    a, b, rows = (ImageValues(names, one) for one in (ours, second, reference))
    ratio, step = 100 * rate / other, second_rate - rate
    step_ratio = 100 * step / other
    corruption, mean = ("corruption", NAMES[0]), ("benchmark", spec.name)
    for what, relative_to in (("", rows), (", exact reference", exact)):
        scores, differences = found(a, relative_to), found(b.less(a), relative_to)
        for start, one, error, ce in (
            ("", scores, rate, ratio), ("B − A: ", differences, step, step_ratio)
        ):  # fmt: skip
            if not what:
                yield f"{start}error", error, one["error"]["condition", names[1]]
                yield f"{start}error of a corruption", error, one["error"][corruption]
                yield f"{start}mean error", error, one["error"][mean]
            if not start:
                yield f"CE{what}", ce, one["ce"][corruption]
                yield f"relative CE{what}", ce, one["relative_ce"][corruption]
            yield f"{start}mCE{what}", ce, one["ce"][mean]
            yield f"{start}relative mCE{what}", ce, one["relative_ce"][mean]


def coverage_table(data_sets: int, seed: int) -> None:
    """Print the coverage of each score by number of images and rate."""
    counts: dict[tuple[str, int, float], dict[str, Luck]] = defaultdict(
        lambda: defaultdict(lambda: np.zeros(3))
    )
    rng = np.random.default_rng(seed)
    cases = itertools.product(IMAGES, RATES, REFERENCE_RATES, KINDS, SHAPES)
    for images, rate, other, kind, shape in cases:
        spec = benchmark_of(*shape)
        for _ in range(data_sets):
            for name, truth, one in scores_of(rng, images, rate, other, kind, spec):
                if one.value is None:
                    continue
                row = counts[name, images, rate][kind]
                row[2] += 1
                if one.low is not None and one.high is not None:
                    assert one.low <= one.value <= one.high
                    row += (one.low - 1e-9 <= truth <= one.high + 1e-9, 1, 0)
    print(f"coverage by images (rows) and error rates {RATES} (columns)")
    for name in dict.fromkeys(name for name, *_ in counts):
        print(name)
        for images in IMAGES:
            cells = [_cell(list(counts[name, images, rate].values())) for rate in RATES]
            print(f"  n = {images:>4}  {'  '.join(cells)}")


def _cell(rows: Sequence[Luck]) -> str:
    """The smallest coverage of those with enough intervals, and the share that has one."""
    shares = [hits / intervals for hits, intervals, _ in rows if intervals >= 50]
    defined = sum(row[1] for row in rows) / sum(row[2] for row in rows)
    return f"{min(shares):.3f} ({defined:.2f})" if shares else f"    – ({defined:.2f})"


def drawn_outcomes(rng: np.random.Generator, kind: str, images: int) -> OutcomeMatrix:
    """Outcomes under one condition whose confidence tells errors, or does not."""
    confidence = rng.beta(5, 1, images)
    match kind:
        case "calibrated":
            wrong = rng.random(images) > confidence
            loss = rng.exponential(np.where(wrong, 3.0, 0.1))
        case "tied, unrelated":
            confidence, wrong = np.round(confidence, 1), rng.random(images) < 0.05
            loss = rng.lognormal(0, 1, images)
        case "inverse":
            wrong = rng.random(images) < confidence / 2
            loss = rng.exponential(1, images)
        case "rarely wrong":
            wrong = rng.random(images) < 0.02
            loss = rng.exponential(np.where(wrong, 5.0, 0.01))
        case _:
            raise ValueError(kind)
    columns = {"label_rank": np.where(wrong, 2, 1), "confidence": confidence, "loss": loss}
    ids = pa.array([f"{i:06d}" for i in range(images)])
    return OutcomeMatrix(
        ids, (NAMES[0],), {name: one[:, None] for name, one in columns.items()}
    )


def loss_and_selection_table(data_sets: int, seed: int) -> None:
    """Print the coverage of the NLL and the AURC, and the mean width of their intervals."""
    rng, spec = np.random.default_rng(seed), benchmark_of(1, 1)
    print(
        f"\ncoverage of loss and selective accuracy by images {IMAGES}, mean width in brackets"
    )
    for name, kind in itertools.product(
        ("nll", "aurc"), ("calibrated", "tied, unrelated", "inverse", "rarely wrong")
    ):
        one, cells = METRICS[name], []
        truth = image_values(one, drawn_outcomes(rng, kind, 2_000_000)).values.mean()
        for images in IMAGES:
            found = [
                mean_estimates(
                    one, image_values(one, drawn_outcomes(rng, kind, images)), spec, 0.95
                )["condition", NAMES[0]]
                for _ in range(data_sets)
            ]
            ends = np.array([(each.low, each.high) for each in found], np.float64)
            held = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
            cells.append(f"{held.mean():.3f} ({np.ptp(ends, axis=1).mean():.3f})")
        print(f"  {name:>4}  {kind:>15}  {'  '.join(cells)}")


def population_table(data_sets: int, seed: int, population: int = 1000) -> None:
    """Print how often intervals from a random part of a set hold the scores on all of it."""
    rng, spec = np.random.default_rng(seed), benchmark_of(3, 5)
    names = [str(one) for one in spec.conditions]
    shares = (0.05, 0.2, 0.5, 0.8, 0.95)
    print(f"\ncoverage of scores on {population} images by the share {shares} that was drawn")
    for rate, kind in itertools.product(RATES, KINDS):
        cells = []
        for share in shares:
            held = []
            for _ in range(data_sets):
                flags = lucks(rng, population, len(names), kind) < rate
                truth = flags[:, 1:].mean()
                part = flags[rng.choice(population, round(share * population), replace=False)]
                found = mean_estimates(
                    METRICS["error"], ImageValues(names, part), spec, 0.95
                )["benchmark", spec.name]  # fmt: skip
                one = found.within_population(population_factor(len(part), population))
                assert one.low is not None
                assert one.high is not None
                held.append(one.low - 1e-9 <= truth <= one.high + 1e-9)
            cells.append(f"{np.mean(held):.3f}")
        print(f"  {rate:>4}  {kind:>11}  {'  '.join(cells)}")


def matrix(flags: Flags, names: Sequence[str]) -> OutcomeMatrix:
    """Outcomes as `differences_of` takes them."""
    ids = pa.array([f"{i:06d}" for i in range(len(flags))])
    return OutcomeMatrix(ids, tuple(names), {"label_rank": np.where(flags, 2, 1)})


def false_findings(data_sets: int, seed: int) -> None:
    """Print how often models of equal error rates are found to differ, whatever their shape."""
    rng = np.random.default_rng(seed)
    print("\nshare of comparisons of equal models with a false finding, at 5 %")
    print("  images  rate  shape     A's errors    B's errors    mean error  any difference")
    worst = 0.0
    for images, rate, shape, (kind_a, kind_b) in itertools.product(
        IMAGES, (0.05, 0.5), SHAPES[1:], (("independent", "independent"), KINDS[:2], KINDS[1:3])
    ):
        spec = benchmark_of(*shape)
        names = [str(one) for one in spec.conditions]
        found = np.zeros(2)
        for _ in range(data_sets):
            a, b = (
                matrix(lucks(rng, images, len(names), kind) < rate, names)
                for kind in (kind_a, kind_b)
            )
            whole, clean, parts = differences_of((a, b), spec, "corruption", 0.95)
            assert clean is not None
            every = whole.real or clean.real or any(one.real for one in parts)
            found += (whole.p_value < 0.05, every)
        mean, union = found / data_sets
        worst = max(worst, union)
        print(
            f"  {images:>6}  {rate:>4}  {shape[0]:>2} × {shape[1]}  {kind_a:>12}  {kind_b:>12}"
            f"  {mean:>10.3f}  {union:>14.3f}"
        )
    print(f"  largest: {worst:.3f}")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-sets", type=int, default=200, help="Data sets per case.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the simulation.")
    arguments = parser.parse_args()
    coverage_table(arguments.data_sets, arguments.seed)
    loss_and_selection_table(arguments.data_sets, arguments.seed)
    population_table(arguments.data_sets, arguments.seed)
    false_findings(arguments.data_sets, arguments.seed)


if __name__ == "__main__":
    main()
