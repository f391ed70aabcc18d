"""The kind `endpoint` over real sockets: against a scripted upstream, and against the stand-in of SageMaker."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backends.aws import StaticCredentials
from backends.base import Reply, Trace, Usage
from backends.endpoint import EndpointBackend
from backends.errors import BackendError, Said
from backends.http.transport import HttpTransport
from backends.wire.eventstream import encode, exception_frame, payload_part
from backends.wire.sagemaker import RESPONSE_LIMIT
from backends.wire.sigv4 import Credentials, Signer
from backends.wire.usage import counted
from policies.facts import FailureFacts, Fault
from policies.table import AssumedRole, BedrockSpec, EndpointSpec, Target
from tests.standins import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Standin

from .upstream import NOW, Source, Step, Unreachable, Upstream, call, pieces, soon

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def target(url: str, endpoint: str = "back", **spec: object) -> Target:
    """A target of this kind behind `url`."""
    made = replace(EndpointSpec(endpoint, url=url), **spec)  # type: ignore[arg-type] # whatever the test sets
    return Target("t", "endpoint", made, region=REGION)


def scripted(transport: HttpTransport, source: Source | None = None) -> EndpointBackend:
    return EndpointBackend(transport, source or Source(), Signer(), lambda: NOW)


def against_standin(transport: HttpTransport) -> EndpointBackend:
    credentials = StaticCredentials(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY))
    return EndpointBackend(transport, credentials, Signer(), lambda: datetime.now(UTC))


async def failure(backend: EndpointBackend, where: Target, *, streaming: bool = False) -> BackendError:
    """The failure that a call ends in before it has a reply."""
    with pytest.raises(BackendError) as caught:
        await backend.invoke(where, call(streaming=streaming), soon())
    return caught.value


async def test_a_blocking_call_is_passed_both_ways(upstream: Upstream, transport: HttpTransport) -> None:
    """Path, headers and bytes go out as the contract says, and come back so."""
    upstream.says(
        b"\x00\xff",
        headers={
            "Content-Type": "text/csv",
            "x-Amzn-Invoked-Production-Variant": "v1",
            "X-Amzn-SageMaker-Custom-Attributes": "t=2",
            "x-amzn-RequestId": "up-1",
        },
    )
    source = Source()
    role = AssumedRole("arn:aws:iam::1:role/r", "ext")
    where = target(f"{upstream.url}/gw", component="ic-1", role=role)
    reply = await scripted(transport, source).invoke(where, call(b"\xff\x00", attributes="t=1"), soon())
    assert reply == Reply(
        body=b"\x00\xff", content_type="text/csv", custom_attributes="t=2", variant="v1", upstream_request_id="up-1"
    )
    (request,) = upstream.requests
    assert (request.method, request.raw_path, upstream.bodies) == (
        "POST",
        "/gw/endpoints/back/invocations",
        [b"\xff\x00"],
    )
    assert request.headers["X-Amzn-SageMaker-Inference-Component"] == "ic-1"
    assert request.headers["X-Amzn-SageMaker-Custom-Attributes"] == "t=1"
    assert "/us-east-1/sagemaker/aws4_request" in request.headers["Authorization"]
    assert source.roles == [role]


@pytest.mark.parametrize(
    ("speaks", "usage"), [("openai-chat", Usage(5, 2)), ("openai-completions", Usage(5, 2)), ("opaque", None)]
)
async def test_tokens_are_counted_where_the_declared_dialect_tells_them(
    upstream: Upstream, transport: HttpTransport, speaks: str, usage: Usage | None
) -> None:
    """An endpoint of OpenAI's dialect tells its tokens as an engine does; nobody looks into an opaque body."""
    upstream.says(b'{"usage": {"prompt_tokens": 5, "completion_tokens": 2}}')
    where = replace(target(upstream.url), speaks=speaks)
    assert counted(await scripted(transport).invoke(where, call(), soon())) == usage


async def test_an_unsigned_target_needs_no_credentials(upstream: Upstream, transport: HttpTransport) -> None:
    """A component host of one's own may go without signatures."""
    upstream.says()
    source = Source("none")
    await scripted(transport, source).invoke(target(upstream.url, sign=False), call(), soon())
    assert "Authorization" not in upstream.requests[0].headers
    assert source.roles == []


async def test_trace_and_hops_go_to_a_target_with_a_url(upstream: Upstream, transport: HttpTransport) -> None:
    """As headers, and not into the attributes unless the target opts in."""
    upstream.says()
    made = call(attributes="a=1", trace=Trace(PARENT, "s=1"), hops="1")
    await scripted(transport).invoke(target(upstream.url), made, soon())
    sent = upstream.requests[0].headers
    assert (sent["traceparent"], sent["tracestate"], sent["x-pointsman-hop"]) == (PARENT, "s=1", "2")
    assert sent["X-Amzn-SageMaker-Custom-Attributes"] == "a=1"


