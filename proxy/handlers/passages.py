"""One request's way through its route's handler, between the pipeline's values and the customer's.

A stream is never gathered: each event passes `during` as it comes, and a stream without that hook passes untouched.
What a hook raises is logged here, once, with the customer's own frames, and goes on as a HandlerError.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from backends.base import ByteStream, Call, Headers, Reply
from backends.meters import Meters
from backends.wire.framing import reframer
from policies.table import HandlerSpec, Route

from .errors import OVER, HandlerError
from .guest import values
from .runs import AT_ONCE, Limit, Run, Session

log = logging.getLogger("pointsman.handlers")

T = TypeVar("T")

_LINE, _BROKEN = '{"log"', '{ "log"'
"""How lines of the request log begin, which is looked for behind whatever a collector of logs puts before them; and the
same as no reader takes it for one."""

SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "x-amz-security-token"})
"""Header fields, lower case, that a customer's code does not get."""


class Asker(Protocol):
    """The request that a handler is a part of."""

    deadline: float
    """On the loop's clock."""

    def invoke(self, question: values.Question) -> Awaitable[values.Reply]:
        """As `values.Invoke`."""
        ...


class Handling:
    """A loaded handler on one route: what is the same for all of its requests."""

    __slots__ = (
        "after",
        "after_ok",
        "before",
        "before_ok",
        "closed",
        "counted",
        "during",
        "key",
        "meters",
        "now",
        "path",
        "run",
        "seconds",
        "speaks",
    )

    def __init__(
        self,
        run: Run,
        route: Route,
        spec: HandlerSpec,
        meters: Meters,
        now: Callable[[], float],
        closed: Callable[[], None],
    ) -> None:
        """`closed` is called when a request is over."""
        self.run = run
        self.key = route.key
        self.speaks = route.clients_speak
        self.path = spec.path
        self.seconds = spec.timeout
        self.meters = meters
        self.now = now
        self.closed = closed
        self.before, self.during, self.after = ("before" in run.steps, "during" in run.steps, "after" in run.steps)
        self.counted = meters.hooked
        self.before_ok, self.after_ok = ((spec.path, step, "ok", True) for step in ("before", "after"))


