"""The folder of what can be made or fetched again: compiled code, and copies of objects."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

VARIABLE = "NOCTULE_CACHE_DIR"
"""The environment variable that names the folder."""


def cache_folder() -> Path:
    """The folder that NOCTULE_CACHE_DIR names, or one in the user's cache folder.

    Raises:
        OSError: There is neither.
    """
    named = os.environ.get(VARIABLE)
    return Path(named) if named else _user_cache() / "noctule"


def _user_cache() -> Path:
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute() and sys.platform != "darwin":
        return named
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home raises RuntimeError)
    if not home.is_absolute():  # neither HOME nor an entry in the list of users
        raise FileNotFoundError(errno.ENOENT, "There is no home directory", str(home))
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
