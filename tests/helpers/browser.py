"""A real browser for tests of pages: what a page logs, asks for, and how accessible it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium or Chrome: the system's, or else the one that Playwright has installed."""
    system = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=system, args=ARGUMENTS)
        except Error as error:
            if system is not None:
                raise
            pytest.skip(f"no browser: install Chromium (make browser). {error.message[:100]}")
        yield browser
        browser.close()


class Visit:
    """One open page, and what it did.

    Attributes:
        page: to drive.
        problems: messages on the console, uncaught errors, and requests to elsewhere.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        self.origin = address if address.startswith("file:") else address.rstrip("/")
        page.on("request", self._on_request)
        page.goto(address)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Any) -> None:
        own = ("data:", "blob:", self.origin)
        if not request.url.startswith(own):
            self.problems.append(f"request: {request.url}")

    def wait_for_charts(self) -> int:
        """How many charts there are, all of them drawn."""
        # Not by a function: asked again and again, it would need the eval that pages forbid.
        undrawn = self.page.locator(".drawing[data-spec]:not([data-drawn])")
        undrawn.first.wait_for(state="detached")
        return self.page.locator(".drawing svg").count()

    def barriers(self) -> list[str]:
        """What axe-core finds serious or critical, with the elements."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
            for one in found
            if one["impact"] in GRAVE
        ]

    def overflow_px(self) -> int:
        """By how much the page is wider than its window."""
        return int(
            self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )


@contextmanager
def visit(
    browser: Browser,
    where: Path | str,
    *,
    size: dict[str, int] = DESK,
    scheme: str = "light",
) -> Iterator[Visit]:
    """Open a file or an address in a new, empty profile, and close it again."""
    address = where.absolute().as_uri() if isinstance(where, Path) else where
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    try:
        yield Visit(context.new_page(), address)
    finally:
        context.close()
