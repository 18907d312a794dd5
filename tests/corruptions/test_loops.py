"""Every compiled loop gives the bytes of its corruption's torch kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from corruption_cases import sample_images
from noctule.corruptions import CORRUPTIONS, MODES, SEVERITIES, Corruption, Mode, corrupt
from noctule.corruptions.draws import NoiseField
from noctule.corruptions.loops import compiling
from noctule.corruptions.loops.agreement import SIZES_PX, differences
from noctule.corruptions.loops.driver import loop_of

pytestmark = pytest.mark.usefixtures("one_thread")

CASES = [
    pytest.param(name, mode, id=f"{name}-{mode}" if corruption.has_modes else name)
    for name, corruption in CORRUPTIONS.items()
    for mode in (MODES if corruption.has_modes else MODES[:1])
]
MOST = 1000  # lengths and counts that take no more than a second
# Where one value in this many may be off by one level, and why.
NEARLY: dict[str, tuple[float, str]] = {}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_loop_gives_the_bytes_of_the_kernel(
    name: str, mode: Mode, dtype: torch.dtype
) -> None:
    """On photographs and a pattern of all values; `differences` takes random images."""
    corruption = CORRUPTIONS[name].in_mode(mode)
    if loop_of(corruption, dtype) is None:
        pytest.skip("it has no loop")
    for channels in (corruption.channels,) if corruption.channels else (1, 3):
        for height, width in SIZES_PX:
            images = sample_images(2, height, width, channels=channels, dtype=dtype)
            for severity in (*SEVERITIES, None):
                drawn = corruption.draw(range(2), 7, severity)
                by_loop = corruption(images, ids=range(2), seed=7, severity=severity)
                by_kernel = corruption.apply_kernel(images, drawn)
                where = f"{height} × {width}, {channels} channels, severity {severity}"
                _compare(by_loop, by_kernel, name, where)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
@pytest.mark.parametrize(
    "name", [n for n, c in CORRUPTIONS.items() if ".noc." in c.kernel.__module__]
)
def test_a_loop_agrees_at_the_limits_of_parameters(name: str, dtype: torch.dtype) -> None:
    """Beyond the published ranges, which severities do not leave."""
    corruption = CORRUPTIONS[name]
    if loop_of(corruption, dtype) is None:
        pytest.skip("it has no loop")
    images = sample_images(2, 33, 40, channels=3, dtype=dtype)
    for column, (parameter, draw) in enumerate(corruption.draws.items()):
        for limit in () if isinstance(draw, NoiseField) else draw.limits:
            drawn = corruption.draw(range(2), 7, None)
            value = max(min(limit, MOST), -MOST)
            drawn.values[:, column] = value
            by_loop = corruption(images, ids=range(2), seed=7, **{parameter: value})
            where = f"{parameter} = {value}"
            _compare(by_loop, corruption.apply_kernel(images, drawn), name, where)


def _compare(found: torch.Tensor, wanted: torch.Tensor, name: str, where: str) -> None:
    share, _ = NEARLY.get(name, (0.0, ""))
    off = (found.to(torch.float64) - wanted.to(torch.float64)).abs()
    level = 1 if found.dtype == torch.uint8 else 1 / 255
    assert off.max() <= level * (share > 0), where
    assert (off > 0).to(torch.float64).mean() <= share, where


def test_differences_tells_a_wrong_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(image: Any, out: Any, change: float) -> None:
        out[...] = image
        out[0, 3, 5] = 255 - image[0, 3, 5]

    assert loop_of(CORRUPTIONS["brightness"], torch.uint8)  # imported before it is replaced
    loop = compiling.CompiledLoop("brightness", "uint8", wrong, {})
    monkeypatch.setitem(compiling.LOOPS, ("brightness", "uint8"), loop)
    lines = differences("brightness", [(16, 16)], images=1)
    assert len(lines) == 12  # grey and colour, six severities
    assert "brightness, paper mode, severity 1, torch.uint8, 1 × 16 × 16" in lines[0]


def test_a_corruption_with_another_kernel_does_not_get_the_loop() -> None:
    from dataclasses import replace

    def darker(images: torch.Tensor, *, change: torch.Tensor) -> torch.Tensor:
        return images // 2

    images = sample_images(1, 16, 16)
    mine = replace(CORRUPTIONS["brightness"], kernel=darker)
    assert mine(images, change=0.2).equal(images // 2)


def test_the_sum_of_a_block_of_pixelate_c_may_exceed_32_bits() -> None:
    image = torch.full((1, 1, 3000, 3000), 255, dtype=torch.uint8)
    assert CORRUPTIONS["pixelate_c"](image, share=1 / 3000).equal(image)


@pytest.mark.parametrize("with_loop", [False, True])
def test_a_corruption_may_have_no_parameters(
    with_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def negative(images: torch.Tensor) -> torch.Tensor:
        return 255 - images

    def negative_loop(image: Any, out: Any) -> None:
        for i in range(image.size):
            out.flat[i] = 255 - image.flat[i]

    corruption = Corruption("negative", "color", "none", {}, negative)
    if with_loop:
        loop = compiling.CompiledLoop("negative", "uint8", negative_loop, {})
        monkeypatch.setitem(CORRUPTIONS._entries, "negative", corruption)
        monkeypatch.setitem(compiling.LOOPS, ("negative", "uint8"), loop)
    images = sample_images(2, 16, 16)
    assert (loop_of(corruption, torch.uint8) is not None) is with_loop
    for severity in (None, 3):
        assert corruption(images, severity=severity).equal(255 - images)
        assert corruption(images, ids=["a", "b"], seed=1).equal(255 - images)
    assert corruption.sample(["a"]) == {}
    assert corruption.apply(images).equal(255 - images)


@pytest.mark.parametrize("name", ["brightness", "gaussian_noise", "elastic_transform"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
def test_memory_layouts_make_no_difference(name: str, dtype: torch.dtype) -> None:
    """Contiguous pixels stay so; what else is not contiguous becomes it."""
    images = sample_images(3, 33, 40, dtype=dtype)
    expected = corrupt(images, name, ids=range(3), severity=3)
    assert expected.is_contiguous()
    pixels = images.contiguous(memory_format=torch.channels_last)
    found = corrupt(pixels, name, ids=range(3), severity=3)
    assert found.equal(expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    room = torch.zeros(3, 50, 50, 3, dtype=dtype)
    room[:, 4:37, 5:45] = images.permute(0, 2, 3, 1)
    planes = torch.zeros(3, 3, 40, 33, dtype=dtype).copy_(images.mT)
    for strided in (room[:, 4:37, 5:45].permute(0, 3, 1, 2), planes.mT):
        found = corrupt(strided, name, ids=range(3), severity=3)
        assert found.equal(expected)
        assert found.is_contiguous()
