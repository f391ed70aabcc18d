"""An upstream on a free port that a test scripts, for the two kinds that speak to AWS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType

from aiohttp import web

from backends.aws import CredentialsError
from backends.base import Call, Headers, Invocation, Reply, Trace
from backends.http.arriving import Answer
from backends.http.roads import Road, road_to
from backends.http.transport import Outgoing, TransportError
from backends.wire.sigv4 import Credentials
from policies.table import AssumedRole

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
CREDENTIALS = Credentials("AKIDTEST", "a-secret", "a-token")
FRAMED = "application/vnd.amazon.eventstream"
Step = bytes | asyncio.Event
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Body:
    """`Incoming` with scripted chunks, the last of which may be a failure."""

    status = 500
    headers: Headers = ()
    first: Mapping[bytes, bytes] = MappingProxyType({})

    def __init__(self, *chunks: bytes | TransportError) -> None:
        self._chunks = chunks
        self._left = iter(chunks)
        self.closed = 0

    def header(self, name: str) -> str | None:
        return None

    def at_hand(self, limit: int) -> bytes | None:
        return None

    async def read(self, limit: int) -> bytes:
        body = b"".join([chunk async for chunk in self.chunks()])
        if len(body) > limit:
            raise TransportError("too long", sent=True)
        return body

    async def piece(self) -> bytes:
        chunk = next(self._left, b"")
        if isinstance(chunk, TransportError):
            raise chunk
        return chunk

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, TransportError):
                raise chunk
            yield chunk

    async def aclose(self) -> None:
        self.closed += 1


class Upstream:
    """`says` or `streams` scripts the answer; what came is in `requests` and `bodies`."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.gone = asyncio.Event()
        """Set when the caller went away before an answer was whole."""
        self._answer: Handler | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as the script says."""
        self.requests.append(request)
        self.bodies.append(await request.read())
        assert self._answer is not None, "the test has not said what to answer"
        try:
            return await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise

    def says(self, body: bytes = b"{}", status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer everything with this."""

        async def answer(_: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=status, body=body, headers=headers or {"Content-Type": "application/json"})

        self._answer = answer

    def fails(self, kind: str, status: int, body: bytes) -> None:
        """Answer everything with an AWS error."""
        self.says(body, status, {"Content-Type": "application/json", "x-amzn-ErrorType": kind})

    def streams(
        self, *steps: Step, headers: Mapping[str, str] | None = None, status: int = 200, cut: bool = False
    ) -> None:
        """Answer everything in these chunks, as `in_chunks` says."""
        self._answer = in_chunks(*steps, headers={"Content-Type": FRAMED, **(headers or {})}, status=status, cut=cut)


def in_chunks(*steps: Step, headers: Mapping[str, str], status: int = 200, cut: bool = False) -> Handler:
    """Answers in chunks, waiting where there is an event; `cut`: drops the connection at the end."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        for step in steps:
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                await response.write(step)
        if cut and request.transport is not None:
            request.transport.abort()
        return response

    return answer


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """The address of a loopback server that hands every request to `handler`, and ends it when its client goes. It
    stops at once when the block is left."""
    runner = web.ServerRunner(web.Server(handler, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running_upstream() -> AsyncIterator[Upstream]:
    """An upstream, listening."""
    upstream = Upstream()
    async with served(upstream.handle) as upstream.url:
        yield upstream


class Unreachable:
    """`Posts` that keeps what it is given and reaches nobody."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    def road(self, url: str) -> Road:
        """Where it leads; nobody goes there."""
        return road_to(url)

    def begin(
        self, road: Road, fields: str, count: int, body: bytes, deadline: float, first_byte: float, between: float
    ) -> Answer | None:
        """No connection is idle."""
        return None

    async def follow(
        self,
        road: Road,
        fields: str,
        count: int,
        body: bytes,
        deadline: float,
        first_byte: float,
        between: float,
        connect_timeout: float,
    ) -> Answer:
        """Always a failure, as when nobody listens."""
        pairs = tuple((name, value) for name, _, value in (line.partition(": ") for line in fields.splitlines()))
        assert len(pairs) == count
        self.sent.append(Outgoing("POST", road.url, pairs, body, first_byte, between))
        raise TransportError("nobody there", sent=False)


class Source:
    """`CredentialSource` that remembers which roles it was asked for."""

    def __init__(self, failure: str | None = None) -> None:
        self.roles: list[AssumedRole | None] = []
        self.given_up: list[AssumedRole | None] = []
        self._failure = failure

    async def get(self, role: AssumedRole | None = None) -> Credentials:
        """The test's credentials, or the failure that was asked for."""
        self.roles.append(role)
        if self._failure is not None:
            raise CredentialsError(self._failure)
        return CREDENTIALS

    def at_hand(self, role: AssumedRole | None, now: datetime) -> Credentials | None:
        """None, so that `get` is asked."""
        return None

    def refused(self, credentials: Credentials, role: AssumedRole | None = None) -> None:
        """Remember of which role."""
        assert credentials is CREDENTIALS
        self.given_up.append(role)


def call(
    body: bytes = b"{}",
    *,
    streaming: bool = False,
    accept: str | None = None,
    attributes: str | None = None,
    trace: Trace | None = None,
    hops: str | None = None,
) -> Call:
    """A call as the pipeline makes it."""
    invocation = Invocation(
        endpoint="front", component=None, streaming=streaming, body=body, request_id="r-1", hops=hops
    )
    return Call(invocation, body, "application/json", accept, attributes, trace)


def soon(seconds: float = 60.0) -> float:
    """A deadline on the loop's clock."""
    return asyncio.get_running_loop().time() + seconds


async def pieces(reply: Reply) -> list[bytes]:
    """All pieces of a streamed reply, which is closed afterwards, also when it breaks."""
    assert reply.stream is not None
    try:
        return [piece async for piece in reply.stream]
    finally:
        await reply.stream.aclose()
