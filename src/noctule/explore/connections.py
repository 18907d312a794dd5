"""Connections that are closed when the client is too slow.

uvicorn limits the time between requests, but not the time to send a request's headers or to
read a response. It also refuses new connections while idle ones fill its limit.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 64
HEADERS_LIMIT_S: Final = 10
"""Seconds from a connection's start, or its last response, until a request has arrived."""
READING_LIMIT_S: Final = 30
"""Seconds that the client may take to read a response."""


class BoundedConnection(H11Protocol):
    """A connection that is closed when idle for too long or when another needs its slot."""

    _request_timer: asyncio.TimerHandle | None = None
    _reading_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it has no request in progress."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        self.began_s = self.loop.time()
        super().connection_made(transport)
        self._make_room()
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a request has arrived."""
        super().data_received(data)
        self._await_request()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._stop_waiting()
        self._await_request()

    def pause_writing(self) -> None:
        """Start waiting for the client to read."""
        super().pause_writing()
        self._limit_reading()

    def resume_writing(self) -> None:
        """Stop waiting for the client to read."""
        super().resume_writing()
        self._stop_limiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        self._stop_waiting()
        self._stop_limiting()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        if not self.is_idle:
            self._stop_waiting()
        elif self._request_timer is None and not self.transport.is_closing():
            self._request_timer = self.loop.call_later(HEADERS_LIMIT_S, self._close)

    def _stop_waiting(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _close(self) -> None:
        """Close once the last response has been read, within a time limit."""
        self.transport.close()
        self._limit_reading()

    def _limit_reading(self) -> None:
        if self._reading_timer is None:
            self._reading_timer = self.loop.call_later(READING_LIMIT_S, self.transport.abort)

    def _stop_limiting(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _make_room(self) -> None:
        """At the limit, drop the oldest connection that waits for its client."""
        waiting = [
            connection
            for connection in self.connections
            if isinstance(connection, BoundedConnection) and connection is not self
            if connection.is_idle or connection.cycle.more_body
        ]
        if waiting and len(self.connections) >= MOST_CONNECTIONS:
            oldest = min(waiting, key=lambda connection: connection.began_s)
            self.connections.discard(oldest)
            oldest.transport.abort()


class PromptServer(uvicorn.Server):
    """A server that, on shutdown, does not wait for its clients to send or read."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drop all connections; only work in progress is waited for."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)
