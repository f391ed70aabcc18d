"""What is taken out of bodies before they are kept."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.redaction import GONE, LONGEST_PATTERN, Redaction, pattern_problem

SECRET = "zq81secret"
TEXTS = st.text(max_size=6) | st.just(f"a {SECRET} b")
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_a_pattern_matches_never_comes_out(value: Any) -> None:
    """Wherever in a document it stands, as text or inside one."""
    assert SECRET not in Redaction(patterns=(SECRET,)).body(json.dumps(value, ensure_ascii=False).encode())


@given(VALUES)
def test_a_mask_leaves_no_letter_of_any_text(value: Any) -> None:
    """Structure, keys and spacing remain, and lengths; letters and digits do not."""
    masked = Redaction(mask=True).value(value)

    def check(before: Any, after: Any) -> None:
        if isinstance(before, dict):
            assert before.keys() == after.keys()
            for key, inner in before.items():
                check(inner, after[key])
        elif isinstance(before, list):
            assert len(before) == len(after)
            for one, other in zip(before, after, strict=True):
                check(one, other)
        elif isinstance(before, str):
            assert len(before) == len(after)
            assert not re.search(r"[^\Wx]", after)
        elif isinstance(before, int) and not isinstance(before, bool):
            assert after == GONE
        else:
            assert before is after

    check(value, masked)


def test_values_under_named_keys_go_whatever_they_are() -> None:
    """At any depth, in any case of letters, objects and numbers included."""
    rule = Redaction(keys=frozenset({"user"}))
    found = rule.value({"User": {"name": "Ann"}, "list": [{"user": 7}], "text": "user"})
    assert found == {"User": GONE, "list": [{"user": GONE}], "text": "user"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": "call 555-1234"}', '{"a":"call [redacted]"}'),
        (b'{"a": 5551234}', '{"a":5551234}'),
        (b"plain 555-1234 text", "plain [redacted] text"),
        (b'data: {"a": "555-1234"}\n\ndata: [DONE]\n\n', 'data: {"a":"[redacted]"}\n\ndata: [DONE]\n\n'),
        (b'data:{"a":"555-1234"}\r\n\r\n', 'data:{"a":"[redacted]"}\r\n\r\n'),
        (b'{"a": "555-1234"}\n{"b": 1}\n', '{"a":"[redacted]"}\n{"b":1}\n'),
        (b"event: 555-1234\ndata: 555-1234\n", "event: [redacted]\ndata: [redacted]\n"),
        (b"\xff555-1234", "\ufffd[redacted]"),
        (b"", ""),
    ],
)
def test_bodies_of_every_form_are_redacted(body: bytes, expected: str) -> None:
    """JSON by its values, events and lines one by one, anything else as text; ends of streams stay readable."""
    assert Redaction(patterns=(r"\d{3}-\d{4}",)).body(body) == expected


def test_numbers_that_a_pattern_matches_go() -> None:
    """A number that is a secret is one whether it has quotes or not."""
    assert Redaction(patterns=(r"\d{7}",)).value([5551234, 42, True, 1.5]) == [GONE, 42, True, 1.5]


def test_no_rule_changes_nothing() -> None:
    """A policy may say that all is kept as it is; then it is, byte for byte."""
    assert Redaction().body(b'{ "a" : 1 }') == '{ "a" : 1 }'


@pytest.mark.parametrize("more", [b"[" * 500_000 + b"]" * 500_000, b"1" * 5000], ids=["levels", "digits"])
@pytest.mark.parametrize("before", [b"", b"data: "], ids=["whole", "event"])
def test_json_that_cannot_be_read_goes_whole(more: bytes, before: bytes) -> None:
    """What Python refuses an engine may have read: it is not kept as it is because nobody could look into it."""
    body = before + b'{"user": "%b", "x": %b}' % (SECRET.encode(), more)
    assert Redaction(keys=frozenset({"user"})).body(body) == before.decode() + GONE


def test_a_byte_order_mark_hides_no_json() -> None:
    """Clients that write one are understood by engines."""
    body = b'\xef\xbb\xbf{"user": "%b"}' % SECRET.encode()
    assert Redaction(keys=frozenset({"user"})).body(body) == f'{{"user":"{GONE}"}}'


def test_what_is_nested_beyond_reason_goes() -> None:
    """A document that is made to exhaust the stack is not kept."""
    deep = b"[" * 5000 + b"]" * 5000
    assert GONE in Redaction(mask=True).body(b"[" * 300 + b"1" + b"]" * 300)
    assert "1" not in Redaction(mask=True).body(deep)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        (r"\d+", None),
        ("(", "is no regular expression"),
        ("a{99999999999}", "is no regular expression"),
        ("a" * (LONGEST_PATTERN + 1), "has 501 characters"),
    ],
)
def test_patterns_are_checked(pattern: str, problem: str | None) -> None:
    """One that cannot be used is said so in words."""
    found = pattern_problem(pattern)
    assert found is None if problem is None else problem in (found or "")
