"""The frame of every page, in a real browser: nothing runs but our own scripts."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import pytest
from jinja2 import ChoiceLoader, DictLoader, UndefinedError
from playwright.sync_api import Browser

import noctule.report.vega as vega_module
from browser import DESK, PHONE, browser, visit
from noctule.errors import InputError, MachineError, OutputError, shown
from noctule.report import template as template_module
from noctule.report.charts import Figure, save_figure
from noctule.report.page import (
    Block,
    Bullets,
    Chooser,
    CommandText,
    Details,
    Facts,
    Grid,
    Heading,
    ImageStrip,
    ImageTile,
    Link,
    Page,
    Section,
    Text,
    Tile,
    Tiles,
    render,
    write_page,
)
from noctule.report.table import Column, Row, Table
from noctule.report.template import render_template

__all__ = ["browser"]

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
    "<!--<script>",
    "a\u202eb\u0000c\ud800",
]
TEMPLATE = """{% extends "base.html" %}{% import "blocks.html" as m %}
{% block main %}<h2>Scores</h2>{{ m.figure(figures[0]) }}
{{ m.table(table) }}{% endblock %}
"""


def a_figure(names: list[str]) -> Figure:
    records = [{"name": name, "error": 10.0 * n} for n, name in enumerate(names)]
    chart = (
        alt.Chart(alt.Data(values=records))
        .mark_bar()
        .encode(
            x=alt.X("error:Q", title="error, %"),
            y=alt.Y("name:N", title=None),
            tooltip=["name:N"],
        )
        .properties(height=alt.Step(18))
    )
    return Figure("errors", names[0], " ".join(names[:2]), chart)


def a_table(names: list[str]) -> Table:
    values: list[float | None] = [30.0, 9.5, None, 100.0, 20.0, 1.0, 2.0]
    rows = [
        Row(
            [name, value],
            facets={"kind": name if n == 0 else ("even", "odd")[n % 2]},
        )
        for n, (name, value) in enumerate(zip(names, values, strict=True))
    ]
    columns = [Column("model", note=names[1]), Column("error, %", 1)]
    return Table(names[0], columns, rows, name="scores", searchable=True, filters=["kind"])


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> str:
    environment = template_module._environment()
    loaders = ChoiceLoader([environment.loader, DictLoader({"test.html": TEMPLATE})])  # type: ignore[list-item]
    monkeypatch.setattr(environment, "loader", loaders)
    return "test.html"


@pytest.fixture
def hostile_page(template: str, tmp_path: Path) -> Path:
    html = render_template(
        template, title=HOSTILE[0], figures=[a_figure(HOSTILE)], table=a_table(HOSTILE)
    )
    write_page(tmp_path / "folder" / "page.html", html)
    return tmp_path / "folder" / "page.html"


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_text_is_shown_and_does_nothing(
    browser: Browser, hostile_page: Path, size: dict[str, int], scheme: str
) -> None:
    with visit(browser, hostile_page, size=size, scheme=scheme) as one:
        assert one.wait_for_charts() == 1
        assert one.page.title() == HOSTILE[0]
        assert one.page.locator("tbody th").all_inner_texts()[:6] == HOSTILE[:6]
        assert one.page.locator("main img, main svg[onload]").count() == 0
        assert one.barriers() == []
        assert one.overflow_px() == 0
        assert one.problems == []


def test_what_was_not_written_by_us_cannot_run(
    browser: Browser, hostile_page: Path, tmp_path: Path
) -> None:
    """Even if escaping failed, the policy refuses: the fault is planted here."""
    planted = '<script>document.title = "owned"</script><img src="http://127.0.0.1:9/x.png">'
    text = hostile_page.read_text(encoding="utf-8").replace("<h2>", planted + "<h2>", 1)
    (tmp_path / "planted.html").write_text(text, encoding="utf-8")
    with visit(browser, tmp_path / "planted.html") as one:
        assert one.page.title() == HOSTILE[0]
        refused = [text for text in one.problems if "Content Security Policy" in text]
        assert len(refused) == 2


def shown_rows(one: Any) -> list[str]:
    return one.page.locator("tbody tr:visible th").all_inner_texts()


def test_tables_sort_as_numbers_with_the_undefined_last(
    browser: Browser, hostile_page: Path
) -> None:
    with visit(browser, hostile_page) as one:
        heading = one.page.get_by_role("button", name="error, %")
        heading.press("Enter")
        by_error = [5, 6, 1, 4, 0, 3, 2]
        names = [shown(HOSTILE[n]) for n in by_error]
        assert shown_rows(one) == names
        assert heading.locator("xpath=..").get_attribute("aria-sort") == "ascending"
        heading.press("Space")
        assert shown_rows(one) == [*names[-2::-1], names[-1]]


def test_tables_are_searched_and_filtered(browser: Browser, hostile_page: Path) -> None:
    with visit(browser, hostile_page) as one:
        one.page.get_by_label("kind").select_option("odd")
        assert shown_rows(one) == [HOSTILE[1], HOSTILE[3], HOSTILE[5]]
        one.page.get_by_role("searchbox").fill("IMG")
        assert shown_rows(one) == [HOSTILE[1]]
        assert one.page.locator("output").inner_text() == "1 of 7 rows"
        one.page.get_by_label("kind").select_option(HOSTILE[0])
        one.page.get_by_role("searchbox").fill("")
        assert shown_rows(one) == [HOSTILE[0]]


def test_a_template_that_lacks_a_value_fails(template: str) -> None:
    with pytest.raises(UndefinedError):
        render_template(template, title="a page", figures=[a_figure(["a"])])


def test_numbers_that_are_no_json_fail_here_and_not_in_the_browser(template: str) -> None:
    figure = a_figure(["a", "b"])
    figure.chart.data.values[0]["error"] = float("nan")
    table = a_table(HOSTILE)
    with pytest.raises(ValueError, match="JSON"):
        render_template(template, title="a page", figures=[figure], table=table)


def test_figures_for_papers_are_a_column_wide(tmp_path: Path) -> None:
    figure = a_figure(["a", "b"])
    for format in ("svg", "png", "pdf"):
        save_figure(figure, tmp_path / f"errors.{format}")
    assert (tmp_path / "errors.pdf").read_bytes().startswith(b"%PDF")
    assert 'width="245"' in (tmp_path / "errors.svg").read_text()[:200]
    width_px, height_px = struct.unpack(">II", (tmp_path / "errors.png").read_bytes()[16:24])
    assert width_px == 1020  # 245 points at 300 dots to the inch
    assert height_px < width_px


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="figure format 'gif'"):
        save_figure(a_figure(["a"]), tmp_path / "errors.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/page\.html"):
        write_page(tmp_path / "file" / "page.html", "")


@pytest.fixture
def fresh_vega() -> Iterator[None]:
    """Before and after: no process that draws."""
    vega_module._end(vega_module._process(os.getpid()))
    yield
    vega_module._end(vega_module._process(os.getpid()))


@pytest.mark.parametrize("dies", ["os.abort()", "sys.exit(3)", "print('no pickle')"])
def test_a_drawing_process_that_dies_is_said(
    dies: str, fresh_vega: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"import os, sys\nprint('as V8 does', file=sys.stderr)\n{dies}\n")
    monkeypatch.setattr(vega_module, "_PROGRAM", program)
    with pytest.raises(MachineError, match=r"charts cannot be drawn.*ulimit -v unlimited"):
        a_figure(["a"]).page_spec()
    monkeypatch.undo()
    assert a_figure(["a"]).page_spec()  # another process
    assert capfd.readouterr().err == ""


def test_where_no_drawing_process_can_be_started_it_is_said(
    fresh_vega: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(MachineError, match="no process can be started: Resource temporarily"):
        a_figure(["a"]).page_spec()
    monkeypatch.undo()


def test_a_drawing_process_that_hangs_is_ended(
    fresh_vega: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(vega_module, "_PROGRAM", program)
    monkeypatch.setattr(vega_module, "_LIMIT_S", 0.5)
    with pytest.raises(MachineError, match="charts cannot be drawn"):
        save_figure(a_figure(["a"]), tmp_path / "errors.png")


def test_rows_and_columns_must_agree() -> None:
    with pytest.raises(ValueError, match="2 values for 1"):
        Table("t", [Column("a")], [Row(["1", "2"])])


def test_specs_are_plain_json() -> None:
    json.dumps(a_figure(HOSTILE).page_spec(), allow_nan=False)


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)


def every_block(names: list[str]) -> list[Block]:
    """One block of every kind, with untrusted text in all of them."""
    pairs = [(name, name) for name in names[:6]]
    tile = ImageTile(PIXEL, names[0], 1, names[:2], names[2], False)
    section = Section([Heading(names[4], anchor="section"), Text(names[5])], names[0])
    return [
        Tiles([Tile(name, name, name) for name in names]),
        Text(names[0]),
        Chooser(names[1], names),
        Heading(names[1]),
        Text(names[2], note=True),
        Text(names[3], preformatted=True),
        Link(names[4], "https://example.org/?a&b", names[5]),
        Heading(names[1], 3),
        Bullets(pairs),
        Heading(names[1], 3, listed=False),
        Facts(pairs),
        CommandText(names[0]),
        ImageStrip([tile] * 10),
        Heading(names[2]),
        Grid([a_figure(names), a_table(names)]),
        Details(names[3], [Text(names[4])]),
        section,
    ]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_page_of_every_kind_of_block(
    browser: Browser, tmp_path: Path, size: dict[str, int]
) -> None:
    page = Page(HOSTILE[0], every_block(HOSTILE), back=Link(HOSTILE[1], "#main"))
    write_page(tmp_path / "page.html", render(page))
    assert render(page) == (tmp_path / "page.html").read_text(encoding="utf-8")
    with visit(browser, tmp_path / "page.html", size=size) as one:
        assert one.wait_for_charts() == 1
        assert (one.problems, one.barriers(), one.overflow_px()) == ([], [], 0)
        assert one.page.locator("main img").count() == 10
        assert one.page.locator(".headline li").count() == len(HOSTILE)
        links = one.page.locator(".contents > ul > li > a")
        assert links.all_inner_texts() == [HOSTILE[1], HOSTILE[2], HOSTILE[4]]
        for address in links.evaluate_all("links => links.map(link => link.hash)"):
            assert one.page.locator(address).count() == 1
        look = one.page.locator("main img").first.evaluate(
            "e => getComputedStyle(e).imageRendering"
        )
        assert look == "pixelated"
        tops = one.page.locator(".strip li").evaluate_all(
            "items => items.map(item => Math.round(item.getBoundingClientRect().top))"
        )
        rows = [tops.count(top) for top in dict.fromkeys(tops)]
        assert rows == ([2] * 5 if size is PHONE else [6, 4])


def test_a_short_page_has_no_contents() -> None:
    page = Page("t", [Heading("a"), Heading("b", 3), Heading("c")])
    assert 'class="contents"' not in render(page)
    assert 'class="contents"' in render(replace(page, contents=True))
