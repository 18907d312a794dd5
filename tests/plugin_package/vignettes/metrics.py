"""A metric: `noctule metrics RUN` shows it beside noctule's own."""

from __future__ import annotations

from typing import Any

from noctule.metrics import metric


@metric(
    title="doubt",
    mean_name="mean_doubt",
    columns=("confidence",),
    formula="doubt = 1 − probability of the predicted class",
)
def doubt(outcomes: Any) -> Any:
    """How unsure the model is."""
    return 1 - outcomes.confidence
