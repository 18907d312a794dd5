"""A leaderboard: scores recomputed from submitted rows, and a static site that shows them.

submission.py   claims (submission.toml) and files of a submission
tracks.py       what is ranked together (tracks.toml), and published scores (landmarks.toml)
checks.py       every claim against the rows: holds, does not hold, cannot be verified
architecture.py the claimed architecture against the recorded one
check_report.py the result of a check, for the terminal, programs and pull requests
entries.py      runs, submissions and landmarks, in groups that may be ranked together
pages.py        the pages; site.py writes them

Everything in a submission is under the control of its submitter. A check finds mistakes and
inconsistencies. Only running the model shows that it produced the rows.
"""

from noctule.leaderboard.check_items import CheckItem
from noctule.leaderboard.checks import CheckResult, check_submission
from noctule.leaderboard.prepare import prepare_submission
from noctule.leaderboard.submission import Submission

__all__ = [
    "CheckItem",
    "CheckResult",
    "Submission",
    "check_submission",
    "prepare_submission",
]  # fmt: skip
