"""How a check reads an error."""

from __future__ import annotations

import pytest

from proxy.conformance.checks import Unverifiable, Violation, error_text, error_type, expect_refusal
from proxy.conformance.wire import Exchange


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((("x-amzn-ErrorType", "ValidationError:http://internal"),), b"{}"),
        ((), b'{"__type": "com.amazonaws#ValidationError"}'),
        ((), b'{"code": "ValidationError"}'),
    ],
)
def test_type_is_found_where_sdks_look(headers: tuple[tuple[str, str], ...], body: bytes) -> None:
    """In the header up to a colon, or in the body behind a hash."""
    assert error_type(Exchange(400, headers, body, True)) == "ValidationError"


def test_text_is_read_capital_or_not() -> None:
    """Only the check of the capital fails for a small one."""
    assert error_text(Exchange(400, (), b'{"message": "m"}', True)) == "m"
    assert error_text(Exchange(400, (), b"<html>", True)) == ""


def test_refusal_of_the_caller_shows_nothing() -> None:
    """403 is unverifiable; another status is a violation."""
    with pytest.raises(Unverifiable):
        expect_refusal(Exchange(403, (), b"{}", True))
    with pytest.raises(Violation):
        expect_refusal(Exchange(200, (), b"{}", True))