@pytest.mark.parametrize(
    ("trace", "attributes"), [(Trace(PARENT), f"a=1,traceparent={PARENT}"), (None, "a=1")], ids=["trace", "none"]
)
async def test_a_target_can_take_the_trace_in_its_attributes(
    upstream: Upstream, transport: HttpTransport, trace: Trace | None, attributes: str
) -> None:
    """SageMaker passes no other header on to the container."""
    upstream.says()
    made = call(attributes="a=1", trace=trace)
    await scripted(transport).invoke(target(upstream.url, trace_attributes=True), made, soon())
    assert upstream.requests[0].headers["X-Amzn-SageMaker-Custom-Attributes"] == attributes


async def test_without_a_url_it_is_aws_that_is_called() -> None:
    """The regional host over TLS, which gets neither hop count nor trace."""
    nobody = Unreachable()
    where = Target("t", "endpoint", EndpointSpec("back"), region=REGION)
    with pytest.raises(BackendError, match="nobody there"):
        await EndpointBackend(nobody, Source(), Signer(), lambda: NOW).invoke(where, call(trace=Trace("p")), soon())
    (sent,) = nobody.sent
    assert sent.url == "https://runtime.sagemaker.us-east-1.amazonaws.com/endpoints/back/invocations"
    assert {name.lower() for name, _ in sent.headers}.isdisjoint({"x-pointsman-hop", "traceparent"})


async def test_another_kind_of_target_is_a_bug(transport: HttpTransport) -> None:
    """A spec of another kind is a programming error, not a failure of a target."""
    wrong = Target("t", "bedrock", BedrockSpec("arn"))
    with pytest.raises(TypeError, match="t is not an endpoint"):
        await scripted(transport).invoke(wrong, call(), soon())


async def test_errors_are_read(upstream: Upstream, transport: HttpTransport) -> None:
    """A container's error comes out unwrapped, with facts; the connection is free again."""
    said = {"Content-Type": "application/json", "x-amzn-ErrorType": "ModelError", "x-amzn-RequestId": "up-1"}
    upstream.says(b'{"OriginalStatusCode":404,"OriginalMessage":"no"}', 424, said)
    for streaming in (False, True):
        error = await failure(scripted(transport), target(upstream.url), streaming=streaming)
        assert error.facts == FailureFacts(Fault.MODEL, retry_safe=False)
        assert (error.said, error.request_id) == (Said(404, "no", "ModelError"), "up-1")
    assert len({request.transport for request in upstream.requests}) == 1


async def test_an_answer_that_breaks_off_may_have_run(upstream: Upstream, transport: HttpTransport) -> None:
    """Half an answer is none."""
    upstream.streams(b"half", headers={"Content-Type": "application/json"}, cut=True)
    error = await failure(scripted(transport), target(upstream.url))
    assert error.facts == FailureFacts(Fault.NETWORK, None)


async def test_an_answer_without_end_is_refused(upstream: Upstream, transport: HttpTransport) -> None:
    """More than a blocking answer may hold is not collected."""
    upstream.says(b"x" * (RESPONSE_LIMIT + 1))
    error = await failure(scripted(transport), target(upstream.url))
    assert error.facts == FailureFacts(Fault.NETWORK, None)


async def test_a_stream_is_passed_on_as_it_arrives(upstream: Upstream, transport: HttpTransport) -> None:
    """The reply is there with the first piece, and the next one is sent only after the first was taken."""
    taken = asyncio.Event()
    upstream.streams(
        payload_part(b"a"),
        taken,
        payload_part(b"b"),
        headers={"X-Amzn-SageMaker-Content-Type": "text/event-stream", "x-amzn-RequestId": "up-1"},
    )
    reply = await scripted(transport).invoke(target(upstream.url), call(streaming=True), soon())
    assert (reply.content_type, reply.upstream_request_id) == ("text/event-stream", "up-1")
    assert reply.stream is not None
    stream = aiter(reply.stream)
    assert await anext(stream) == b"a"
    taken.set()
    assert [piece async for piece in stream] == [b"b"]
    await reply.stream.aclose()
    assert upstream.requests[0].raw_path == "/endpoints/back/invocations-response-stream"


async def test_an_empty_stream_is_an_answer(upstream: Upstream, transport: HttpTransport) -> None:
    """A container that sends nothing, and ends properly, has answered."""
    upstream.streams()
    assert await pieces(await scripted(transport).invoke(target(upstream.url), call(streaming=True), soon())) == []


