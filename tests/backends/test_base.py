"""The values of the pipeline: what they derive, and that they can't be changed on the way."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from backends.base import Call, Invocation, Trace
from policies.table import TranslateRule


def test_a_header_is_found_in_any_case() -> None:
    """Clients write names as they like; the first field of a name counts."""
    invocation = Invocation("e", None, False, b"", "r", headers=(("X-TeNant", "a"), ("x-tenant", "b")))
    assert (invocation.header("x-tenant"), invocation.header("x-other")) == ("a", None)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_call_streams_when_its_invocation_does(streaming: bool) -> None:
    """The operation that the client called decides how the answer is framed, at every step."""
    call = Call(Invocation("e", None, streaming, b"", "r"), b"", None, None, None)
    assert call.streaming is streaming


def test_a_call_in_a_trace_is_the_same_call() -> None:
    """Nothing else of it is lost on the way, whatever fields a call has."""
    trace = Trace("00-1-2-01")
    call = Call(Invocation("e", None, False, b"", "r"), b"b", "c", "a", "x", Trace("old"), "s", TranslateRule(), True)
    assert all(getattr(call, field.name) is not field.default for field in fields(Call))
    assert call.traced(trace) == replace(call, trace=trace)
    assert call.traced(None).trace is None


def test_values_do_not_change_on_the_way() -> None:
    """A step that wants another value makes one: mypy refuses the assignment, or calls its ignore unused."""
    invocation = Invocation("e", None, False, b"", "r")
    if TYPE_CHECKING:
        invocation.endpoint = "other"  # type: ignore[misc]
    assert replace(invocation, endpoint="other").endpoint == "other"
    assert invocation == Invocation("e", None, False, b"", "r")
