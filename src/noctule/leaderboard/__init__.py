"""A leaderboard: results that are recomputed from submitted rows, and a static site of them.

submission.py   what a submission is: submission.toml and a run folder
folder.py       its files, bounded and refused before anything is read
rows.py         its rows, read with bounds, and what no honest row can be
lines.py        what a check finds
settings.py     benchmark, seed, data and images of a run against its track
checks.py       every claim against the rows: holds, does not hold, cannot be verified
architecture.py the claimed architecture against what the run recorded
tracks.py       what is ranked together: benchmark, data, seed, architecture (tracks.toml)
landmarks.py    published scores, which are shown and never recomputed (landmarks.toml)
entries.py      runs, submissions and landmarks as rows of the site
index_page.py, model_page.py, figures.py
                the pages; site.py writes them

Everything in a submission is made by whoever submits it. A check finds mistakes and
inconsistencies; that the rows came from the model, only running the model shows.
"""

from noctule.leaderboard.checks import CheckResult, check_submission
from noctule.leaderboard.lines import CheckItem
from noctule.leaderboard.prepare import prepare_submission
from noctule.leaderboard.site import build_site
from noctule.leaderboard.submission import Submission

__all__ = [
    "CheckItem",
    "CheckResult",
    "Submission",
    "build_site",
    "check_submission",
    "prepare_submission",
]  # fmt: skip
