"""Which run may serve another as its reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noctule import InputError
from noctule.benchmarks import Benchmark, Reference
from noctule.scoring import check_reference, name_of_reference
from noctule.store import RunIdentity, RunStore

PLAIN = {"name": "n", "title": "t", "source": "s", "levels": [1, 2, 3, 4, 5]}
TABLES = {"contrast_c": {"factor": [0.9, 0.8, 0.7, 0.6, 0.5]}}


def run(**benchmark: Any) -> RunStore:
    spec = Benchmark.from_dict({**PLAIN, "corruptions": ["contrast_c"], **benchmark})
    data = {"fingerprint": "f", "num_images": 3}
    identity = RunIdentity({}, spec.to_dict(), data, 0, 1, 1, "float32", "cpu", "stop")
    return RunStore(Path("run"), identity)


def test_the_same_pictures_are_comparable() -> None:
    check_reference(run(), run())
    check_reference(run(mode="published"), run(mode="published"))
    check_reference(run(), run(stored_jpeg_quality=85))  # which says nothing when corrected
    check_reference(run(tables=TABLES), run(tables=TABLES, name="m"))
    more = {"gaussian_blur": {"sigma_px": [1, 2, 3, 4, 5]}}
    both = ["contrast_c", "gaussian_blur"]
    check_reference(run(), run(corruptions=both, tables=more))  # of what the run lacks


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mode": "published"}, "another mode"),
        ({"tables": TABLES}, "other levels"),
        ({"levels": [1]}, "lacks contrast_c@2"),
    ],
)
def test_other_pictures_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        check_reference(run(), run(**changes))


def test_what_published_pictures_were_stored_as_counts() -> None:
    stored = run(mode="published", stored_jpeg_quality=85)
    with pytest.raises(InputError, match=r"published, as JPEG 85\) than run \(published\)"):
        check_reference(run(mode="published"), stored)
    scaled = {"gaussian_blur": {"sigma_px": [1, 2, 3, 4, 5]}}
    ours = run(corruptions=["gaussian_blur"], tables=scaled)
    theirs = run(corruptions=["gaussian_blur"], tables=scaled, side_px=32)
    with pytest.raises(InputError, match="other levels"):
        check_reference(ours, theirs)


def frozen(fingerprint: str, live: str | None) -> RunStore:
    """A run on a frozen set of other files, which may be known to be those of the live data."""
    of = {} if live is None else {"live_fingerprint": live}
    data = {"fingerprint": fingerprint, "num_images": 3, "frozen": {"layout": "folders", **of}}
    return RunStore(Path("frozen"), replace(run().identity, dataset=data))


def test_a_run_on_a_frozen_set_of_the_same_pictures_is_comparable() -> None:
    check_reference(run(), frozen("png", "f"))
    check_reference(frozen("png", "f"), run())
    check_reference(frozen("png", "f"), frozen("npy", "f"))
    check_reference(frozen("jpeg", None), frozen("jpeg", None))
    seeded = frozen("png", "f")
    with pytest.raises(InputError, match="another seed"):
        check_reference(run(), replace(seeded, identity=replace(seeded.identity, seed=1)))


def test_a_run_on_a_frozen_set_of_other_pictures_is_refused_with_the_reason() -> None:
    for other in (frozen("jpeg", None), frozen("png", "g")):
        with pytest.raises(InputError, match=r"other data.* stored them without loss, of the"):
            check_reference(run(), other)
    with pytest.raises(InputError, match=r"other data.* with the same seed\.$"):
        check_reference(frozen("png", "f"), frozen("jpeg", None))


def test_other_data_and_seeds_are_refused() -> None:
    other = run()
    seeded = RunStore(Path("run"), replace(other.identity, seed=1))
    with pytest.raises(InputError, match="another seed"):
        check_reference(run(), seeded)
    data = {**other.identity.dataset, "fingerprint": "g"}
    with pytest.raises(InputError, match="other data"):
        check_reference(run(), RunStore(Path("run"), replace(other.identity, dataset=data)))


def test_a_reference_says_what_makes_it_less_than_comparable() -> None:
    reference = Reference(
        model="AlexNet", domain="imagenet-1k-val", source="a paper", errors={"clean": 0.4}
    )

    def name(images: int, **benchmark: Any) -> str:
        store = run(**benchmark)
        store.identity.dataset["num_images"] = images  # type: ignore[index]
        spec = Benchmark.from_dict(store.identity.benchmark)
        return name_of_reference(reference, spec, store)

    assert name(50_000) == "AlexNet (a paper)"
    assert name(50_000, mode="published", stored_jpeg_quality=85) == "AlexNet (a paper)"
    assert name(40).endswith("all 50,000 validation images while this run has 40")
    assert name(50_000, stored_jpeg_quality=85).endswith(
        "those files hold pictures of mode published, this run's are of mode corrected"
    )
