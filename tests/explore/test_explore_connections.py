"""Connections to the page's server that hang, flood or are left: the page stays answered."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from noctule.cli.page import start_values, viewer_config
from noctule.explore import connections, listen, run_server, server, server_of
from photos import noise_image, png_bytes
from viewer_cases import ALL

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A page without a model."""
    viewer = viewer_config(ALL, None, None, model=None, size_px=32, device="cpu")
    listening = listen(0)
    serving = server_of(viewer, start_values(viewer, "cat", "hue", 3, 0), listening)
    thread = threading.Thread(target=run_server, args=(serving, listening))
    port = listening.getsockname()[1]
    thread.start()
    yield port
    serving.should_exit = True
    thread.join(timeout=20)
    assert not thread.is_alive()


@contextlib.contextmanager
def open_connections(
    port: int, count: int, first: bytes = b""
) -> Iterator[list[socket.socket]]:
    """Connections that have sent something, and wait."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            with contextlib.suppress(OSError):  # it may be closed already
                one.sendall(first)
            opened.append(one)
        yield opened


def upload_of(port: int, declared: int, sent: bytes) -> bytes:
    head = f"POST /photographs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    return f"{head}Content-Length: {declared}\r\n\r\n".encode() + sent


def is_answered(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
        return bool(response.status == 200)


def is_closed(one: socket.socket) -> bool:
    """Whether the server closes it within the socket's time limit."""
    try:
        while one.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST /photographs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"]
)
def test_idle_connections_do_not_lock_the_page_out(port: int, sent: bytes) -> None:
    with open_connections(port, 3 * connections.MOST_CONNECTIONS, sent):
        assert is_answered(port)


def test_hanging_uploads_do_not_lock_the_page_out(port: int) -> None:
    hanging = upload_of(port, 1000, b"x")
    with open_connections(port, 2 * connections.MOST_CONNECTIONS, hanging):
        assert is_answered(port)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n"])
def test_a_request_that_does_not_arrive_is_not_waited_for(
    port: int, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADERS_LIMIT_S", 0.3)
    with open_connections(port, 1, sent) as (one,):
        assert is_closed(one)


def test_headers_that_drip_are_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a first request nor in a second one."""
    monkeypatch.setattr(connections, "HEADERS_LIMIT_S", 0.5)
    whole = f"GET /missing HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    for first in (b"", whole):
        with open_connections(port, 1, first) as (one,):
            if first:
                assert b"404" in one.recv(65536)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                drip(one)


def drip(one: socket.socket) -> None:
    for _ in range(200):
        one.sendall(b"G")
        time.sleep(0.1)


@pytest.mark.parametrize("limit", ["UPLOAD_PAUSE_LIMIT_S", "UPLOAD_LIMIT_S"])
def test_an_upload_that_hangs_is_answered_and_ended(
    port: int, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, limit, 0.3)
    with open_connections(port, 1, upload_of(port, 1000, b"x")) as (one,):
        answer = b"".join(iter(lambda: one.recv(65536), b""))  # until it is closed
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"takes too long" in answer


def test_an_answer_that_is_not_read_is_not_kept(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READING_LIMIT_S", 0.3)
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with open_connections(port, 1, 200 * request) as (one,):  # more than sockets hold
        time.sleep(1.5)
        monkeypatch.undo()
        read = 0
        with contextlib.suppress(ConnectionError):
            while data := one.recv(MEGABYTE):
                read += len(data)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
            assert read < 200 * len(response.read())


def test_uploads_are_bounded_together(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LARGEST_UPLOADS_BYTES", 5 * MEGABYTE // 2)
    monkeypatch.setattr(server, "UPLOAD_PAUSE_LIMIT_S", 1)
    hanging = upload_of(port, 2 * MEGABYTE, bytes(MEGABYTE))
    with open_connections(port, 4, hanging) as opened:
        assert is_answered(port)
        answers = [status_of(one) for one in opened]
    assert set(answers) <= {b"503", b"408", b""}
    assert answers.count(b"408") == 2  # they had room, and were waited for
    deadline = time.monotonic() + 20  # the others have ended: there is room again
    while (status := upload(port)) != 201 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 201


def status_of(one: socket.socket) -> bytes:
    """The status of an answer; nothing if the connection ended before it was read."""
    try:
        return one.recv(65536)[9:12]
    except ConnectionError:
        return b""


def upload(port: int) -> int:
    data = png_bytes(noise_image(20, 20))
    request = urllib.request.Request(f"http://127.0.0.1:{port}/photographs", data)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            assert json.load(response)["key"]
            return int(response.status)
    except OSError:
        return 0


def test_ctrl_c_ends_at_once_though_uploads_hang() -> None:
    command = [sys.executable, "-m", "noctule", "show", "--serve", "--port", "0", "--no-open",
               "--size-px", "64", "--corruption", "hue"]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout is not None
            found: Any = re.match(r"http://127\.0\.0\.1:(\d+)/ ", program.stdout.readline())
            port = int(found[1])
            hanging = upload_of(port, 1000, b"x")
            with open_connections(port, 3, hanging), open_connections(port, 1, b"GET"):
                time.sleep(0.2)
                program.send_signal(signal.SIGINT)
                began_s = time.monotonic()
                out, err = program.communicate(timeout=30)
                took_s = time.monotonic() - began_s
        finally:
            program.kill()
    assert (program.returncode, out, err) == (0, "stopped\n", "")
    assert took_s < 10  # on a busy machine; nothing is waited for
