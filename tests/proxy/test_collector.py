"""Bodies that go to a collector of traces by a socket and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from proxy.collector import LONGEST, URL, Answer, Collector
from tests.listening import listening


class Hears(HTTPServer):
    """A collector that answers as `says` tells, the last of them again and again: status, headers, content."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.says: list[tuple[int, dict[str, str], bytes]] = [(200, {}, b"")]
        self.heard: list[tuple[str, dict[str, str], bytes, int]] = []
        self.leaves = False
        """It closes each connection without a word, after its answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Hears)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.heard.append((self.path, dict(self.headers), body, self.client_address[1]))
        status, headers, content = server.says.pop(0) if len(server.says) > 1 else server.says[0]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or server.leaves

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Hears]:
    with listening(Hears()) as hears:
        yield hears


class Sends:
    """A collector as the exporter has it, on a clock of the test's own."""

    def __init__(self, url: str, *, ends: bool = False) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.answers: list[Answer] = []
        self.ends = ends
        headers = {"Content-Type": "application/x-protobuf"}
        self.collector = Collector(url, headers, 3.0, self.answers.append, lambda: self.now, self.wait)

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.ends


def test_deliveries_share_one_connection_and_answers_are_heard(server: Hears) -> None:
    """As they are: path, headers, body; and what comes back with its type."""
    server.says = [(200, {"Content-Type": "application/x-protobuf"}, b"told")]
    sends = Sends(server.url)
    assert [sends.collector.take(body) for body in (b"one", b"two")] == [True, True]
    sends.collector.close()
    assert [(path, body) for path, _, body, _ in server.heard] == [("/v1/traces", b"one"), ("/v1/traces", b"two")]
    assert {headers["Content-Type"] for _, headers, _, _ in server.heard} == {"application/x-protobuf"}
    assert len({port for *_, port in server.heard}) == 1
    assert sends.answers == [Answer(200, "application/x-protobuf", b"told")] * 2


def test_a_connection_that_was_closed_meanwhile_is_made_anew_at_once(
    server: Hears, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a pause and without a word: collectors close what is idle."""
    server.leaves = True
    sends = Sends(server.url)
    assert [sends.collector.take(b"x") for _ in range(3)] == [True, True, True]
    sends.collector.close()
    assert (sends.waits, caplog.records) == ([], [])
    assert len({port for *_, port in server.heard}) == 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(server: Hears, status: int) -> None:
    """After a pause that doubles, or that the collector asks for."""
    server.says = [(status, {}, b""), (status, {"Retry-After": "0"}, b""), (200, {}, b"")]
    sends = Sends(server.url)
    assert sends.collector.take(b"x")
    sends.collector.close()
    assert sends.waits == [1.0, 0.0]


@pytest.mark.parametrize(
    ("says", "waits"),
    [
        ((400, {}, b""), []),
        ((500, {}, b""), []),
        ((503, {}, b""), [1.0]),
        ((503, {"Retry-After": "60"}, b""), []),
        ((503, {"Retry-After": "Sun, 22 Nov 2026 00:00:00 GMT"}, b""), [1.0]),
    ],
)
def test_what_can_not_be_delivered_is_a_loss(
    server: Hears, says: tuple[int, dict[str, str], bytes], waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """At once where it won't pass, else when the time of a delivery is over; the log says why."""
    server.says = [says]
    sends = Sends(server.url)
    assert not sends.collector.take(b"x")
    sends.collector.close()
    assert sends.waits == waits
    assert f"spans did not reach the collector of traces: status {says[0]}" in caplog.text


def test_nobody_there_is_a_loss_too(caplog: pytest.LogCaptureFixture) -> None:
    """It may come back within the time of a delivery, and is asked again."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    sends = Sends(f"http://127.0.0.1:{port}/v1/traces")
    assert not sends.collector.take(b"x")
    assert sends.waits == [1.0]
    assert "ConnectionRefusedError" in caplog.text


def test_who_waits_gives_up_at_the_end(server: Hears) -> None:
    """A process that stops is not held up by a pause."""
    server.says = [(503, {}, b"")]
    sends = Sends(server.url, ends=True)
    assert not sends.collector.take(b"x")
    assert sends.waits == [1.0]
    sends.collector.close()
    assert not sends.collector.take(b"y")
    assert [body for _, _, body, _ in server.heard] == [b"x"]


def test_of_a_long_answer_the_beginning_is_heard(server: Hears) -> None:
    """Not all is kept of what is none of a collector, and the next delivery has a connection of its own."""
    server.says = [(200, {}, b"x" * (LONGEST + 1)), (200, {}, b"")]
    sends = Sends(server.url)
    assert [sends.collector.take(b"x") for _ in range(2)] == [True, True]
    sends.collector.close()
    assert [len(answer.content) for answer in sends.answers] == [LONGEST, 0]


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://127.0.0.1:4318/v1/traces", True),
        ("http://otel-collector.observability.svc/v1/traces", True),
        ("http://[::1]:4318/v1/traces", True),
        ("https://127.0.0.1:4318/v1/traces", False),
        ("http://user:word@collector/v1/traces", False),
        ("http://collector/v1/traces?tenant=1", False),
        ("http://collector/a b/v1/traces", False),
        ("http://köln/v1/traces", False),
    ],
)
def test_what_goes_as_it_stands(url: str, plain: bool) -> None:
    """Whatever has to be encrypted, quoted or known is for OpenTelemetry's own exporter."""
    assert (URL.fullmatch(url) is not None) == plain
