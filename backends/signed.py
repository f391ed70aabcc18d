"""What the two AWS kinds share: sending a signed request to AWS or to something like it, and reading what it answers.

Promises: whatever goes wrong is a `BackendError`; no credential, body or attribute is in its cause. A target with a URL
of its own may be another proxy, so it also gets the W3C trace context and the number of proxies passed; AWS's hosts get
neither, since they would drop them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from policies.facts import FailureFacts, Fault
from policies.table import AssumedRole, Target

from .addresses import Address, Addresses
from .aws import CredentialsError, CredentialSource
from .base import HOP_HEADER, Call, Headers
from .errors import BackendError, Said
from .http.transport import Arriving, Incoming, Posts, TransportError, lines
from .wire.sigv4 import Credentials, Place, Signer
from .wire.verdicts import GARBLED

ERROR_LIMIT = 1024 * 1024
"""Bytes of an error answer that are read; AWS's own have a few thousand."""

_FIRST_HOP = (f"{HOP_HEADER}: 1\r\n", 1)
"""What nearly every request has: it comes from a client, which traces nothing."""
_NO_FIELDS = ("", 0)

_OUTDATED = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"})
"""What AWS says of credentials that were good once (Common Error Types of its API references)."""


class WholeSeconds:
    """A clock for signatures, which tell no more than seconds: the second in UTC, the same value while it lasts."""

    __slots__ = ("_now", "_second", "_wall")

    def __init__(self, wall: Callable[[], float]) -> None:
        """`wall` gives seconds since the epoch."""
        self._wall = wall
        self._second = 0
        self._now = datetime.fromtimestamp(0, UTC)

    def __call__(self) -> datetime:
        second = int(self._wall())
        if second != self._second:
            self._second, self._now = second, datetime.fromtimestamp(second, UTC)
        return self._now


class SignedSender:
    """Signs and sends. Holds no state of its own."""

    __slots__ = ("_credentials", "_now", "_signer", "_transport")

    def __init__(
        self, transport: Posts, credentials: CredentialSource, signer: Signer, now: Callable[[], datetime]
    ) -> None:
        """`now` gives the wall clock in UTC; what `WholeSeconds` gives is the cheapest."""
        self._transport = transport
        self._credentials = credentials
        self._signer = signer
        self._now = now

    async def send(
        self,
        target: Target,
        address: Address,
        headers: Headers,
        body: bytes,
        role: AssumedRole | None,
        deadline: float,
        streams: bool = False,
        unsigned: tuple[str, int] = _NO_FIELDS,
    ) -> Arriving:
        """The head of the answer to a POST of `body` with `headers`. Raises BackendError when there is none.

        `streams`: the answer comes in pieces, so that its first one may be expected before it is whole. `unsigned` are
        header fields that go out as well, beside the signature, as they are sent, and their number.
        """
        place, credentials = address.place, None
        if place is None:
            fields, count = lines(headers) + unsigned[0], len(headers) + unsigned[1]
        else:
            now = self._now()
            credentials = self._credentials.at_hand(role, now)
            if credentials is None:
                credentials, now = await self._looked_up(target, role), self._now()
            begun, signature = self._signer.sign_at(place, headers, body, credentials, now)
            fields = f"{begun.own}{unsigned[0]}{begun.added}{signature}\r\n"
            count = begun.count + unsigned[1]
        transport, road, between = self._transport, address.road, target.between_chunks
        first = target.first_byte if streams else math.inf
        incoming: Arriving | None = None
        try:
            incoming = transport.begin(road, fields, count, body, deadline, first, between)
            if incoming is None:
                wait = target.connect_timeout
                incoming = await transport.follow(road, fields, count, body, deadline, first, between, wait)
            else:
                await incoming.head
        except TransportError as error:
            raise BackendError(error.facts, target, error.cause) from error
        except BaseException:
            if incoming is not None:
                incoming.free()
            raise
        if credentials is not None and incoming.status >= 400 and _outdated(incoming):
            self._credentials.refused(credentials, role)
        return incoming

    async def _looked_up(self, target: Target, role: AssumedRole | None) -> Credentials:
        try:
            return await self._credentials.get(role)
        except CredentialsError as error:
            facts = FailureFacts(Fault.CONFIG, retry_safe=True)
            raise BackendError(facts, target, f"no credentials: {error}") from error


