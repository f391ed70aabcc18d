"""The kind `endpoint`: anything that speaks InvokeEndpoint.

A SageMaker endpoint, an inference component on one, or a host of one's own behind a `url`. The operation follows the
client's, as on SageMaker: what the model does is the body's word, the operation only says how the answer is framed. So
all four combinations of plain and streaming bodies and operations behave as they do there, without a look at the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from policies.table import EndpointSpec, Target

from .addresses import AddressBook, Addresses
from .aws import CredentialSource
from .base import Call, Reply
from .errors import Said
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
from .tail import SERVER_SENT_EVENTS, Tail, has_details, is_marked
from .wire import sagemaker as wire
from .wire.restjson import is_event_stream, media_type
from .wire.sigv4 import Signer
from .wire.trace import add_trace
from .wire.usage import uncounted

_SERVICE = "sagemaker"
"""Signing name; the host's prefix is another word (botocore model)."""
_HOST_PREFIX = "runtime.sagemaker"
_COUNTING = frozenset({"openai-chat", "openai-completions"})
"""Dialects whose answers tell the tokens; bodies of others are not looked at."""


class EndpointBackend:
    """`Backend` over InvokeEndpoint and InvokeEndpointWithResponseStream."""

    __slots__ = ("_addresses", "_sender")

    def __init__(
        self, transport: Posts, credentials: CredentialSource, signer: Signer, now: Callable[[], datetime]
    ) -> None:
        """`now` gives the wall clock in UTC."""
        self._sender = SignedSender(transport, credentials, signer, now)
        self._addresses = AddressBook(lambda target: _addresses(target, transport))

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        """See `Backend.invoke`. An endpoint has one address, so `replica` is not used."""
        spec = target.spec
        if not isinstance(spec, EndpointSpec):
            message = f"{target.name} is not an endpoint"
            raise TypeError(message)
        if spec.trace_attributes and call.trace is not None:
            call = replace(call, custom_attributes=add_trace(call.custom_attributes, call.trace))
        found, streaming = self._addresses.of(target), call.invocation.streaming
        incoming = await self._sender.send(
            target,
            found.streamed if streaming else found.whole,
            wire.write_headers(spec, call),
            call.body,
            spec.role,
            deadline,
            streaming,
            ("", 0) if spec.url is None else lines_for_proxy(call),
        )
        if 200 <= incoming.status < 300:
            if streaming:
                return await _streamed(incoming, target)
            body = incoming.at_hand(wire.RESPONSE_LIMIT)
            if body is not None:
                return _answer(incoming, target, body)
        return await _whole(incoming, target)


def _addresses(target: Target, transport: Posts) -> Addresses:
    spec = target.spec
    assert isinstance(spec, EndpointSpec)  # noqa: S101 - `invoke` has looked

    def url(streamed: bool) -> str:
        return wire.write_url(base_url(_HOST_PREFIX, target, spec.url), spec, streamed=streamed)

    return addresses(target, url, transport, service=_SERVICE, sign=spec.sign)


async def _whole(incoming: Incoming, target: Target) -> Reply:
    try:
        if not 200 <= incoming.status < 300:
            raise await read_refusal(incoming, target, wire.read_error)
        body = await read_body(incoming, target, wire.RESPONSE_LIMIT)
        return _answer(incoming, target, body)
    finally:
        await incoming.aclose()


def _answer(incoming: Incoming, target: Target, body: bytes) -> Reply:
    counts = uncounted(incoming.header("content-type"), body) if target.speaks in _COUNTING else None
    return wire.read_reply(incoming.first, streaming=False, body=body, uncounted=counts)


async def _streamed(incoming: Incoming, target: Target) -> Reply:
    if not is_event_stream(incoming.header("content-type")):
        await incoming.aclose()
        said = Said(502, "The endpoint answered a streaming call with something that is not an event stream.")
        raise refuse_garbled(target, "a body that is not an event stream", said)
    container_type = incoming.header("x-amzn-sagemaker-content-type")
    joins = media_type(container_type) == SERVER_SENT_EVENTS
    marked, details = is_marked(target, container_type), has_details(target, container_type)
    tail = Tail(marked=marked, details=details) if marked or details else None
    stream = await primed(FramedPieces(incoming, target, wire.read_event, bytes, joins=joins, tail=tail))
    return wire.read_reply(incoming.first, streaming=True, stream=stream, counts=tail)