@pytest.mark.parametrize(
    ("speaks", "content_type", "last", "whole"),
    [
        ("openai-chat", "text/event-stream; charset=utf-8", b"data: [DONE]\n\n", True),
        ("openai-completions", "text/event-stream", b"data: {}\n\n", False),
        ("openai-chat", "application/json", b"{}", True),
        ("tgi", "text/event-stream", b"data: {}\n\n", True),
    ],
)
async def test_a_declared_stream_ends_at_its_mark(
    upstream: Upstream, transport: HttpTransport, speaks: str, content_type: str, last: bytes, whole: bool
) -> None:
    """Where the policy declares OpenAI's events, frames that end properly without [DONE] are a broken stream."""
    upstream.streams(
        payload_part(b"data: {}\n\n"), payload_part(last), headers={"X-Amzn-SageMaker-Content-Type": content_type}
    )
    where = replace(target(upstream.url), speaks=speaks)
    reply = await scripted(transport).invoke(where, call(streaming=True), soon())
    if whole:
        assert b"".join(await pieces(reply)).endswith(last)
        return
    with pytest.raises(BackendError, match=r"without \[DONE\]") as caught:
        await pieces(reply)
    assert caught.value.said is not None
    assert caught.value.said.error_code == "StreamBroken"


@pytest.mark.parametrize(("speaks", "expected"), [("openai-chat", Usage(7, 3)), ("opaque", None)])
async def test_a_declared_streams_counts_are_known_at_its_end(
    upstream: Upstream, transport: HttpTransport, speaks: str, expected: Usage | None
) -> None:
    """What its last events tell, where the policy says that they are OpenAI's; other bodies are not looked at."""
    told = payload_part(b'data: {"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n')
    events = {"X-Amzn-SageMaker-Content-Type": "text/event-stream"}
    upstream.streams(payload_part(b"data: {}\n\n"), told, payload_part(b"data: [DONE]\n\n"), headers=events)
    where = replace(target(upstream.url), speaks=speaks)
    reply = await scripted(transport).invoke(where, call(streaming=True), soon())
    await pieces(reply)
    assert counted(reply) == expected


@pytest.mark.parametrize(("speaks", "expected"), [("tgi", Usage(7, 3)), ("opaque", None)])
async def test_a_tgi_streams_counts_are_known_at_its_end(
    upstream: Upstream, transport: HttpTransport, speaks: str, expected: Usage | None
) -> None:
    """What the `details` of its last event tell, where the policy says that they are TGI's. It has no other mark."""
    token, told = b'data:{"token":{"id":1}}\n\n', b'{"generated_tokens":3,"input_length":7}'
    last = payload_part(b'data:{"token":{"id":2},"generated_text":"ab","details":' + told + b"}\n\n")
    upstream.streams(payload_part(token), last, headers={"X-Amzn-SageMaker-Content-Type": "text/event-stream"})
    where = replace(target(upstream.url), speaks=speaks)
    reply = await scripted(transport).invoke(where, call(streaming=True), soon())
    await pieces(reply)
    assert counted(reply) == expected


TIME_EXCEEDED = exception_frame("ModelStreamError", "m", "ModelInvocationTimeExceeded")
HALF = payload_part(b"half")[:-3]
BAD = payload_part(b"bad")[:-1] + b"\x00"
UNKNOWN = encode(((":event-type", "New"), (":message-type", "event")), b"x")


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("steps", "cut", "facts", "code"),
    [
        ((HALF,), False, FailureFacts(Fault.NETWORK, None), "StreamBroken"),
        ((BAD,), False, FailureFacts(Fault.NETWORK, None), "StreamBroken"),
        ((UNKNOWN,), True, FailureFacts(Fault.NETWORK, None), None),
        (
            (exception_frame("ModelStreamError", "m", "StreamBroken"),),
            False,
            FailureFacts(Fault.MODEL, None),
            "StreamBroken",
        ),
        ((TIME_EXCEEDED,), False, FailureFacts(Fault.MODEL, None, timed_out=True), "ModelInvocationTimeExceeded"),
        ((exception_frame("InternalStreamFailure", "m"),), False, FailureFacts(Fault.PLATFORM, None), None),
    ],
    ids=["half frame", "bad checksum", "cut", "broken", "late", "internal"],
)
async def test_a_broken_stream_is_a_failure(
    upstream: Upstream,
    transport: HttpTransport,
    steps: tuple[Step, ...],
    cut: bool,
    facts: FailureFacts,
    code: str | None,
    begun: bool,
) -> None:
    """Before the first piece it is the call that fails, after it the stream; it is never a clean end."""
    upstream.streams(*((payload_part(b"a"),) if begun else ()), *steps, cut=cut)
    backend, where = scripted(transport), target(upstream.url)
    if begun:
        reply = await backend.invoke(where, call(streaming=True), soon())
        with pytest.raises(BackendError) as caught:
            await pieces(reply)
        error = caught.value
    else:
        error = await failure(backend, where, streaming=True)
    assert error.facts == facts
    assert (error.said.error_code if error.said else None) == code


