"""The values that travel through the pipeline, and the one verb that every kind of hosting implements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from policies.table import Target, TranslateRule
from policies.values import value

Headers = tuple[tuple[str, str], ...]
"""Header fields in the order of the wire, names in their original case, values as latin-1/surrogateescape text."""

HOP_HEADER = "x-pointsman-hop"
"""How many proxies of this kind a request has passed."""


@value(frozen=True, slots=True)
class Trace:
    """The W3C trace context that goes out with a call."""

    traceparent: str
    tracestate: str | None = None

    @property
    def trace_id(self) -> str:
        """32 hex digits, of a context that is valid."""
        return self.traceparent.split("-")[1]


@value(frozen=True, slots=True)
class Invocation:
    """One request of a client, parsed and validated, before any routing."""

    endpoint: str
    component: str | None
    streaming: bool
    """The client called the response-stream operation: the answer is framed. What the model does is the body's word."""
    body: bytes
    request_id: str
    content_type: str | None = None
    accept: str | None = None
    custom_attributes: str | None = None
    target_model: str | None = None
    target_variant: str | None = None
    target_container_hostname: str | None = None
    inference_id: str | None = None
    enable_explanations: str | None = None
    session_id: str | None = None
    prefix_aware_id: str | None = None
    sdk_invocation_id: str | None = None
    """`amz-sdk-invocation-id`: the same on every attempt of one client call."""
    sdk_attempt: int = 1
    trace: Trace | None = None
    """The caller's trace context, from HTTP or from CustomAttributes."""
    headers: Headers = ()
    """All header fields as received, for `sticky_by: header:<name>`."""
    speaks: str | None = None
    """The dialect of the body where the URL says it (an OpenAI path); None: what the route's clients speak."""
    hops: str | None = None
    """What `HOP_HEADER` says: how many proxies of this kind the request has passed; None: it came from a client."""
    longest: float | None = None
    """Seconds in which the contract that is served wants an answer, where that is less than the route allows."""

    def header(self, name: str) -> str | None:
        """The first value of a header field, `name` in lower case."""
        for key, found in self.headers:
            if len(key) == len(name) and key.lower() == name:
                return found
        return None


_AS_DECLARED = TranslateRule()


@value(frozen=True, slots=True)
class Call:
    """What is sent to a target: an invocation after the customer's pre-processing."""

    invocation: Invocation
    body: bytes
    content_type: str | None
    accept: str | None
    custom_attributes: str | None
    trace: Trace | None = None
    speaks: str = "opaque"
    """Dialect of `body`, as the policy declares it for the route's clients."""
    translate: TranslateRule = _AS_DECLARED
    """What may be done to carry it to a target of another dialect."""
    carried: bool = False
    """That was done: whoever did it reads the answer, and says what is wrong with it."""

    @property
    def streaming(self) -> bool:
        return self.invocation.streaming

    def traced(self, trace: Trace | None) -> Call:
        """The call as part of `trace`; `dataclasses.replace` took five times as long."""
        return Call(
            self.invocation,
            self.body,
            self.content_type,
            self.accept,
            self.custom_attributes,
            trace,
            self.speaks,
            self.translate,
            self.carried,
        )


class ByteStream(Protocol):
    """The body of a streamed reply. Iterating yields non-empty pieces as the upstream sent them.

    Iteration raises `BackendError` when the upstream breaks or the deadline passes, and nothing else. Whoever holds it
    calls `aclose` exactly once, which frees the upstream connection without reading on.
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


@value(frozen=True, slots=True)
class Usage:
    """Tokens as the target counted them."""

    prompt_tokens: int
    completion_tokens: int


class Counts(Protocol):
    """Who reads a stream's counts of tokens while it passes."""

    @property
    def usage(self) -> Usage | None:
        """As the target has told them so far, which is mostly at the end; None while it has not."""
        ...


@value(frozen=True, slots=True)
class Reply:
    """A successful answer of a target; exactly one of `body` and `stream` carries it."""

    body: bytes = b""
    stream: ByteStream | None = None
    content_type: str | None = None
    custom_attributes: str | None = None
    variant: str | None = None
    new_session_id: str | None = None
    closed_session_id: str | None = None
    upstream_request_id: str | None = None
    usage: Usage | None = None
    """As the target said it beside the body, or as it was found where the body was read anyhow."""
    uncounted: bytes | None = None
    """The target's own body, where its counts are still to be read: `wire.usage.counted`."""
    counts: Counts | None = None
    """The same of a stream, to be asked when it is over, or broke off."""


class Backend(Protocol):
    """One kind of hosting."""

    def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Coroutine[Any, Any, Reply]:
        """Send `call` to `target` and return its answer.

        For a streaming call it returns once the first piece of the body is decoded, not at the headers: until then
        another target may still be tried. `deadline` is absolute, on the event loop's clock, and binds the whole
        answer, the stream included. `replica` is an index into the target's `urls`, where it has several.

        Raises:
            BackendError: for every failure, with the facts of it. Any other exception is a bug.
        """
        ...
