"""The kind `vllm` over real sockets, against a server that a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace

import pytest
from aiohttp import web

from backends.base import Reply, Trace, Usage
from backends.errors import BackendError
from backends.http.transport import HttpTransport
from backends.vllm import ERROR_LIMIT, VllmBackend
from backends.wire.restjson import LONGEST_WAIT
from backends.wire.sagemaker import RESPONSE_LIMIT
from backends.wire.usage import counted
from policies.facts import FailureFacts, Fault
from policies.table import EndpointSpec, Target

from .engine import BODY, Engine, call, running_engine, target
from .upstream import pieces, soon

DONE = b"data: [DONE]\n\n"


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """A server on a free port."""
    async with running_engine() as running:
        yield running


@pytest.fixture
async def backend() -> AsyncIterator[VllmBackend]:
    """The backend over the real transport."""
    transport = HttpTransport()
    yield VllmBackend(transport)
    await transport.aclose()


async def fails(attempt: Awaitable[object]) -> BackendError:
    """The failure of an attempt."""
    with pytest.raises(BackendError) as raised:
        await attempt
    return raised.value


async def test_the_body_goes_out_untouched(engine: Engine, backend: VllmBackend) -> None:
    """The engine gets the body's very bytes at /invocations, as JSON, with the model named in the adapter header."""
    await backend.invoke(target(engine.url), call(), soon())
    (request,) = engine.requests
    assert (request.method, request.path) == ("POST", "/invocations")
    assert engine.bodies == [BODY]
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Amzn-SageMaker-Adapter-Identifier"] == "base"


async def test_an_adapter_is_named_instead_of_the_model(engine: Engine, backend: VllmBackend) -> None:
    """A target with an adapter names the adapter."""
    await backend.invoke(target(engine.url, adapter="apex-2026-10"), call(), soon())
    assert engine.requests[0].headers.getall("X-Amzn-SageMaker-Adapter-Identifier") == ["apex-2026-10"]


async def test_what_the_client_sent_of_headers(engine: Engine, backend: VllmBackend) -> None:
    """Content-Type and Accept are the client's, the trace goes on; attributes and session stay here."""
    asked = replace(
        call(content_type="application/jsonlines", accept="text/event-stream"), trace=Trace("00-aa-bb-01", "v=1")
    )
    await backend.invoke(target(engine.url), asked, soon())
    headers = {name.lower(): value for name, value in engine.requests[0].headers.items()}
    assert headers["content-type"] == "application/jsonlines"
    assert headers["accept"] == "text/event-stream"
    assert (headers["traceparent"], headers["tracestate"]) == ("00-aa-bb-01", "v=1")
    assert set(headers) == {
        "host",
        "content-length",
        "content-type",
        "accept",
        "traceparent",
        "tracestate",
        "x-amzn-sagemaker-adapter-identifier",
        "x-pointsman-hop",
    }


async def test_the_chosen_replica_is_asked(engine: Engine, backend: VllmBackend) -> None:
    """`replica` picks the address."""
    await backend.invoke(target("http://127.0.0.1:1", engine.url), call(), soon(), replica=1)
    assert len(engine.requests) == 1


async def test_a_whole_answer(engine: Engine, backend: VllmBackend) -> None:
    """A blocking call returns the whole body with what the container said of it; its tokens are counted later."""
    body = b'{"usage": {"prompt_tokens": 5, "completion_tokens": 2}}'
    engine.says(
        body=body, Content_Type="application/json", X_Amzn_SageMaker_Custom_Attributes="a=1", X_Request_Id="r-1"
    )
    assert await backend.invoke(target(engine.url), call(), soon()) == Reply(
        body=body,
        content_type="application/json",
        custom_attributes="a=1",
        upstream_request_id="r-1",
        uncounted=body,
    )


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_a_whole_answer_that_comes_in_pieces(engine: Engine, backend: VllmBackend, kind: str) -> None:
    """What has not come with the head is waited for."""
    goes_on = asyncio.Event()
    engine.streams(b'{"a":', goes_on, b"1}", content_type=kind)
    asking = asyncio.ensure_future(backend.invoke(target(engine.url), call(), soon()))
    while not engine.requests:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    goes_on.set()
    reply = await asking
    assert (reply.body, reply.content_type) == (b'{"a":1}', kind)


