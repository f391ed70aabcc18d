"""SageMaker as the platform around a container of one's own: the model's answers come from `container.url`.

Strategy: a call passes the desk as any other (faults, copies), and what a generated answer would have been is asked of
the container's `/invocations`, as SageMaker asks it: with the contract's headers alone, and cut off at the service's
time limit on the emulator's clock. What comes back is wrapped as SageMaker wraps it: an error status into a ModelError,
a chunk of a stream into a PayloadPart, a stream that breaks or is late into a ModelStreamError frame, all but four
headers dropped. Until `/ping` has said 200 once, the endpoint is not there.

Texts for a container that can't be reached, or breaks off before its answer, are not known from AWS.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Protocol, TypeVar

import aiohttp

from ..tasks import start
from .answers import Answer, Headers
from .aws import SAGEMAKER, response_header
from .clock import Clock
from .config import Limits
from .container import Reply
from .desk import Call
from .faults import Effects
from .frames import data_frame, exception_frame
from .sagemaker import UNARY, Invocation, Sagemaker
from .streams import Pace

T = TypeVar("T")

FORWARDED = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
    "SessionId": "X-Amzn-SageMaker-Session-Id",
}
"""The members of a call that reach a container, and under which names."""
HONOURED = ("CustomAttributes", "NewSessionId", "ClosedSessionId")
"""The members of an answer that a container may set, besides its type."""

_UNREACHABLE = "The container could not be reached, or broke off before its answer was whole."
_UNSET = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
"""Headers that the HTTP client would add by itself."""


class Wire(Protocol):
    """A connection that can also be written to while its answer is made. ConnectionError when the client has gone."""

    async def answer(self, answer: Answer) -> None: ...

    async def begin(self, headers: Headers) -> None: ...

    async def put(self, data: bytes) -> None: ...

    async def end(self) -> None: ...


class _LateError(Exception):
    """The service's time limit has passed."""


class Platform:
    """Asks containers; made and closed inside the emulator's loop."""

    def __init__(self, face: Sagemaker, limits: Limits, clock: Clock) -> None:
        self._face = face
        self._limits = limits
        self._clock = clock
        self._healthy: set[str] = set()
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_UNSET,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect),
        )

    async def close(self) -> None:
        """Close every connection to a container."""
        await self._session.close()

    async def answer(self, call: Call, invocation: Invocation, outlet: Wire) -> None:
        """Answer one call from its container. ConnectionError when the client has gone."""
        limit = self._limits.stream if call.stream else self._limits.unary
        late = start(self._clock.rest(limit), name="platform-limit")
        try:
            if not await self._is_healthy(call):
                name = invocation.endpoint
                await outlet.answer(self._face.invalid(f"Endpoint {name} of account {self._face.account} not found."))
            else:
                await self._ask(call, invocation, outlet, late)
        finally:
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)

    async def _is_healthy(self, call: Call) -> bool:
        name = call.hosted.name
        if name not in self._healthy:
            late = start(self._clock.rest(self._limits.ping), name="platform-ping-limit")
            try:
                if await _before(late, self._ping(_url(call, "/ping"))):
                    self._healthy.add(name)
            except (_LateError, aiohttp.ClientError, OSError):
                return False
            finally:
                late.cancel()
                await asyncio.gather(late, return_exceptions=True)
        return name in self._healthy

    async def _ping(self, url: str) -> bool:
        async with self._session.get(url, allow_redirects=False) as answer:
            return answer.status == 200

    async def _ask(self, call: Call, invocation: Invocation, outlet: Wire, late: asyncio.Task[None]) -> None:
        headers = {FORWARDED[name]: value for name, value in invocation.members.items() if name in FORWARDED}
        asking = self._session.post(
            _url(call, "/invocations"), data=call.received.body, headers=headers, allow_redirects=False
        )
        try:
            response = await _before(late, asking)
        except _LateError:
            await outlet.answer(self._face.late(call))
            return
        except (aiohttp.ClientError, OSError):
            await outlet.answer(self._face.model_error(call, 0, _UNREACHABLE))
            return
        try:
            if call.stream and response.status < 300:
                await self._stream(call, response, outlet, late)
            else:
                await outlet.answer(await self._whole(call, response, late))
        finally:
            response.close()

    async def _whole(self, call: Call, response: aiohttp.ClientResponse, late: asyncio.Task[None]) -> Answer:
        try:
            body = await _before(late, response.read())
        except _LateError:
            return self._face.late(call)
        except (aiohttp.ClientError, OSError):
            return self._face.model_error(call, 0, _UNREACHABLE)
        return self._face.unary(call, _reply(response, body))

    async def _stream(
        self, call: Call, response: aiohttp.ClientResponse, outlet: Wire, late: asyncio.Task[None]
    ) -> None:
        planned = self._face.stream(call, _reply(response, b""), Effects(), Pace(0.0, 0.0))
        if isinstance(planned, Answer):  # only for an error status, which is no stream
            await outlet.answer(planned)
            return
        await outlet.begin(planned[0])
        async for frame in _frames(response, late):
            await outlet.put(frame)
        await outlet.end()


async def _frames(response: aiohttp.ClientResponse, late: asyncio.Task[None]) -> AsyncIterator[bytes]:
    """Each chunk as it arrives as one PayloadPart; the failure that ends it, if one does, as a frame as well."""
    try:
        while piece := await _before(late, _chunk(response.content)):
            yield data_frame(SAGEMAKER, piece)
    except _LateError:
        yield _broken("Model invocation exceeded the time limit for streaming.", "ModelInvocationTimeExceeded")
    except (aiohttp.ClientError, OSError):
        # aiohttp tells of the break before it hands out what came before it; SageMaker passes that on.
        if rest := response.content._read_nowait(-1):
            yield data_frame(SAGEMAKER, rest)
        yield _broken("The container broke the stream off.", "StreamBroken")


async def _chunk(content: aiohttp.StreamReader) -> bytes:
    """The next chunk, or what has come of it; empty at the end of the body."""
    while True:
        data, ended = await content.readchunk()
        if data or not ended:
            return data


def _broken(message: str, code: str) -> bytes:
    return exception_frame(SAGEMAKER, "ModelStreamError", {"Message": message, "ErrorCode": code})


def _reply(response: aiohttp.ClientResponse, body: bytes) -> Reply:
    """The container's answer with what SageMaker lets through of its headers."""
    names = (response_header(SAGEMAKER, UNARY, member) for member in HONOURED)
    kept = {name: response.headers[name] for name in names if name in response.headers}
    kind = response.headers.get("Content-Type", "application/octet-stream")
    return Reply(response.status, kind, (body,), headers=kept)


def _url(call: Call, path: str) -> str:
    container = call.hosted.config.container
    if container is None:
        msg = f"{call.hosted.name} has no container of its own"
        raise ValueError(msg)
    return container.url + path


async def _before(late: asyncio.Task[None], awaited: Coroutine[object, object, T]) -> T:
    """What `awaited` comes to. Errors: _LateError when `late` is over first."""
    asking = start(awaited, name="platform-asks")
    try:
        await asyncio.wait({asking, late}, return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            return asking.result()
        raise _LateError
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
