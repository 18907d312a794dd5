"""A plug-in for pytest, which finds it by its entry point: the fixture `assert_robust`.

Nothing is imported here before a test asks for the fixture.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def assert_robust(tmp_path: Path) -> Callable[..., Any]:
    """`noctule.testing.assert_robust`, whose run folder is in the test's `tmp_path`.

    Each call has a folder of its own, unless it names one with `out`.
    """
    from noctule.testing import assert_robust

    calls = iter(range(1, 1_000_000))

    @functools.wraps(assert_robust)
    def check(*arguments: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        options.setdefault("out", tmp_path / f"noctule-run-{next(calls)}")
        return assert_robust(*arguments, **options)

    return check
