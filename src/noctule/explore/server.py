"""The server of the local page. It accepts requests from this machine's own page only.

Starlette and uvicorn handle routes, streamed bodies, HTTP and shutdown. No request path reaches
the file system: the page is rendered once, and images are computed in memory.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import anyio
import anyio.to_thread
import uvicorn
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from noctule.errors import InputError, NoctuleError, machine_error
from noctule.explore.answers import answer, describe
from noctule.explore.connections import MOST_CONNECTIONS, BoundedConnection, PromptServer
from noctule.explore.photographs import LARGEST_UPLOAD_BYTES
from noctule.explore.viewer import Start, ViewerConfig, page, parse_request

HOST: Final = "127.0.0.1"
FIRST_PORT: Final = 8321
_PORTS_TRIED = 20
_WORKERS = 2
_SECONDS_TO_STOP = 30  # for work in progress; a second Ctrl-C does not wait

UPLOAD_PAUSE_LIMIT_S: Final = 10
"""Seconds within which the next part of an upload must arrive."""
UPLOAD_LIMIT_S: Final = 60
"""Seconds within which a whole upload must arrive."""
LARGEST_UPLOADS_BYTES: Final = 3 * LARGEST_UPLOAD_BYTES
"""Total bytes of the uploads in progress."""

# The page itself sets a stricter policy for scripts; these directives work only as headers.
_PAGE_POLICY = "frame-ancestors 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"
_ANSWER_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


def application(viewer: ViewerConfig, start: Start, port: int) -> ASGIApp:
    """The page, its answers and its uploads, for requests to this machine's `port` only."""
    html = page(viewer, start)
    uploads = Uploads()
    limiter: list[CapacityLimiter] = []  # created in the event loop that uses it

    async def in_thread(work: Callable[[], Any]) -> Any:
        if not limiter:
            limiter.append(CapacityLimiter(_WORKERS))
        return await anyio.to_thread.run_sync(work, limiter=limiter[0])

    async def show_page(request: Request) -> Response:
        return HTMLResponse(html)

    async def show_answer(request: Request) -> Response:
        parsed = parse_request(request.query_params, viewer)
        return JSONResponse(await in_thread(lambda: answer(viewer, parsed)))

    async def add_photograph(request: Request) -> Response:
        with uploads.space() as data:
            await uploads.receive(request, data)
            added = await in_thread(lambda: viewer.photographs.add(bytes(data)))
        return JSONResponse(describe(added), status_code=201)

    routes = [
        Route("/", show_page),
        Route("/answer", show_answer),
        Route("/photographs", add_photograph, methods=["POST"]),
    ]
    handlers: Any = {
        NoctuleError: _on_user_error,
        HTTPException: _on_http_error,
        ClientDisconnect: _on_disconnect,
        Exception: _on_fault,
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), port)


class Guard:
    """Rejects requests for other host names or from other sites, and adds security headers.

    Without it, another site could reach this server through the user's browser, by pointing a
    host name of its own at 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
        if port == 80:
            self._hosts |= {HOST, "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request."""
        if scope["type"] != "http":
            return
        policy = _PAGE_POLICY if scope["path"] == "/" else _ANSWER_POLICY

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({**_HEADERS, "Content-Security-Policy": policy})
            await send(message)

        refusal = self._refusal(scope)
        app = self._app if refusal is None else _error(refusal, 403)
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "this page is served to 127.0.0.1 and localhost only"
        origins = headers.getlist("origin")
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return "requests from other pages are refused"
        follows_link = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
        site = headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") and not (scope["path"] == "/" and follows_link):
            return "requests from other pages are refused"
        return None


class Uploads:
    """The uploads in progress, each limited in bytes and time, and in bytes overall."""

    def __init__(self) -> None:
        self._held: list[bytearray] = []

    @contextmanager
    def space(self) -> Iterator[bytearray]:
        """A buffer for an upload, counted until it has been processed."""
        data = bytearray()
        self._held.append(data)
        try:
            yield data
        finally:
            self._held = [other for other in self._held if other is not data]

    async def receive(self, request: Request, data: bytearray) -> None:
        """Append a request's body to `data`, up to the size limit."""
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > LARGEST_UPLOAD_BYTES:
            raise _refusal(413, f"the file is larger than {LARGEST_UPLOAD_BYTES:,} bytes")
        chunks = request.stream()
        try:
            with anyio.fail_after(UPLOAD_LIMIT_S):
                while True:
                    with anyio.fail_after(UPLOAD_PAUSE_LIMIT_S):
                        data += await anext(chunks)
                    self._refuse_too_many(data)
        except StopAsyncIteration:
            pass
        except TimeoutError as error:
            raise _refusal(408, "the upload takes too long") from error

    def _refuse_too_many(self, data: bytearray) -> None:
        if len(data) > LARGEST_UPLOAD_BYTES:
            raise _refusal(413, f"the file is larger than {LARGEST_UPLOAD_BYTES:,} bytes")
        if sum(map(len, self._held)) > LARGEST_UPLOADS_BYTES:
            raise _refusal(503, "too many uploads at once; try again in a moment")


def _refusal(status: int, text: str) -> HTTPException:
    """A response to an upload whose rest is not read; it closes the connection."""
    return HTTPException(status, text, {"Connection": "close"})


def _error(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _on_user_error(request: Request, error: NoctuleError) -> Response:
    return _error(str(machine_error(error) or error), 400)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    response = _error(error.detail, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _on_disconnect(request: Request, error: ClientDisconnect) -> Response:
    return _error("the connection ended", 400)


async def _on_fault(request: Request, error: Exception) -> Response:
    if known := machine_error(error):
        return _error(str(known), 500)
    return _error(f"noctule failed ({type(error).__name__}); see its terminal for details", 500)


def listen(port: int | None) -> socket.socket:
    """A listening socket that only this machine can reach.

    Args:
        port: Port number; 0 takes any free port, None takes `FIRST_PORT` or the next free one.

    Raises:
        InputError: The port is taken, forbidden or invalid.
    """
    if port is not None:
        return _bound(port)
    for candidate in range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED):
        try:
            return _bound(candidate)
        except InputError:
            continue
    return _bound(0)


def _bound(port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise InputError(f"there is no port {port}", where="--port", remedy="Use 0 to 65535.")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere this would share the port with another program
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise InputError(
            f"port {port} cannot be used: {error.strerror or error}",
            where="--port",
            remedy="Use another port, or 0 for any free one.",
        ) from error
    return listening


def server_of(viewer: ViewerConfig, start: Start, listening: socket.socket) -> PromptServer:
    """A server for the socket; `run(sockets=[listening])` serves until it is stopped."""
    port = listening.getsockname()[1]
    config = uvicorn.Config(
        application(viewer, start, port),
        loop="asyncio",
        http=BoundedConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=2 * MOST_CONNECTIONS,  # connections that have just ended still count
        timeout_graceful_shutdown=_SECONDS_TO_STOP,
    )
    return PromptServer(config)


def run_server(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until Ctrl-C."""
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # the server has already shut down and re-raises this for its caller
    finally:
        listening.close()
