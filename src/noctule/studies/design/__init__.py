"""Design of benchmarks: scores of sets of corruptions, and the best sets, from their
overlap.
"""

from noctule.studies.design.benchmark import benchmark_of
from noctule.studies.design.choose import ChosenSet, choose_greedy
from noctule.studies.design.exact import choose_exact, largest_set
from noctule.studies.design.measures import (
    Cover,
    DesignScores,
    balance,
    coverage,
    emphasis,
    redundancy,
    score_design,
)
from noctule.studies.design.n_by_k import FamilyDesign, n_by_k
from noctule.studies.design.stability import Stability, stability

__all__ = [
    "ChosenSet",
    "Cover",
    "DesignScores",
    "FamilyDesign",
    "Stability",
    "balance",
    "benchmark_of",
    "choose_exact",
    "choose_greedy",
    "coverage",
    "emphasis",
    "largest_set",
    "n_by_k",
    "redundancy",
    "score_design",
    "stability",
]
