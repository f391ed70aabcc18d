"""The kind `bedrock`: a custom model import, made to answer as the same model would behind a SageMaker endpoint.

Which of Bedrock's operations is called is the word of the body (`"stream": true`), as it is for a model behind an
endpoint; how the answer is framed is the word of the client's operation. The four combinations:

| client's operation | body | Bedrock's operation | answer |
|---|---|---|---|
| InvokeEndpoint | plain | InvokeModel | the JSON body |
| InvokeEndpoint | stream | InvokeModelWithResponseStream | one body of Server-Sent Events |
| InvokeEndpointWithResponseStream | plain | InvokeModel | the JSON body, as a stream of one piece |
| InvokeEndpointWithResponseStream | stream | InvokeModelWithResponseStream | Server-Sent Events as they arrive |

A model that is scaled to zero is the fact `cold`, not waited for here. A 200 that is not of the dialect that the
policy declares is a failure: it reaches the client as a ModelError with OriginalStatusCode 502.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime

from policies.dialects import OPAQUE
from policies.table import BedrockSpec, Target

from .addresses import AddressBook, Addresses
from .aws import CredentialSource
from .base import Call, Reply, Usage
from .errors import BackendError
from .framed import FramedPieces
from .http.transport import Incoming, Posts
from .signed import (
    SignedSender,
    addresses,
    base_url,
    lines_for_proxy,
    primed,
    read_body,
    read_refusal,
    refuse_garbled,
)
from .streams import PrimedStream
from .wire import bedrock as wire
from .wire.dialects.likely import unlikely
from .wire.restjson import is_event_stream
from .wire.sigv4 import Signer
from .wire.usage import LIMIT
from .wire.verdicts import GARBLED

_SERVICE = "bedrock"
"""Signing name, which is not the host's (botocore model)."""
_HOST_PREFIX = "bedrock-runtime"
_JSON, _JSON_SAID = "application/json", b"application/json"
_COUNTED = b"x-amzn-bedrock-input-token-count"
"""A header field that some models' answers have, beside one for what was generated."""


class BedrockBackend:
    """`Backend` over InvokeModel and InvokeModelWithResponseStream."""

    __slots__ = ("_addresses", "_sender")

    def __init__(
        self, transport: Posts, credentials: CredentialSource, signer: Signer, now: Callable[[], datetime]
    ) -> None:
        """`now` gives the wall clock in UTC."""
        self._sender = SignedSender(transport, credentials, signer, now)
        self._addresses = AddressBook(lambda target: _addresses(target, transport))

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        """See `Backend.invoke`. Bedrock balances over a model's copies, so `replica` is not used."""
        spec = target.spec
        if not isinstance(spec, BedrockSpec):
            message = f"{target.name} is not a Bedrock model"
            raise TypeError(message)
        asked, found = wire.write_request(spec, call), self._addresses.of(target)
        incoming = await self._sender.send(
            target,
            found.streamed if asked.streams else found.whole,
            asked.headers,
            asked.body,
            spec.role,
            deadline,
            asked.streams,
            ("", 0) if spec.url is None else lines_for_proxy(call),
        )
        if not 200 <= incoming.status < 300:
            raise await _refusal(incoming, target)
        if not asked.streams:
            body = incoming.at_hand(wire.RESPONSE_LIMIT)
            whole = await _whole(incoming, target) if body is None else body
            return _reply(incoming, whole, target, call)
        if not is_event_stream(incoming.header("content-type")):
            await incoming.aclose()
            raise refuse_garbled(target, "a body that is not an event stream", wire.garbled("a body")[1])
        writer = wire.EventWriter(target.speaks, include_usage=asked.include_usage)
        stream = await primed(FramedPieces(incoming, target, writer.feed, writer.finish, joins=True))
        reply = Reply(
            stream=stream,
            content_type=wire.SERVER_SENT_EVENTS,
            upstream_request_id=incoming.header("x-amzn-requestid") or None,
            usage=wire.read_usage(incoming.header),
            counts=writer,
        )
        return reply if call.streaming else await _collected(reply, stream, writer, target)


def _addresses(target: Target, transport: Posts) -> Addresses:
    spec = target.spec
    assert isinstance(spec, BedrockSpec)  # noqa: S101 - `invoke` has looked

    def url(streamed: bool) -> str:
        return wire.write_url(base_url(_HOST_PREFIX, target, spec.url), spec, streamed=streamed)

    return addresses(target, url, transport, service=_SERVICE, sign=True)


async def _refusal(incoming: Incoming, target: Target) -> BackendError:
    try:
        return await read_refusal(incoming, target, wire.read_error)
    finally:
        await incoming.aclose()


async def _whole(incoming: Incoming, target: Target) -> bytes:
    try:
        return await read_body(incoming, target, wire.RESPONSE_LIMIT)
    finally:
        await incoming.aclose()


def _reply(incoming: Incoming, body: bytes, target: Target, call: Call) -> Reply:
    first, header, streaming = incoming.first, incoming.header, call.invocation.streaming
    speaks, kind = target.speaks, _JSON
    if first.get(b"content-type") != _JSON_SAID:
        kind = header("content-type") or _JSON
    counted: Usage | None = None
    uncounted: bytes | None = None
    if len(body) <= LIMIT and kind == _JSON and wire.engines_own(speaks, body):
        uncounted = body
    else:
        recognised, counted = wire.read_answer(speaks, body)
        if not recognised:
            raise refuse_garbled(target, f"a body that is not {speaks}", wire.garbled("a body")[1])
        problem = unlikely(kind, None if streaming else body) if speaks != OPAQUE and not call.carried else None
        if problem is not None:
            raise refuse_garbled(target, problem, wire.garbled("a body")[1])
    named = header("x-amzn-requestid") if b"x-amzn-requestid" in first else None
    stream = PrimedStream(b"", _one_piece(body), _already_closed) if streaming else None
    usage = counted or (wire.read_usage(header) if _COUNTED in first else None)
    return Reply(b"" if streaming else body, stream, kind, None, None, None, None, named or None, usage, uncounted)


async def _collected(reply: Reply, stream: FramedPieces, writer: wire.EventWriter, target: Target) -> Reply:
    """The whole stream as one body, for a client that called the blocking operation."""
    pieces: list[bytes] = []
    size = 0
    async with aclosing(stream):
        async for piece in stream:
            size += len(piece)
            if size > wire.RESPONSE_LIMIT:
                raise BackendError(GARBLED, target, f"the answer is longer than {wire.RESPONSE_LIMIT} bytes")
            pieces.append(piece)
    return replace(reply, stream=None, body=b"".join(pieces), usage=writer.usage or reply.usage)


async def _one_piece(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _already_closed() -> None:
    """The connection was freed when the body had been read."""
