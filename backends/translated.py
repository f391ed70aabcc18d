"""Any backend, for clients that speak another dialect than its target: translate out, invoke, translate in.

Where the dialects agree, or one of them is opaque, the call passes untouched: no body is looked at, but for the ends
of an answer whose target declares a dialect (`wire.dialects.likely`), and those only where the inner backend does not
read the answer itself. A request that cannot be carried is refused as
the model's container would refuse it, with a 400 (424 ModelError with OriginalStatusCode 400 at SageMaker's face) and a
body in the client's dialect that names the key. It is not sent again elsewhere: a fallback that takes it would hide
what the policy lost.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import replace
from typing import Any

from cachetools import LRUCache

from policies.dialects import OPAQUE
from policies.facts import FailureFacts, Fault
from policies.table import Target, TranslateRule, VllmSpec

from .base import Backend, ByteStream, Call, Reply
from .errors import BackendError, Said
from .streams import PrimedStream, end
from .wire.dialects import BodyTranslator, DialectError, Exchange, Stamp, Translation, Wrong, pair, write_error
from .wire.dialects.likely import unlikely
from .wire.usage import counted
from .wire.verdicts import GARBLED

KEPT = 256
"""Translations kept ready, each with its chat template compiled."""

_REFUSED = FailureFacts(Fault.MODEL, retry_safe=False)
_FAILED = FailureFacts(Fault.MODEL, retry_safe=None)
_MEANING = {
    Wrong.REQUEST: (_REFUSED, 400, "the request cannot be carried to the target's dialect"),
    Wrong.ANSWER: (GARBLED, 502, "the answer is not of the target's dialect"),
    Wrong.LOST: (_REFUSED, 502, "the answer cannot be carried to the client's dialect"),
    Wrong.MODEL: (_FAILED, 500, "the model failed inside a successful answer"),
}
"""What a `DialectError` is: facts, the status that a container would have given, words for the log."""


class Translated:
    """`Backend` around another one."""

    __slots__ = ("_inner", "_kept", "_looks", "_wall")

    def __init__(self, inner: Backend, wall: Callable[[], float], *, looks: bool = True) -> None:
        """`wall` gives seconds since the epoch, for answers that carry a time of creation.

        `looks`: answers that pass are held against the declared dialect; False where `inner` has done that.
        """
        self._inner = inner
        self._looks = looks
        self._wall = wall
        self._kept: LRUCache[tuple[str, str, TranslateRule], Translation | None] = LRUCache(KEPT)

    def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Coroutine[Any, Any, Reply]:
        """See `Backend.invoke`."""
        speaks = target.speaks
        if speaks == OPAQUE:
            return self._inner.invoke(target, call, deadline, replica)
        if call.speaks not in (speaks, OPAQUE):
            return self._translated(target, call, deadline, replica)
        passes = self._passed if self._looks else self._inner.invoke
        return passes(target, call, deadline, replica)

    async def _passed(self, target: Target, call: Call, deadline: float, replica: int) -> Reply:
        """An answer passes unread, unless it can be none of the dialect that the target declares."""
        reply = await self._inner.invoke(target, call, deadline, replica)
        problem = unlikely(reply.content_type, reply.body if reply.stream is None else None)
        if problem is None:
            return reply
        if reply.stream is not None:
            await reply.stream.aclose()
        said = Said(502, "The model answered with a body that is not of the form its clients expect.")
        raise BackendError(GARBLED, target, f"answered 200 with {problem}", said)

    async def _translated(self, target: Target, call: Call, deadline: float, replica: int) -> Reply:
        try:
            translation = self._translation(call, target)
            exchange = translation.request(call.body, _model(target), self._stamp(call))
        except DialectError as error:
            raise _failure(error, target, call.speaks) from error
        kind = "application/json"
        sent = replace(call, body=exchange.body, content_type=kind, accept=None, speaks=target.speaks, carried=True)
        try:
            reply = await self._inner.invoke(target, sent, deadline, replica)
        except BackendError as error:
            told = _told(error, translation)
            if told is error:
                raise
            raise told from error
        return await _carried_back(reply, exchange, target)

    def _translation(self, call: Call, target: Target) -> Translation:
        key = (call.speaks, target.speaks, call.translate)
        found = self._kept.get(key)
        if found is None:
            try:
                found = pair(*key)
            except ValueError as error:
                said = "The chat template of this endpoint's policy cannot be used."
                raise DialectError(Wrong.REQUEST, said) from error
            assert found is not None  # noqa: S101 - narrowed for the type checker: `invoke` sorted the other pairs out
            self._kept[key] = found
        return found

    def _stamp(self, call: Call) -> Stamp:
        prefix = "chatcmpl" if call.speaks == "openai-chat" else "cmpl"
        invocation = call.invocation
        return Stamp(f"{prefix}-{invocation.request_id}", int(self._wall()), invocation.endpoint)


def _model(target: Target) -> str | None:
    """The name by which the target knows its model, where a body may say it."""
    return target.spec.adapter or target.spec.model if isinstance(target.spec, VllmSpec) else None


async def _carried_back(reply: Reply, exchange: Exchange, target: Target) -> Reply:
    stream = reply.stream
    try:
        translator, content_type = exchange.answer(reply.content_type)
        if stream is None:
            body = b"".join([*translator.feed(reply.body), *translator.finish()])
            return replace(
                reply, body=body, content_type=content_type, usage=translator.usage or counted(reply), uncounted=None
            )
        pieces = _pieces(stream, translator, exchange, target)
        first = await anext(pieces, b"")
    except BaseException as error:
        if stream is not None:
            await stream.aclose()
        if isinstance(error, DialectError):
            raise _failure(error, target, exchange.client) from error
        raise

    async def close() -> None:
        await end(pieces)
        await stream.aclose()

    return replace(reply, stream=PrimedStream(first, pieces, close), content_type=content_type, counts=translator)


async def _pieces(
    stream: ByteStream, translator: BodyTranslator, exchange: Exchange, target: Target
) -> AsyncGenerator[bytes, None]:
    """The translated body, a piece for each piece that completes something."""
    try:
        async for data in stream:
            if parts := translator.feed(data):
                yield b"".join(parts)
        yield b"".join(translator.finish())
    except DialectError as error:
        raise _failure(error, target, exchange.client) from error


def _failure(error: DialectError, target: Target, client: str) -> BackendError:
    facts, status, cause = _MEANING[error.wrong]
    said = Said(status, write_error(client, status, error.message))
    return BackendError(facts, target, f"{cause}: {error}", said)


def _told(error: BackendError, translation: Translation) -> BackendError:
    """The failure with what the model's container said in the client's dialect; what others said stays."""
    said = error.said
    if said is None or error.facts.fault is not Fault.MODEL or not said.status:
        return error
    message = translation.error(said.status, said.message)
    return BackendError(error.facts, error.target, error.cause, replace(said, message=message), error.request_id)
