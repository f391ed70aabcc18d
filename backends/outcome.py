"""What became of one request: recorded exactly once, then read by the log line, the meters and the span.

All durations are seconds. Nothing here holds a body, a credential or a custom attribute.

Most requests are answered at the first attempt and to the end, and then there is nothing to tell of them but numbers
and ids. Of those a `Note` is kept, which is a tuple: `outcome_of` makes the Outcome that it stands for, and the log and
the meters read it as it is. An Outcome and its attempt take ten times as long to make, and are taken apart again at
once.
"""

from __future__ import annotations

from policies.migrating import Place
from policies.values import value

from .base import Usage

WARM = "Warm"
"""Operation of a warm-up, which no client has asked for: it has its own log line and span, and no request metrics."""
SHADOW = "Shadow"
"""Operation of a copy of a request, which no client sees: as with warm-ups."""


@value(frozen=True, slots=True)
class AttemptOutcome:
    """One attempt at one target."""

    target: str
    kind: str
    replica: int
    seconds: float
    """From sending to the answer (for a stream: to its first decoded piece), or to the failure."""
    failure: str | None = None
    """Cause in words, for operators; None when it answered."""
    cold: bool = False
    throttled: bool = False
    timed_out: bool = False
    status: int | None = None
    """HTTP status of the model's own error answer, as it was before any wrapping; None when none came."""
    given_up: bool = False
    """It was ended by ourselves: it ran beside another attempt (a hedge), or the proxy ended."""
    upstream_request_id: str | None = None
    """By which the target's own logs know it; None when it named none."""


@value(frozen=True, slots=True)
class Outcome:
    """One request, over."""

    request_id: str
    endpoint: str
    component: str | None
    operation: str
    """`InvokeEndpoint`, `InvokeEndpointWithResponseStream`, `Invocations`, `ChatCompletions`, ..."""
    status: int
    """HTTP status sent to the client; 499 when it had gone before one was sent."""
    error_type: str | None
    """AWS error type sent to the client, in the head or in the stream; on other faces what it amounts to."""
    ended: str
    """`done`, `refused`, `failed`, `client_gone`, `upstream_broken` or `deadline`."""
    started: float
    """Wall clock, seconds since the epoch."""
    seconds: float
    """From the request's head to the last byte handed to the socket."""
    backend_seconds: float
    """Time spent waiting for targets, over all attempts, the stream's body included."""
    first_chunk_seconds: float | None
    """Streams: from the request's head to the first piece of the answer."""
    first_chunk_backend_seconds: float | None
    """Streams: the share of the former spent waiting for targets."""
    attempts: tuple[AttemptOutcome, ...]
    bytes_in: int
    bytes_out: int
    parts_out: int
    policy: str
    """Digest and generation of the policy that decided."""
    why: str
    """The plan's reason, for `pointsman why`."""
    owner: str | None = None
    usage: Usage | None = None
    sdk_invocation_id: str | None = None
    sdk_attempt: int = 1
    trace_id: str | None = None
    """32 hex digits, when the request belongs to a trace."""
    handler_status: int | None = None
    """Status of a failure in the customer's own code around the model."""
    principal: str | None = None
    """Who asked, where callers are authenticated."""
    cold: str | None = None
    """What a cold target made of it: `spill`, `hold` or `fail`; None: it met none."""
    side: str | None = None
    """Target that it was meant for, where its route migrates, whoever was asked in the end."""
    migration: Place | None = None
    """Where its route's migration stood."""
    queue_seconds: float = 0.0
    """Time spent waiting for a place at targets that were full."""
    inner: bool = False
    """A customer's code asked for it, inside of the request that has the same id."""

    @property
    def overhead_seconds(self) -> float:
        """What the hop itself took."""
        return max(0.0, self.seconds - self.backend_seconds - self.queue_seconds)

    @property
    def target(self) -> str | None:
        """The target tried last: the one that answered, when one did."""
        return self.attempts[-1].target if self.attempts else None


class Course:
    """What requests have in common that were answered at the first attempt and to the end, at one target of one route
    under one policy, and of which there is nothing else to tell."""

    __slots__ = ("component", "endpoint", "form", "kind", "operation", "owner", "policy", "replica", "target", "why")

    def __init__(
        self,
        endpoint: str,
        component: str | None,
        operation: str,
        policy: str,
        why: str,
        owner: str | None,
        target: str,
        kind: str,
        replica: int,
    ) -> None:
        """As in `Outcome` and `AttemptOutcome`."""
        self.endpoint = endpoint
        self.component = component
        self.operation = operation
        self.policy = policy
        self.why = why
        self.owner = owner
        self.target = target
        self.kind = kind
        self.replica = replica
        self.form = b""
        """What the log's lines of them are made from; empty until there is one."""


Note = tuple[
    Course,
    str,
    float,
    float,
    float,
    float,
    tuple[float, float] | None,
    int,
    int,
    int,
    Usage | None,
    str | None,
    str | None,
    str | None,
    str | None,
]
"""One of them, over: course, request_id, started, seconds, backend_seconds, seconds of the attempt, of a stream
first_chunk_seconds and first_chunk_backend_seconds, bytes_in, bytes_out, parts_out, usage, the target's id for it,
sdk_invocation_id, trace_id, principal."""


def outcome_of(note: Note) -> Outcome:
    """What `note` stands for."""
    course, request_id, started, seconds, backend, attempt, chunk, read, wrote, parts, usage, named, sdk, trace, who = (
        note
    )
    only = AttemptOutcome(course.target, course.kind, course.replica, attempt, upstream_request_id=named)
    return Outcome(
        request_id=request_id,
        endpoint=course.endpoint,
        component=course.component,
        operation=course.operation,
        status=200,
        error_type=None,
        ended="done",
        started=started,
        seconds=seconds,
        backend_seconds=backend,
        first_chunk_seconds=chunk[0] if chunk else None,
        first_chunk_backend_seconds=chunk[1] if chunk else None,
        attempts=(only,),
        bytes_in=read,
        bytes_out=wrote,
        parts_out=parts,
        policy=course.policy,
        why=course.why,
        owner=course.owner,
        usage=usage,
        sdk_invocation_id=sdk,
        trace_id=trace,
        principal=who,
    )
