"""Every compiled loop gives the bytes of its corruption's torch kernel."""

from __future__ import annotations

import pytest
import torch

from corruption_cases import sample_images
from noctule.corruptions import CORRUPTIONS, MODES, SEVERITIES, Mode
from noctule.corruptions.loops.driver import loop_of

pytestmark = pytest.mark.usefixtures("one_thread")

CASES = [
    pytest.param(name, mode, id=f"{name}-{mode}" if corruption.has_modes else name)
    for name, corruption in CORRUPTIONS.items()
    for mode in (MODES if corruption.has_modes else MODES[:1])
]
# Odd, oblong both ways, and the size of the benchmarks.
SIZES = [(16, 16), (47, 33), (32, 75), (224, 224)]
# Where one value in this many may be off by one level, and why.
NEARLY: dict[str, tuple[float, str]] = {}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_loop_gives_the_bytes_of_the_kernel(
    name: str, mode: Mode, dtype: torch.dtype
) -> None:
    corruption = CORRUPTIONS[name].in_mode(mode)
    if loop_of(corruption, dtype) is None:
        pytest.skip("it has no loop")
    for channels in (corruption.channels,) if corruption.channels else (1, 3):
        for height, width in SIZES:
            images = sample_images(2, height, width, channels=channels, dtype=dtype)
            for severity in (*SEVERITIES, None):
                drawn = corruption.draw(range(2), 7, severity)
                by_loop = corruption(images, ids=range(2), seed=7, severity=severity)
                by_kernel = corruption.apply_kernel(images, drawn)
                where = f"{height} × {width}, {channels} channels, severity {severity}"
                _compare(by_loop, by_kernel, name, where)


def _compare(found: torch.Tensor, wanted: torch.Tensor, name: str, where: str) -> None:
    share, _ = NEARLY.get(name, (0.0, ""))
    off = (found.to(torch.float64) - wanted.to(torch.float64)).abs()
    level = 1 if found.dtype == torch.uint8 else 1 / 255
    assert off.max() <= level * (share > 0), where
    assert (off > 0).to(torch.float64).mean() <= share, where
