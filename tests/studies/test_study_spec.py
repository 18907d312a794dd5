"""Studies as files: the shipped ones say what they should, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from noctule.benchmarks import load_benchmark
from noctule.config import build_spec, to_toml
from noctule.errors import InputError
from noctule.studies.folder import StudyFolder
from noctule.studies.run import groups
from noctule.studies.spec import Member, Study, load_study, study_names
from small_studies import small_study, study_data

CANDIDATES = load_benchmark("imagenet-noc-candidates").corruptions


@pytest.mark.parametrize("name", study_names())
def test_every_shipped_study_is_read_and_written_back(name: str, tmp_path: Path) -> None:
    study = load_study(name)
    assert study.name == name
    (tmp_path / "again.toml").write_text(to_toml(study.to_dict()))
    assert load_study(tmp_path / "again.toml") == study
    assert set(study.candidates) <= set(CANDIDATES)


def test_the_seeds_recipe_is_there_to_the_letter() -> None:
    # ResNet-18, 224 × 224 and not normalised, flips, Xavier; SGD 0.1, 0.9, 1e-4, batch 256;
    # × 0.1 after epochs 20 and 30; 40 epochs; each image once clean and once corrupted.
    study = load_study("imagenet-100")
    assert study.architecture == "torchvision:resnet18"
    assert study.candidates == CANDIDATES
    assert len(CANDIDATES) == 23
    images = study.images.preprocessing()
    assert images.resize_px == (224, 224)
    assert (images.mean, images.std) == ((0, 0, 0), (1, 1, 1))
    recipe = study.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.flip, recipe.shift_px) == (
        40,
        256,
        True,
        0,
    )
    assert recipe.initial_weights == "xavier"
    assert recipe.optimiser.model_dump() == {
        "kind": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4,
    }  # fmt: skip
    rates = [recipe.learning_rate_at(epoch + 0.5) for epoch in range(40)]
    assert rates == pytest.approx([0.1] * 20 + [0.01] * 10 + [0.001] * 10)
    assert [member.views for member in study.members[:2]] == [
        (None, None), (None, CANDIDATES[0]),
    ]  # fmt: skip


def test_the_quick_study_has_all_candidates() -> None:
    assert load_study("photo-patches-quick").candidates == CANDIDATES
    assert len(load_study("photo-patches-demo").candidates) == 4


def test_members_are_named_by_candidate_and_seed(tmp_path: Path) -> None:
    study = small_study(tmp_path, seeds=[3, 1])
    assert [str(member) for member in study.members] == [
        "standard-seed3", "gaussian-seed3", "border-seed3",
        "standard-seed1", "gaussian-seed1", "border-seed1",
    ]  # fmt: skip
    assert study.benchmark.conditions[1].corruption == "gaussian"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"candidates": ["gausian", "border"]},
            "candidates: unknown corruption 'gausian'. Did",
        ),
        ({"candidates": ["border"]}, "candidates: there are 1. Use at least two"),
        ({"candidates": ["border", "border"]}, "corruption 'border' is listed twice"),
        ({"candidates": "imagenet-nok"}, "candidates: unknown benchmark 'imagenet-nok'. Did"),
        ({"seeds": []}, "seeds: [] are not distinct"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] are not distinct"),
        ({"seed": 1}, "unknown key 'seed'. Did you mean 'seeds'"),
        ({"images": {"side": 64}}, "unknown key 'side'. Did you mean 'side_px'"),
        ({"images": {"side_px": 64, "std": [1.0, 0.0, 1.0]}}, "images.std[1]"),
        ({"precision": "float16"}, "precision: should be 'auto', 'float32' or 'bfloat16'"),
        ({"threads": 0}, "threads: should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_with_a_study_is_named(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=r"^s\.toml: ") as caught:
        build_spec(study_data(tmp_path) | changes, Study, where="s.toml")
    assert message in str(caught.value)


def test_a_benchmark_can_name_the_candidates(tmp_path: Path) -> None:
    study = small_study(tmp_path, candidates="imagenet-noc")
    assert study.candidates == load_benchmark("imagenet-noc").corruptions


def test_a_study_that_does_not_exist() -> None:
    with pytest.raises(InputError, match=r"unknown study 'imagenet100'.*'imagenet-100'"):
        load_study("imagenet100")
    with pytest.raises(InputError, match=r"absent\.toml: cannot be read"):
        load_study("absent.toml")


def test_the_toml_in_a_folder_is_the_study(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    identity = {"schema_version": 2, "study": study.to_dict(), "train": {}, "test": {}}
    identity |= {"device_type": "cpu", "precision": "float32"}
    StudyFolder.create_or_resume(tmp_path / "s", identity)
    assert load_study(tmp_path / "s" / "study.toml") == study


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("models_at_once", [None, 1, 4])
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_groups_share_a_seed_and_hold_everyone_once(
    processes: int, models_at_once: int | None, num_seeds: int
) -> None:
    members = [Member(name, seed) for seed in range(num_seeds) for name in (None, *CANDIDATES)]
    parts = groups(members, processes, models_at_once)
    assert sorted(map(str, [one for part in parts for one in part])) == sorted(
        map(str, members)
    )
    assert all(len({member.seed for member in part}) == 1 for part in parts)
    # As many groups as there are processes, where there are as many networks.
    assert len(parts) >= min(processes, len(members))
    assert all(len(part) <= (models_at_once or 99) for part in parts)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    if models_at_once is None and processes < len(CANDIDATES):
        assert len(parts) % processes == 0


def test_neighbours_in_the_list_are_spread_over_groups() -> None:
    members = [Member(name, 0) for name in (None, "a", "b", "c", "d")]
    names = [[member.candidate for member in part] for part in groups(members, 2, None)]
    assert names == [[None, "b", "d"], ["a", "c"]]