async def test_events_on_a_blocking_call_are_its_body(engine: Engine, backend: VllmBackend) -> None:
    """When the body asked for a stream, a blocking call returns all its events as one body of their type."""
    engine.streams(b"data: 1\n\n", b"data: 2\n\n" + DONE)
    reply = await backend.invoke(target(engine.url), call(), soon())
    assert (reply.body, reply.stream) == (b"data: 1\n\ndata: 2\n\n" + DONE, None)
    assert reply.content_type == "text/event-stream; charset=utf-8"


async def test_a_stream_is_a_stream(engine: Engine, backend: VllmBackend) -> None:
    """A streaming call returns with the first piece, while the engine has not yet sent the second."""
    acknowledged = asyncio.Event()
    engine.streams(b"data: 1\n\n", acknowledged, b"data: 2\n\n", DONE)
    reply = await backend.invoke(target(engine.url), call(streaming=True), soon())
    assert reply.stream is not None
    assert reply.content_type == "text/event-stream; charset=utf-8"
    arriving = aiter(reply.stream)
    assert await anext(arriving) == b"data: 1\n\n"
    acknowledged.set()
    assert b"".join(await pieces(reply)) == b"data: 2\n\n" + DONE


async def test_it_waits_for_the_first_piece(engine: Engine, backend: VllmBackend) -> None:
    """At the headers alone a streaming call has not returned: a failure before the first piece may go elsewhere."""
    engine.streams(cut=True)
    error = await fails(backend.invoke(target(engine.url), call(streaming=True), soon()))
    assert error.facts == FailureFacts(Fault.NETWORK, retry_safe=None)


async def test_a_plain_body_on_a_streaming_call(engine: Engine, backend: VllmBackend) -> None:
    """An answer that is no stream comes as the only piece of one."""
    engine.says(body=b'{"a": 1}', Content_Type="application/json")
    reply = await backend.invoke(target(engine.url), call(streaming=True), soon())
    assert reply.content_type == "application/json"
    assert await pieces(reply) == [b'{"a": 1}']


async def test_an_empty_answer_is_an_empty_stream(engine: Engine, backend: VllmBackend) -> None:
    """A body without bytes is a stream without pieces."""
    engine.says(body=b"", Content_Type="application/json")
    assert await pieces(await backend.invoke(target(engine.url), call(streaming=True), soon())) == []


@pytest.mark.parametrize("end", [b"", b"data: {}\n\n", b"data: [DONE", b"data: [DONE]\n\ndata: more\n\n"])
async def test_an_openai_stream_without_its_end_is_broken(engine: Engine, backend: VllmBackend, end: bytes) -> None:
    """A properly closed event stream of an OpenAI dialect without `[DONE]` at its end is a failure, on both calls."""
    engine.streams(b"data: 1\n\n", end or b"data: 2\n\n")
    reply = await backend.invoke(target(engine.url), call(streaming=True), soon())
    for error in (await fails(pieces(reply)), await fails(backend.invoke(target(engine.url), call(), soon()))):
        assert error.facts == FailureFacts(Fault.NETWORK, retry_safe=None)
        assert error.said is not None
        assert (error.said.type, error.said.error_code) == ("ModelStreamError", "StreamBroken")


@pytest.mark.parametrize("end", [DONE, b"data:[DONE]\r\n\r\n", b"data: [DONE]"])
async def test_the_end_is_known_in_any_pieces(engine: Engine, backend: VllmBackend, end: bytes) -> None:
    """`[DONE]` is recognised with any line end, and when it arrives in two pieces."""
    acknowledged = asyncio.Event()
    engine.streams(b"data: " + b"x" * 100 + b"\n\n" + end[:8], acknowledged, end[8:])
    reply = await backend.invoke(target(engine.url, speaks="openai-completions"), call(streaming=True), soon())
    acknowledged.set()
    assert b"".join(await pieces(reply)).endswith(end[8:])


