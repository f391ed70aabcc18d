"""The Runtime API on a real socket, over scripted backends: heads, frames, failures, one record a request."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.eventstream import EventStreamBuffer

from backends.base import Reply, Usage
from backends.errors import BackendError
from backends.http.edge import ByteBudget, Exchange, Listener
from policies.facts import FailureFacts, Fault
from policies.table import Target, VllmSpec
from proxy.faces.runtime_api import RuntimeApi
from proxy.handlers.errors import crashed

from ..parts import POLICY, Answer, Pieces, Scripted, services

TARGET = Target("first", "vllm", VllmSpec(("http://127.0.0.1:1",), "m"))
BROKEN = BackendError(FailureFacts(Fault.NETWORK, None), TARGET, "reset")
LATE = BackendError(FailureFacts(Fault.NETWORK, None, timed_out=True), TARGET, "late")


@asynccontextmanager
async def serving(*answers: Answer, budget: int = 4096) -> AsyncIterator[tuple[int, Scripted, io.BytesIO]]:
    backend, log = Scripted(list(answers)), io.BytesIO()
    parts = await services(backend, log=log)
    loop = asyncio.get_running_loop()
    parts = type(parts)(**{name: getattr(parts, name) for name in parts.__slots__} | {"now": loop.time})
    face = RuntimeApi(parts)
    listener = Listener(face.handle, face.malformed, ByteBudget(budget), drain=1.0)
    port = await listener.start("127.0.0.1", 0)
    try:
        yield port, backend, log
    finally:
        await listener.stop()
        parts.log.close()


async def post(port: int, path: str, body: bytes = b"{}", *headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request over one connection; the body comes back without its chunks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    writer.write((head + "".join(f"{line}\r\n" for line in headers) + "\r\n").encode() + body)
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    top, _, rest = raw.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    if fields.get("transfer-encoding") == "chunked":
        rest = unchunked(rest)
    return int(lines[0].split(" ")[1]), fields, rest


def unchunked(data: bytes) -> bytes:
    """The body of a chunked answer. Raises ValueError when its last chunk is missing."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        if int(size, 16) == 0:
            return body
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    raise ValueError


def frames(body: bytes) -> list[tuple[str, bytes]]:
    """Event or exception type and payload of each frame, decoded by botocore."""
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    found = [(event.headers, event.payload) for event in buffer]
    return [(headers.get(":event-type") or headers[":exception-type"], payload) for headers, payload in found]


async def test_a_reply_goes_out_with_the_contracts_head() -> None:
    """The body as it came, the container's type and attributes, AWS's request id, and where it went."""
    reply = Reply(body=b"\x00ok", content_type="text/x", custom_attributes="a=b", variant="blue")
    async with serving(reply) as (port, backend, _):
        status, headers, body = await post(port, "/gw/endpoints/chat/invocations", b"raw", "Content-Type: text/csv")
    assert (status, body, headers["content-type"]) == (200, b"\x00ok", "text/x")
    assert headers["x-amzn-sagemaker-custom-attributes"] == "a=b"
    assert headers["x-amzn-invoked-production-variant"] == "blue"
    assert headers["x-amzn-requestid"] == "request-1"
    assert (headers["x-pointsman-target"], headers["x-pointsman-attempts"]) == ("first", "1")
    assert int(headers["x-pointsman-overhead-us"]) >= 0
    assert headers["x-pointsman-policy"].endswith("/1")
    call = backend.calls[0][1]
    assert (call.body, call.content_type) == (b"raw", "text/csv")


async def test_one_event_is_one_part() -> None:
    """However the upstream cuts its bytes, a client that parses each part by itself sees whole events."""
    stream = Pieces(b"data: a\n", b"\ndata: \xc3", b"\xa9\n\ndata: [DONE]\n\n")
    async with serving(Reply(stream=stream, content_type="text/event-stream")) as (port, _, _):
        status, headers, body = await post(port, "/endpoints/chat/invocations-response-stream")
    assert (status, headers["content-type"]) == (200, "application/vnd.amazon.eventstream")
    assert headers["x-amzn-sagemaker-content-type"] == "text/event-stream"
    assert frames(body) == [
        ("PayloadPart", b"data: a\n\n"),
        ("PayloadPart", "data: é\n\n".encode()),
        ("PayloadPart", b"data: [DONE]\n\n"),
    ]
    assert stream.closed == 1


