"""What a request takes out of its owner's quota of tokens, whoever has counted them or not.

Targets count for answers in one piece, and for streams where they are asked to. Where nobody has counted, a token is
taken to be four bytes of the request's body, and an event of an event stream or four bytes of any other answer: coarse,
but a quota that only some requests are charged to would bind nobody. So is what a client has been given before it left.
"""

from __future__ import annotations

from backends.base import Reply
from backends.wire.framing import in_events
from backends.wire.usage import counted
from policies.quotas import estimated
from policies.table import Route

from .record import Record
from .services import Services


def tokens(reply: Reply, record: Record) -> int:
    """Tokens of a request and as much of its answer as there has been."""
    usage = counted(reply)
    if usage is not None:
        return usage.prompt_tokens + usage.completion_tokens
    asked = len(record.invocation.body) if record.invocation is not None else 0
    if reply.stream is None:
        return estimated(asked, len(reply.body))
    return estimated(asked, record.bytes_out, record.parts_out if in_events(reply.content_type) else None)


def charge(route: Route, reply: Reply, record: Record, services: Services) -> None:
    """Take them out of the quota of the route's owner, where there is one."""
    if route.quota is not None and route.quota.tokens is not None:
        services.gates.charge_owner(route.quota, tokens(reply, record), services.now())
