"""The cheapest request of each dialect."""

from __future__ import annotations

import json

import pytest

from policies.dialects import DIALECTS, OPAQUE
from policies.table import EndpointSpec, Route, Target, TranslateRule, Weighted
from warmers.asking import BODIES, question


@pytest.mark.parametrize("dialect", sorted(BODIES))
def test_one_token_for_one_character(dialect: str) -> None:
    """The request asks for one token, is not streamed, and says in whose name it comes."""
    target = Target("t", "endpoint", EndpointSpec("t"), speaks=dialect)
    call = question(Route("chat", "one", (Weighted(target, 1.0),)), target, "id-1")
    numbers = [number for number in json.dumps(json.loads(call.body)).replace("}", " ").split() if number.isdecimal()]
    assert numbers == ["1"]
    assert (call.speaks, call.content_type, call.streaming) == (dialect, "application/json", False)
    assert (call.invocation.endpoint, call.invocation.component, call.invocation.request_id) == ("chat", "one", "id-1")
    assert (call.custom_attributes, call.translate) == (None, TranslateRule())


def test_every_dialect_that_can_be_read_has_one() -> None:
    """A dialect that is added gets its cheapest request."""
    assert set(BODIES) == set(DIALECTS) - {OPAQUE}


def test_opaque_target_has_none() -> None:
    """Nobody knows what it reads; the policy refuses to warm it."""
    target = Target("t", "endpoint", EndpointSpec("t"))
    with pytest.raises(KeyError):
        question(Route("chat", None, (Weighted(target, 1.0),)), target, "id-1")
