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

from collections.abc import AsyncIterator
from contextlib import aclosing

from policies.facts import FailureFacts
from policies.table import Target, VllmSpec

from .base import ByteStream, Call, Headers, Reply
from .errors import BackendError, Said
from .http.transport import Incoming, Outgoing, Transport, TransportError
from .signed import SERVER_SENT_EVENTS, Tail, is_marked, primed, proxy_headers, read_body, waits
from .streams import end
from .wire.restjson import media_type, read_wait
from .wire.sagemaker import RESPONSE_LIMIT
from .wire.usage import usage_of
from .wire.verdicts import GARBLED, after, by_original

ERROR_LIMIT = 64 * 1024
"""Bytes of an error answer that are read and passed on; vLLM's own have a few hundred."""

_ADAPTER = "X-Amzn-SageMaker-Adapter-Identifier"


class VllmBackend:
    """`Backend` over `POST /invocations`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        """See `Backend.invoke`."""
        spec = target.spec
        if not isinstance(spec, VllmSpec):
            message = f"{target.name} is not a vLLM engine"
            raise TypeError(message)
        url, quiet = f"{spec.urls[replica]}/invocations", waits(target, streams=call.streaming)
        request = Outgoing("POST", url, _headers(spec, call), call.body, *quiet)
        try:
            incoming = await self._transport.send(request, deadline=deadline, connect_timeout=target.connect_timeout)
        except TransportError as error:
            raise BackendError(error.facts, target, error.cause) from error
        if not 200 <= incoming.status < 300:
            raise await _refusal(incoming, target)
        if call.streaming:
            return _reply(incoming, stream=await primed(_Events(incoming, target)))
        if incoming.header("content-type") == "application/json":
            body = incoming.at_hand(RESPONSE_LIMIT)
            if body is not None:
                return _reply(incoming, body=body)
        try:
            return _reply(incoming, body=await _whole(incoming, target))
        finally:
            await incoming.aclose()


def _headers(spec: VllmSpec, call: Call) -> Headers:
    headers: Headers = (
        ("Content-Type", call.content_type or "application/json"),
        (_ADAPTER, spec.adapter or spec.model),
        *proxy_headers(call),
    )
    return (*headers, ("Accept", call.accept)) if call.accept else headers


def _reply(incoming: Incoming, *, body: bytes = b"", stream: ByteStream | None = None) -> Reply:
    content_type = incoming.header("content-type")
    return Reply(
        body=body,
        stream=stream,
        content_type=content_type,
        custom_attributes=incoming.header("x-amzn-sagemaker-custom-attributes"),
        upstream_request_id=incoming.header("x-request-id"),
        usage=usage_of(content_type, body) if body else None,
    )


class _Events:
    """`ByteStream`: the body as it arrives, each piece at the cost of one coroutine.

    A stream of OpenAI events that ends without `data: [DONE]` is broken: see `signed.is_marked`.
    """

    __slots__ = ("_first", "_incoming", "_over", "_tail", "_target")

    def __init__(self, incoming: Incoming, target: Target) -> None:
        self._incoming = incoming
        self._target = target
        self._tail = Tail() if is_marked(target, incoming.header("content-type")) else None
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
        tail = self._tail
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
