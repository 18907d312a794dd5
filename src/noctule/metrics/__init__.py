"""From outcome rows to numbers with intervals; no model runs again.

For a condition with n images, of which the model errs on w: error E = w / n.
For a corruption c at the benchmark's levels: E_c, the mean of its conditions' errors.

    CE_c = 100 · (E_c − E_clean) / (E_c(ref) − E_clean(ref)),   mCE = mean over corruptions

the relative corruption error of Laugros, Caplier & Ospici 2020. Intervals are percentile
bootstrap intervals over images, paired: one resample serves all conditions, and the reference
if it is given as rows.
"""

from noctule.metrics.estimates import Estimate
from noctule.metrics.outcome_matrix import COLUMNS
from noctule.metrics.results import ConditionScores, CorruptionScores, Scores
from noctule.metrics.scores import score

__all__ = ["COLUMNS", "ConditionScores", "CorruptionScores", "Estimate", "Scores", "score"]
