"""Trace context in HTTP headers and in CustomAttributes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Trace
from backends.wire.trace import add_trace, read_trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FITS = 1024 - len(f",traceparent={PARENT}")
OTHER = "00-11111111111111111111111111111111-2222222222222222-00"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        PARENT.upper().replace("00-", "00-"),
        PARENT.replace("00-", "ff-", 1),
        PARENT + "-x",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        PARENT + "\n",
        "é" + PARENT,
    ],
)
def test_a_malformed_traceparent_is_ignored(value: str) -> None:
    """A trace that W3C forbids is as good as none; it is never a reason to refuse a call."""
    assert read_trace([value.replace("\n", "x")], ["a=1"], None) is None
    assert read_trace([], [], f"traceparent={value}".replace("\n", "x")) is None


def test_the_header_wins_and_brings_its_state() -> None:
    """HTTP comes first; several tracestate lines are one list."""
    assert read_trace([f" {PARENT} "], ["a=1", " ", " b=2 "], f"traceparent={OTHER}") == Trace(PARENT, "a=1,b=2")


@pytest.mark.parametrize("state", ["", "é=1", "a\x01", "x" * 513])
def test_an_unusable_tracestate_is_dropped(state: str) -> None:
    """A state that cannot be passed on does not cost the trace."""
    assert read_trace([PARENT], [state], None) == Trace(PARENT)


def test_two_traceparents_are_none() -> None:
    """Which of two would be the parent is unknown; the attributes may still say."""
    assert read_trace([PARENT, OTHER], [], None) is None
    assert read_trace([PARENT, OTHER], [], f"traceparent={OTHER}") == Trace(OTHER)


def test_a_newer_version_may_be_longer() -> None:
    """W3C reserves the right to add fields to later versions."""
    newer = PARENT.replace("00-", "01-", 1) + "-more"
    assert read_trace([newer], [], None) == Trace(newer)


@pytest.mark.parametrize(
    "attributes",
    [
        f"traceparent={PARENT}",
        f"tenant=a,traceparent={PARENT}",
        f"traceparent={PARENT};tenant=a",
        f"a b traceparent={PARENT} c",
        f"traceparent=00-bad,traceparent={PARENT}",
        f"traceparent={PARENT.replace('00-', 'ff-', 1)},traceparent={PARENT}",
    ],
)
def test_an_item_of_the_attributes_is_found(attributes: str) -> None:
    """Items are separated by commas, semicolons or white space; the first well-formed one counts."""
    assert read_trace([], [], attributes) == Trace(PARENT)


@pytest.mark.parametrize("attributes", [None, "", "tenant=a", f"xtraceparent={PARENT}", f"traceparent={PARENT}9"])
def test_other_attributes_hold_no_trace(attributes: str | None) -> None:
    """A look-alike within another item is not a trace."""
    assert read_trace([], [], attributes) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, f"traceparent={PARENT}"),
        ("", f"traceparent={PARENT}"),
        ("tenant=a", f"tenant=a,traceparent={PARENT}"),
        (f"tenant=a,traceparent={OTHER},b=1", f"tenant=a,b=1,traceparent={PARENT}"),
        (f"traceparent={OTHER};b=1", f"b=1,traceparent={PARENT}"),
        ("a=1, ", f"a=1, ,traceparent={PARENT}"),
        ("x" * FITS, f"{'x' * FITS},traceparent={PARENT}"),
        ("x" * (FITS + 1), "x" * (FITS + 1)),
    ],
)
def test_a_trace_is_added_when_it_fits(before: str | None, after: str) -> None:
    """An older trace is replaced; what would not fit into 1024 characters stays as it was."""
    assert add_trace(before, Trace(PARENT)) == after


@settings(max_examples=100)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=1024))
def test_what_is_added_can_be_read_and_fits(attributes: str) -> None:
    """Unless it had to be left out, the trace can be read back, within AWS's limit."""
    found = add_trace(attributes, Trace(PARENT))
    assert found is not None
    assert len(found) <= 1024
    assert found == attributes or read_trace([], [], found) == Trace(PARENT)
