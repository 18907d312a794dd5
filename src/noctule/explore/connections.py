"""Connections to the page's server that end when their other side takes too long.

uvicorn bounds the time between requests, but neither that of a request's headers nor that of
reading an answer; and it refuses new connections while idle ones fill its limit.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 64
HEADERS_LIMIT_S: Final = 10
"""Seconds from a connection's beginning, or its last answer, until a request has arrived."""
READING_LIMIT_S: Final = 30
"""Seconds that the other side may take to read what is written to it."""


class BoundedConnection(H11Protocol):
    """A connection that is closed when it is idle for too long, or makes room for another."""

    _request_timer: asyncio.TimerHandle | None = None
    _reading_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
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
        """Begin to wait for the other side to read."""
        super().pause_writing()
        self._limit_reading()

    def resume_writing(self) -> None:
        """Stop waiting for the other side to read."""
        super().resume_writing()
        self._stop_limiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waiting."""
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
        """Close when the last answer has been read, but do not wait for that for ever."""
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
        """At the limit, end the oldest of the connections that wait for their other side."""
        waiting = [
            one
            for one in self.connections
            if isinstance(one, BoundedConnection) and one is not self
            if one.is_idle or one.cycle.more_body
        ]
        if waiting and len(self.connections) >= MOST_CONNECTIONS:
            oldest = min(waiting, key=lambda one: one.began_s)
            self.connections.discard(oldest)
            oldest.transport.abort()


class PromptServer(uvicorn.Server):
    """A server that does not wait for what its connections may still send or read."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End at once, but for work that is under way."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)
