"""The page of one run or of many, from their stored rows; no model is run again.

opening.py    folders -> runs that can be scored, or a clear refusal before any long work
overview.py   runs of the same images together: their scores, from one set of resamples
details.py    one run: losses by condition, calibration, damage by class
samples.py    photographs under each corruption, as the model saw them
photos.py     the same in words
charts.py     the figures
heat.py       the figure of models by corruptions
words.py      how numbers are written
tables.py     the tables
fields.py     a table in the page, and as Markdown, LaTeX and CSV
sections.py   one run's part of the page
origin.py     what a run's numbers came from
page.py       puts it together and writes it
"""

from noctule.report.run_page.page import write_report

__all__ = ["write_report"]
