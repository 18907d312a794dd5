"""Numbers that would fill the memory are refused where they are read, with what is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from command_line import run
from noctule.benchmarks import Benchmark
from noctule.config import build_spec
from noctule.errors import InputError
from noctule.models import Preprocessing
from noctule.store.identity import read_identity
from noctule.stored.manifest import _Preprocessing
from noctule.studies.spec import Study
from small_studies import study_data
from stored_runs import stored_run


@pytest.mark.parametrize("side", [8193, 10**6, 10**9, 10**30])
def test_sides_are_bounded(tmp_path: Path, side: int) -> None:
    for field in ({"resize_px": side}, {"resize_px": (side, 64)}, {"crop_px": (64, side)}):
        with pytest.raises(InputError, match="each from 1 to 8,192"):
            Preprocessing(**field)
    record = Preprocessing().to_dict() | {"resize_px": side}
    with pytest.raises(InputError, match="from 1 to 8,192"):
        Preprocessing.from_dict(record, where="run.json")
    stored = {
        "crop_px": None,
        "interpolation": "box",
        "mode": "RGB",
        "fit": "cover",
        "fill": None,
    }
    with pytest.raises(InputError, match="8192"):
        build_spec(
            stored | {"resize_px": side, "fill": None}, _Preprocessing, where="manifest.json"
        )
    with pytest.raises(InputError, match="8192"):
        build_spec(study_data(tmp_path) | {"images": {"side_px": side}}, Study, where="a")
    benchmark = {
        "name": "a", "title": "a", "source": "a", "corruptions": ["shear"], "side_px": side,
    }  # fmt: skip
    with pytest.raises(InputError, match="8192"):
        Benchmark.from_dict(benchmark, where="a.toml")


def test_a_strip_is_not_resized_to_gigabytes() -> None:
    strip = Image.new("RGB", (5000, 1))
    with pytest.raises(InputError, match="would be resized to 20,000,000 × 4,000 px"):
        Preprocessing(resize_px=4000).prepare(strip)
    assert Preprocessing(resize_px=4000, crop_px=(8, 8)).prepare(strip).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("evaluate", "--resize", "1000000"), "from 1 to 8,192"),
        (("evaluate", "--crop", "1000000"), "from 1 to 8,192"),
        (("show", "--size-px", "100000"), "from 16 to 1,024"),
        (("show", "--serve", "--no-open", "--size-px", "100000"), "from 16 to 1,024"),
        (("export", "cifar10-c", "photo-patches", "x", "--resize", "1000000"), "8,192"),
        (("study", "run", "--quick", "--side-px", "1000000000"), "8192"),
        (("study", "run", "--quick", "--epochs", "1" + "0" * 40), "2147483647"),
        (("report", "x", "--samples", "1000000000000"), "from 0 to 1,000"),
    ],
)
def test_options_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, stderr = run(monkeypatch, capsys, *arguments)
    assert (status, told in stderr, "Traceback" in stderr) == (2, True, False), stderr
    assert not list(tmp_path.iterdir())


def test_a_record_of_a_billion_slices_is_not_counted_up(tmp_path: Path) -> None:
    stored_run(tmp_path / "run", {"clean": [0, 1], "shear": [0, 1]})
    path = tmp_path / "run" / "run.json"
    record: dict[str, Any] = json.loads(path.read_text())
    record["dataset"]["num_images"], record["slice_size"] = 10**9, 1
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="number of slices: 1000000000 is out of range"):
        read_identity(path.parent)
