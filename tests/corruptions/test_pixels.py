"""The arithmetic that the kernels share, at its edges."""

from __future__ import annotations

import pytest
import torch

from noctule.corruptions.pixels import from_float


@pytest.mark.parametrize("truncate", [False, True])
def test_values_far_outside_are_clamped_and_never_wrap(truncate: bool) -> None:
    values = torch.tensor([-1e6, -40000.0, -0.4, 0.0, 0.6, 254.6, 255.4, 40000.0, 1e6])
    result = from_float(values.clone(), torch.uint8, truncate=truncate).tolist()
    assert result == ([0, 0, 0, 0, 0, 254, 255, 255, 255] if truncate else
                      [0, 0, 0, 0, 1, 255, 255, 255, 255])  # fmt: skip
    real = from_float(values / 255, torch.float32, truncate=truncate)
    assert real.tolist() == pytest.approx([0, 0, 0, 0, 0.6 / 255, 254.6 / 255, 1, 1, 1])
