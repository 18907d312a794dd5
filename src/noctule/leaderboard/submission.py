"""submission.toml: what is claimed of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from noctule.config import Spec, SpecValueError, read_spec

SUBMISSION_FILE = "submission.toml"

Short = Annotated[str, Field(min_length=1, max_length=100)]
ErrorRate = Annotated[float, Field(ge=0.0, le=1.0)]
ERROR_TOLERANCE = 0.00005 + 1e-9
"""Claimed errors are fractions printed with four decimals: they may be off by half a unit."""
CE_TOLERANCE = 0.005 + 1e-9
"""Claimed CEs are percent printed with two decimals."""


class Claimed(Spec):
    """The scores that are claimed, as `noctule leaderboard prepare` writes them.

    Attributes:
        mean_error: mean error over the corruptions, a fraction in [0, 1], four decimals.
        clean_error: error on the uncorrupted images, likewise.
        mce: mean CE, in percent, two decimals.
        relative_mce: mean relative CE, likewise.
        corruptions: error by corruption, over all severities, a fraction, four decimals.
    """

    mean_error: ErrorRate
    clean_error: ErrorRate | None = None
    mce: float | None = None
    relative_mce: float | None = None
    corruptions: dict[str, ErrorRate]


class Submission(Spec):
    """What stands in submission.toml.

    Attributes:
        title: what the model is called on the site.
        track: a name in `noctule.leaderboard.tracks`.
        architecture: such as "torchvision:resnet50" or "photo-patches", which can be checked;
            or any other name, which cannot.
        training_data: such as "ImageNet-1k".
        parameters: how many the network has.
        link: an https address of a paper or of code.
        notes: what else there is to say.
        claimed: the scores.
    """

    title: Short
    track: Short
    architecture: Short
    training_data: Short
    parameters: Annotated[int, Field(ge=0, le=10**15)] | None = None
    link: Annotated[str, Field(max_length=300)] | None = None
    notes: Annotated[str, Field(max_length=2000)] | None = None
    claimed: Claimed

    @field_validator("title", "architecture", "training_data")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise SpecValueError("is blank", "Say what it is.")
        return text

    @field_validator("link")
    @classmethod
    def _is_https(cls, link: str | None) -> str | None:
        if link is not None and not _is_plain_https(link):
            raise SpecValueError(
                f"{link!r} is not a plain https address", "Use https://HOST/PATH."
            )
        return link


def read_submission(folder: Path) -> Submission:
    """The claims in a folder.

    Raises:
        InputError: there are none, or something in them is wrong (with the key).
    """
    return read_spec(folder / SUBMISSION_FILE, Submission)


def _is_plain_https(link: str) -> bool:
    """Whether it is ASCII without white space, quotes or a name before the host."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    plain = link.isascii() and link.isprintable() and not set(link) & set(" <>\"'\\`")
    host = parts.hostname or ""
    return plain and link.startswith("https://") and "@" not in parts.netloc and "." in host
