"""Prints the oldest versions that pyproject.toml allows, as constraints for pip.

    python scripts/oldest.py > oldest.txt
    python -m pip install --constraint oldest.txt --editable '.[dev]'

They bind what users install; the tools of the extras dev, docs and peers stay free.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
TOOLS = ("dev", "docs", "peers")
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?>=([0-9.]+)")


def main() -> None:
    """Print a line `name==version` for each dependency, in order of names."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = set(project["dependencies"])
    for extra in extras.keys() - set(TOOLS):
        requirements.update(extras[extra])
    for requirement in sorted(requirements):
        if match := REQUIREMENT.match(requirement):
            print("==".join(match.groups()))


if __name__ == "__main__":
    main()
