"""What a GPU gives is what the CPU gives; these tests are skipped where there is no GPU.

The random numbers are equal to the bit. An image's values may differ where a device rounds a
sum, a quotient or a power otherwise: by one level of 255, or where the last bit decides between
two sides (a threshold, a nearest neighbour) by more, in few places. On an H100 with torch 2.11
all but five corruptions of uint8 images were equal to the bit: caustic_refraction (0.013 % of
the values differed, 0.0013 % by more than a level), zoom_blur, sparkles, inverse_sparkles and
brownish_noise (less, and by one level).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from corruption_cases import both_dtypes, each, sample_images
from noctule.corruptions import CORRUPTIONS, MODES, SEVERITIES, Corruption, Mode
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.sampling import Stream, image_keys, key_of

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that torch can use"
)

IDS: list[str | int] = ["cat/0.png", "cat/1.png", 4711, 2, "été"]
GPU = "cuda"
# Shares of values that may differ from the CPU's: by half a level, and by more than one.
ROUNDED, DECIDED = 0.0005, 0.0001
modes = pytest.mark.parametrize("mode", MODES)


def shares(there: Tensor, here: Tensor) -> tuple[float, float]:
    """Shares of values that differ by half a level, and by more than one."""
    scale = 1.0 if here.dtype == torch.uint8 else 255.0
    levels = (there.cpu().to(torch.float64) - here.to(torch.float64)).abs() * scale
    return (levels > 0.5).double().mean().item(), (levels > 1.001).double().mean().item()


def test_streams_are_equal() -> None:
    key = key_of("a", 1)
    here, there = (Stream(image_keys(key, IDS)).to(device) for device in ("cpu", GPU))
    assert there.keys.device.type == GPU
    assert there.bits16(1001).cpu().equal(here.bits16(1001))
    for mine, its in zip(here.words(77, lane=2), there.words(77, lane=2), strict=True):
        assert its.cpu().equal(mine)


@each
def test_parameters_are_equal(c: Corruption) -> None:
    for severity in (None, *SEVERITIES):
        here, there = (
            c.sample(IDS, severity=severity, device=device) for device in ("cpu", GPU)
        )
        for name, mine in here.items():
            its = there[name]
            if isinstance(mine, Stream):
                mine, its = mine.keys, its.keys
            assert isinstance(its, Tensor)
            assert its.device.type == GPU
            assert its.dtype == mine.dtype
            assert its.cpu().equal(mine), (name, severity)


@modes
@both_dtypes
@each
def test_images_are_nearly_equal(c: Corruption, dtype: torch.dtype, mode: Mode) -> None:
    moded = c.in_mode(mode)
    for height, width in ((32, 32), (97, 61), (224, 224)):
        images = sample_images(5, height, width, dtype=dtype)
        on_gpu = images.to(GPU)
        for severity in (None, 1, 3, 5):
            here = moded(images, ids=IDS, severity=severity)
            there = moded(on_gpu, ids=IDS, severity=severity)
            assert there.device.type == GPU
            assert there.dtype == dtype
            rounded, decided = shares(there, here)
            assert rounded <= ROUNDED, (height, severity, rounded, decided)
            assert decided <= DECIDED, (height, severity, rounded, decided)
        assert on_gpu.cpu().equal(images)


@both_dtypes
@each
def test_batch_blind(c: Corruption, dtype: torch.dtype) -> None:
    images = sample_images(5, 97, 61, dtype=dtype).to(GPU)
    together = c(images, ids=IDS)
    assert c(images, ids=IDS).equal(together)  # and deterministic
    for number in range(len(IDS)):
        one = slice(number, number + 1)
        assert c(images[one], ids=IDS[one])[0].equal(together[number]), number


@each
def test_tf32_is_not_used(c: Corruption, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users switch it on for their networks; images must not know."""
    images = sample_images(2, 224, 224, dtype=torch.float32).to(GPU)
    expected = c(images, ids=IDS[:2])
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with torch.autocast(GPU, dtype=torch.bfloat16):
        assert c(images, ids=IDS[:2]).equal(expected)


def test_an_evaluation(tmp_path: Path) -> None:
    """In float32, the outcomes are the CPU's but for the rounding of the network's sums."""
    rows = {}
    for device in ("cpu", GPU):
        settings = Settings(device=device, batch_size=64, precision="float32", self_check=False)
        done = evaluate(
            "photo-patches", "photo-patches", out=tmp_path / device, settings=settings
        )
        rows[device] = done.run.rows().to_pydict()
    here, there = rows["cpu"], rows[GPU]
    for column in ("image_id", "condition", "label"):
        assert there[column] == here[column]
    same = np.array(there["prediction"]) == np.array(here["prediction"])
    assert same.mean() > 0.99
    assert np.abs(np.array(there["loss"]) - np.array(here["loss"])).mean() < 0.01


def test_a_large_batch() -> None:
    """More values than one piece holds."""
    images = sample_images(5, 224, 224).repeat(30, 1, 1, 1)
    ids = range(len(images))
    for name in ("gaussian_noise", "zoom_blur", "spatter"):
        there = CORRUPTIONS[name](images.to(GPU), ids=ids)
        rounded, decided = shares(there, CORRUPTIONS[name](images, ids=ids))
        assert rounded <= ROUNDED
        assert decided <= DECIDED
