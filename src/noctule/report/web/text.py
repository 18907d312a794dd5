"""Text as a page may show it, whoever wrote it."""

from __future__ import annotations

import math
from typing import Any

from noctule.errors import shown

__all__ = ["all_shown", "shown"]


def all_shown(data: Any) -> Any:
    """JSON-ready data with `shown` applied to every text in it.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not know.
    """
    if isinstance(data, dict):
        return {key: all_shown(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [all_shown(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        raise ValueError(f"{data} is no JSON number: leave the record's field out, or null")
    return shown(data) if isinstance(data, str) else data