async def test_what_a_stream_ends_with_is_delivered() -> None:
    """Also where the blank line behind its last event is missing: it ended cleanly, so nothing of it may be lost."""
    stream = Pieces(b"data: a\n\n", b"data: b")
    async with serving(Reply(stream=stream, content_type="text/event-stream")) as (port, _, log):
        _, _, body = await post(port, "/endpoints/chat/invocations-response-stream")
    assert [payload for _, payload in frames(body)] == [b"data: a\n\n", b"data: b\n"]
    assert json.loads(log.getvalue())["bytes_out"] == 17


async def test_a_whole_body_on_the_stream_url_is_one_part() -> None:
    """A container that does not stream still answers in frames."""
    async with serving(Reply(body=b'{"a": 1}', content_type="application/json")) as (port, _, _):
        _, _, body = await post(port, "/endpoints/chat/invocations-response-stream")
    assert frames(body) == [("PayloadPart", b'{"a": 1}')]


@pytest.mark.parametrize(("error", "code"), [(BROKEN, "StreamBroken"), (LATE, "ModelInvocationTimeExceeded")])
async def test_a_stream_that_breaks_ends_in_an_exception_frame(error: BackendError, code: str) -> None:
    """What was whole is delivered, half an event is not, and the end is typed, never clean."""
    stream = Pieces(b"data: a\n\n", b"data: hal", error)
    async with serving(Reply(stream=stream, content_type="text/event-stream")) as (port, _, log):
        _, _, body = await post(port, "/endpoints/chat/invocations-response-stream")
    (first, part), (last, payload) = frames(body)
    assert (first, part, last) == ("PayloadPart", b"data: a\n\n", "ModelStreamError")
    assert json.loads(payload)["ErrorCode"] == code
    line = json.loads(log.getvalue())
    assert (line["status"], line["error_type"], line["parts_out"]) == (200, "ModelStreamError", 1)
    assert 0 < line["first_chunk_seconds"] <= line["seconds"]
    assert line["ended"] in {"deadline", "upstream_broken"}
    assert stream.closed == 1


async def test_a_hook_that_fails_while_streaming_is_no_clean_end() -> None:
    """It counts as the model's own failure, in the middle of its answer."""
    stream = Pieces(b"data: a\n\n", crashed("how"))
    async with serving(Reply(stream=stream, content_type="text/event-stream")) as (port, _, log):
        _, _, body = await post(port, "/endpoints/chat/invocations-response-stream")
    assert [kind for kind, _ in frames(body)] == ["PayloadPart", "ModelStreamError"]
    assert json.loads(log.getvalue())["error_type"] == "ModelStreamError"
    assert b"how" not in body


async def test_a_bug_while_streaming_is_no_clean_end() -> None:
    """Even a failure that nothing foresaw breaks the connection rather than ending the stream."""
    stream = Pieces(b"data: a\n\n", ZeroDivisionError())
    async with serving(Reply(stream=stream, content_type="text/event-stream")) as (port, _, log):
        with pytest.raises((ValueError, ConnectionError)):
            await post(port, "/endpoints/chat/invocations-response-stream")
    assert json.loads(log.getvalue())["ended"] == "failed"


async def test_failures_are_typed_answers() -> None:
    """A failed attempt, a miss and a bug each give AWS's error head and body."""
    refused = FailureFacts(Fault.NETWORK, True)
    async with serving(refused, refused, ZeroDivisionError("insides")) as (port, _, _):
        unavailable = await post(port, "/endpoints/chat/invocations")
        missed = await post(port, "/endpoints/nowhere/invocations")
        bug = await post(port, "/endpoints/alone/invocations")
    assert [answer[1]["x-amzn-errortype"] for answer in (unavailable, missed, bug)] == [
        "ServiceUnavailable",
        "ValidationError",
        "InternalFailure",
    ]
    assert unavailable[1]["x-pointsman-attempts"] == "2"
    assert b"insides" not in bug[2]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
