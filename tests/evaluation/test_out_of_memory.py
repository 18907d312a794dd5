"""A batch that exhausts the memory is halved, which is said; the rows are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from noctule import InputError, Settings, evaluate
from noctule.errors import MachineError, NoctuleWarning
from stripes import QUICK, ChannelMeans, Stripes

SETTINGS = Settings(device="cpu", batch_size=16, self_check=False)


class Large(ChannelMeans):
    """Runs out of memory with more than some images."""

    def __init__(self, most: int, error: Callable[[], Exception]) -> None:
        super().__init__()
        self.most, self.error = most, error
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        if len(images) > self.most:
            raise self.error()
        return super().forward(images)


def cpu_error() -> RuntimeError:
    return RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough "
                        "memory: you tried to allocate 4096 bytes.")  # fmt: skip


ERRORS = (
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    MemoryError,
    cpu_error,
)


@pytest.mark.parametrize("error", ERRORS, ids=("cuda", "python", "cpu"))
def test_a_batch_that_exhausts_the_memory_is_halved(
    error: Callable[[], Exception], tmp_path: Path
) -> None:
    data, options = Stripes(40), dict[str, Any](settings=SETTINGS)
    expected = evaluate(ChannelMeans(), data, QUICK, out=tmp_path / "a", **options)
    network = Large(5, error)
    with pytest.warns(NoctuleWarning, match="exhausted") as caught:
        run = evaluate(network, data, QUICK, out=tmp_path / "b", **options).run
    memory = [str(one.message) for one in caught if "exhausted" in str(one.message)]
    assert [text.split("exhausted by ")[1].split(".")[0] for text in memory] == [
        "16 images at once; going on with 8",
        "8 images at once; going on with 4",
    ]
    assert sorted(set(network.batches)) == [4, 8, 16]
    assert network.batches.count(16) == network.batches.count(8) == 1  # said and tried once
    assert run.rows().equals(expected.run.rows())


def test_one_image_that_exhausts_the_memory_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.warns(NoctuleWarning, match="exhausted"),
        pytest.raises(MachineError, match="memory is exhausted"),
    ):
        evaluate(Large(0, MemoryError), Stripes(40), QUICK, settings=SETTINGS, out=tmp_path)


def test_other_errors_do_not_halve_a_batch(tmp_path: Path) -> None:
    network = Large(5, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(InputError, match="mat1 and mat2"):
        evaluate(network, Stripes(40), QUICK, settings=SETTINGS, out=tmp_path)
    assert set(network.batches) == {16}
