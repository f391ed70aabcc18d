"""What clients may take of us: one connection, all connections, one body, all bodies. Values and counters, no I/O."""

from __future__ import annotations

from dataclasses import dataclass


class BodyTooLarge(Exception):
    """The request body is longer than the limit of one request."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is longer than {limit} bytes")
        self.limit = limit


class BudgetSpent(Exception):
    """The bodies in flight fill the budget of all requests; this one has to come again."""

    def __init__(self) -> None:
        super().__init__("the bodies in flight leave no room for its own")


class ByteBudget:
    """Bytes of request bodies held by all requests in flight."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Reserve `size` bytes. Raises BudgetSpent and reserves nothing when they are not there."""
        self.ask(size)
        self.used += size

    def ask(self, size: int) -> None:
        """Raises BudgetSpent when `size` bytes are not there; reserves nothing. A hundred heads that declare long
        bodies, of which nothing comes, would else keep out everybody's."""
        if self.used + size > self.limit:
            raise BudgetSpent

    def give_back(self, size: int) -> None:
        self.used -= size


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection, and all of them together, may take. Times are seconds."""

    head_time: float = 10.0
    """From the connection's start, or from a further head's first byte, to the head's end."""
    body_time: float = 60.0
    """From a request's head to the end of its body: SageMaker's own limit for a whole invocation."""
    idle_time: float = 75.0
    """Between two requests: longer than the 60 s for which common load balancers keep an idle connection."""
    send_time: float = 60.0
    """For which a client may leave what was sent unread (TCP_USER_TIMEOUT, where the system has it)."""
    connections: int = 10_000
    """Open at once."""


LIMITS = Limits()
