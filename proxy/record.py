"""What happens to one request, written down as it happens and handed over exactly once.

The face opens a `Record` at the request's head and the pipeline writes into it; closing it makes the frozen `Outcome`
that the log line, the meters and the span are made from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backends.base import Invocation, Usage
from backends.errors import BackendError
from backends.outcome import AttemptOutcome, Outcome
from policies.choose import Attempt
from policies.table import Route

from .policy_source import InForce

CLIENT_GONE = 499
"""nginx's status for a client that closed the connection first; never sent, only recorded."""


@dataclass(slots=True)
class Record:
    """One request, from its head to its end. Times are seconds on the loop's clock."""

    request_id: str
    arrived: float
    started: float
    """Wall clock at `arrived`."""
    operation: str = "unknown"
    endpoint: str = ""
    """Of a request without a route: the endpoint that it named, where the policy has that."""
    status: int = CLIENT_GONE
    error_type: str | None = None
    ended: str = "client_gone"
    backend_seconds: float = 0.0
    first_chunk: tuple[float, float] | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    parts_out: int = 0
    handler_status: int | None = None
    """Status of a failure in the customer's code, which counts as their model's."""
    why: str = ""
    principal: str | None = None
    """Who asked, where callers are authenticated."""
    usage: Usage | None = None
    trace_id: str | None = None
    policy: InForce | None = None
    route: Route | None = None
    invocation: Invocation | None = None
    cold: str | None = None
    """What a cold target made of it: `spill`, `hold` or `fail`."""
    side: str | None = None
    """Target that it was meant for, where its route migrates: `Plan.side`."""
    attempts: list[AttemptOutcome] = field(default_factory=list)

    def attempted(
        self, attempt: Attempt, seconds: float, error: BackendError | None, *, answered: bool, named: str | None = None
    ) -> None:
        """One attempt is over: it answered, failed with `error`, or was given up since the client had gone.

        `named` is the target's own id of what it answered.
        """
        self.backend_seconds += seconds
        target = attempt.target
        if answered:
            self.attempts.append(  # by position, as the outcome below
                AttemptOutcome(
                    target.name, target.kind, attempt.replica, seconds, None, False, False, False, None, False, named
                )
            )
            return
        facts = error.facts if error else None
        self.attempts.append(
            AttemptOutcome(
                target=target.name,
                kind=target.kind,
                replica=attempt.replica,
                seconds=seconds,
                failure=error.cause if error else "given up: the client went away",
                cold=facts is not None and facts.cold,
                throttled=facts is not None and facts.throttled,
                timed_out=facts is not None and facts.timed_out,
                status=(error.said.status or None) if error and error.said else None,
                upstream_request_id=error.request_id if error else None,
            )
        )

    def head_sent(self, status: int, error_type: str | None = None) -> None:
        """The answer's head goes out now; how the rest ends is told by `over`."""
        self.status = status
        self.error_type = error_type

    def over(self, ended: str, error_type: str | None = None) -> None:
        """The answer is complete, or broke off in the way `ended` names."""
        self.ended = ended
        self.error_type = error_type or self.error_type

    def lines(self, now: float) -> str:
        """The `x-pointsman-*` lines of the answer's head; overhead is what has passed but for waiting on targets."""
        overhead = now - self.arrived - self.backend_seconds
        micros = round(overhead * 1e6) if overhead > 0 else 0
        policy, attempts = self.policy, self.attempts
        if policy is None:
            said = f"x-pointsman-overhead-us: {micros}\r\n"
        else:
            said = f"x-pointsman-overhead-us: {micros}\r\nx-pointsman-policy: {policy.label}\r\n"
        if not attempts:
            return said
        return f"{said}x-pointsman-target: {attempts[-1].target}\r\nx-pointsman-attempts: {len(attempts)}\r\n"

    def outcome(self, now: float) -> Outcome:
        """The request, over."""
        invocation, route, chunk, policy = self.invocation, self.route, self.first_chunk, self.policy
        return Outcome(  # by position: 25 names would cost as much as all the assignments
            self.request_id,
            route.endpoint if route else self.endpoint,
            route.component if route else None,
            self.operation,
            self.status,
            self.error_type,
            self.ended,
            self.started,
            now - self.arrived,
            self.backend_seconds,
            chunk[0] if chunk else None,
            chunk[1] if chunk else None,
            tuple(self.attempts),
            self.bytes_in,
            self.bytes_out,
            self.parts_out,
            policy.label if policy else "",
            self.why,
            route.owner if route else None,
            self.usage,
            invocation.sdk_invocation_id if invocation else None,
            invocation.sdk_attempt if invocation else 1,
            self.trace_id,
            self.handler_status,
            self.principal,
            self.cold,
            self.side,
            route.shift.place if route is not None and route.shift is not None else None,
        )
