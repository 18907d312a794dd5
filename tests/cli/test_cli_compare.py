"""noctule compare on the command line: exit status, messages, formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from command_line import result_of, run
from noctule.comparison import compare
from noctule.report.comparison import verdict
from stored_runs import stored_run

A = {"clean": [0] * 200, "shear": [0] * 200, "hue": [1, 0] * 100}
B = {"clean": [0] * 200, "shear": [1] * 20 + [0] * 180, "hue": [1, 0] * 100}


@pytest.fixture
def noctule_cli(monkeypatch: Any, capsys: Any, tmp_path: Path) -> Any:
    stored_run(tmp_path / "a", A, model="first")
    stored_run(tmp_path / "b", B, model="second")
    stored_run(tmp_path / "other", A, seed=1)
    stored_run(tmp_path / "unfinished", A, finished=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run(monkeypatch, capsys, "compare", *arguments)


def test_the_verdict_and_the_table_are_printed(noctule_cli: Any) -> None:
    status, out, err = noctule_cli("a", "b")
    assert (status, err) == (0, "")
    words = " ".join(out.split())
    assert verdict(compare("a", "b")) in words
    assert "first has the lower error under shear (by 10.00 points)" in words
    assert "shear 0.0 10.0 +10.0" in words


def test_every_format(noctule_cli: Any) -> None:
    data = result_of(noctule_cli("a", "b", "--json")[1])
    found = compare("a", "b")
    expected = {"verdict": verdict(found), **found.to_dict(), "worse": []}
    assert data == json.loads(json.dumps(expected))
    rows = list(csv.DictReader(io.StringIO(noctule_cli("a", "b", "-f", "csv")[1])))
    assert [*dict.fromkeys(row["name"] for row in rows)][:3] == ["clean", "shear", "hue"]
    assert "| shear | 0.0 | 10.0 |" in noctule_cli("a", "b", "-f", "markdown")[1]
    assert r"\begin{tabular}" in noctule_cli("a", "b", "-f", "latex")[1]


def test_a_reference_and_conditions(noctule_cli: Any) -> None:
    status, out, err = noctule_cli(
        "a", "b", "--reference", "b", "--by", "condition", "--json", "--confidence", 0.9
    )
    assert status == 0, err
    data = result_of(out)
    assert (data["reference"], data["by"], data["confidence"]) == (
        "second (b)",
        "condition",
        0.9,
    )
    # Relative to B itself: B's mCE is 100, A's (0 / .1 + .5 / .5) / 2.
    (mce,) = (one for one in data["differences"] if one["metric"] == "mce")
    assert (mce["a"], mce["b"]) == pytest.approx((50, 100))


def test_fail_if_worse(noctule_cli: Any) -> None:
    status, out, err = noctule_cli("a", "b", "--fail-if-worse", 1, "--json")
    assert status == 1
    assert result_of(out)["model_b"] == "second"
    assert len(result_of(out)["worse"]) == 2
    assert err.count("noctule: b is worse than a: ") == 2
    assert "the mean error is 5.00 points higher" in err
    # Of 200 images 20: 9 points more than 1, D = 18, Σ (d − .01)² = 19.62. z² · 19.62 + z⁴ =
    # 324 for z² = 10.69, p = .00108; times 6 (the mean error weighs 3, as three others do).
    assert "the error under shear is 10.00 points higher (p = 0.0065)" in err
    status, _, err = noctule_cli("a", "b", "--fail-if-worse", 3)
    assert (status, "mean error" in err, "shear" in err) == (1, False, True)
    assert noctule_cli("a", "b", "--fail-if-worse", 10)[::2] == (0, "")
    assert noctule_cli("b", "a", "--fail-if-worse", 0)[::2] == (0, "")
    assert noctule_cli("a", "a", "--fail-if-worse", 0)[::2] == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "nowhere"], "nowhere: is not a run folder"),
        (["a", "unfinished"], "slices are missing"),
        (["a", "other"], "another seed"),
        (["a", "b", "--reference", "other"], "another seed"),
        (["a", "b", "--fail-if-worse", "-1"], "--fail-if-worse: -1.0 is out of range"),
        (["a", "b", "--fail-if-worse", "nan"], "--fail-if-worse: nan"),
        (["a", "b", "--confidence", "1"], "confidence"),
        (["a", "b", "--resamples", "100"], "No such option"),
        (["a", "b", "--by", "severity"], "severity"),
        (["a"], "Missing argument"),
    ],
)
def test_bad_input_exits_2_with_a_message(
    noctule_cli: Any, arguments: list[str], message: str
) -> None:
    status, out, err = noctule_cli(*arguments)
    assert (status, out, message.lower() in err.lower()) == (2, "", True), err
    assert "Traceback" not in err
