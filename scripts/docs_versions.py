"""Puts a built site among its versions, and writes the page that lists them.

    python scripts/docs_versions.py BUILT PAGES VERSION

PAGES is the folder that is served: a folder for each version, `stable`, which leads to the
newest release, and `index.html`.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

DEVELOPMENT = "main"
_RELEASE = re.compile(r"v\d+(\.\d+)*")
_LEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>noctule</title>
<meta http-equiv="refresh" content="0; url={target}">
<a href="{target}">noctule's documentation</a></html>
"""
_LIST = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>noctule: versions</title>
<h1>Versions of noctule's documentation</h1>
<ul>
{items}
</ul></html>
"""


def add_version(built: Path, pages: Path, version: str) -> None:
    """Replace one version by what was built, and list all versions.

    Raises:
        ValueError: The version is neither `main` nor a tag such as v0.1.0.
    """
    if version != DEVELOPMENT and not _RELEASE.fullmatch(version):
        raise ValueError(f"'{version}' is neither '{DEVELOPMENT}' nor a tag such as v0.1.0")
    pages.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(pages / version, ignore_errors=True)
    shutil.copytree(built, pages / version)
    (pages / ".nojekyll").touch()  # folders such as _static are served
    folders = {path.name for path in pages.iterdir() if path.is_dir()}
    releases = sorted(filter(_RELEASE.fullmatch, folders), key=_numbers, reverse=True)
    (pages / "stable").mkdir(exist_ok=True)
    newest = (releases or [DEVELOPMENT])[0]
    lead = _LEAD.format(target=f"../{newest}/index.html")
    (pages / "stable" / "index.html").write_text(lead, encoding="utf-8")
    listed = [*releases, *({DEVELOPMENT} & folders)]
    items = "\n".join(f'<li><a href="{name}/index.html">{name}</a></li>' for name in listed)
    (pages / "index.html").write_text(_LIST.format(items=items), encoding="utf-8")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version[1:].split(".")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("built", type=Path)
    parser.add_argument("pages", type=Path)
    parser.add_argument("version")
    given = parser.parse_args()
    add_version(given.built, given.pages, given.version)
