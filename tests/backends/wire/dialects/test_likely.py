"""What can be told of an answer without reading it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.dialects.likely import unlikely
from tests.backends.wire.dialects.vectors import STREAMS, WHOLE

JSON = "application/json"


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("text/html; charset=utf-8", b"<html><body>503</body></html>", "a body of type text/html"),
        ("text/html", None, "a body of type text/html"),
        ("application/xml", b"<Error/>", "a body of type application/xml"),
        (JSON, b"<html></html>", "a body that does not begin as JSON does"),
        (JSON, b"", "a body that does not begin as JSON does"),
        (JSON, b"upstream timed out", "a body that does not begin as JSON does"),
        (JSON, WHOLE["openai-chat"][:-1], "a body that ends in the middle of its JSON"),
        (JSON, WHOLE["tgi"][:-30], "a body that ends in the middle of its JSON"),
    ],
)
def test_what_no_model_answers(content_type: str, body: bytes | None, said: str) -> None:
    """Pages, empty bodies and halves of documents, each in words without a byte of them."""
    assert unlikely(content_type, body) == said


@pytest.mark.parametrize("dialect", WHOLE)
def test_answers_of_every_dialect_may_be_one(dialect: str) -> None:
    """Whole and streamed, with white space around them."""
    assert unlikely(JSON, b" \n" + WHOLE[dialect] + b"\r\n") is None
    content_type, body = STREAMS[dialect]
    assert unlikely(content_type, body) is None
    assert unlikely(content_type, None) is None


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/octet-stream", "application/jsonlines"])
def test_other_types_are_not_looked_into(content_type: str | None) -> None:
    """A container answers the opening of a session in plain text."""
    assert unlikely(content_type, b"Session created") is None


@given(st.dictionaries(st.text(), st.integers() | st.text()) | st.lists(st.floats(allow_nan=False)), st.integers(0, 4))
def test_any_document_may_be_one(document: Any, indent: int) -> None:
    """However it is written."""
    assert unlikely(JSON, json.dumps(document, indent=indent).encode()) is None


@given(st.text('{}[]" a\n', max_size=6).map(str.encode), st.integers(0, 70), st.integers(0, 70))
def test_what_is_seen_at_once_is_what_a_closer_look_tells(inside: bytes, before: int, behind: int) -> None:
    """With a parameter behind the type the shortcut is not taken, and the verdict is the same."""
    body = b" " * before + inside + b"\n" * behind
    assert unlikely(JSON, body) == unlikely(f"{JSON}; charset=utf-8", body)
    assert unlikely(JSON, inside) == unlikely(f"{JSON}; charset=utf-8", inside)
