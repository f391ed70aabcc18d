"""Requests that the proxy's own end cuts off: each client is told, each line says who ended it.

The rest of what contracts share is driven by each contract's own tests, test_runtime_api.py first.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from botocore.eventstream import EventStreamBuffer

from backends.base import Reply, Usage
from backends.errors import BackendError
from backends.http.edge import ByteBudget, ClientGone, Listener
from policies.facts import FailureFacts, Fault
from policies.table import Target, VllmSpec
from proxy.faces.front import Front

from ..handlers.customers import handled
from ..parts import Held, Scripted, services
from .listening import send

BOUNDED = """
apiVersion: pointsman/v1
account: "123456789012"
owners: {us: {requests: 1/h}}
targets:
  first: {kind: vllm, url: "http://127.0.0.1:1", model: m}
  full: {kind: vllm, url: "http://127.0.0.1:2", model: m, limit: {min: 1, max: 1, queue: 0}}
endpoints:
  owned: {serve_from: first, owner: us}
  crowded: {serve_from: full}
"""
RUNTIME = b"POST /endpoints/chat/invocations-response-stream"
OPENAI = b"POST /endpoints/chat/openai/v1/chat/completions"
BODY = b'{"stream": true}'
TARGET = Target("first", "vllm", VllmSpec(("http://127.0.0.1:1",), "m"))


class Stalls:
    """A streamed body that says one thing and then nothing more."""

    def __init__(self) -> None:
        self.silent = asyncio.Event()
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        self.silent.set()
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed += 1


class Telling(Held):
    """A backend that never answers, and tells that it was asked."""

    def __init__(self) -> None:
        super().__init__(Reply(b""))
        self.asked = asyncio.Event()

    async def invoke(self, *given: object, **more: object) -> Reply:
        self.asked.set()
        await self.go.wait()
        return self.answer


class Late:
    """A streamed body that says one thing, and half a minute later breaks off, or its client leaves."""

    def __init__(self, ahead: list[float], end: Exception) -> None:
        self._ahead = ahead
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._ahead[0] += 1.0
        yield b"data: 1\n\n"
        self._ahead[0] += 30.0
        raise self._end

    async def aclose(self) -> None:
        """There is nothing to close."""


class Tells:
    """A streamed body that tells its tokens, and then ends or breaks off."""

    usage: Usage | None = None

    def __init__(self, whole: bool) -> None:
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        self.usage = Usage(7, 3)
        if not self._whole:
            raise BackendError(FailureFacts(Fault.NETWORK, None), TARGET, "reset")

    async def aclose(self) -> None:
        """There is nothing to close."""


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        (BackendError(FailureFacts(Fault.NETWORK, None, timed_out=True), TARGET, "silent"), "deadline"),
        (BackendError(FailureFacts(Fault.NETWORK, None), TARGET, "reset"), "upstream_broken"),
        (ClientGone(), "client_gone"),
    ],
)
async def test_the_wait_for_what_never_came_was_the_targets(end: Exception, ended: str) -> None:
    """However a stream ends that said nothing more, the hop is not told to have taken that time."""
    log, loop, ahead = io.BytesIO(), asyncio.get_running_loop(), [0.0]
    backend = Scripted([Reply(b"", Late(ahead, end), "text/event-stream")])
    parts = await services(backend, log=log, now=lambda: loop.time() + ahead[0])
    face = Front(parts, None)
    listener = Listener(face.handle, face.malformed, ByteBudget(4096), drain=0.0)
    sent = b"%b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 16\r\n\r\n%b" % (RUNTIME, BODY)
    await send(await listener.start("127.0.0.1", 0), sent)
    await listener.stop()
    parts.afterwards.now()
    parts.log.close()
    line = json.loads(log.getvalue())
    assert line["ended"] == ended
    assert line["backend_seconds"] >= 31.0
    assert line["overhead_seconds"] < 30.0


@pytest.mark.parametrize("whole", [True, False])
async def test_what_a_stream_tells_of_tokens_is_recorded(whole: bool) -> None:
    """Its head has long been sent by then; log, meters and the owner's quota have it all the same, also of one that
    broke off after it."""
    log, loop, told = io.BytesIO(), asyncio.get_running_loop(), Tells(whole)
    backend = Scripted([Reply(b"", told, "text/event-stream", counts=told)])
    parts = await services(backend, log=log, now=loop.time, text=BOUNDED.replace("requests", "tokens"))
    face = Front(parts, None)
    listener = Listener(face.handle, face.malformed, ByteBudget(4096), drain=0.0)
    port = await listener.start("127.0.0.1", 0)
    sent = b"%b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 16\r\n\r\n%b"
    sent %= RUNTIME.replace(b"chat", b"owned"), BODY
    await send(port, sent)
    assert (await send(port, sent)).status == 429
    await listener.stop()
    parts.afterwards.now()
    parts.log.close()
    line = json.loads(log.getvalue().splitlines()[0])
    assert (line["prompt_tokens"], line["completion_tokens"]) == (7, 3)
    assert line["ended"] == ("done" if whole else "upstream_broken")
    counter = 'pointsman_output_tokens_total{endpoint="owned",component="",target="first",kind="vllm"} 3'
    assert counter in parts.meters.render({})


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, [(400, "ValidationError", "refused")]),
        (408, [(408, "ValidationError", "refused")]),
        (503, [(503, "ServiceUnavailable", "failed")]),
        (500, []),
    ],
)
async def test_what_never_became_a_request_is_told_once(status: int, told: list[tuple[object, ...]]) -> None:
    """As refused, or as failed where the proxy had no place for it; our own bug was told with the request it broke."""
    log = io.BytesIO()
    parts = await services(Scripted([]), log=log)
    Front(parts, None).malformed(status, "the parser's word")
    parts.log.close()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["status"], line["error_type"], line["ended"]) for line in lines] == told
    assert all("the parser's word" in line["why"] for line in lines)
    assert (f'status="{status}"' in parts.meters.render({})) == bool(told)


async def cut_off(backend: Scripted, sent: bytes, until: asyncio.Event) -> tuple[bytes, dict[str, object]]:
    """What a client hears, and what is logged, where the listener stops after `until` and leaves no time to drain."""
    log, loop = io.BytesIO(), asyncio.get_running_loop()
    parts = replace(await services(backend, log=log), now=loop.time)
    face = Front(parts, None)
    listener = Listener(face.handle, face.malformed, ByteBudget(4096), drain=0.0)
    asking = asyncio.ensure_future(send(await listener.start("127.0.0.1", 0), sent))
    await until.wait()
    await listener.stop()
    heard = await asking
    parts.afterwards.now()
    parts.log.close()
    return heard.body, json.loads(log.getvalue())


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_stream_that_the_end_cuts_off_says_so(version: bytes) -> None:
    """The body's end of HTTP/1.0 is the connection's, which would look whole. It is not the client who left."""
    stream = Stalls()
    backend = Scripted([Reply(b"", stream, "text/event-stream")])
    sent = b"%b HTTP/%b\r\nHost: h\r\nContent-Length: 16\r\n\r\n%b" % (RUNTIME, version, BODY)
    body, line = await cut_off(backend, sent, stream.silent)
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    *_, last = buffer
    assert last.headers[":exception-type"] == "ModelStreamError"
    assert (line["ended"], line["error_type"], line["status"]) == ("failed", "ModelStreamError", 200)
    assert stream.closed == 1


async def test_a_stream_of_openais_says_so_in_an_event() -> None:
    """Without `[DONE]` behind it."""
    stream = Stalls()
    backend = Scripted([Reply(b"", stream, "text/event-stream")])
    sent = OPENAI + b" HTTP/1.0\r\nHost: h\r\nContent-Length: 16\r\n\r\n" + BODY
    body, line = await cut_off(backend, sent, stream.silent)
    assert body.startswith(b'data: 1\n\ndata: {"error":')
    assert line["ended"] == "failed"


async def test_an_answer_that_never_began_is_a_lost_one() -> None:
    """A 424, which SDKs do not send again: the request may have run. Nothing at all they would send again."""
    backend = Telling()
    sent = b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    body, line = await cut_off(backend, sent, backend.asked)
    assert json.loads(body)["OriginalStatusCode"] == 502
    assert (line["ended"], line["error_type"], line["status"]) == ("failed", "ModelError", 424)
    (asked,) = cast("list[dict[str, object]]", line["attempts"])
    assert (asked["failure"], asked["given_up"]) == ("given up: the proxy ended", True)  # and no client has left


async def test_who_is_still_sending_has_asked_for_nothing() -> None:
    """Its line says that it was cut off; of what it asked for nothing is known."""
    reading = asyncio.Event()
    log, loop = io.BytesIO(), asyncio.get_running_loop()
    parts = replace(await services(Scripted(), log=log), now=loop.time)
    face = Front(parts, None)

    async def handle(exchange: object) -> None:
        loop.call_soon(reading.set)
        await face.handle(exchange)  # type: ignore[arg-type] # it is one

    listener = Listener(handle, face.malformed, ByteBudget(4096), drain=0.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", await listener.start("127.0.0.1", 0))
    writer.write(b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n{}")
    await reading.wait()
    await listener.stop()
    assert await reader.read() == b""
    writer.close()
    parts.afterwards.now()
    parts.log.close()
    assert json.loads(log.getvalue())["ended"] == "failed"


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("owned", "endpoints.owned.serve_from: first; shed: owner us is over its requests"),
        ("crowded", "endpoints.crowded.serve_from: full; shed: the queue is full"),
    ],
)
async def test_whom_we_turn_away_is_told_why_in_the_log(endpoint: str, why: str) -> None:
    """The client is told the same 429 as of a target that throttles, so the line has to say whose it was."""
    log, backend = io.BytesIO(), Telling()
    parts = replace(await services(backend, text=BOUNDED, log=log), now=asyncio.get_running_loop().time)
    face = Front(parts, None)
    listener = Listener(face.handle, face.malformed, ByteBudget(4096), drain=1.0)
    port = await listener.start("127.0.0.1", 0)
    sent = b"POST /endpoints/%b/invocations HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    first = asyncio.ensure_future(send(port, sent % endpoint.encode()))
    await backend.asked.wait()
    assert (await send(port, sent % endpoint.encode())).status == 429
    backend.go.set()
    await first
    await listener.stop()
    parts.afterwards.now()
    parts.log.close()
    assert json.loads(log.getvalue().splitlines()[0])["why"] == why


async def test_an_answer_of_the_handlers_own_leaves_the_connection_as_it_was(tmp_path: Path) -> None:
    """No target was asked, so none has to be given back; the next request comes over the same connection."""
    async with handled(tmp_path, "async def before(call):\n    return call.reply(b'mine')\n") as proxy:
        face = Front(proxy.services, None)
        listener = Listener(face.handle, face.malformed, ByteBudget(4096), drain=0.0)
        reader, writer = await asyncio.open_connection("127.0.0.1", await listener.start("127.0.0.1", 0))
        for _ in range(2):
            writer.write(b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(4) == b"mine"
        writer.close()
        await listener.stop()
