"""Tokens that a request takes out of its owner's quota."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.base import Reply, Usage
from backends.gates import Refused
from proxy.charging import charge, tokens
from proxy.record import Record
from tests.proxy.parts import POLICY, Pieces, Scripted, invocation, services

EVENTS, LINES = "text/event-stream; charset=utf-8", "application/jsonlines"


def record(*, parts: int = 0, size: int = 0) -> Record:
    made = Record("r", 0.0, 0.0)
    made.invocation, made.parts_out, made.bytes_out = replace(invocation(), body=b"x" * 9), parts, size
    return made


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(b"y" * 400, usage=Usage(10, 20)), 30),
        (Reply(b"y" * 400), 3 + 100),
        (Reply(content_type=EVENTS, stream=Pieces()), 3 + 7),
        (Reply(content_type=LINES, stream=Pieces()), 3 + 50),
        (Reply(content_type=EVENTS, stream=Pieces(), usage=Usage(10, 20)), 30),
    ],
    ids=["counted", "not counted", "events", "lines", "counted stream"],
)
def test_counted_or_estimated(reply: Reply, expected: int) -> None:
    """What the target has counted; else bytes, and of an event stream its events."""
    assert tokens(reply, record(parts=7, size=200)) == expected


def test_a_request_that_was_not_read_has_no_bytes() -> None:
    """Nobody asked, so nothing of it counts."""
    assert tokens(Reply(b"1234"), Record("r", 0.0, 0.0)) == 1


@pytest.mark.parametrize(("written", "refused"), [("tokens: 90/h", True), ("requests: 9/h", False), ("", False)])
async def test_only_a_quota_of_tokens_is_charged(written: str, refused: bool) -> None:
    """A hundred and three tokens of ninety are a debt; of requests, or of nobody, nothing is taken."""
    text = POLICY.replace("targets:", f"owners: {{us: {{{written}}}}}\ntargets:", 1) if written else POLICY
    parts = await services(Scripted(), text=text)
    route = parts.policy.current.table.routes["chat", None]
    charge(route, Reply(b"y" * 400), record(), parts)
    owes = False
    if route.quota is not None:
        try:
            parts.gates.admit_owner(route.quota, parts.now())
        except Refused as refusal:
            owes = "over its tokens" in str(refusal)
    assert owes is refused
    await parts.handlers.stop()
