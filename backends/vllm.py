"""The kind `vllm`: anything that serves `/invocations` as vLLM does, which is as a SageMaker model container does.

The model is named by a header, never by the body: vLLM's `/invocations` replaces the body's `model` with the value of
`X-Amzn-SageMaker-Adapter-Identifier`, or with nothing, and then the base model answers whatever the body asked for
(model-hosting-container-standards 0.1.16, `inject_adapter_id`; run with vLLM 0.32). With the header vLLM checks the
name against its served models and adapters and answers 404 when it has neither. So the body goes out byte for byte.

Whether the answer is a stream is the body's word, as on SageMaker; the operation the client called only says how the
answer is framed. CustomAttributes and session headers don't go out: vLLM ignores the one and refuses the others unless
it was started for them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from policies.facts import FailureFacts
from policies.table import Target, VllmSpec

from .addresses import AddressBook
from .base import Call, Reply
from .errors import BackendError, Said
from .http.transport import Arriving, Incoming, Posts, Road, TransportError
from .signed import lines_for_proxy, primed, read_body
from .streams import end
from .tail import SERVER_SENT_EVENTS, Tail, has_details, is_marked
from .wire.restjson import media_type, read_wait
from .wire.sagemaker import RESPONSE_LIMIT
from .wire.usage import uncounted
from .wire.verdicts import GARBLED, after, by_original

ERROR_LIMIT = 64 * 1024
"""Bytes of an error answer that are read and passed on; vLLM's own have a few hundred."""

_ADAPTER = "X-Amzn-SageMaker-Adapter-Identifier"
_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"


class VllmBackend:
    """`Backend` over `POST /invocations`."""

    __slots__ = ("_engines", "_transport")

    def __init__(self, transport: Posts) -> None:
        self._transport = transport
        self._engines = AddressBook(self._engine)

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        """See `Backend.invoke`."""
        engine, streaming, transport = self._engines.of(target), call.invocation.streaming, self._transport
        road, first, between = (
            engine.roads[replica],
            target.first_byte if streaming else math.inf,
            target.between_chunks,
        )
        fields, count = _fields(engine, call)
        incoming: Arriving | None = None
        try:
            incoming = transport.begin(road, fields, count, call.body, deadline, first, between)
            if incoming is None:
                wait = target.connect_timeout
                incoming = await transport.follow(road, fields, count, call.body, deadline, first, between, wait)
            else:
                await incoming.head
        except TransportError as error:
            raise BackendError(error.facts, target, error.cause) from error
        except BaseException:
            if incoming is not None:
                incoming.free()
            raise
        if not 200 <= incoming.status < 300:
            raise await _refusal(incoming, target)
        if streaming:
            stream = await primed(_Events(incoming, target))
            return _reply(incoming, incoming.header("content-type"), stream=stream)
        if incoming.first.get(b"content-type") == b"application/json":
            body = incoming.at_hand(RESPONSE_LIMIT)
            if body is not None:
                return _reply(incoming, "application/json", body)
        try:
            return _reply(incoming, incoming.header("content-type"), await _whole(incoming, target))
        finally:
            await incoming.aclose()

    def _engine(self, target: Target) -> _Engine:
        spec = target.spec
        if not isinstance(spec, VllmSpec):
            message = f"{target.name} is not a vLLM engine"
            raise TypeError(message)
        try:
            roads = tuple(self._transport.road(f"{url}/invocations") for url in spec.urls)
        except TransportError as error:
            raise BackendError(error.facts, target, error.cause) from error
        return _Engine(roads, f"\r\n{_ADAPTER}: {spec.adapter or spec.model}\r\n")


@dataclass(frozen=True, slots=True)
class _Engine:
    """What is the same for every request to one target."""

    roads: tuple[Road, ...]
    """To its replicas."""
    adapter: str
    """The header field that names the model, with the end of the line before it."""


def _fields(engine: _Engine, call: Call) -> tuple[str, int]:
    """The header fields that go with `call`, as they are sent, and how many they are."""
    passed, count = lines_for_proxy(call)
    fields = f"Content-Type: {call.content_type or 'application/json'}{engine.adapter}{passed}"
    return (f"{fields}Accept: {call.accept}\r\n", count + 3) if call.accept else (fields, count + 2)


def _reply(incoming: Incoming, content_type: str | None, body: bytes = b"", stream: _Events | None = None) -> Reply:
    first = incoming.first
    attributes = incoming.header("x-amzn-sagemaker-custom-attributes") if _ATTRIBUTES in first else None
    named = incoming.header("x-request-id") if b"x-request-id" in first else None
    unread = uncounted(content_type, body) if body else None
    counts = None if stream is None else stream.tail
    return Reply(body, stream, content_type, attributes, None, None, None, named, None, unread, counts)


class _Events:
    """`ByteStream`: the body as it arrives, each piece at the cost of one coroutine.

    A stream of OpenAI events that ends without `data: [DONE]` is broken: see `tail.is_marked`.
    """

    __slots__ = ("_first", "_incoming", "_over", "_target", "tail")

    def __init__(self, incoming: Incoming, target: Target) -> None:
        self._incoming = incoming
        self._target = target
        kind = incoming.header("content-type")
        self.tail = None
        if media_type(kind) == SERVER_SENT_EVENTS:
            self.tail = Tail(marked=is_marked(target, kind), details=has_details(target, kind))
        self._first = b""
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        if first := self._first:
            self._first = b""
            return first
        try:
            piece = await self._incoming.piece()
        except TransportError as error:
            self._over = True
            raise BackendError(error.facts, self._target, error.cause) from error
        tail = self.tail
        if not piece:
            self._over = True
            if tail is not None:
                tail.finish(self._target)
            raise StopAsyncIteration
        if tail is not None:
            tail.feed(piece)
        return piece

    def put_back(self, piece: bytes) -> None:
        """See `Pieces`."""
        self._first = piece

    async def aclose(self) -> None:
        self._over = True
        await self._incoming.aclose()


async def _whole(incoming: Incoming, target: Target) -> bytes:
    kind = incoming.header("content-type")
    if kind == "application/json" or media_type(kind) != SERVER_SENT_EVENTS:
        return await read_body(incoming, target, RESPONSE_LIMIT)
    pieces = _Events(incoming, target)
    collected: list[bytes] = []
    size = 0
    async with aclosing(pieces):
        async for piece in pieces:
            size += len(piece)
            if size > RESPONSE_LIMIT:
                raise BackendError(GARBLED, target, f"the answer is longer than {RESPONSE_LIMIT} bytes")
            collected.append(piece)
    return b"".join(collected)


async def _refusal(incoming: Incoming, target: Target) -> BackendError:
    """The failure that an answer with an error status is; one whose body does not arrive is judged by its head."""
    body = bytearray()
    chunks = incoming.chunks()
    try:
        async for piece in chunks:
            body += piece
            if len(body) >= ERROR_LIMIT:
                break
    except TransportError:
        pass
    finally:
        await end(chunks)
        await incoming.aclose()
    said = Said(incoming.status, bytes(body[:ERROR_LIMIT]).decode("utf-8", "replace"))
    return BackendError(_facts(incoming), target, f"answered {incoming.status}", said, incoming.header("x-request-id"))


def _facts(incoming: Incoming) -> FailureFacts:
    """A container's answer is the model's doing, whatever its status; see `by_original` for what may be sent again."""
    return after(by_original(incoming.status), read_wait(incoming.header))
