"""The page of an overlap study, from its folder or from its matrix.

page.py        the page
findings.py    what a study found: matrix, families, accuracies
designs.py     shipped benchmarks among the candidates, and the best one
square.py      the heat map
charts.py      the other charts
tables.py      the tables
provenance.py  what the numbers came from
words.py       how numbers are written
"""

from noctule.report.study_page.findings import Findings, findings_of_matrix, findings_of_study
from noctule.report.study_page.page import page_of, study_page, write_study_page

__all__ = [
    "Findings",
    "findings_of_matrix",
    "findings_of_study",
    "page_of",
    "study_page",
    "write_study_page",
]
