"""What happens to one request, written down as it happens and handed over exactly once.

The face opens a `Record` at the request's head and the pipeline writes into it; closing it makes the frozen `Outcome`
that the log line, the meters and the span are made from, or the `Note` that stands for one.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from backends.base import Counts, Invocation, Usage
from backends.errors import BackendError
from backends.outcome import AttemptOutcome, Course, Note, Outcome
from policies.choose import Attempt
from policies.table import Route

from .policy_source import InForce
from .refusals import told

CLIENT_GONE = 499
"""nginx's status for a client that closed the connection first; never sent, only recorded."""
GIVEN_UP = "given up: the client went away"
"""Of an attempt that was cancelled, as mostly happens when its client leaves."""
COURSES = 10_000
"""Of one policy, about 1 KB each. Its routes, targets and rules name fewer; what goes beyond has no notes."""


class Record:
    """One request, from its head to its end. Times are seconds on the loop's clock.

    What most requests never have stands on the class, and is not set for each.
    """

    operation = "unknown"
    endpoint = ""
    """Of a request without a route: the endpoint that it named, where the policy has that."""
    status = CLIENT_GONE
    error_type: str | None = None
    ended = "client_gone"
    backend_seconds = 0.0
    queue_seconds = 0.0
    """Of its time: spent waiting for a place at targets that were full."""
    first_chunk: tuple[float, float] | None = None
    bytes_in = 0
    bytes_out = 0
    parts_out = 0
    handler_status: int | None = None
    """Status of a failure in the customer's code, which counts as their model's."""
    why = ""
    principal: str | None = None
    """Who asked, where callers are authenticated."""
    usage: Usage | None = None
    uncounted: bytes | None = None
    counts: Counts | None = None
    """As in `Reply`: the answer goes out before anybody looks."""
    sdk_invocation_id: str | None = None
    sdk_attempt = 1
    """Of one that was refused before it was an invocation; else that has them."""
    trace_id: str | None = None
    policy: InForce | None = None
    route: Route | None = None
    invocation: Invocation | None = None
    cold: str | None = None
    """What a cold target made of it: `spill`, `hold` or `fail`."""
    side: str | None = None
    """Target that it was meant for, where its route migrates: `Plan.side`."""
    lasted = 0.0
    """Seconds that the last attempt took."""
    refused: BackendError | None = None
    """Of targets that turned it away so far, the refusal that asks for the shortest wait (`refusals.noted`)."""
    inner = False
    """A customer's code asked for it, inside of the request that has the same id."""
    _first: Attempt | None = None
    """The only attempt so far, which answered, and the target's own id of that answer."""
    _named: str | None = None
    _attempts: list[AttemptOutcome] | None = None

    def __init__(self, request_id: str, arrived: float, started: float) -> None:
        """`started` is the wall clock at `arrived`."""
        self.request_id = request_id
        self.arrived = arrived
        self.started = started

    @property
    def attempts(self) -> list[AttemptOutcome]:
        """All so far; made when somebody asks, which nobody does of one that answered at once."""
        made = self._attempts
        if made is None:
            made = self._attempts = []
            if self._first is not None:
                made.append(_answered(self._first, self.lasted, self._named))
                self._first = None
        return made

    @property
    def tried(self) -> int:
        """How many attempts there were so far."""
        made = self._attempts
        if made is not None:
            return len(made)
        return 0 if self._first is None else 1

    def answered(self, attempt: Attempt, seconds: float, named: str | None) -> None:
        """An attempt answered after so many seconds. `named` is the target's own id of what it answered."""
        self.backend_seconds += seconds
        if self._first is None and self._attempts is None:
            self._first, self._named = attempt, named
        else:
            self.attempts.append(_answered(attempt, seconds, named))
        self.lasted = seconds

    def failed(self, attempt: Attempt, seconds: float, error: BackendError | None) -> None:
        """An attempt failed with `error`, or was given up since the client had gone."""
        self.backend_seconds += seconds
        target, facts, attempts = attempt.target, error.facts if error else None, self.attempts
        self.lasted = seconds
        attempts.append(
            AttemptOutcome(
                target=target.name,
                kind=target.kind,
                replica=attempt.replica,
                seconds=seconds,
                failure=error.cause if error else GIVEN_UP,
                cold=facts is not None and facts.cold,
                throttled=facts is not None and facts.throttled,
                timed_out=facts is not None and facts.timed_out,
                status=(error.said.status or None) if error and error.said else None,
                upstream_request_id=error.request_id if error else None,
            )
        )

    def failure(self, error: BackendError) -> BackendError:
        """The failure that is its answer, the last one being `error`. Nothing is kept of it here: an error that is
        raised holds frames, and these this record."""
        before, self.refused = self.refused, None
        return told(error, before)

    def cut_off(self) -> None:
        """The proxy ended, and the attempt under way with it: that was no client's doing, and no target's."""
        if self.attempts and self.attempts[-1].failure == GIVEN_UP:
            self.attempts[-1] = replace(self.attempts[-1], failure="given up: the proxy ended", given_up=True)

    def beside(self) -> Record:
        """Another record of the same request so far, for an attempt that runs beside another."""
        other = Record(self.request_id, self.arrived, self.started)
        other._attempts = list(self.attempts)
        return other

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
        overhead = now - self.arrived - self.backend_seconds - self.queue_seconds
        micros = round(overhead * 1e6) if overhead > 0 else 0
        policy, first, attempts = self.policy, self._first, self._attempts
        said = f"x-pointsman-overhead-us: {micros}\r\n"
        if policy is not None:
            said = f"{said}x-pointsman-policy: {policy.label}\r\n"
        if first is not None:
            return f"{said}x-pointsman-target: {first.target.name}\r\nx-pointsman-attempts: 1\r\n"
        if not attempts:
            return said
        return f"{said}x-pointsman-target: {attempts[-1].target}\r\nx-pointsman-attempts: {len(attempts)}\r\n"

    def asked_for(self, endpoint: str, known: Container[str]) -> None:
        """It ends without a route: log and metrics say which endpoint it named, where the policy has that. A client's
        word becomes no label, so that there are no more labels than names."""
        self.endpoint = endpoint if endpoint in known else ""

    def note(self, now: float) -> Note | None:
        """The request, over, where there is nothing to tell of it but numbers and ids; else None, and `outcome` has
        what there is."""
        first, route, policy, invocation = self._first, self.route, self.policy, self.invocation
        if (
            first is None
            or route is None
            or policy is None
            or invocation is None
            or invocation.sdk_attempt != 1
            or self.ended != "done"
            or self.status != 200
            or self.error_type is not None
            or self.handler_status is not None
            or self.cold is not None
            or self.side is not None
            or self.queue_seconds
            or route.shift is not None
        ):
            return None
        target = first.target
        key = route.key, self.operation, target.name, first.replica, self.why
        course = policy.courses.get(key)
        if course is None:
            if len(policy.courses) >= COURSES:
                return None
            course = policy.courses[key] = Course(
                route.endpoint,
                route.component,
                self.operation,
                policy.label,
                self.why,
                route.owner,
                target.name,
                target.kind,
                first.replica,
            )
        return (
            course,
            self.request_id,
            self.started,
            now - self.arrived,
            self.backend_seconds,
            self.lasted,
            self.first_chunk,
            self.bytes_in,
            self.bytes_out,
            self.parts_out,
            self.usage,
            self._named,
            invocation.sdk_invocation_id,
            self.trace_id,
            self.principal,
        )

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
            invocation.sdk_invocation_id if invocation else self.sdk_invocation_id,
            invocation.sdk_attempt if invocation else self.sdk_attempt,
            self.trace_id,
            self.handler_status,
            self.principal,
            self.cold,
            self.side,
            route.shift.place if route is not None and route.shift is not None else None,
            self.queue_seconds,
            self.inner,
        )


def _answered(attempt: Attempt, seconds: float, named: str | None) -> AttemptOutcome:
    target = attempt.target
    return AttemptOutcome(  # by position, as the outcome above
        target.name, target.kind, attempt.replica, seconds, None, False, False, False, None, False, named
    )
