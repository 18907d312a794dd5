"""From outcome rows to numbers with intervals; no model runs again.

For a condition with n images, of which the model errs on w: error E = w / n.
For a corruption c at the benchmark's severities: E_c, the mean of its conditions' errors. Then

    mean error  = mean of E_c over the corruptions
    CE_c        = 100 · E_c / E_c(ref),                                  mCE = mean of CE_c
    relative CE = 100 · (E_c − E_clean) / (E_c(ref) − E_clean(ref)),     relative mCE = its mean

The mean error is what some call an unnormalised mCE; CE, mCE and relative mCE are those of
Hendrycks & Dietterich 2019, section 4; the relative CE is also the CE of Laugros, Caplier &
Ospici 2020, who publish its mean as the mCE of ImageNet-NOC. A mean of ratios is not the ratio
of the means: mCE is the former.

Intervals are confidence intervals over images, which are the independent units: whatever the
conditions of one image have in common is taken into account (`noctule.metrics.intervals`).

    error, accuracy, top-5 error    Clopper & Pearson's exact interval
    E_c, mean error                 the same with the effective number of images (Korn &
                                    Graubard)
    CE, mCE                         of the errors, divided by the reference's exact errors; of
                                    ratios (Fieller) if the reference is given as rows
    relative CE and mCE             score intervals of paired differences; likewise of ratios
    calibration error               bootstrap, see `noctule.metrics.calibration`

Where a reference given as rows errs on too few images, a ratio has no interval.
"""

from noctule.metrics.estimates import Estimate
from noctule.metrics.outcome_matrix import COLUMNS
from noctule.metrics.results import ConditionScores, CorruptionScores, Scores
from noctule.metrics.scores import score

__all__ = [
    "COLUMNS", "ConditionScores", "CorruptionScores", "Estimate", "Scores", "score",
]  # fmt: skip
