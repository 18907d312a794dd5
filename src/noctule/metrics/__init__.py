"""From outcome rows to numbers with intervals; no model runs again.

For a condition with n images, of which the model errs on w: error E = w / n.
For a corruption c at the benchmark's severities: E_c, the mean of its conditions' errors.
Every metric is an entry in `noctule.metrics.definitions`, with its formula.

The mean error is what some call an unnormalised mCE; CE, mCE and relative mCE are those of
Hendrycks & Dietterich 2019, section 4; the relative CE is also the CE of Laugros, Caplier &
Ospici 2020, who publish its mean as the mCE of ImageNet-NOC. A mean of ratios is not the ratio
of the means: mCE is the former.

Intervals are confidence intervals over images, which are the independent units: whatever the
conditions of one image have in common is taken into account (`noctule.metrics.intervals`).

    error, accuracy, top-5 error    Clopper & Pearson's exact interval
    E_c, mean error, mean top-5     the same with the effective number of images (Korn &
                                    Graubard)
    error rise                      score interval of paired differences
    NLL                             the same for a mean; images that the sample may have missed
                                    count as far from the mean as the farthest that it holds
    AURC                            the same of each image's influence (infinitesimal jackknife)
    CE, mCE                         of the errors, divided by the reference's exact errors; of
                                    ratios (Fieller) if the reference is given as rows
    relative CE and mCE             score intervals of paired differences; likewise of ratios
    ECE                             bootstrap, see `noctule.metrics.calibration`

Where a reference given as rows errs on too few images, a ratio has no interval. A loss has no
upper bound, and few images do not show how large it gets. In simulations, 95 % intervals of the
NLL held the true value in 95 % of cases or more for 100 and 1000 images, in 86 % for 20; where
2 % of the images carry nearly all of the loss, in 75 % for 100 images. Intervals of the AURC
held it in 94 % or more (`scripts/interval_coverage.py`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from noctule.metrics import definitions as definitions  # registers the metrics
from noctule.metrics.registry import METRICS, Metric, metric

if TYPE_CHECKING:
    from noctule.metrics.estimates import Estimate
    from noctule.metrics.outcome_matrix import COLUMNS
    from noctule.metrics.scores import Scores, headline_metric, score

_HOMES = {
    "Estimate": "estimates",
    "COLUMNS": "outcome_matrix",
    "Scores": "scores",
    "headline_metric": "scores",
    "score": "scores",
}

__all__ = [
    "COLUMNS", "METRICS", "Estimate", "Metric", "Scores", "headline_metric",
    "metric", "score",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'noctule.metrics' has no attribute {name!r}")
    return getattr(importlib.import_module(f"noctule.metrics.{_HOMES[name]}"), name)
