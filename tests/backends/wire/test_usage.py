"""Token counts in small JSON answers."""

from __future__ import annotations

import pytest

from backends.base import Usage
from backends.wire.usage import LIMIT, usage_of

JSON = "application/json"
COUNTED = b'{"choices": [], "usage": {"prompt_tokens": 7, "total_tokens": 10, "completion_tokens": 3}}'


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=utf-8"])
def test_counts_are_read(content_type: str) -> None:
    """An OpenAI answer's counts are found."""
    assert usage_of(content_type, COUNTED) == Usage(7, 3)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, COUNTED),
        ("text/event-stream", b"data: " + COUNTED),
        (JSON, b""),
        (JSON, b'{"usage"'),
        (JSON, b'["usage"]'),
        (JSON, b'{"usage": [1]}'),
        (JSON, b'{"usage": {"prompt_tokens": 7}}'),
        (JSON, b'{"usage": {"prompt_tokens": 7, "completion_tokens": -1}}'),
        (JSON, b'{"usage": {"prompt_tokens": true, "completion_tokens": 1}}'),
        (JSON, b'{"text": "x"}'),
        (JSON, COUNTED + b" " * LIMIT),
    ],
)
def test_other_bodies_have_no_counts(content_type: str | None, body: bytes) -> None:
    """What is no small JSON object with both counts gives none, and no error."""
    assert usage_of(content_type, body) is None


def test_a_body_of_the_limit_is_read() -> None:
    """The limit itself is still parsed."""
    assert usage_of(JSON, COUNTED + b" " * (LIMIT - len(COUNTED))) == Usage(7, 3)
