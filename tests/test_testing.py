"""Robustness as a test, in Python and by the plug-in for pytest."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import noctule
from noctule.errors import InputError
from noctule.testing import assert_robust
from repository import ROOT

pytest_plugins = ["pytester"]
PLUGIN = "noctule.pytest_plugin"
SETTINGS = noctule.Settings(self_check=False, device="cpu")
BENCHMARK = noctule.Benchmark(name="two", title="Two", source="tests", metric="mean_error",
                              corruptions=("hue", "brightness"), severities=(5,))  # fmt: skip


class Constant(nn.Module):
    """A classifier that always predicts one class."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.tensor(answer), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return 5 * nn.functional.one_hot(self.answer.expand(len(images)), 4).float()


def data(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, 3 of 4 of them of class 0 and the others of class 1."""
    images = np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, (np.arange(count) % 4 == 0).astype(np.int64)


def test_a_limit_fails_only_if_the_interval_is_above_it() -> None:
    # A quarter of the images is wrong, whatever the corruption.
    few, many = data(20), data(400)
    scores = assert_robust(Constant(0), few, BENCHMARK, max_mean_error=0.2, settings=SETTINGS)
    low = scores.of("error").low
    assert scores.of("error").value == 0.25
    assert low is not None
    assert low < 0.2
    with pytest.raises(AssertionError) as raised:
        assert_robust(Constant(0), many, BENCHMARK, max_mean_error=0.2, settings=SETTINGS)
    text = str(raised.value)
    assert text.startswith("the mean error is 25.0 % (95 % CI: 20.")
    assert "above 20 %" in text
    assert "hue" in text  # the table
    assert "brightness" in text
    end = assert_robust(Constant(0), many, BENCHMARK, max_mean_error=0.25, settings=SETTINGS)
    exactly = end.of("error").low
    assert exactly is not None
    assert_robust(Constant(0), many, BENCHMARK, max_mean_error=exactly, settings=SETTINGS)
    below = float(np.nextafter(exactly, 0))
    with pytest.raises(AssertionError):
        assert_robust(Constant(0), many, BENCHMARK, max_mean_error=below, settings=SETTINGS)


def test_a_model_is_no_worse_than_a_run(tmp_path: Path) -> None:
    images = data(400)
    for answer in (0, 1):
        noctule.evaluate(Constant(answer), images, BENCHMARK, out=tmp_path / str(answer),
                         name=f"always {answer}", settings=SETTINGS)  # fmt: skip
    good, bad = tmp_path / "0", tmp_path / "1"
    assert_robust(Constant(0), images, BENCHMARK, no_worse_than=good, settings=SETTINGS)
    assert_robust(Constant(0), images, BENCHMARK, no_worse_than=bad, settings=SETTINGS)
    with pytest.raises(AssertionError) as raised:
        assert_robust(Constant(1), images, BENCHMARK, no_worse_than=good, settings=SETTINGS)
    text = str(raised.value)
    assert text.startswith(f"the model is worse than {good}: the mean error is 50.00 points")
    assert "(B) against always 0 (A)" in text
    # Worse by exactly 50 points.
    assert_robust(
        Constant(1), images, BENCHMARK, no_worse_than=good, points=50, settings=SETTINGS
    )
    with pytest.raises(AssertionError, match="by more than 30 points"):
        assert_robust(
            Constant(1), images, BENCHMARK, no_worse_than=good, points=30, settings=SETTINGS
        )


def test_both_limits_are_reported(tmp_path: Path) -> None:
    images = data(400)
    noctule.evaluate(Constant(0), images, BENCHMARK, out=tmp_path / "0", settings=SETTINGS)
    with pytest.raises(AssertionError, match=r"(?s)above 10 %.*is worse than"):
        assert_robust(
            Constant(1), images, BENCHMARK, max_mean_error=0.1, no_worse_than=tmp_path / "0",
            settings=SETTINGS,
        )  # fmt: skip


class Unused(nn.Module):
    """A model that must not be run."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("the model was run")


def test_mistakes_are_found_before_the_model_is_run(tmp_path: Path) -> None:
    images = data(20)
    other = images[0][::-1].copy(), images[1]
    run = noctule.evaluate(Constant(0), other, BENCHMARK, out=tmp_path / "x", settings=SETTINGS)
    part = noctule.evaluate(Constant(0), images, BENCHMARK, corruptions=["hue"],
                            out=tmp_path / "y", settings=SETTINGS)  # fmt: skip
    for options, words in (
        ({}, "there is no limit. Pass max_mean_error"),
        ({"max_mean_error": 35}, "max_mean_error.*Use a fraction such as 0.35"),
        ({"max_mean_error": "0.3"}, "max_mean_error"),
        ({"max_mean_error": 0.3, "points": -1}, "points"),
        ({"no_worse_than": tmp_path / "nowhere"}, "nowhere.*not a run folder"),
        ({"no_worse_than": run.run}, "other data"),
        ({"no_worse_than": part.run.folder}, "lacks brightness@5"),
    ):
        with pytest.raises(InputError, match=words):
            assert_robust(Unused(), images, BENCHMARK, settings=SETTINGS, **options)


def test_a_run_can_be_kept(tmp_path: Path) -> None:
    out = tmp_path / "kept"
    scores = assert_robust(
        Constant(0), data(20), BENCHMARK, max_mean_error=0.5, out=out, settings=SETTINGS
    )
    assert noctule.load_run(out).scores == scores


def plugin_arguments() -> list[str]:
    """What loads the plug-in, where it is not installed."""
    names = {point.value for point in entry_points(group="pytest11")}
    return [] if PLUGIN in names else ["-p", PLUGIN]


def test_the_fixture_shows_the_table(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import noctule
        from test_testing import BENCHMARK, SETTINGS, Constant, data

        def test_good(assert_robust, tmp_path):
            assert_robust(
                Constant(0), data(40), BENCHMARK, max_mean_error=0.5, settings=SETTINGS)
            assert (tmp_path / "noctule-run-1" / "run.json").exists()

        def test_bad(assert_robust):
            assert_robust(
                Constant(1), data(40), BENCHMARK, max_mean_error=0.5, settings=SETTINGS)
        """
    )
    result = pytester.runpytest_inprocess(*plugin_arguments(), "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*AssertionError: the mean error is 75.0 % *above 50 %"])
    result.stdout.fnmatch_lines(["E*corruption*error %*", "E*hue*75.0*", "E*mean*75.0*"])
    assert "def assert_robust" not in result.stdout.str()  # the traceback is the test's own


def test_the_plugin_loads_nothing_heavy() -> None:
    code = (
        f"import sys, {PLUGIN}; "
        "print({'torch', 'numpy', 'pyarrow', 'noctule.testing'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"set()\n"


def test_the_entry_point_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"noctule": PLUGIN}