class Passage:
    """One request in one handler. `close` it when the request is over. It is the `Asked` of the way to run the handler,
    and the `Origin` of the call that hooks are shown."""

    __slots__ = ("_asker", "_given", "_handling", "_limit", "_session", "call")

    def __init__(self, handling: Handling, given: Call, asker: Asker) -> None:
        """`given` is what the client asked."""
        invocation = given.invocation
        self._handling = handling
        self._given = given
        self._asker: Asker | None = asker
        self._limit: Limit | None = None
        self._session: Session | None = None
        self.call = values.arrived(
            given.body,
            given.content_type,
            given.accept,
            given.custom_attributes,
            invocation.endpoint,
            invocation.component,
            invocation.streaming,
            invocation.request_id,
            invocation.speaks or handling.speaks,
            self,
        )

    @property
    def limit(self) -> Limit:
        """That of its hooks; made for the first that waits."""
        limit = self._limit
        if limit is None:
            assert self._asker is not None  # noqa: S101 - no hook is run once it is closed
            limit = self._limit = Limit(self._handling.seconds, self._asker.deadline)
        return limit

    def before(self) -> Call | Reply | Coroutine[Any, Any, Call | Reply]:
        """What goes to the model: the very call that was given where nothing changes; or a Reply, when the handler
        answers by itself. At once, where its hook waits for nothing; else to be awaited. Raises HandlerError, either
        way."""
        handling, call = self._handling, self.call
        try:
            self._session = session = handling.run.open(self)
        except HandlerError as error:
            handling.meters.hook(handling.path, "before", error.reason, 0.0)
            self._failed("before", error)
            raise
        if not handling.before:
            return self._given
        began = handling.now()
        try:
            changed = session.before(self, began)
        except HandlerError as error:
            self._over("before", error.reason, began, held=True)
            self._failed("before", error)
            raise
        if changed is call:
            handling.counted((handling.before_ok, handling.now() - began))
            return self._given
        if not isinstance(changed, AT_ONCE):
            return self._later(changed, began)
        handling.counted((handling.before_ok, handling.now() - began))
        return self._to_model(changed)

    async def _later(self, hook: Awaitable[values.Call | values.Reply], began: float) -> Call | Reply:
        return self._to_model(await self._timed("before", hook, began))

    def _to_model(self, changed: values.Call | values.Reply) -> Call | Reply:
        if changed is self.call:
            return self._given
        if isinstance(changed, values.Reply):
            return Reply(
                body=changed.body, content_type=changed.content_type, custom_attributes=changed.custom_attributes
            )
        self.call = changed
        return replace(
            self._given,
            body=changed.body,
            content_type=changed.content_type,
            accept=changed.accept,
            custom_attributes=changed.custom_attributes,
        )

    def after(self, reply: Reply, streaming: bool) -> Reply | Coroutine[Any, Any, Reply]:
        """What the client gets for `reply`, at once or to be awaited, as with `before`. Raises HandlerError; a stream
        raises it while it is read."""
        handling, session = self._handling, self._session
        assert session is not None  # noqa: S101 - `before` comes first
        if streaming:
            if not handling.during:
                return reply
            stream = reply.stream or _Whole(reply.body)
            return replace(reply, body=b"", stream=_Hooked(stream, reply.content_type, self._during))
        if not handling.after:
            return reply
        given = values.answered(reply.body, reply.content_type, reply.custom_attributes, self.call)
        began = handling.now()
        try:
            changed = session.after(self, given, began)
        except HandlerError as error:
            self._over("after", error.reason, began, held=True)
            self._failed("after", error)
            raise
        if changed is given:
            handling.counted((handling.after_ok, handling.now() - began))
            return reply
        if not isinstance(changed, AT_ONCE):
            return self._answered_later(reply, given, changed, began)
        handling.counted((handling.after_ok, handling.now() - began))
        return _to_client(reply, changed)

    async def _answered_later(
        self, reply: Reply, given: values.Reply, hook: Awaitable[values.Reply], began: float
    ) -> Reply:
        changed = await self._timed("after", hook, began)
        return reply if changed is given else _to_client(reply, changed)

    def close(self) -> None:
        """The request is over. What a hook was given leads back to here: it is let go of, body and all, and not left
        to the collector."""
        if self._session is not None:
            self._session.close()
        self._session = self._asker = None
        del self.call
        self._handling.closed()

    async def __call__(self, question: values.Question) -> values.Reply:
        """`call.invoke` of a hook."""
        if self._asker is None:
            raise RuntimeError(OVER)
        with self.limit.paused():
            return await self._asker.invoke(question)

    def headers(self) -> Mapping[str, str]:
        """`call.headers` of a hook."""
        return _Fields(self._given.invocation.headers)

    async def _during(self, events: list[bytes], first: int) -> list[bytes]:
        assert self._session is not None  # noqa: S101 - `before` comes first
        return await self._timed("during", self._session.during(self, events, first), self._handling.now())

    async def _timed(self, step: str, hook: Awaitable[T], began: float) -> T:
        result = "given_up"
        try:
            given = await hook
            result = "ok"
            return given
        except HandlerError as error:
            result = error.reason
            self._failed(step, error)
            raise
        finally:
            self._over(step, result, began)

    def _over(self, step: str, result: str, began: float, *, held: bool = False) -> None:
        """A hook is over; `held`: nothing else could happen in this process meanwhile."""
        handling = self._handling
        handling.meters.hook(handling.path, step, result, handling.now() - began, held=held)

    def _failed(self, step: str, error: HandlerError) -> None:
        request_id = self._given.invocation.request_id
        # A handler that takes no requests has been complained of when it began to.
        level = logging.DEBUG if error.reason == "refused" else logging.WARNING
        log.log(level, "%s of %s, request %s: %s%s", step, self._handling.key, request_id, error.reason, _trace(error))


def _to_client(reply: Reply, changed: values.Reply) -> Reply:
    return replace(
        reply,
        body=changed.body,
        content_type=changed.content_type,
        custom_attributes=changed.custom_attributes,
    )


def _trace(error: HandlerError) -> str:
    """What the hook raised, on lines of its own that can't be taken for any of ours: an exception often repeats what
    the caller sent, and a text of a caller's must neither drive a terminal nor be one of the request log's lines."""
    if not error.trace:
        return ""
    shown = "".join(each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}" for each in error.trace)
    return "".join(f"\n  | {each}" for each in shown.replace(_LINE, _BROKEN).split("\n"))


class _Fields(Mapping[str, str]):
    """A client's header fields as a hook sees them; taken apart when one is asked for, which few hooks do."""

    __slots__ = ("_given", "_shown")

    def __init__(self, given: Headers) -> None:
        self._given = given
        self._shown: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._shown is None:
            pairs = ((name.lower(), value) for name, value in self._given)
            self._shown = {name: value for name, value in pairs if name not in SECRET}
        return self._shown

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _Whole:
    """A body in one piece as a stream."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    async def aclose(self) -> None:
        """Nothing is held."""


class _Hooked:
    """A stream whose events pass a hook."""

    def __init__(
        self,
        inner: ByteStream,
        content_type: str | None,
        during: Callable[[list[bytes], int], Awaitable[list[bytes]]],
    ) -> None:
        self._inner = inner
        self._parts = reframer(content_type)
        self._during = during

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for piece in self._inner:
            parts = self._parts.feed(piece)
            if parts:
                data = b"".join(await self._during(parts, count))
                count += len(parts)
                if data:
                    yield data
        parts = self._parts.finish()
        if parts and (data := b"".join(await self._during(parts, count))):
            yield data

    async def aclose(self) -> None:
        await self._inner.aclose()
