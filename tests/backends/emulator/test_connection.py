"""How answers get onto a connection, and how connections break."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.standins import Standin, config_of, emulator_in_thread

CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


@pytest.fixture
def unsigned() -> Iterator[Standin]:
    """An emulator that asks for no signature, so that raw sockets can speak to it."""
    with emulator_in_thread(config_of(signatures="off")) as running:
        yield running


def ask(standin: Standin, *, stream: bool) -> http.client.HTTPResponse:
    """One raw request, its answer unread; the connection closes with the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=60)
    with closing(connection):
        action = "invocations-response-stream" if stream else "invocations"
        body = json.dumps({**CHAT, "stream": stream})
        connection.request("POST", f"/endpoints/dedicated/{action}", body, {"Connection": "close"})
        return connection.getresponse()


def test_every_answer_says_that_it_is_a_stand_in(unsigned: Standin) -> None:
    """Errors, unknown paths and the control API included; and no server software is named, as at AWS."""
    for method, path in (
        ("POST", "/endpoints/x/invocations"),
        ("GET", "/"),
        ("GET", "/_emulator"),
        ("PUT", "/model/x/invoke"),
    ):
        _, headers, _ = unsigned.http(method, path, b"")
        assert headers["x-pointsman-emulator"] == "stand-in"
        assert "server" not in headers
        assert headers["x-amzn-requestid"]


def test_a_stream_is_chunked_and_a_whole_answer_has_its_length(unsigned: Standin) -> None:
    """As at AWS."""
    with closing(ask(unsigned, stream=True)) as answer:
        assert (answer.getheader("Transfer-Encoding"), answer.getheader("Content-Length")) == ("chunked", None)
        answer.read()
    with closing(ask(unsigned, stream=False)) as answer:
        assert answer.getheader("Content-Length") == str(len(answer.read()))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("refuse", http.client.RemoteDisconnected),
        ("reset", ConnectionResetError),
        ({"name": "hang", "seconds": 0}, http.client.RemoteDisconnected),
    ],
)
def test_no_answer(unsigned: Standin, fault: Any, error: type[Exception]) -> None:
    """The connection is closed, or reset, before any byte; the journal says cut."""
    unsigned.set_faults("dedicated", fault)
    with pytest.raises(error) as found:
        ask(unsigned, stream=False)
    assert isinstance(found.value, ConnectionResetError)  # RemoteDisconnected is one as well
    assert (type(found.value) is ConnectionResetError) == (fault == "reset")
    (call,) = unsigned.control("GET", "calls")[1]
    assert (call["finished"], call["status"]) == ("cut", None)


def test_a_wrong_content_length_promises_more_than_there_is(unsigned: Standin) -> None:
    """Ten bytes are missing, then the connection closes."""
    unsigned.set_faults("dedicated", "wrong-content-length")
    with closing(ask(unsigned, stream=False)) as answer, pytest.raises(http.client.IncompleteRead) as found:
        answer.read()
    assert found.value.expected == 10
    assert json.loads(found.value.partial)["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("end", "outcome"),
    [("clean", None), ("half-frame", None), ("close", http.client.IncompleteRead), ("reset", ConnectionResetError)],
)
def test_a_stream_is_cut_as_asked(unsigned: Standin, end: str, outcome: type[Exception] | None) -> None:
    """A clean end of the body, half a frame before it, a connection that closes, or one that is reset."""
    unsigned.set_faults("dedicated", {"name": "cut-stream", "after": {"part": 2}, "end": end})
    with closing(ask(unsigned, stream=True)) as answer:
        if outcome is None:
            assert answer.read()
        else:
            with pytest.raises(outcome):
                answer.read()
    (call,) = unsigned.control("GET", "calls")[1]
    assert call["parts"] == (3 if end == "half-frame" else 2)
    assert call["finished"] == ("answered" if outcome is None else "cut")


def test_a_client_that_goes_frees_its_place(unsigned: Standin) -> None:
    """A hanging call ends when its client closes; nothing stays in flight."""
    unsigned.set_faults("dedicated", "acknowledged")
    connection = socket.create_connection(("127.0.0.1", unsigned.port), timeout=60)
    body = json.dumps({**CHAT, "stream": True}).encode()
    target = "/endpoints/dedicated/invocations-response-stream"
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    assert connection.recv(10)
    assert unsigned.control("GET", "models")[1]["dedicated"]["in_flight"] == 1
    connection.close()
    while unsigned.control("GET", "models")[1]["dedicated"]["in_flight"]:
        pass
    assert unsigned.control("GET", "calls")[1][0]["finished"] == "client gone"


def test_parts_wait_for_the_clock(unsigned: Standin) -> None:
    """Between two parts the stream stands still until the clock has moved on."""
    unsigned.control("POST", "clock", {"freeze": True})
    unsigned.set_faults("dedicated", {"name": "slow-parts", "seconds": 60}, {"name": "slow-first-byte", "seconds": 30})
    got: list[bytes] = []

    def read() -> None:
        with closing(ask(unsigned, stream=True)) as answer:
            got.append(answer.read())

    reader = threading.Thread(target=read)
    reader.start()
    moved = 0
    while reader.is_alive():
        before = unsigned.control("GET", "calls")[1]
        moved += 10
        unsigned.control("POST", "clock", {"advance": 10})
        after = unsigned.control("GET", "calls")[1]
        sent = [call["parts"] for call in (*before[:1], *after[:1])]
        assert len(sent) < 2 or sent[1] - sent[0] <= 1
    reader.join(60)
    assert got
    assert moved >= 30 + 5 * 60