async def test_a_request_that_goes_around_ends(late: bool) -> None:
    """After a few of our own hops, whether its body came with the head or after it; no target is asked again."""
    async with serving(Reply(body=b"ok")) as (port, backend, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
        for hops, status in ((0, b"200"), (99, b"400")):
            writer.write(head + b"x-pointsman-hop: %d\r\nExpect: 100-continue\r\n\r\n" % hops + b"{}" * (not late))
            if late:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
                writer.write(b"{}")
            answered = await reader.readuntil(b"\r\n\r\n")
            assert answered.split(b" ")[1] == status
            if status == b"200":
                assert await reader.readexactly(2) == b"ok"
        writer.close()
    assert len(backend.calls) == 1


@pytest.mark.parametrize(("size", "status"), [(1024, 200), (1025, 413)])
async def test_the_body_limit_is_exact(size: int, status: int) -> None:
    """The last byte that fits is served, one more is a 413."""
    async with serving(Reply(body=b"ok")) as (port, _, _):
        assert (await post(port, "/endpoints/chat/invocations", b"x" * size))[0] == status


async def test_a_full_budget_is_throttling_with_a_time_to_come_back() -> None:
    """SDKs wait and send it again; the log says for want of what, since no target was asked."""
    async with serving(budget=10) as (port, _, log):
        status, headers, _ = await post(port, "/endpoints/chat/invocations", b"x" * 11)
    assert (status, headers["x-amzn-errortype"]) == (429, "ThrottlingException")
    assert headers["x-amz-retry-after"] == "1000"
    assert json.loads(log.getvalue())["why"] == "the bodies in flight leave no room for its own"


@pytest.mark.parametrize("path", ["/endpoints/chat/invocations", "/gw/endpoints/chat/invocations"])
async def test_a_path_is_one_operation_by_one_method(path: str) -> None:
    """Also one that has just been asked by the right one."""
    async with serving(Reply(body=b"ok")) as (port, _, log):
        assert (await post(port, path))[0] == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).split(b" ")[1] == b"404"
        writer.close()
    assert [json.loads(line)["ended"] for line in log.getvalue().splitlines()] == ["done", "refused"]


async def test_each_request_is_one_line_without_its_contents() -> None:
    """Served, refused and unparsable requests are each recorded once; bodies and attributes never."""
    async with serving(Reply(body=b"reply-secret")) as (port, _, log):
        await post(
            port, "/endpoints/chat/invocations", b"body-secret", "X-Amzn-SageMaker-Custom-Attributes: attr-secret"
        )
        await post(port, "/endpoints/a!/invocations")
        await post(port, "/elsewhere")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["ended"] for line in lines] == ["done", "refused", "refused"]
    assert [line["status"] for line in lines][:2] == [200, 400]
    assert "endpointName" in lines[1]["why"]
    assert b"secret" not in log.getvalue()


async def test_a_refused_request_still_says_which_endpoint_it_was_about() -> None:
    """A header that can't be, a body over the limit and one that never came are looked for by the endpoint's name."""
    async with serving() as (port, _, log):
        await post(port, "/endpoints/chat/invocations", b"{}", "X-Amzn-SageMaker-Target-Variant: ?")
        await post(port, "/endpoints/alone/invocations", b"x" * 1025)
        await post(port, "/endpoints/nowhere/invocations", b"x" * 1025)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /endpoints/again/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
        writer.write_eof()
        await reader.read()
        writer.close()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["endpoint"], line["status"]) for line in lines] == [
        ("chat", 400),
        ("alone", 413),
        ("", 413),
        ("again", 499),
    ]


