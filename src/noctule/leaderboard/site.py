"""Write the site: everything is read and rendered first, then written page by page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from noctule.errors import InputError
from noctule.input_files import read_text
from noctule.leaderboard.entries import grouped, read_entry, refuse_twice
from noctule.leaderboard.pages import MODELS_FOLDER, index_page, model_page
from noctule.leaderboard.tracks import load_landmarks
from noctule.report.page import write_page
from noctule.store.disk import (
    LOCK_FILE,
    locked,
    output_errors,
    remove_temporaries,
    temporaries_of,
    write_atomically,
)

MANIFEST_FILE = ".noctule-leaderboard.json"
INDEX_FILE = "index.html"
_OWN_FILE = re.compile(rf"{INDEX_FILE}|{MODELS_FOLDER}/[a-z0-9-]+\.html")


def build_site(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    title: str = "Leaderboard",
    training_data: str = "unknown",
    resamples: int = 1000,
    landmarks: bool = False,
) -> list[str]:
    """Write a static site; an existing site in the same folder is replaced page by page.

    Args:
        sources: Submissions and run folders.
        out: Folder of the site: new, empty, or an existing site.
        title: Title of the site.
        training_data: Training data of runs without a submission.
        resamples: Number of bootstrap resamples.
        landmarks: Whether to show published scores.

    Returns:
        The files of the site, relative to `out`.

    Raises:
        InputError: A source cannot be used (then nothing is written), or the folder holds
            other files.
        OutputError: A page cannot be written.
    """
    out = Path(out)
    old = _own_files(out)
    entries = [
        read_entry(Path(one), training_data=training_data, resamples=resamples)
        for one in sources
    ]
    refuse_twice(entries)
    groups = grouped(entries, load_landmarks() if landmarks else ())
    if not groups:
        raise InputError("no runs or submissions are given", where="leaderboard build")
    pages = {
        f"{MODELS_FOLDER}/{entry.page}": model_page(entry, group, title)
        for group in groups
        for entry in group.entries
    }
    pages[INDEX_FILE] = index_page(groups, title)  # last, so that its links never dangle
    _write(out, pages, old)
    return list(pages)


def _own_files(out: Path) -> list[str]:
    """The files of an existing site in the folder.

    Raises:
        InputError: The folder holds something other than a site.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError("is not a folder", where=out, remedy="Choose another folder.")
    manifest = out / MANIFEST_FILE
    if not manifest.exists():
        leftovers = {out / LOCK_FILE, *temporaries_of(out, MANIFEST_FILE)}
        if out.is_dir() and (foreign := sorted(set(out.iterdir()) - leftovers)):
            raise InputError(
                f"is not empty and not a leaderboard's site (it holds {foreign[0].name})",
                where=out,
                remedy="Choose an empty or new folder.",
            )
        return []
    try:
        names = json.loads(read_text(manifest))["files"]
        own = [name for name in names if _OWN_FILE.fullmatch(name)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"is not the list of a site's files: {error}",
            where=manifest,
            remedy="Choose a new folder.",
        ) from error
    if (out / MODELS_FOLDER).is_symlink():
        raise InputError("is a link", where=out / MODELS_FOLDER, remedy="Remove it.")
    return own


def _write(out: Path, pages: dict[str, str], old: Sequence[str]) -> None:
    """Write the pages. After a kill, every page is old or new and listed in the manifest."""
    stale = [name for name in old if name not in pages]
    with output_errors(out), locked(out, "building a site in"):
        (out / MODELS_FOLDER).mkdir(parents=True, exist_ok=True)
        remove_temporaries(out)
        remove_temporaries(out / MODELS_FOLDER)
        _write_manifest(out, [*pages, *stale])
        for name, html in pages.items():
            write_page(out / name, html)
        for name in stale:
            (out / name).unlink(missing_ok=True)
        _write_manifest(out, list(pages))


def _write_manifest(out: Path, files: Sequence[str]) -> None:
    text = json.dumps(
        {"made_by": "noctule leaderboard build", "files": sorted(files)}, indent=1
    )
    write_atomically(out / MANIFEST_FILE, f"{text}\n".encode())
