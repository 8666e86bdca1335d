"""Serves a WSGI callable on a real port: werkzeug's threaded server, with connections that are kept alive.

Werkzeug's own handler closes each connection after one answer, because the application may have left part
of the request unread. This one reads each request in full before the application sees it.
"""

import io
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from wsgiref.types import WSGIApplication

import structlog
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler, select_address_family

log = structlog.get_logger("sandbox.server")


def serve(app: WSGIApplication, host: str = "127.0.0.1", port: int = 0, *, access_log: bool = False) -> "Server":
    """Serve in a thread of its own until `close()`. Port 0 takes a free one. An OSError: it is taken."""
    server = Server(app, host, port, access_log=access_log)
    server.start()
    return server


def run(app: WSGIApplication, host: str = "127.0.0.1", port: int = 8900, *, access_log: bool = False) -> None:
    """Serve in this thread until it is interrupted."""
    with Server(app, host, port, access_log=access_log) as server:
        server.run()


class Server:
    """A server on a bound port; `url` is its base without a slash at the end."""

    def __init__(self, app: WSGIApplication, host: str, port: int, *, access_log: bool) -> None:
        self._server = _listen(app, host, port)
        self._server.access_log = access_log
        self._thread: threading.Thread | None = None
        self.host = host
        self.port = self._server.port
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name=f"sandbox:{self.port}", daemon=True)
        self._thread.start()

    def run(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop, and end every open connection. May be called again."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.end_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _listen(app: WSGIApplication, host: str, port: int) -> "_ThreadedServer":
    family = select_address_family(host, port)
    with socket.create_server((host, port), family=family, backlog=128) as bound:
        return _ThreadedServer(host, port, app, handler=_Handler, fd=bound.fileno())


class _ThreadedServer(ThreadedWSGIServer):
    """Knows its open connections, since a kept-alive one would outlast the server."""

    access_log = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._closing = False

    def opened(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.add(connection)
            if self._closing:
                _cut(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def end_connections(self, patience_seconds: float = 1.0) -> None:
        """Cut every connection; wait a little for the threads that serve them, not for those that sleep."""
        with self._changed:
            self._closing = True
            for connection in self._connections:
                _cut(connection)
            self._changed.wait_for(lambda: not self._connections, patience_seconds)


class _Handler(WSGIRequestHandler):
    """HTTP/1.1 with keep-alive and bodies of known length."""

    server: _ThreadedServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a kept-alive answer in two packets waits for a delayed acknowledgement
    wbufsize = 64 * 1024

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            pass  # the connection was reset, by a fault or by the client
        finally:
            self.server.closed(self.connection)

    def run_wsgi(self) -> None:
        try:
            status, headers, body = self._ask_application()
            self._send(status, headers, body)
        except OSError:
            self.close_connection = True  # the client went away, or a fault cut it off
        except Exception:
            log.exception("sandbox.failed", method=self.command, path=self.path)
            self._send("500 Internal Server Error", [("Content-Length", "0")], ())
            self.close_connection = True

    def log_request(self, code: int | str = "-", _size: int | str = "-") -> None:
        if self.server.access_log:
            log.info("sandbox.request", method=self.command, path=self.path, status=str(code))

    def _ask_application(self) -> tuple[str, list[tuple[str, str]], Iterable[bytes]]:
        self.environ = environ = self.make_environ()
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        environ["wsgi.input"] = io.BytesIO(self._whole_body(environ))
        environ["wsgi.input_terminated"] = True
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = self.server.app(environ, lambda status, headers, *_: started.append((status, headers)))  # type: ignore[arg-type]  # nothing here uses write()
        return *started[-1], body

    def _whole_body(self, environ: dict[str, Any]) -> bytes:
        if environ.get("wsgi.input_terminated"):  # werkzeug has set up the reading of chunks
            whole: bytes = environ["wsgi.input"].read()
            return whole
        return self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))

    def _send(self, status: str, headers: list[tuple[str, str]], body: Iterable[bytes]) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        declared = 0 if code == "204" else int(dict(headers).get("Content-Length", -1))
        if declared < 0:
            self.send_header("Connection", "close")
        self.end_headers()
        if self._send_body(body) != declared:
            self.close_connection = True

    def _send_body(self, body: Iterable[bytes]) -> int:
        """Each chunk leaves at once. The length that was sent."""
        sent = 0
        try:
            for chunk in body:
                sent += self.wfile.write(chunk)
                self.wfile.flush()
        finally:
            if hasattr(body, "close"):
                body.close()
        return sent


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it may have ended by itself
        connection.shutdown(socket.SHUT_RDWR)