def _outdated(incoming: Incoming) -> bool:
    return (incoming.header("x-amzn-errortype") or "").partition(":")[0] in _OUTDATED


def region_of(target: Target) -> str:
    """The region to call and to sign for. Raises BackendError when the policy names none."""
    if target.region is None:
        cause = "no region to sign for: give the target a region, or sign: false"
        raise BackendError(FailureFacts(Fault.CONFIG, retry_safe=True), target, cause)
    return target.region


def addresses(target: Target, url: Callable[[bool], str], transport: Posts, *, service: str, sign: bool) -> Addresses:
    """The addresses of `target`, whose operations `url` names: a whole answer's, or (True) a streamed one's.

    Raises BackendError when they are to be signed and the policy names no region, or when a URL is no address.
    """

    def address(streamed: bool) -> Address:
        where = url(streamed)
        place = Place("POST", where, service=service, region=region_of(target)) if sign else None
        try:
            return Address(transport.road(where), place)
        except TransportError as error:
            raise BackendError(error.facts, target, error.cause) from error

    return Addresses(address(False), address(True))


def base_url(prefix: str, target: Target, url: str | None) -> str:
    """`url` when the policy gives one, else AWS's regional host of the service with that endpoint prefix."""
    if url is not None:
        return url
    region = region_of(target)
    return f"https://{prefix}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def proxy_headers(call: Call) -> Headers:
    """What a target with a URL of its own gets on top: the hop count, and the trace when there is one."""
    passed = call.invocation.hops
    hops = int(passed) if passed and passed.isascii() and passed.isdecimal() and len(passed) <= 4 else 0
    headers: Headers = ((HOP_HEADER, str(hops + 1)),)
    if call.trace is not None:
        headers += (("traceparent", call.trace.traceparent),)
        if call.trace.tracestate:
            headers += (("tracestate", call.trace.tracestate),)
    return headers


def lines_for_proxy(call: Call) -> tuple[str, int]:
    """`proxy_headers` as they are sent, and how many they are."""
    trace = call.trace
    if call.invocation.hops is None:
        if trace is None:
            return _FIRST_HOP
        if not trace.tracestate:
            return f"{_FIRST_HOP[0]}traceparent: {trace.traceparent}\r\n", 2
    headers = proxy_headers(call)
    return lines(headers), len(headers)


async def read_body(incoming: Incoming, target: Target, limit: int) -> bytes:
    """The whole body of an answer, at most `limit` bytes. Raises BackendError."""
    try:
        return await incoming.read(limit)
    except TransportError as error:
        raise BackendError(error.facts, target, error.cause) from error


async def read_refusal(
    incoming: Incoming, target: Target, read: Callable[[int, Headers, bytes], tuple[FailureFacts, Said]]
) -> BackendError:
    """The failure that an answer with an error status is; one whose body does not arrive is judged by its head."""
    try:
        body = await incoming.read(ERROR_LIMIT)
    except TransportError:
        body = b""
    facts, said = read(incoming.status, incoming.headers, body)
    cause, named = f"answered {incoming.status} {said.type or 'without a type'}", incoming.header("x-amzn-requestid")
    return BackendError(facts, target, cause, said, named or None)


def refuse_garbled(target: Target, what: str, said: Said) -> BackendError:
    """The failure of a 200 that is not what was asked for."""
    return BackendError(GARBLED, target, f"answered 200 with {what}", said)


class Pieces(Protocol):
    """A `ByteStream` that can give a piece once more."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def __anext__(self) -> Awaitable[bytes]: ...

    def put_back(self, piece: bytes) -> None:
        """Give this piece again as the next one; an empty one is none."""
        ...

    def aclose(self) -> Awaitable[None]: ...


_Pieces = TypeVar("_Pieces", bound=Pieces)


async def primed(pieces: _Pieces) -> _Pieces:
    """`pieces`, the first of which is there. Raises BackendError, the connection freed, when it fails before that."""
    try:
        first = await pieces.__anext__()
    except StopAsyncIteration:
        first = b""
    except BaseException:
        await pieces.aclose()
        raise
    pieces.put_back(first)
    return pieces
