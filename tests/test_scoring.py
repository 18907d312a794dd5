"""Which run may serve another as its reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from noctule import InputError
from noctule.benchmarks import Benchmark, load_benchmark
from noctule.benchmarks.references import ReferenceOutcomes, shipped_outcomes
from noctule.metrics import METRICS
from noctule.metrics.means import Estimates, ImageValues, ratio_estimates
from noctule.scoring import published_reference, score_run, score_runs
from noctule.store import RunStore
from noctule.store.comparability import ImageIdentity, check_reference, comparable_groups
from outcome_rows import run_identity
from stored_runs import stored_run

PLAIN = {"name": "n", "title": "t", "source": "s", "severities": [1, 2, 3, 4, 5]}
TABLES = {"contrast_c": {"factor": [0.9, 0.8, 0.7, 0.6, 0.5]}}


def run(**benchmark: Any) -> RunStore:
    spec = Benchmark.from_dict({**PLAIN, "corruptions": ["contrast_c"], **benchmark})
    return RunStore(Path("run"), run_identity(spec, 3))


def test_the_same_images_are_comparable() -> None:
    check_reference(run(), run())
    check_reference(run(mode="released"), run(mode="released"))
    check_reference(run(), run(stored_jpeg_quality=85))  # which says nothing in paper mode
    check_reference(run(tables=TABLES), run(tables=TABLES, name="m"))
    more = {"gaussian_blur": {"sigma_px": [1, 2, 3, 4, 5]}}
    both = ["contrast_c", "gaussian_blur"]
    check_reference(run(), run(corruptions=both, tables=more))  # of what the run lacks


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mode": "released"}, "another mode"),
        ({"tables": TABLES}, "other severities"),
        ({"severities": [1]}, "lacks contrast_c@2"),
    ],
)
def test_other_images_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        check_reference(run(), run(**changes))


def test_what_published_images_were_stored_as_counts() -> None:
    stored = run(mode="released", stored_jpeg_quality=85)
    with pytest.raises(InputError, match=r"released, as JPEG 85\) than run \(released\)"):
        check_reference(run(mode="released"), stored)
    scaled = {"gaussian_blur": {"sigma_px": [1, 2, 3, 4, 5]}}
    ours = run(corruptions=["gaussian_blur"], tables=scaled)
    theirs = run(corruptions=["gaussian_blur"], tables=scaled, side_px=32)
    with pytest.raises(InputError, match="other severities"):
        check_reference(ours, theirs)
    # Half the lengths for half the side are the same images.
    half = {"gaussian_blur": {"sigma_px": [0.5, 1, 1.5, 2, 2.5]}}
    check_reference(ours, run(corruptions=["gaussian_blur"], tables=half, side_px=112))


def test_the_code_of_a_plugin_counts() -> None:
    ours, theirs = (run().identity.benchmark | {"plugins": {"contrast_c": one}} for one in "ab")
    runs = [
        RunStore(Path("run"), replace(run().identity, benchmark=one)) for one in (ours, theirs)
    ]
    check_reference(runs[0], runs[0])
    with pytest.raises(InputError, match=r"other code of contrast_c \(b\) than run \(a\)"):
        check_reference(*runs)


def test_runs_are_ranked_together_where_all_of_them_are_comparable() -> None:
    def groups(*runs: RunStore) -> list[int]:
        def images(one: RunStore) -> ImageIdentity:
            return ImageIdentity.of(one.identity)

        return [len(one) for one in comparable_groups(runs, images, lambda _: None)]

    live, same, other = run(), stored("png", "f"), stored("png", None)
    assert groups(live, same) == [2]
    # The set is the same, but the third model prepares its images otherwise than live.
    assert groups(live, same, other) == [2, 1]
    assert groups(same, other, live) == [2, 1]
    assert groups(live, run(name="m"), run(tables=TABLES), run(severities=[1])) == [2, 1, 1]


def stored(fingerprint: str, live: str | None) -> RunStore:
    """A run on a stored set of other files, which may be known to be those of the live data."""
    of = {} if live is None else {"live_fingerprint": live}
    data = {"fingerprint": fingerprint, "num_images": 3, "stored": {"layout": "folders", **of}}
    return RunStore(Path("stored"), replace(run().identity, dataset=data))


def test_a_run_on_a_stored_set_of_the_same_images_is_comparable() -> None:
    check_reference(run(), stored("png", "f"))
    check_reference(stored("png", "f"), run())
    check_reference(stored("png", "f"), stored("npy", "f"))
    check_reference(stored("jpeg", None), stored("jpeg", None))
    seeded = stored("png", "f")
    with pytest.raises(InputError, match="another seed"):
        check_reference(run(), replace(seeded, identity=replace(seeded.identity, seed=1)))


def test_a_run_on_a_stored_set_of_other_images_is_refused_with_the_reason() -> None:
    for other in (stored("jpeg", None), stored("png", "g")):
        with pytest.raises(InputError, match=r"other data.* stored them without loss, of the"):
            check_reference(run(), other)
    with pytest.raises(InputError, match=r"other data.* with the same seed\.$"):
        check_reference(stored("png", "f"), stored("jpeg", None))


def test_other_data_and_seeds_are_refused() -> None:
    other = run()
    seeded = RunStore(Path("run"), replace(other.identity, seed=1))
    with pytest.raises(InputError, match="another seed"):
        check_reference(run(), seeded)
    data = {**other.identity.dataset, "fingerprint": "g"}
    with pytest.raises(InputError, match="other data"):
        check_reference(run(), RunStore(Path("run"), replace(other.identity, dataset=data)))


def test_a_reference_says_what_makes_it_less_than_comparable() -> None:
    errors = {"clean": 0.4, **{f"contrast_c@{severity}": 0.5 for severity in range(1, 6)}}
    published = {"model": "AlexNet", "domain": "imagenet-1k-val", "source": "a paper"}
    spec = {"references": [{**published, "errors": errors}]}

    def name(images: int, **benchmark: Any) -> str:
        parsed = Benchmark.from_dict(run(**spec, **benchmark).identity.benchmark)
        data = {"domain": "imagenet-1k-val", "num_images": images}
        known = published_reference(parsed, data, 0, pa.array(["a"]))
        assert known.errors == errors
        return str(known.name)

    exact = "AlexNet (a paper), whose errors are taken as exact"
    assert name(50_000) == exact
    assert name(50_000, mode="released", stored_jpeg_quality=85) == exact
    assert name(40) == (
        f"{exact}; they are of all 50,000 validation images while this run has 40"
    )
    assert name(50_000, stored_jpeg_quality=85).endswith(
        "the released files hold images of mode released, this run's are of mode paper"
    )


# The shipped reference of photo-patches, which comes with its outcomes


def shipped() -> tuple[Benchmark, ReferenceOutcomes]:
    benchmark = load_benchmark("imagenet-noc")
    reference = benchmark.reference_for("photo-patches/test")
    assert reference is not None
    outcomes = shipped_outcomes(reference)
    assert outcomes is not None
    return benchmark, outcomes


def test_shipped_outcomes_are_what_the_shipped_errors_are_means_of() -> None:
    benchmark, outcomes = shipped()
    reference = benchmark.reference_for("photo-patches/test")
    assert reference is not None
    assert set(outcomes.conditions) == set(reference.errors)
    for name, wrong in zip(outcomes.conditions, outcomes.wrong.T, strict=True):
        assert wrong.mean() == reference.errors[name]
    assert list(outcomes.image_ids) == sorted(outcomes.image_ids)


def test_outcomes_are_paired_on_the_same_images_and_exact_on_others() -> None:
    benchmark, outcomes = shipped()
    data = {"domain": "photo-patches/test", "num_images": 1024}
    ids = pa.array(outcomes.image_ids)
    paired = published_reference(benchmark, data, 0, ids)
    assert isinstance(paired.errors, ImageValues)
    assert "exact" not in str(paired.name)
    for seed, images, why in (
        (3, ids, "exact; they are of seed 0, this run is of seed 3"),
        (0, ids[1:], "exact; they are of 1,024 images, this run of others"),
    ):
        other = published_reference(benchmark, data, seed, images)
        assert str(other.name).endswith(why)
        assert isinstance(other.errors, dict)


def test_paired_outcomes_change_intervals_and_no_value() -> None:
    benchmark, outcomes = shipped()
    names = [str(one) for one in benchmark.conditions]
    # A model that errs where the reference does, and on every fiftieth image besides.
    columns = [outcomes.conditions.index(name) for name in names]
    wrong = outcomes.wrong[:, columns] | (np.arange(1024) % 50 == 0)[:, None]

    def scores(metric: str, seed: int) -> Estimates:
        data = {"domain": "photo-patches/test", "num_images": 1024}
        known = published_reference(benchmark, data, seed, pa.array(outcomes.image_ids))
        return ratio_estimates(
            METRICS[metric],
            ImageValues(names, wrong),
            benchmark,
            known.errors,
            no_reference_reason="",
            confidence=0.95,
        )

    for metric in ("ce", "relative_ce"):
        one, other = (scores(metric, seed)["benchmark", benchmark.name] for seed in (0, 1))
        assert one.value == other.value
        assert (one.low, one.high) != (other.low, other.high)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_reference_s_sampling_error_counts_where_it_is_paired(seed: int) -> None:
    """Images drawn from many: the paired interval holds CE of all, exact errors' does not."""
    rng = np.random.default_rng(seed)
    benchmark = Benchmark.from_dict(
        {"name": "b", "title": "t", "source": "s", "corruptions": ["shear"]}
    )
    held = np.zeros(2)
    for _ in range(300):
        flags = rng.random((1024, 4)) < [0.05, 0.15, 0.2, 0.25]  # relative CE 200
        ours, theirs = ImageValues(["clean", "shear"], flags[:, :2]), flags[:, 2:]
        exact = dict(zip(ours.conditions, theirs.mean(axis=0).tolist(), strict=True))
        for place, reference in enumerate((ImageValues(ours.conditions, theirs), exact)):
            one = ratio_estimates(
                METRICS["relative_ce"],
                ours,
                benchmark,
                reference,
                no_reference_reason="",
                confidence=0.95,
            )["benchmark", "b"]
            held[place] += one.low is None or one.high is None or one.low <= 200 <= one.high
    paired, exact_share = held / 300
    assert paired > 0.93 - 0.025  # the standard error is 1.3 points
    assert exact_share < 0.8


