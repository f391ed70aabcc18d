"""An answer as bytes, where aiohttp has no request to answer."""

from __future__ import annotations

from backends.http.answer import Answer, fields, raw


def test_an_answer_in_full() -> None:
    """Status with its phrase, the fields in order, the length, and the end of the connection."""
    assert raw(Answer(408, (("X-A", "b"),), b"late")) == (
        b"HTTP/1.1 408 Request Timeout\r\nX-A: b\r\nServer: pointsman\r\n"
        b"Content-Length: 4\r\nConnection: close\r\n\r\nlate"
    )


def test_the_server_has_one_name() -> None:
    """Whatever an upstream called itself."""
    assert fields((("Server", "nginx/1"),)).getall("server") == ["pointsman"]