@pytest.mark.parametrize(("speaks", "content_type"), [("opaque", "text/event-stream"), ("openai-chat", "text/plain")])
async def test_other_streams_end_when_they_end(
    engine: Engine, backend: VllmBackend, speaks: str, content_type: str
) -> None:
    """A stream of which nothing is known but its bytes ends with its connection's proper end."""
    engine.streams(b"data: 1\n\n", content_type=content_type)
    reply = await backend.invoke(target(engine.url, speaks=speaks), call(streaming=True), soon())
    assert await pieces(reply) == [b"data: 1\n\n"]


@pytest.mark.parametrize("speaks", ["openai-chat", "opaque"])
async def test_a_streams_counts_are_known_at_its_end(engine: Engine, backend: VllmBackend, speaks: str) -> None:
    """What the engine tells in its last event, also where the policy says nothing of the dialect."""
    engine.streams(b'data: 1\n\ndata: {"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n' + DONE)
    reply = await backend.invoke(target(engine.url, speaks=speaks), call(streaming=True), soon())
    await pieces(reply)
    assert counted(reply) == Usage(7, 3)


async def test_a_tgi_streams_counts_are_known_at_its_end(engine: Engine, backend: VllmBackend) -> None:
    """TGI's own server answers `/invocations` as well."""
    engine.streams(b'data:{"generated_text":"a","details":{"generated_tokens":3,"input_length":7}}\n\n')
    reply = await backend.invoke(target(engine.url, speaks="tgi"), call(streaming=True), soon())
    await pieces(reply)
    assert counted(reply) == Usage(7, 3)


async def test_a_cut_stream_is_a_failure(engine: Engine, backend: VllmBackend) -> None:
    """A connection that is cut in the middle gives what had arrived, then a failure that may have been billed."""
    acknowledged = asyncio.Event()
    engine.streams(b"data: 1\n\n", acknowledged, cut=True)
    reply = await backend.invoke(target(engine.url), call(streaming=True), soon())
    assert reply.stream is not None
    assert await anext(aiter(reply.stream)) == b"data: 1\n\n"
    acknowledged.set()
    error = await fails(pieces(reply))
    assert error.facts == FailureFacts(Fault.NETWORK, retry_safe=None)
    blocking = await fails(backend.invoke(target(engine.url), call(), soon()))
    assert blocking.facts == FailureFacts(Fault.NETWORK, retry_safe=None)


async def test_closing_a_stream_frees_the_engine(engine: Engine, backend: VllmBackend) -> None:
    """A client that goes away ends the generation: the connection is closed, not read to its end."""
    engine.streams(b"data: 1\n\n", asyncio.Event())
    reply = await backend.invoke(target(engine.url), call(streaming=True), soon())
    assert reply.stream is not None
    await reply.stream.aclose()
    await reply.stream.aclose()
    await asyncio.wait_for(engine.gone.wait(), 60)


async def test_giving_up_before_the_first_piece_frees_the_engine(engine: Engine, backend: VllmBackend) -> None:
    """A call that is cancelled while it waits for the first piece leaves no connection behind."""
    started, never = asyncio.Event(), asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        started.set()
        await never.wait()
        return response

    engine.answer = answer
    async with asyncio.TaskGroup() as group:
        attempt = group.create_task(backend.invoke(target(engine.url), call(streaming=True), soon()))
        await started.wait()
        attempt.cancel()
    await asyncio.wait_for(engine.gone.wait(), 60)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("status", "facts"),
    [
        (400, FailureFacts(Fault.MODEL, retry_safe=False)),
        (404, FailureFacts(Fault.MODEL, retry_safe=False)),
        (422, FailureFacts(Fault.MODEL, retry_safe=False)),
        (429, FailureFacts(Fault.MODEL, retry_safe=True, throttled=True)),
        (500, FailureFacts(Fault.MODEL, retry_safe=None)),
        (502, FailureFacts(Fault.MODEL, retry_safe=None)),
        (503, FailureFacts(Fault.MODEL, retry_safe=True)),
        (504, FailureFacts(Fault.MODEL, retry_safe=None)),
    ],
)
async def test_error_answers(
    engine: Engine, backend: VllmBackend, status: int, facts: FailureFacts, streaming: bool
) -> None:
    """An error status is the model's answer: its text is kept, and the status says if it may be sent again."""
    engine.says(status, b'{"error": "\xff no"}', X_Request_Id="r-1")
    error = await fails(backend.invoke(target(engine.url), call(streaming=streaming), soon()))
    assert (error.facts, error.request_id) == (facts, "r-1")
    assert error.said is not None
    assert (error.said.status, error.said.message) == (status, '{"error": "\ufffd no"}')
    assert "no" not in error.cause


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), (" 0 ", 0.0), ("999999", LONGEST_WAIT), ("soon", None), ("-1", None), ("", None)]
)
async def test_retry_after(engine: Engine, backend: VllmBackend, value: str, seconds: float | None) -> None:
    """A wait in seconds is passed on, up to an hour; anything else is not a wait."""
    engine.says(503, Retry_After=value)
    error = await fails(backend.invoke(target(engine.url), call(), soon()))
    assert error.facts.retry_after == seconds


