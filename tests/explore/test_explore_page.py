"""`noctule show --serve` in a real browser, and as a program that is stopped."""

from __future__ import annotations

import http.client
import io
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, Route, expect

import noctule
from browser import DESK, PHONE, Browser, browser, visit  # noqa: F401
from noctule.cli.page import start_values, viewer_config
from noctule.data.sources.photo_patches import photograph
from noctule.explore import listen, run_server, server_of
from photos import noise_image, png_bytes
from viewer_cases import ALL, pixels

PHOTO = {"name": "<b>mine</b>.png", "mimeType": "image/png"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A page with the shipped classifier, served on a free port."""
    viewer = viewer_config(ALL, None, None, model="photo-patches", size_px=None, device="cpu")
    listening = listen(0)
    port = listening.getsockname()[1]
    server = server_of(viewer, start_values(viewer, "cat", "shear", 3, 0), listening)
    thread = threading.Thread(target=run_server, args=(server, listening))
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=20)
    assert not thread.is_alive()


def wait_for(page: Page, photo: str, condition: str) -> torch.Tensor:
    """The corrupted image, once it is that of the condition."""
    image = page.locator("#corrupted")
    expect(image).to_have_attribute("alt", f"{photo} under {condition}")
    expect(page.locator("#result.busy")).to_have_count(0)
    return pixels(image.get_attribute("src") or "")


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (PHONE, "dark")])
def test_a_photograph_is_added_and_corrupted(browser, address, size, scheme) -> None:  # noqa: F811
    data = png_bytes(noise_image(120, 90, seed=size["width"]))
    with visit(browser, address, size=size, scheme=scheme) as one:
        page = one.page
        before = wait_for(page, "cat", "shear, severity 3, seed 0")
        page.set_input_files("#file", {**PHOTO, "buffer": data})
        option = page.locator("#photo option:checked")
        expect(option).to_have_text(PHOTO["name"])
        key = option.get_attribute("value") or ""
        after = wait_for(page, key, "shear, severity 3, seed 0")
        assert not torch.equal(before, after)
        model = noctule.load_classifier("photo-patches")
        clean = model.preprocessing.prepare(Image.open(io.BytesIO(data)))[None]
        assert torch.equal(
            after, noctule.corrupt(clean, "shear", ids=[key], seed=0, severity=3)[0]
        )
        expect(page.locator(".predictions li")).to_have_count(10)
        expect(page.locator("#change")).to_contain_text("The top prediction")
        assert page.locator("b").count() == 0
        assert one.barriers() == []
        assert one.overflow_px() <= 0
        page.reload()
        assert torch.equal(wait_for(page, key, "shear, severity 3, seed 0"), after)
        assert one.problems == []


def test_the_keyboard_suffices(browser, address) -> None:  # noqa: F811
    with visit(browser, address) as one:
        page = one.page
        wait_for(page, "cat", "shear, severity 3, seed 0")
        reached = []
        for _ in range(8):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate("document.activeElement.id || document.activeElement.name")
            )
        assert [name for name in reached if name] == [
            "photo", "file", "corruption", "severity", "seed",
        ]  # fmt: skip
        page.locator("#corruption").focus()
        page.keyboard.type("rotation")
        wait_for(page, "cat", "rotation, severity 3, seed 0")
        page.locator("input[name=severity]:checked").focus()
        page.keyboard.press("ArrowRight")
        wait_for(page, "cat", "rotation, severity 4, seed 0")
        page.locator("#seed").focus()
        page.keyboard.press("ArrowUp")
        shown = wait_for(page, "cat", "rotation, severity 4, seed 1")
        model = noctule.load_classifier("photo-patches")
        clean = model.preprocessing.prepare(photograph("cat"))[None]
        expected = noctule.corrupt(clean, "rotation", ids=["cat"], seed=1, severity=4)
        assert torch.equal(shown, expected[0])
        assert "corruption=rotation&seed=1" in page.url
        expect(page.locator("#message")).to_have_text("cat: rotation, severity 4, seed 1.")
        assert one.problems == []


def test_errors_are_said_in_the_page(browser, address) -> None:  # noqa: F811
    with visit(browser, address) as one:
        page, message = one.page, one.page.locator("#message")
        before = wait_for(page, "cat", "shear, severity 3, seed 0")
        page.set_input_files("#file", {**PHOTO, "buffer": b"<svg onload='alert(1)'/>"})
        expect(message).to_contain_text(
            "<b>mine</b>.png: this file cannot be used: not an image in a known format"
        )
        assert one.barriers() == []
        page.locator("#seed").fill("-1")
        expect(message).to_contain_text("The seed must be a whole number from 0 to 4294967295.")
        page.locator("#seed").fill("2")
        wait_for(page, "cat", "shear, severity 3, seed 2")
        page.goto(f"{address}/#photo=0123456789abcdef")
        expect(message).to_contain_text("this photograph is no longer kept")
        page.evaluate("location.hash = 'photo=cat&severity=3&seed=0'")
        assert torch.equal(wait_for(page, "cat", "shear, severity 3, seed 0"), before)
        # The browser itself logs that two requests were answered with 400, and nothing else.
        assert len(one.problems) == 2
        assert all("status of 400" in problem for problem in one.problems)


def test_a_photograph_may_be_dropped_anywhere(browser, address) -> None:  # noqa: F811
    with visit(browser, address, size=PHONE) as one:
        wait_for(one.page, "cat", "shear, severity 3, seed 0")
        data = list(png_bytes(noise_image(50, 50, seed=5)))
        one.page.evaluate(
            """(data) => {
              const dataTransfer = new DataTransfer();
              dataTransfer.items.add(new File([new Uint8Array(data)], "dropped.png"));
              document.querySelector("h1").dispatchEvent(
                new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
            }""",
            data,
        )
        expect(one.page.locator("#photo option:checked")).to_have_text("dropped.png")
        expect(one.page.locator("#message")).to_have_text(
            "dropped.png: shear, severity 3, seed 0."
        )
        assert one.problems == []


def test_an_answer_that_comes_too_late_is_dropped(browser, address) -> None:  # noqa: F811
    held: list[Route] = []

    def hold_severity_1(route: Route) -> None:
        if "severity=1" in route.request.url:
            held.append(route)
        else:
            route.continue_()

    with visit(browser, address) as one:
        page = one.page
        wait_for(page, "cat", "shear, severity 3, seed 0")
        page.route("**/answer*", hold_severity_1)
        with page.expect_request("**/answer*severity=1*"):
            page.locator("input[name=severity][value='1']").check()
        page.locator("input[name=severity][value='5']").check()
        wait_for(page, "cat", "shear, severity 5, seed 0")
        for route in held:
            route.continue_()
        # Two more requests take longer than the one that was held.
        query = "answer?photo=cat&corruption=hue&severity=2&seed=0"
        late = f"() => fetch('{query}').then(r => r.text())"
        for _ in range(2):
            page.evaluate(late)
        wait_for(page, "cat", "shear, severity 5, seed 0")
        assert len(held) == 1
        assert one.problems == []


@pytest.mark.parametrize("path", ["/../../etc/passwd", "../etc/passwd", "/%2e%2e/etc/passwd"])
def test_no_raw_path_reaches_a_file(address, path) -> None:
    # The client of the other tests tidies such paths before they are sent; this one does not.
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.status, response.read()) == (404, b'{"error":"Not Found"}')
    connection.close()


@pytest.mark.slow
def test_the_program_prints_its_address_and_stops_in_order() -> None:
    command = [sys.executable, "-m", "noctule", "show", "coffee", "--serve", "--port", "0",
               "--no-open", "--size-px", "64", "--corruption", "hue"]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            found = re.match(r"(http://127\.0\.0\.1:\d+/) ", line)
            assert found, line
            with urllib.request.urlopen(found[1], timeout=30) as response:
                html = response.read().decode()
            assert '"photo": "coffee"' in html
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=30)
        finally:
            program.kill()
    assert (program.returncode, out, err) == (0, "stopped\n", "")
