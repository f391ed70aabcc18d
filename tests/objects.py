"""A stand-in for S3's objects: what `backends/bucket.py` asks of it, over HTTP, one thread a connection.

What it answers follows Amazon's S3 API reference (PutObject, GetObject, DeleteObject, ListObjectsV2) and its user
guide's page on conditional writes; boto3 is the client that reads it, and a test of the shared state holds moto's S3 to
the same answers. A lock makes each request atomic, as S3's own conditional writes are.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from .listening import listening

BUCKET = "fleet"


class Objects(ThreadingHTTPServer):
    """One bucket. `asked` holds the method and path of every request; `status` makes every answer that one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.bodies: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.status: int | None = None
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed leaves broken connections, which are no error of this server."""


class _Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Objects

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in `asked`."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        with self._one():
            if self._broken(parts.path):
                return
            if not key:
                self._list({name: values[0] for name, values in parse_qs(parts.query).items()})
            elif key not in self.server.bodies:
                self._refuse(404, "NoSuchKey")
            else:
                body = self.server.bodies[key]
                self._answer(200, body, ETag=_etag(body))

    def do_PUT(self) -> None:
        key = unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self._one():
            if self._broken(key):
                return
            there = self.server.bodies.get(key)
            wanted, none = self.headers.get("If-Match"), self.headers.get("If-None-Match")
            if wanted is not None and there is None:
                self._refuse(404, "NoSuchKey")
            elif (none == "*" and there is not None) or (
                wanted is not None and there is not None and wanted != _etag(there)
            ):
                self._refuse(412, "PreconditionFailed")
            else:
                self.server.bodies[key] = body
                self._answer(200, b"", ETag=_etag(body))

    def do_DELETE(self) -> None:
        key = unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")
        with self._one():
            if not self._broken(key):
                self.server.bodies.pop(key, None)
                self._answer(204, b"")

    @contextmanager
    def _one(self) -> Iterator[None]:
        with self.server.lock:
            yield

    def _broken(self, path: str) -> bool:
        self.server.asked.append((self.command, path))
        if self.server.status is None:
            return False
        self._refuse(self.server.status, "InternalError")
        return True

    def _list(self, asked: dict[str, str]) -> None:
        prefix, after, most = asked.get("prefix", ""), asked.get("start-after", ""), int(asked.get("max-keys", "1000"))
        found = sorted(key for key in self.server.bodies if key.startswith(prefix) and key > after)
        shown = "".join(
            f"<Contents><Key>{escape(key)}</Key><ETag>{escape(_etag(self.server.bodies[key]))}</ETag>"
            f"<Size>{len(self.server.bodies[key])}</Size></Contents>"
            for key in found[:most]
        )
        cut = "true" if len(found) > most else "false"
        text = f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{shown}</ListBucketResult>"
        self._answer(200, text.encode())

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/xml")
        self.end_headers()
        self.wfile.write(body)


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


@contextmanager
def objects() -> Iterator[Objects]:
    """The stand-in, serving until the block is left."""
    with listening(Objects()) as server:
        yield server
