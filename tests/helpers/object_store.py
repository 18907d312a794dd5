"""An S3 server on this machine, which can be stopped, refuse requests, and come back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

BUCKET = "measurements"


class Refusal(NamedTuple):
    """An answer in place of the server's own."""

    status: str
    code: str
    message: str


DENIED = Refusal("403 Forbidden", "AccessDenied", "Access Denied")
NO_CONDITIONS = Refusal("501 Not Implemented", "NotImplemented", "A header is not implemented")
BUSY = Refusal("503 Slow Down", "SlowDown", "Reduce your request rate")
FULL = Refusal("507 Insufficient Storage", "XMinioStorageFull", "The drive is full")


class ObjectStore:
    """The server; its objects outlive `stop`.

    Attributes:
        refuse: Called with the method and path of a request: the refusal, or None.
    """

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._answer = DomainDispatcherApplication(create_backend_app)
        self.refuse: Callable[[str, str], Refusal | None] = lambda method, path: None
        self.port = 0
        self.start()

    def _app(self, environ: dict[str, Any], start_response: Any) -> Any:
        refusal = self.refuse(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if refusal is None:
            return self._answer(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        text = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>"
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else text.encode()
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        start_response(refusal.status, headers)
        return [body]

    def start(self) -> None:
        """Listen, on the same port as before."""
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", self.port, self._app, threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more requests."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server with a bucket, which this process and those that it starts use."""
    import fsspec

    store = ObjectStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.port}")
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            patch.setenv(f"AWS_{name}", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        fsspec.filesystem("s3").clear_instance_cache()
        fsspec.filesystem("s3").makedirs(BUCKET, exist_ok=True)  # from an earlier server
        yield store
        fsspec.filesystem("s3").clear_instance_cache()
    store.stop()
