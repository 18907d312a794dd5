"""The site of the documentation: built without warnings, offline, accessible, with a search."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browser import DESK, PHONE, Visit, browser, visit
from noctule.corruptions import CORRUPTIONS
from repository import DOCS, ROOT

__all__ = ["browser"]

# Pages of every kind: prose, tables, code, figures, gallery, notebook, docstrings, search.
PAGES = (
    "index.html", "install.html", "start/tutorial.html", "generated/gallery.html",
    "howto/own-model.html", "notebooks/compare.html", "explained/method.html",
    "explained/faq.html", "explained/peers.html", "performance.html", "api/noctule.html",
    "api/design.html", "search.html", "genindex.html",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    site = tmp_path_factory.mktemp("site")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "sphinx",
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
    ]
    done = subprocess.run([*command, DOCS, site], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return site


def elsewhere(one: Visit, site: Path) -> list[str]:
    """What a visit complains about, apart from the requests of the site's own files."""
    own = f"request: {site.as_uri()}/"
    return [problem for problem in one.problems if not problem.startswith(own)]


@pytest.mark.slow
def test_nothing_on_the_site_comes_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"([^\"]+)", text)
        foreign = [one for one in loaded if re.match(r"(https?:)?//", one)]
        assert foreign == [], page


@pytest.mark.slow
def test_the_gallery_shows_every_corruption_at_every_severity(site: Path) -> None:
    text = (site / "generated" / "gallery.html").read_text(encoding="utf-8")
    shown = re.findall(
        r'<img src="\.\./(_static/gallery/\S+)"[^>]*alt="(\w+), severity (\d)"', text
    )
    assert {(name, int(severity)) for _, name, severity in shown} == {
        (name, severity) for name in CORRUPTIONS for severity in range(1, 6)
    }
    for file, _, _ in shown:
        assert (site / file).stat().st_size > 500


@pytest.mark.slow
def test_every_page_is_accessible_and_fits(site: Path, browser: Browser) -> None:
    for page in PAGES:
        for size, scheme in (
            (DESK, "light"),
            (DESK, "dark"),
            (PHONE, "light"),
            (PHONE, "dark"),
        ):
            with visit(browser, site / page, size=size, scheme=scheme) as one:
                one.page.wait_for_load_state("networkidle")
                found = (elsewhere(one, site), one.barriers(), one.overflow_px())
                assert found == ([], [], 0), (page, scheme, size)


@pytest.mark.slow
def test_the_search_works_from_files(site: Path, browser: Browser) -> None:
    for words, expected in (("severity", "corruptions"), ("vignette", "howto/own-corruption")):
        with visit(browser, site / "index.html") as one:
            one.page.get_by_role("textbox", name="Search").first.fill(words)
            one.page.keyboard.press("Enter")
            results = one.page.locator("#search-results li a")
            results.first.wait_for()
            found = results.evaluate_all(
                "links => links.map(link => link.getAttribute('href'))"
            )
            assert any(link.startswith(expected) for link in found), (words, found)
            assert elsewhere(one, site) == []


@pytest.mark.slow
def test_the_gallery_is_searched(site: Path, browser: Browser) -> None:
    with visit(browser, site / "generated" / "gallery.html") as one:
        entries = one.page.locator("section section section:visible h3")
        assert entries.count() == len(CORRUPTIONS)
        one.page.get_by_role("searchbox").fill("shear")
        names = [text.rstrip("#\ue157") for text in entries.all_inner_texts()]
        assert "shear" in names
        assert len(names) < len(CORRUPTIONS) / 2
        one.page.get_by_role("searchbox").fill("no such corruption")
        assert entries.count() == 0
        assert one.page.locator("output").inner_text() == f"0 of {len(CORRUPTIONS)} corruptions"


def test_versions_stand_side_by_side(tmp_path: Path) -> None:
    add_version = runpy.run_path(str(ROOT / "scripts" / "docs_versions.py"))["add_version"]
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "index.html").write_text("one")
    pages = tmp_path / "pages"
    for version in ("main", "v0.9.0", "v0.10.0", "v0.9.0"):
        add_version(tmp_path / "built", pages, version)
    listed = re.findall(r'href="(.*?)"', (pages / "index.html").read_text())
    assert listed == [f"{one}/index.html" for one in ("v0.10.0", "v0.9.0", "main")]
    assert all((pages / one).read_text() == "one" for one in listed)
    assert "../v0.10.0/index.html" in (pages / "stable" / "index.html").read_text()
    with pytest.raises(ValueError, match="neither"):
        add_version(tmp_path / "built", pages, "../elsewhere")