async def test_a_stream_call_that_is_not_answered_with_frames_fails(
    upstream: Upstream, transport: HttpTransport
) -> None:
    """A JSON body with status 200 is not fed to the decoder, which would hide what it is behind a checksum; and the
    rest of it is not waited for."""
    upstream.streams(b'{"a":1', asyncio.Event(), headers={"Content-Type": "application/json"})
    error = await failure(scripted(transport), target(upstream.url), streaming=True)
    async with asyncio.timeout(20):
        await upstream.gone.wait()
    assert error.facts == FailureFacts(Fault.NETWORK, None)
    assert error.said is not None
    assert (error.said.status, error.cause) == (502, "answered 200 with a body that is not an event stream")


async def test_the_deadline_binds_the_stream(upstream: Upstream, transport: HttpTransport) -> None:
    """A stream that stalls ends as one that took too long."""
    upstream.streams(payload_part(b"a"), asyncio.Event())
    reply = await scripted(transport).invoke(target(upstream.url), call(streaming=True), soon(2.0))
    with pytest.raises(BackendError) as caught:
        await pieces(reply)
    assert caught.value.facts.timed_out


async def test_closing_a_stream_lets_the_upstream_go(upstream: Upstream, transport: HttpTransport) -> None:
    """A client that leaves does not keep a model busy."""
    upstream.streams(payload_part(b"a"), asyncio.Event())
    reply = await scripted(transport).invoke(target(upstream.url), call(streaming=True), soon())
    assert reply.stream is not None
    await reply.stream.aclose()
    async with asyncio.timeout(60):
        await upstream.gone.wait()


CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


@pytest.mark.parametrize("endpoint", ["dedicated", "shared"])
async def test_the_standin_accepts_our_signature(standin: Standin, transport: HttpTransport, endpoint: str) -> None:
    """Signatures are checked by botocore's code on the other side, for a dedicated endpoint and for a component."""
    where = target(standin.url, endpoint, component="packed" if endpoint == "shared" else None)
    reply = await against_standin(transport).invoke(where, call(json.dumps(CHAT).encode()), soon())
    assert json.loads(reply.body)["choices"][0]["message"]["role"] == "assistant"
    assert reply.content_type is not None
    assert reply.content_type.startswith("application/json")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("wants", [False, True])
async def test_all_four_cells_behave_as_on_sagemaker(
    standin: Standin, transport: HttpTransport, streaming: bool, wants: bool
) -> None:
    """The body makes the model stream, the operation frames the answer; each of the four gives the whole text."""
    body = json.dumps({**CHAT, "stream": wants}).encode()
    reply = await against_standin(transport).invoke(
        target(standin.url, "dedicated"), call(body, streaming=streaming), soon()
    )
    assert (reply.stream is not None) is streaming
    whole = b"".join(await pieces(reply)) if streaming else reply.body
    assert whole.startswith(b"data: ") is wants
    assert whole.endswith(b"data: [DONE]\n\n") is wants
    assert ("text/event-stream" in (reply.content_type or "")) is wants


async def test_a_wrong_key_is_our_set_up(standin: Standin, transport: HttpTransport) -> None:
    """A signature that does not match is not the client's fault, and nothing has run."""
    wrong = StaticCredentials(Credentials(ACCESS_KEY_ID, "wrong"))
    backend = EndpointBackend(transport, wrong, Signer(), lambda: datetime.now(UTC))
    error = await failure(backend, target(standin.url, "dedicated"))
    assert error.facts == FailureFacts(Fault.CONFIG, retry_safe=True)


@pytest.mark.parametrize(
    ("fault", "facts"),
    [
        ("no-capacity", FailureFacts(Fault.PLATFORM, True, cold=True)),
        ("unknown-endpoint", FailureFacts(Fault.CONFIG, True)),
        ("model-timeout", FailureFacts(Fault.MODEL, None, timed_out=True)),
        ("413", FailureFacts(Fault.CALLER, False)),
        ("html-502", FailureFacts(Fault.PLATFORM, None)),
        ("empty-503", FailureFacts(Fault.PLATFORM, True)),
        ("reset", FailureFacts(Fault.NETWORK, None)),
        ("ModelNotReadyException", FailureFacts(Fault.PLATFORM, True, cold=True)),
        ("InternalDependencyException", FailureFacts(Fault.PLATFORM, None)),
    ],
)
async def test_faults_of_the_standin_are_facts(
    standin: Standin, transport: HttpTransport, fault: str, facts: FailureFacts
) -> None:
    """Errors made from botocore's models, by code that does not know ours, are read for what they are."""
    standin.set_faults("dedicated", fault)
    assert (await failure(against_standin(transport), target(standin.url, "dedicated"))).facts == facts
