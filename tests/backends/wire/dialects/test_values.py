"""The values that dialects meet in."""

from __future__ import annotations

from backends.base import Usage
from backends.wire.dialects.values import Counts, DialectError, Wrong


def test_usage_needs_both_counts() -> None:
    """A count that is not known is not taken for zero."""
    assert Counts(3, 0).usage == Usage(3, 0)
    assert Counts(3).usage is None
    assert Counts(completion=2).usage is None


def test_later_counts_replace_earlier_ones_where_they_are_known() -> None:
    """Bedrock tells the prompt's at the start and the answer's at the end."""
    assert Counts(None, 2).or_else(Counts(3, 1)) == Counts(3, 2)
    assert Counts().or_else(Counts(3, 1)) == Counts(3, 1)


def test_an_errors_text_is_for_the_log_and_its_message_for_the_client() -> None:
    """What a client or a model said stands only in the message."""
    error = DialectError(Wrong.REQUEST, "`seed` is secret", "seed")
    assert (str(error), error.message) == ("`seed` in the request", "`seed` is secret")
    assert str(DialectError(Wrong.ANSWER, "x")) == "answer"
