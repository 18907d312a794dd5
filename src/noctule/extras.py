"""Optional packages: what `pip install noctule` leaves out belongs to an extra.

The extras are those of pyproject.toml.
"""

from __future__ import annotations

import importlib

from noctule.errors import InputError


class MissingExtraError(InputError):
    """A package of an extra is not installed."""


def require(extra: str, *packages: str) -> None:
    """Raise an error if one of an extra's packages is not installed.

    A command calls this before any work, so that nothing is computed in vain.

    Args:
        extra: Name of the extra, such as "report".
        *packages: Names of modules to import.

    Raises:
        MissingExtraError: A package is missing; the message has the command that installs it.

    >>> require("report", "no_such_package")
    Traceback (most recent call last):
    noctule.extras.MissingExtraError: the package no_such_package is not installed. Install it
    with: pip install 'noctule[report]'
    """
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(
                f"the package {package} is not installed",
                remedy=f"Install it with: pip install 'noctule[{extra}]'",
            ) from error