async def test_a_refused_request_still_says_what_its_client_calls_it() -> None:
    """An SDK sends some refusals again, and who looks for its call, or for its trace, has to find them all."""
    named = (
        "amz-sdk-invocation-id: call\r\namz-sdk-request: attempt=2; max=3\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    )
    async with serving() as (port, _, log):
        await post(port, "/endpoints/alone/invocations", b"x" * 1025, named)
        await post(port, "/endpoints/alone/invocations", b"{}", f"X-Amzn-SageMaker-Target-Variant: ?\r\n{named}")
        await post(port, "/nothing", b"{}", named)
        await post(port, "/nothing", b"{}")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    told = [(line.get("sdk_invocation_id"), line["sdk_attempt"], line.get("trace_id")) for line in lines]
    assert told == [("call", 2, "0af7651916cd43dd8448eb211c80319c")] * 3 + [(None, 1, None)]


LONG = b"data: " + b"x" * (6 << 20) + b"\n\n"
"""More than the kernel takes for a client that does not read."""


@pytest.mark.parametrize(
    "answer",
    [
        Reply(stream=Pieces(LONG, LONG), content_type="text/event-stream"),
        Reply(LONG, content_type="text/event-stream"),
    ],
    ids=["as it comes", "whole"],
)
async def test_who_does_not_read_a_stream_is_cut_off_once_its_time_is_over(answer: Reply) -> None:
    """Else a client could hold its place for ever. The target's own limits say nothing of clients."""
    log, over = io.BytesIO(), asyncio.Event()
    loop = asyncio.get_running_loop()
    parts = replace(await services(Scripted([answer]), log=log), now=loop.time)
    face = RuntimeApi(parts)

    async def late(exchange: Exchange) -> None:
        exchange.arrived -= 1e6
        try:
            await face.handle(exchange)
        finally:
            over.set()

    listener = Listener(late, face.malformed, ByteBudget(4096), drain=1.0)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", await listener.start("127.0.0.1", 0)))
    path = b"/endpoints/chat/invocations-response-stream"
    await loop.sock_sendall(client, b"POST " + path + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
    async with asyncio.timeout(30):
        await over.wait()
    client.close()
    await listener.stop()
    parts.log.close()
    assert json.loads(log.getvalue())["ended"] == "client_gone"


async def test_what_goes_wrong_at_the_end_of_a_request_costs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Its answer is out: what frees its target or its handler then is a fault of ours, and told as one."""
    log, loop = io.BytesIO(), asyncio.get_running_loop()
    parts = replace(await services(Scripted([Reply(b"{}", content_type="application/json")]), log=log), now=loop.time)

    class Breaks:
        """A flight whose request can't be counted out."""

        def __init__(self) -> None:
            self._count = 0

        @property
        def count(self) -> int:
            return self._count

        @count.setter
        def count(self, value: int) -> None:
            if value < self._count:
                raise ZeroDivisionError
            self._count = value

    parts.meters._in_flight["chat"] = Breaks()  # type: ignore[assignment]  # one that fails
    face = RuntimeApi(parts)
    listener = Listener(face.handle, face.malformed, ByteBudget(4096), drain=1.0)
    status, *_ = await post(await listener.start("127.0.0.1", 0), "/endpoints/chat/invocations")
    await listener.stop()
    parts.log.close()
    assert (status, json.loads(log.getvalue())["ended"]) == (200, "done")
    assert "what follows a request failed" in caplog.text


ASKS_ITSELF = """
async def before(call):
    return call.reply((await call.invoke(None, "own question")).text())
"""


async def test_tokens_of_what_a_hook_asked_stay_where_it_answers_by_itself(tmp_path: Path) -> None:
    """The route's own model has counted them, and the request's line has them."""
    (tmp_path / "model.py").write_text(ASKS_ITSELF)
    log, loop = io.BytesIO(), asyncio.get_running_loop()
    text = POLICY.replace("chat: {", "chat: {handler: {path: model.py, run: inline}, ", 1)
    counted = Reply(b"{}", content_type="application/json", usage=Usage(3, 5))
    parts = await services(Scripted([counted]), text=text, now=loop.time, log=log, folder=tmp_path)
    face = RuntimeApi(parts)
    listener = Listener(face.handle, face.malformed, ByteBudget(4096), drain=1.0)
    status, *_ = await post(await listener.start("127.0.0.1", 0), "/endpoints/chat/invocations")
    await listener.stop()
    await parts.handlers.stop()
    parts.log.close()
    line = json.loads(log.getvalue())
    assert (status, line["prompt_tokens"], line["completion_tokens"]) == (200, 3, 5)


async def test_garbage_gets_the_contracts_error() -> None:
    """What is no HTTP is a ValidationError with a request id."""
    async with serving() as (port, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"nonsense\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert b"x-amzn-ErrorType: ValidationError" in answer
    assert b"x-amzn-RequestId: request-1" in answer
