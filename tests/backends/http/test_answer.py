"""An answer as bytes, for connections on which nothing else will write, and heads that cannot be split."""

from __future__ import annotations

import pytest

from backends.http.answer import Answer, head, lines, raw


def test_an_answer_without_a_request_says_that_it_is_the_last() -> None:
    """The head is complete, the body follows, and the connection is announced to be closed."""
    head, _, body = raw(Answer(408, (("X-What", "late"),), b"body")).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 408 Request Timeout"
    assert set(lines[1:]) == {b"X-What: late", b"Server: pointsman", b"Content-Length: 4", b"Connection: close"}
    assert body == b"body"


def test_fields_stand_in_their_order_before_the_framing() -> None:
    """A head is what was given, line by line, in bytes that are UTF-8 where the text is, and raw where it was not."""
    said = head(200, lines((("A", "1"), ("b", "\u00e9\udcff"))), "Content-Length: 0\r\n")
    assert said == b"HTTP/1.1 200 OK\r\nA: 1\r\nb: \xc3\xa9\xff\r\nContent-Length: 0\r\nServer: pointsman\r\n\r\n"


def test_a_status_that_has_no_name_has_an_empty_one() -> None:
    """A model may answer with any number."""
    assert head(599, "", "").startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize("field", [("A", "1\r\nB: 2"), ("A", "1\n2"), ("A", "1\r"), ("A\r\nB", "1"), ("A", "\0")])
def test_a_field_cannot_split_the_head(field: tuple[str, str]) -> None:
    """Whatever a customer's code or an upstream says, it is one field or none."""
    with pytest.raises(ValueError, match="line break"):
        lines((("X", "y"), field))


def test_the_server_has_one_name() -> None:
    """No answer says what it is made with, nor in which version."""
    for said in (head(200, lines((("A", "1"),)), ""), raw(Answer(400, (), b""))):
        assert said.lower().count(b"\r\nserver:") == 1
        assert b"\r\nServer: pointsman\r\n" in said
