"""One request's way through its route's handler, between the pipeline's values and the customer's.

A stream is never gathered: each event passes `during` as it comes, and a stream without that hook passes untouched.
What a hook raises is logged here, once, with the customer's own frames, and goes on as a HandlerError.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from backends.base import ByteStream, Call, Headers, Reply
from backends.meters import Meters
from backends.wire.framing import reframer
from policies.table import HandlerSpec, Route
from policies.values import quick

from .errors import HandlerError
from .guest import values
from .runs import AT_ONCE, Limit, Run, Session

log = logging.getLogger("pointsman.handlers")

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")

SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "x-amz-security-token"})
"""Header fields, lower case, that a customer's code does not get."""

_guest_call, _guest_reply = quick(values.Call), quick(values.Reply)

Invoke = Callable[[values.Question], Awaitable[values.Reply]]


class Passage:
    """One request in one handler. `close` it when the request is over."""

    __slots__ = (
        "_call",
        "_closed",
        "_invoke",
        "_limit",
        "_meters",
        "_now",
        "_path",
        "_reply",
        "_route",
        "_run",
        "_session",
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
        """`closed` is called by `close`."""
        self._run = run
        self._route = route
        self._path = spec.path
        self._limit = Limit(spec.timeout, 0.0)
        self._meters = meters
        self._now = now
        self._closed = closed
        self._invoke: Invoke | None = None
        self._session: Session | None = None
        self._call: values.Call | None = None
        self._reply: values.Reply | None = None

    def before(self, call: Call, deadline: float, invoke: Invoke) -> Call | Reply | Coroutine[Any, Any, Call | Reply]:
        """What goes to the model; or a Reply, when the handler answers by itself. At once, where its hook waits for
        nothing; else to be awaited. Raises HandlerError, either way."""
        self._limit.deadline, self._invoke = deadline, invoke
        self._call = _to_guest(call, self._route, self._ask)
        try:
            self._session = session = self._run.open(self._call, self._limit)
        except HandlerError as error:
            self._meters.hook(self._path, "before", error.reason, 0.0)
            self._failed("before", error)
            raise
        if "before" not in self._run.steps:
            return call
        began = self._now()
        try:
            changed = session.before()
        except HandlerError as error:
            self._over("before", error.reason, began, held=True)
            self._failed("before", error)
            raise
        if not isinstance(changed, AT_ONCE):
            return self._later("before", changed, began, call, self._to_model)
        self._meters.hook(self._path, "before", "ok", self._now() - began, held=True)
        return call if changed is self._call else self._to_model(call, changed)

    def _to_model(self, call: Call, changed: values.Call | values.Reply) -> Call | Reply:
        if changed is self._call:
            return call
        if isinstance(changed, values.Reply):
            return Reply(
                body=changed.body, content_type=changed.content_type, custom_attributes=changed.custom_attributes
            )
        self._call = changed
        return replace(
            call,
            body=changed.body,
            content_type=changed.content_type,
            accept=changed.accept,
            custom_attributes=changed.custom_attributes,
        )

    def after(self, reply: Reply, streaming: bool) -> Reply | Coroutine[Any, Any, Reply]:
        """What the client gets for `reply`, at once or to be awaited, as with `before`. Raises HandlerError; a stream
        raises it while it is read."""
        session, steps = self._session, self._run.steps
        assert session is not None  # noqa: S101 - `before` comes first
        if streaming:
            if "during" not in steps:
                return reply
            stream = reply.stream or _Whole(reply.body)
            return replace(reply, body=b"", stream=_Hooked(stream, reply.content_type, self._during))
        if "after" not in steps:
            return reply
        self._reply = given = _guest_reply(reply.body, reply.content_type, reply.custom_attributes, self._call)
        began = self._now()
        try:
            changed = session.after(given)
        except HandlerError as error:
            self._over("after", error.reason, began, held=True)
            self._failed("after", error)
            raise
        if not isinstance(changed, AT_ONCE):
            return self._later("after", changed, began, reply, self._to_client)
        self._meters.hook(self._path, "after", "ok", self._now() - began, held=True)
        return reply if changed is given else self._to_client(reply, changed)

    def _to_client(self, reply: Reply, changed: values.Reply) -> Reply:
        if changed is self._reply:
            return reply
        return replace(
            reply,
            body=changed.body,
            content_type=changed.content_type,
            custom_attributes=changed.custom_attributes,
        )

    def close(self) -> None:
        """The request is over. What a hook was given leads back to here: it is let go of, body and all, and not left
        to the collector."""
        if self._session is not None:
            self._session.close()
        self._session = self._call = self._reply = self._invoke = None
        self._closed()

    async def _ask(self, question: values.Question) -> values.Reply:
        if self._invoke is None:
            message = "the request that this call belongs to is over"
            raise RuntimeError(message)
        with self._limit.paused():
            return await self._invoke(question)

    async def _during(self, events: list[bytes], first: int) -> list[bytes]:
        assert self._session is not None  # noqa: S101 - `before` comes first
        return await self._timed("during", self._session.during(events, first), self._now())

    async def _later(self, step: str, hook: Awaitable[T], began: float, given: U, made: Callable[[U, T], V]) -> V:
        return made(given, await self._timed(step, hook, began))

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
        self._meters.hook(self._path, step, result, self._now() - began, held=held)

    def _failed(self, step: str, error: HandlerError) -> None:
        request_id = self._call.request_id if self._call else ""
        # A handler that takes no requests has been complained of when it began to.
        level = logging.DEBUG if error.reason == "refused" else logging.WARNING
        log.log(level, "%s of %s, request %s: %s%s", step, self._route.key, request_id, error.reason, _trace(error))


def _trace(error: HandlerError) -> str:
    return f"\n{error.trace}" if error.trace else ""


def _to_guest(call: Call, route: Route, invoke: Invoke) -> values.Call:
    invocation = call.invocation
    return _guest_call(
        call.body,
        call.content_type,
        call.accept,
        call.custom_attributes,
        invocation.endpoint,
        invocation.component,
        invocation.streaming,
        invocation.request_id,
        invocation.speaks or route.clients_speak,
        _Fields(invocation.headers),
        {},
        invoke,
    )


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
