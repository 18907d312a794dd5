"""What each score is, in one line; here, so that help texts need not load the metrics."""

from __future__ import annotations

FORMULAS = {
    "mean_error": "mean error = mean of E_c over the corruptions (an unnormalised mCE)",
    "ce": "CE_c = 100 · E_c / E_c(ref); mCE = mean of CE_c",
    "relative_ce": (
        "relative CE_c = 100 · (E_c − E_clean) / (E_c(ref) − E_clean(ref)); "
        "relative mCE = mean of relative CE_c"
    ),
}
"""By the names that a benchmark's `metric` may have. E_c is the mean error over the severities
of corruption c, E_clean the error on uncorrupted images, ref the reference model."""
