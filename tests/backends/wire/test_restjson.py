"""Error answers of AWS's rest-json services, however they carry type and text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.wire.restjson import (
    ErrorDocument,
    header,
    is_event_stream,
    media_type,
    read_count,
    read_document,
    read_object,
)


@pytest.mark.parametrize(
    ("headers", "body", "kind"),
    [
        ((("X-AMZN-ERRORTYPE", "ModelError"),), b"{}", "ModelError"),
        ((("x-amzn-ErrorType", "ModelError:http://internal.amazon.com/x#y/"),), b"{}", "ModelError"),
        ((("x-amzn-ErrorType", ""),), b'{"__type":"ModelError"}', "ModelError"),
        ((), b'{"__type":"com.amazonaws.sagemaker#ModelError"}', "ModelError"),
        ((), b'{"code":"ModelError"}', "ModelError"),
        ((("x-amzn-ErrorType", "A"),), b'{"__type":"B","code":"C"}', "A"),
        ((), b'{"code":424}', None),
        ((("x-amzn-ErrorType", "#:"),), b"{}", None),
        ((), b"<html>", None),
        ((), b"", None),
        ((), b"[1]", None),
    ],
)
def test_the_type_is_found_where_botocore_finds_it(
    headers: tuple[tuple[str, str], ...], body: bytes, kind: str | None
) -> None:
    """Header before body, without namespace and without what AWS appends."""
    assert read_document(400, headers, body).type == kind


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"Message":"a","message":"b"}', "a"),
        (b'{"message":"b"}', "b"),
        (b'{"message":{"a":1}}', "HTTP 418"),
        (b"<html>secret page</html>", "HTTP 418"),
        (b"", "HTTP 418"),
    ],
)
def test_the_message_is_text_or_the_status(body: bytes, message: str) -> None:
    """What is no message of the protocol is not repeated."""
    assert read_document(418, (), body).message == message


LATER = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("Retry-After", "3"),), 3.0),
        ((("x-amz-retry-after", "250"),), 0.25),
        ((("Retry-After", "3"), ("X-Amz-Retry-After", " 250 ")), 0.25),
        ((("Retry-After", "999999999"),), 3600.0),
        ((("Retry-After", "-1"),), None),
        ((("Retry-After", "1.5"),), 1.5),
        ((("Retry-After", ".5"),), None),
        ((("Retry-After", "1.-5"),), None),
        ((("Retry-After", "1e3"),), None),
        ((("Retry-After", "1.٣"),), None),
        ((("Retry-After", "9" * 30),), 3600.0),
        ((("Retry-After", "٣"),), None),
        ((("Retry-After", LATER),), None),
        ((("Retry-After", LATER), ("Date", "Wed, 21 Oct 2026 07:27:30 GMT")), 30.0),
        ((("Retry-After", LATER), ("Date", "Wed, 21 Oct 2025 07:27:30 GMT")), 3600.0),
        ((("Retry-After", LATER), ("Date", "Wed, 21 Oct 2026 07:28:30 GMT")), 0.0),
        ((("Retry-After", LATER), ("Date", "Wed, 99 Oct 2026 07:28:30 GMT")), None),
        ((("Retry-After", "Wed, 21 Oct 0000 07:28:00 +9999"), ("Date", LATER)), None),
        ((("Retry-After", LATER + " " * 50), ("Date", LATER)), None),
        ((("Retry-After", "2"), ("Date", LATER)), 2.0),
        ((("Retry-After", ""),), None),
        ((("x-amz-retry-after", "soon"), ("Retry-After", "2")), 2.0),
        ((), None),
    ],
)
def test_waits_are_read_in_seconds(headers: tuple[tuple[str, str], ...], seconds: float | None) -> None:
    """AWS's own is in milliseconds and wins; dates count from the answer's own; nobody makes us wait for days."""
    assert read_document(429, headers, b"").retry_after == seconds


def test_a_document_keeps_its_fields() -> None:
    """What one service says on top of type and message is there for its reader."""
    assert read_document(424, (), b'{"Message":"m","OriginalStatusCode":400}') == ErrorDocument(
        None, "m", {"Message": "m", "OriginalStatusCode": 400}, None
    )


def test_a_header_is_found_in_any_case_and_not_when_empty() -> None:
    """The first value that says something."""
    assert header((("A", ""), ("a", "1"), ("A", "2")), "a") == "1"
    assert header((), "a") is None


@pytest.mark.parametrize(
    ("content_type", "framed"),
    [
        ("application/vnd.amazon.eventstream", True),
        ("Application/Vnd.Amazon.EventStream; v=1", True),
        ("application/json", False),
        ("", False),
        (None, False),
    ],
)
def test_framed_bodies_are_known_by_their_type(content_type: str | None, framed: bool) -> None:
    """A decoder is only fed with what says that it is an event stream."""
    assert is_event_stream(content_type) is framed


def test_media_types_lose_parameters_and_case() -> None:
    """Comparison is by type alone."""
    assert media_type(" Text/CSV ; charset=x") == "text/csv"
    assert media_type(None) == ""


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0),
        (7, 7),
        ("7", 7),
        (-1, None),
        (True, None),
        ("-1", None),
        ("٣", None),
        ("9" * 15, 10**15 - 1),
        ("9" * 16, None),
        (10**15 - 1, 10**15 - 1),
        (10**15, None),
        (2**64 - 1, None),
        (1.0, None),
        (None, None),
    ],
)
def test_counts_are_whole_numbers(value: object, count: int | None) -> None:
    """Numbers come from JSON or from headers; nothing else is a number."""
    assert read_count(value) == count


@settings(max_examples=100)
@given(st.binary(max_size=50) | st.text(max_size=50).map(str.encode), st.integers(100, 599), st.text(max_size=30))
def test_any_answer_can_be_read(body: bytes, status: int, named: str) -> None:
    """No error answer makes the reader fail."""
    document = read_document(status, (("x-amzn-errortype", named), ("retry-after", named)), body)
    assert document.type is None or document.type
    assert (read_object(body) or {}) == document.fields
