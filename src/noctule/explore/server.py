"""The page's server: for this machine only, and for no other site's pages.

Starlette and uvicorn, because routes, streamed bodies, HTTP itself and an orderly stop are
theirs to get right and not ours. No path of a request reaches the file system: the page is
rendered once, and pictures are made in memory.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, Final

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

from noctule.errors import InputError, NoctuleError
from noctule.explore.answers import answer, describe
from noctule.explore.page import Start, page
from noctule.explore.photographs import LARGEST_UPLOAD_BYTES
from noctule.explore.scene import Scene, parse_wish

HOST: Final = "127.0.0.1"
FIRST_PORT: Final = 8321
_PORTS_TRIED = 20
_WORKERS = 2
_MOST_CONNECTIONS = 64
_SECONDS_TO_STOP = 2

# The page brings its own, stricter policy for scripts; this one adds what it cannot say itself.
_PAGE_POLICY = "frame-ancestors 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"
_ANSWER_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


def application(scene: Scene, start: Start, port: int) -> ASGIApp:
    """The page, its answers and its uploads, for requests to this machine's `port` only."""
    html = page(scene, start)
    limiter: list[CapacityLimiter] = []  # made in the event loop that uses it

    async def in_thread(work: Callable[[], Any]) -> Any:
        if not limiter:
            limiter.append(CapacityLimiter(_WORKERS))
        return await anyio.to_thread.run_sync(work, limiter=limiter[0])

    async def show_page(request: Request) -> Response:
        return HTMLResponse(html)

    async def show_answer(request: Request) -> Response:
        wish = parse_wish(request.query_params, scene)
        return JSONResponse(await in_thread(lambda: answer(scene, wish)))

    async def add_photograph(request: Request) -> Response:
        data = await _body(request)
        added = await in_thread(lambda: scene.photographs.add(data))
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
    """Refuses requests under other names and from other sites; adds headers to all answers.

    A page elsewhere could otherwise reach this server through the reader's browser, by a name
    of its own that it points at 127.0.0.1.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
        if port == 80:
            self._hosts |= {HOST, "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
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


async def _body(request: Request) -> bytes:
    """The request's body, read no further than an upload may be long."""
    too_large = HTTPException(413, f"the file is larger than {LARGEST_UPLOAD_BYTES:,} bytes")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > LARGEST_UPLOAD_BYTES:
        raise too_large
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_UPLOAD_BYTES:
            raise too_large
    return bytes(data)


def _error(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _on_user_error(request: Request, error: NoctuleError) -> Response:
    return _error(str(error), 400)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    return _error(error.detail, error.status_code)


async def _on_disconnect(request: Request, error: ClientDisconnect) -> Response:
    return _error("the connection ended", 400)


async def _on_fault(request: Request, error: Exception) -> Response:
    return _error(f"noctule failed ({type(error).__name__}); its terminal says more", 500)


def listen(port: int | None) -> socket.socket:
    """A socket of this machine only, listening.

    Args:
        port: 0 is any free one; None is `FIRST_PORT` or one of the next that is free.

    Raises:
        InputError: the port is taken, forbidden or no port.
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
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere this would share the port with another program
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((HOST, port))
        one.listen()
    except OSError as error:
        one.close()
        raise InputError(
            f"port {port} cannot be used: {error.strerror or error}",
            where="--port",
            remedy="Use another, or 0 for any free one.",
        ) from error
    return one


def server_of(scene: Scene, start: Start, listening: socket.socket) -> uvicorn.Server:
    """A server for the socket; `run(sockets=[listening])` runs it until it is stopped."""
    port = listening.getsockname()[1]
    config = uvicorn.Config(
        application(scene, start, port),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_STOP,
    )
    return uvicorn.Server(config)


def run_server(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until Ctrl-C."""
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # it has stopped in good order by then, and raises this for its caller
    finally:
        listening.close()
