"""Every public entry takes a number or a text for what it is, or refuses it by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import noctule
from noctule import compat
from noctule.benchmarks import Benchmark
from noctule.evaluation.settings import Settings
from noctule.studies import design

IMAGES = torch.arange(2 * 3 * 32 * 32, dtype=torch.int32).remainder(251).to(torch.uint8)
IMAGES = IMAGES.reshape(2, 3, 32, 32)
IMAGE = IMAGES[0].permute(1, 2, 0).numpy()
QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear",), severities=(1,)
)


class Parameter(NamedTuple):
    """One parameter of a public function.

    Attributes:
        name: What a refusal has to name.
        call: The function of a value for it; its results can be compared.
        good: A plain value.
        kind: "whole", "real", "flag", "text" or "ids".
    """

    name: str
    call: Callable[[Any], Any]
    good: Any
    kind: str


def corrupted(**arguments: Any) -> list[Any]:
    arguments = {"name": "gaussian", "ids": [0, 1], "severity": 2} | arguments
    result: list[Any] = noctule.corrupt(IMAGES, **arguments).tolist()
    return result


def compatible(**arguments: Any) -> list[Any]:
    arguments = {"severity": 2, "corruption_number": 0} | arguments
    result: list[Any] = compat.corrupt(IMAGE, **arguments).tolist()
    return result


def setting(name: str) -> Callable[[Any], Any]:
    return lambda value: getattr(Settings(**{name: value}), name)


def loaded(**arguments: Any) -> Any:
    return noctule.load_classifier("photo-patches", **arguments).to_dict()


PARAMETERS = [
    Parameter("seed", lambda v: corrupted(seed=v), 3, "whole"),
    Parameter("severity", lambda v: corrupted(severity=v), 3, "whole"),
    Parameter("ids", lambda v: corrupted(ids=[v, 1]), 5, "ids"),
    Parameter("corruption", lambda v: corrupted(name=v), "shear", "text"),
    Parameter("mode", lambda v: corrupted(mode=v), "released", "text"),
    Parameter("severity", lambda v: compatible(severity=v), 3, "whole"),
    Parameter("corruption_number", lambda v: compatible(corruption_number=v), 2, "whole"),
    Parameter("corruption", lambda v: compatible(corruption_name=v), "fog", "text"),
    Parameter("seed", lambda v: compatible(seed=v), 3, "whole"),
    Parameter("subset", compat.get_corruption_names, "noise", "text"),
    Parameter("seed", setting("seed"), 3, "whole"),
    Parameter("batch_size", setting("batch_size"), 3, "whole"),
    Parameter("workers", setting("workers"), 3, "whole"),
    Parameter("precision", setting("precision"), "bfloat16", "text"),
    Parameter("on_unreadable", setting("on_unreadable"), "skip", "text"),
    Parameter("device", lambda v: str(Settings(device=v).resolved_device()), "cpu", "text"),
    Parameter("self_check", setting("self_check"), False, "flag"),
    Parameter("num_classes", lambda v: loaded(num_classes=v), 16, "whole"),
]
MATRIX = noctule.OverlapMatrix(
    ("a", "b", "c"), np.array([[1, 0.5, 0.2], [0.5, 1, 0.3], [0.2, 0.3, 1]])
)
DESIGN = [
    Parameter("size", lambda v: design.choose_exact(MATRIX, v), 2, "whole"),
    Parameter("size", lambda v: design.choose_greedy(MATRIX, v), 2, "whole"),
    Parameter("max_overlap", lambda v: design.choose_exact(MATRIX, 2, v), 0.4, "real"),
    Parameter("max_overlap", lambda v: design.choose_greedy(MATRIX, 2, v), 0.4, "real"),
    Parameter("families", lambda v: families(v, 1, 1), 2, "count"),
    Parameter("per_family", lambda v: families(1, v, 1), 2, "count"),
    Parameter("count", lambda v: families(1, 1, v), 2, "count"),
    Parameter("seed", lambda v: families(1, 1, 1, seed=v), 2, "whole"),
]


def families(n: Any, k: Any, count: Any, seed: Any = 0) -> Any:
    return design.n_by_k(MATRIX, [0, 0, 1], n, k, count, seed=seed)


def prepared(**arguments: Any) -> Any:
    return noctule.Preprocessing(**arguments).to_dict()


PREPROCESSING = [
    Parameter("resize_px", lambda v: prepared(resize_px=v), 7, "whole"),
    Parameter("resize_px", lambda v: prepared(resize_px=(v, 7)), 7, "whole"),
    Parameter("crop_px", lambda v: prepared(crop_px=(7, v)), 7, "whole"),
    Parameter("mean", lambda v: prepared(mean=(v, 0, 0)), 0.5, "finite"),
    Parameter("std", lambda v: prepared(std=(v, 1, 1)), 0.5, "finite"),
    Parameter("fill", lambda v: prepared(fill=(v, 1, 1)), 7, "whole"),
    Parameter("mode", lambda v: prepared(mode=v), "RGB", "text"),
    Parameter("interpolation", lambda v: prepared(interpolation=v), "bicubic", "text"),
    Parameter("fit", lambda v: prepared(fit=v), "cover", "text"),
]
PARAMETERS += DESIGN + PREPROCESSING
NEVER: tuple[object, ...] = (float("nan"), float("inf"), b"3", object(), [3], {}, 1j)


def variants(kind: str, good: Any) -> tuple[list[Any], list[Any]]:
    """(Values that mean `good`, values that mean nothing there.)"""
    if kind == "whole":
        same = [np.int64(good), np.uint8(good), torch.tensor(good)]
        other = [
            float(good),
            np.float64(good),
            str(good),
            True,
            np.True_,
            torch.tensor(True),
            -1,
            10**30,
        ]
        return same, [*other, torch.tensor(float(good)), *NEVER]
    if kind == "ids":
        same = [np.int64(good), str(good), np.str_(good), torch.tensor(good)]
        return same, [float(good), np.float64(good), True, None, b"5", Path("5"), *NEVER]
    if kind == "count":  # without a largest value
        same, other = variants("whole", good)
        return same, [value for value in other if not isinstance(value, int) or value < 2**62]
    if kind == "real":
        same = [np.float64(good), torch.tensor(good, dtype=torch.float64)]
        return same, [str(good), True, np.True_, torch.tensor(True), -1e9, *NEVER]
    if kind == "finite":
        same = [np.float64(good), torch.tensor(good, dtype=torch.float64)]
        return same, [str(good), True, np.True_, torch.tensor(True), None, *NEVER]
    if kind == "flag":
        return [np.bool_(good)], [0, 1, "no", None, *NEVER]
    return [np.str_(good)], [good.upper() + "?", "", 3, 2.0, True, *NEVER]


CASES = [
    pytest.param(parameter, id=f"{number}-{parameter.name}")
    for number, parameter in enumerate(PARAMETERS)
]


@pytest.mark.parametrize("parameter", CASES)
def test_a_value_means_the_same_or_is_refused_by_name(parameter: Parameter) -> None:
    expected = parameter.call(parameter.good)
    same, refused = variants(parameter.kind, parameter.good)
    for value in same:
        found = parameter.call(value)
        assert found == expected, repr(value)
        assert type(found) is type(expected), repr(value)
    for value in refused:
        with pytest.raises(noctule.InputError) as caught:
            parameter.call(value)
        assert parameter.name in str(caught.value), repr(value)
        assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("parameter", ["seed", "quality", "processes", "format", "out"])
def test_export_refuses_by_name_before_it_writes(tmp_path: Path, parameter: str) -> None:
    data = (IMAGES.permute(0, 2, 3, 1).numpy(), [0, 1])
    for value in (float("nan"), 1.5, 2.0, True, "3", b"x", [1], -1, 10**30, object()):
        if parameter == "out" and isinstance(value, str):
            continue
        given = {"out": tmp_path / "set", "processes": 1, "format": "webdataset"}
        with pytest.raises(noctule.InputError, match=parameter):
            noctule.export(QUICK, data, **given | {parameter: value})
        assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "function",
    [
        noctule.load_benchmark, noctule.load_study, noctule.read_matrix, noctule.overlap_of,
        noctule.open_stored, noctule.verify, noctule.score_run, noctule.open_dataset,
        noctule.RunStore.open, noctule.load_classifier, noctule.run_study,
        lambda v: noctule.compare(v, v),
    ],
)  # fmt: skip
def test_what_is_no_name_or_path_is_refused(function: Callable[[Any], Any]) -> None:
    for value in (None, 5, 2.0, b"x", "", "a\0b", [1], {}, object(), int):
        with pytest.raises(noctule.InputError) as caught:
            function(value)
        assert len(str(caught.value)) < 1500, repr(value)


def test_what_evaluate_is_given_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    data = (IMAGES.permute(0, 2, 3, 1).numpy(), [0, 1])
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    good = {"out": tmp_path / "run", "settings": Settings(device="cpu", self_check=False)}
    for name in ("benchmark", "out", "reference", "settings"):
        for value in (5, b"x", [1], "", object()):
            if (name, value) == ("settings", ""):
                value = "seed=1"
            with pytest.raises(noctule.InputError):
                noctule.evaluate(module, data, **{"benchmark": QUICK} | good | {name: value})
            assert not (tmp_path / "run").exists(), (name, value)


def test_values_of_parameters_are_numbers() -> None:
    contrast = noctule.CORRUPTIONS["contrast_c"]
    for value in (True, np.True_, torch.tensor(True), "3", None, b"x", object()):
        with pytest.raises(noctule.InputError, match=r"shear\.angle_deg"):
            noctule.corrupt(IMAGES, "shear", angle_deg=value)
        with pytest.raises(noctule.InputError, match=r"contrast_c\.factor"):
            contrast.with_tables({"factor": [value] * 5})  # type: ignore[list-item]


def test_a_device_may_be_an_object() -> None:
    assert Settings(device=torch.device("cuda:1")).device == "cuda:1"


def test_what_names_no_images_is_refused() -> None:
    flat = "ab", b"ab", 5, iter([0, 1]), {"a", "b"}, {"a": 0, "b": 1}
    for ids in (*flat, torch.tensor(5), torch.zeros(2, 2).long()):
        with pytest.raises(noctule.InputError, match="ids"):
            noctule.corrupt(IMAGES, "shear", ids=ids)


def test_ids_may_be_an_array_or_a_tensor() -> None:
    expected = corrupted(ids=[7, 8])
    for ids in (np.array([7, 8]), torch.tensor([7, 8]), ("7", "8"), range(7, 9)):
        assert corrupted(ids=ids) == expected


def test_a_refused_setting_leaves_the_folder_usable(tmp_path: Path) -> None:
    """A seed of −1 was written into a run folder which then nobody could read."""
    data = (IMAGES.permute(0, 2, 3, 1).numpy(), [0, 1])
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))

    def run(seed: int) -> None:
        settings = Settings(seed=seed, device="cpu", self_check=False)
        noctule.evaluate(module, data, QUICK, out=tmp_path / "run", settings=settings)

    with pytest.raises(noctule.InputError, match="seed: -1 is out of range"):
        run(-1)
    assert not (tmp_path / "run").exists()
    run(1)
    assert noctule.RunStore.open(tmp_path / "run").identity.seed == 1


def test_numbers_of_numpy_reach_the_record_as_plain_ones(tmp_path: Path) -> None:
    data = (IMAGES.permute(0, 2, 3, 1).numpy(), [0, 1])
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    settings = Settings(
        seed=np.int64(1),
        batch_size=np.int32(2),
        self_check=np.False_,
        device="cpu",
    )
    result = noctule.evaluate(module, data, QUICK, out=tmp_path / "run", settings=settings)
    assert (result.run.identity.seed, result.run.identity.batch_size) == (1, 2)
