"""The values of the pipeline: what they derive, and that they can't be changed on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from backends.base import Call, Invocation


def test_a_header_is_found_in_any_case() -> None:
    """Clients write names as they like; the first field of a name counts."""
    invocation = Invocation("e", None, False, b"", "r", headers=(("X-TeNant", "a"), ("x-tenant", "b")))
    assert (invocation.header("x-tenant"), invocation.header("x-other")) == ("a", None)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_call_streams_when_its_invocation_does(streaming: bool) -> None:
    """The operation that the client called decides how the answer is framed, at every step."""
    call = Call(Invocation("e", None, streaming, b"", "r"), b"", None, None, None)
    assert call.streaming is streaming


def test_values_do_not_change_on_the_way() -> None:
    """A step that wants another value makes one: mypy refuses the assignment, or calls its ignore unused."""
    invocation = Invocation("e", None, False, b"", "r")
    if TYPE_CHECKING:
        invocation.endpoint = "other"  # type: ignore[misc]
    assert replace(invocation, endpoint="other").endpoint == "other"
    assert invocation == Invocation("e", None, False, b"", "r")