async def test_a_long_error_is_cut(engine: Engine, backend: VllmBackend) -> None:
    """Of an endless error text the beginning is kept and the connection is dropped."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 60_000)

    engine.answer = answer
    error = await fails(backend.invoke(target(engine.url), call(), soon()))
    assert error.said is not None
    assert error.said.message == "x" * ERROR_LIMIT
    await asyncio.wait_for(engine.gone.wait(), 60)


async def test_an_error_that_breaks_off_is_judged_by_its_head(engine: Engine, backend: VllmBackend) -> None:
    """When an error's text does not arrive, its status still counts."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=429, headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"slow")
        assert request.transport is not None
        request.transport.abort()
        return response

    engine.answer = answer
    error = await fails(backend.invoke(target(engine.url), call(), soon()))
    assert error.facts == FailureFacts(Fault.MODEL, retry_safe=True, throttled=True)


async def test_too_long_an_answer(engine: Engine, backend: VllmBackend) -> None:
    """A blocking answer of the limit is returned; one byte more is a failure."""
    engine.says(body=bytes(RESPONSE_LIMIT))
    reply = await backend.invoke(target(engine.url), call(), soon(15))
    assert len(reply.body) == RESPONSE_LIMIT
    engine.says(body=bytes(RESPONSE_LIMIT + 1))
    error = await fails(backend.invoke(target(engine.url), call(), soon(15)))
    assert error.facts == FailureFacts(Fault.NETWORK, retry_safe=None)
    assert str(RESPONSE_LIMIT) in error.cause


async def test_nobody_there(backend: VllmBackend, unused_port: int) -> None:
    """A refused connection may be tried elsewhere: nothing has run."""
    error = await fails(backend.invoke(target(f"http://127.0.0.1:{unused_port}"), call(), soon()))
    assert error.facts == FailureFacts(Fault.NETWORK, retry_safe=True)


@pytest.fixture
async def unused_port() -> int:
    """A port on which nothing listens any more."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
    return port


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_deadline_binds_the_wait_for_an_answer(engine: Engine, backend: VllmBackend, streaming: bool) -> None:
    """An engine that is silent is left at the deadline, and may have run."""
    engine.streams(asyncio.Event())
    error = await fails(backend.invoke(target(engine.url), call(streaming=streaming), soon(1.5)))
    assert error.facts == FailureFacts(Fault.NETWORK, retry_safe=None, timed_out=True)
    await asyncio.wait_for(engine.gone.wait(), 60)


async def test_the_deadline_binds_the_stream(engine: Engine, backend: VllmBackend) -> None:
    """A stream that stalls is left at the deadline of the call."""
    engine.streams(b"data: 1\n\n", asyncio.Event())
    reply = await backend.invoke(target(engine.url), call(streaming=True), soon(2.0))
    error = await fails(pieces(reply))
    assert error.facts.timed_out


async def test_a_target_of_another_kind_is_a_bug(backend: VllmBackend) -> None:
    """A target that is no vLLM engine is refused as the programming error it is."""
    with pytest.raises(TypeError, match="not a vLLM engine"):
        await backend.invoke(Target("t", "endpoint", EndpointSpec("e")), call(), soon())