# Many runs at once


WRONG = {
    "clean": [0, 0, 0, 1] * 15,
    "shear": [0, 1, 0, 1] * 15,
    "rain": [1, 1, 0, 1] * 15,
    "hue": [1, 1, 1, 0] * 15,
}


def test_many_runs_have_the_scores_that_each_has_alone(tmp_path: Path) -> None:
    runs: list[RunStore | Path] = [
        stored_run(tmp_path / f"{i}", {name: one[i:] + one[:i] for name, one in WRONG.items()})
        for i in range(3)
    ]
    runs[1] = tmp_path / "1"  # a folder will do
    for reference in (None, tmp_path / "2"):
        found = score_runs(runs, reference=reference, resamples=20, same_images=True)
        alone = [score_run(run, reference=reference, resamples=20) for run in runs]
        assert found == alone
        assert (found[0].of("mce").value is None) == (reference is None)
    assert len({scores.of("nll", "hue") for scores in found}) == 1


def test_a_part_of_a_run_and_of_the_metrics_can_be_scored(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "a", WRONG)
    part = Benchmark.from_dict({**PLAIN, "severities": "full", "corruptions": ["rain"]})
    (scores,) = score_runs([run], part, metrics=["mean_error", "aurc"])
    assert (scores.conditions, scores.corruptions) == (("clean", "rain"), ("rain",))
    assert {metric for _, _, metric in scores.estimates} == {
        "error", "aurc", "mean_error", "mean_aurc",
    }  # fmt: skip
    assert scores.of("error") == score_run(run).of("error", "rain")
    with pytest.raises(KeyError):
        scores.of("nll", "rain")
    other = Benchmark.from_dict({**PLAIN, "severities": "full", "corruptions": ["blur"]})
    with pytest.raises(InputError, match="blur"):
        score_runs([run], other)


def test_runs_on_other_images_are_refused_where_the_same_are_wanted(tmp_path: Path) -> None:
    runs = [stored_run(tmp_path / "a", WRONG), stored_run(tmp_path / "b", WRONG, lost=[3])]
    assert [one.num_images for one in score_runs(runs)] == [60, 59]
    with pytest.raises(InputError, match="its images are not those of"):
        score_runs(runs, same_images=True)


def test_an_unfit_reference_is_refused_before_any_run_is_scored(tmp_path: Path) -> None:
    runs = [stored_run(tmp_path / "a", WRONG), stored_run(tmp_path / "b", WRONG, seed=1)]
    with pytest.raises(InputError, match="another seed"):
        score_runs(runs, reference=runs[0])
