"""The kind `bedrock` over real sockets: against a scripted upstream, and against the stand-in of Bedrock."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backends.aws import StaticCredentials
from backends.base import Trace, Usage
from backends.bedrock import BedrockBackend
from backends.errors import BackendError, Said
from backends.http.transport import HttpTransport
from backends.wire.bedrock import RESPONSE_LIMIT
from backends.wire.eventstream import encode
from backends.wire.sigv4 import Credentials, Signer
from backends.wire.usage import LIMIT, counted
from policies.facts import FailureFacts, Fault
from policies.table import AssumedRole, BedrockSpec, EndpointSpec, Target
from tests.standins import (
    ACCESS_KEY_ID,
    IMPORT_ARN,
    REGION,
    SECRET_ACCESS_KEY,
    Standin,
    config_of,
    running_emulator,
    with_model,
)

from .upstream import NOW, Source, Step, Unreachable, Upstream, call, pieces, soon

ARN = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12"
PATH = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aimported-model%2Fabcdefghij12"
PLAIN = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}'
WISH = PLAIN[:-1] + b', "stream": true}'
ANSWER = b'{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
ENGINES = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
)
METRICS = b'"amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":5}'
PIECE = b'{"choices":[{"delta":{"content":"a"}}]}'
GARBLED = FailureFacts(Fault.NETWORK, None)
CHAT = "openai-chat"


def chunk(raw: bytes) -> bytes:
    """A frame as Bedrock sends it."""
    headers = ((":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event"))
    return encode(headers, json.dumps({"bytes": base64.b64encode(raw).decode()}).encode())


def broken(kind: str) -> bytes:
    """An exception inside a stream."""
    return encode(((":exception-type", kind), (":message-type", "exception")), b'{"message":"m"}')


LAST = chunk(b'{"choices":[{"delta":{},"finish_reason":"stop"}],' + METRICS + b"}")
SSE = b"data: " + PIECE + b"\n\n"
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"


def target(url: str, model: str = ARN, speaks: str = "openai-chat", **spec: object) -> Target:
    """A target of this kind behind `url`."""
    made = replace(BedrockSpec(model, url=url), **spec)  # type: ignore[arg-type] # whatever the test sets
    return Target("t", "bedrock", made, region=REGION, speaks=speaks)


def scripted(transport: HttpTransport, source: Source | None = None) -> BedrockBackend:
    return BedrockBackend(transport, source or Source(), Signer(), lambda: NOW)


def against_standin(transport: HttpTransport) -> BedrockBackend:
    credentials = StaticCredentials(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY))
    return BedrockBackend(transport, credentials, Signer(), lambda: datetime.now(UTC))


async def failure(
    backend: BedrockBackend, where: Target, body: bytes = PLAIN, *, streaming: bool = False
) -> BackendError:
    """The failure that a call ends in before it has a reply."""
    with pytest.raises(BackendError) as caught:
        await backend.invoke(where, call(body, streaming=streaming), soon())
    return caught.value


async def test_a_call_is_addressed_signed_and_counted(upstream: Upstream, transport: HttpTransport) -> None:
    """The ARN stays encoded on the wire, the service is `bedrock`, and hops and trace go to a URL of the policy's."""
    upstream.says(ANSWER, headers={"Content-Type": "application/json", "x-amzn-RequestId": "up-1"})
    source = Source()
    role = AssumedRole("arn:aws:iam::1:role/r")
    where = target(upstream.url, role=role, guardrail="gr1", guardrail_version="2")
    made = call(PLAIN, accept="application/json", attributes="t=1", trace=Trace("p"))
    reply = await scripted(transport, source).invoke(where, made, soon())
    assert (reply.body, reply.content_type, reply.upstream_request_id) == (ANSWER, "application/json", "up-1")
    assert reply.usage == Usage(1, 2)  # the body was read to know it for an answer
    (request,) = upstream.requests
    assert (request.raw_path, upstream.bodies, source.roles) == (f"{PATH}/invoke", [PLAIN], [role])
    assert "/us-east-1/bedrock/aws4_request" in request.headers["Authorization"]
    sent = {name: request.headers.get(name) for name in ("Content-Type", "Accept", "traceparent", "x-pointsman-hop")}
    assert sent == {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "traceparent": "p",
        "x-pointsman-hop": "1",
    }
    assert request.headers["X-Amzn-Bedrock-GuardrailIdentifier"] == "gr1"
    assert "X-Amzn-SageMaker-Custom-Attributes" not in request.headers


async def test_a_whole_answer_that_breaks_off_is_a_failure(upstream: Upstream, transport: HttpTransport) -> None:
    """Half a document is no answer, and what was asked may have run."""
    upstream.streams(ANSWER[:20], headers={"Content-Type": "application/json"}, cut=True)
    broken = await failure(scripted(transport), target(upstream.url))
    assert broken.facts == FailureFacts(Fault.NETWORK, retry_safe=None)


async def test_without_a_url_it_is_aws_that_is_called() -> None:
    """The regional host over TLS, which gets neither hop count nor trace."""
    nobody = Unreachable()
    where = Target("t", "bedrock", BedrockSpec(ARN), region=REGION)
    with pytest.raises(BackendError, match="nobody there"):
        await BedrockBackend(nobody, Source(), Signer(), lambda: NOW).invoke(where, call(trace=Trace("p")), soon())
    (sent,) = nobody.sent
    assert sent.url == f"https://bedrock-runtime.us-east-1.amazonaws.com{PATH}/invoke"
    assert {name.lower() for name, _ in sent.headers}.isdisjoint({"x-pointsman-hop", "traceparent"})


async def test_another_kind_of_target_is_a_bug(transport: HttpTransport) -> None:
    """A spec of another kind is a programming error, not a failure of a target."""
    wrong = Target("t", "endpoint", EndpointSpec("e"))
    with pytest.raises(TypeError, match="t is not a Bedrock model"):
        await scripted(transport).invoke(wrong, call(), soon())


async def test_a_plain_body_on_the_stream_operation_is_one_piece(upstream: Upstream, transport: HttpTransport) -> None:
    """InvokeModel answers, and its JSON is the whole stream."""
    upstream.says(ANSWER)
    reply = await scripted(transport).invoke(target(upstream.url), call(PLAIN, streaming=True), soon())
    assert (reply.body, reply.content_type, reply.usage) == (b"", "application/json", Usage(1, 2))
    assert await pieces(reply) == [ANSWER]
    assert upstream.requests[0].raw_path == f"{PATH}/invoke"


@pytest.mark.parametrize(
    "headers", [{}, {"X-Amzn-Bedrock-Input-Token-Count": "7", "X-Amzn-Bedrock-Output-Token-Count": "8"}]
)
async def test_an_answer_that_is_an_engines_own_by_its_look_passes_unread(
    upstream: Upstream, transport: HttpTransport, headers: dict[str, str]
) -> None:
    """Nobody parses it before the client has it; its counts are read then, and go before those of the headers."""
    upstream.says(ENGINES, headers={"Content-Type": "application/json", **headers})
    reply = await scripted(transport).invoke(target(upstream.url), call(PLAIN), soon())
    assert (reply.body, reply.uncounted, counted(reply)) == (ENGINES, ENGINES, Usage(1, 2))
    assert reply.usage == (Usage(7, 8) if headers else None)


async def test_a_long_answer_is_counted_as_well(upstream: Upstream, transport: HttpTransport) -> None:
    """What is too long to be read later is read at once: its tokens are in the log, and are charged."""
    long = ENGINES.replace(b'"content":"a"', b'"content":"%b"' % (b"a" * LIMIT))
    upstream.says(long, headers={"Content-Type": "application/json"})
    reply = await scripted(transport).invoke(target(upstream.url), call(PLAIN), soon())
    assert (reply.body == long, counted(reply)) == (True, Usage(1, 2))


async def test_a_streaming_body_on_the_blocking_operation_is_one_body(
    upstream: Upstream, transport: HttpTransport
) -> None:
    """As SageMaker returns a streaming container's answer: the events joined, with the tokens that the stream told."""
    upstream.streams(chunk(PIECE), LAST, headers={"x-amzn-RequestId": "up-1"})
    reply = await scripted(transport).invoke(target(upstream.url), call(WISH), soon())
    assert reply.stream is None
    assert reply.body == b"".join((SSE, *END))
    assert (reply.content_type, reply.usage, reply.upstream_request_id) == ("text/event-stream", Usage(3, 5), "up-1")
    assert upstream.requests[0].raw_path == f"{PATH}/invoke-with-response-stream"
    assert json.loads(upstream.bodies[0]) == json.loads(PLAIN)


async def test_a_stream_is_passed_on_as_it_arrives(upstream: Upstream, transport: HttpTransport) -> None:
    """The reply is there with the first event, and the next one is sent only after the first was taken."""
    taken = asyncio.Event()
    upstream.streams(chunk(PIECE), taken, LAST)
    reply = await scripted(transport).invoke(target(upstream.url), call(WISH, streaming=True), soon())
    assert reply.content_type == "text/event-stream"
    assert reply.stream is not None
    stream = aiter(reply.stream)
    assert await anext(stream) == SSE
    taken.set()
    assert counted(reply) is None  # so far
    assert [piece async for piece in stream] == list(END)
    assert counted(reply) == Usage(3, 5)
    await reply.stream.aclose()


async def test_tokens_in_headers_are_known_before_the_stream_ends(upstream: Upstream, transport: HttpTransport) -> None:
    """Where Bedrock counts in headers, the reply has them at once."""
    counts = {"X-Amzn-Bedrock-Input-Token-Count": "7", "X-Amzn-Bedrock-Output-Token-Count": "8"}
    last = chunk(b'{"choices":[{"delta":{},"finish_reason":"stop"}]}')
    upstream.streams(chunk(PIECE), last, headers=counts)
    reply = await scripted(transport).invoke(target(upstream.url), call(WISH, streaming=True), soon())
    assert reply.usage == counted(reply) == Usage(7, 8)
    await pieces(reply)
    collected = await scripted(transport).invoke(target(upstream.url), call(WISH), soon())
    assert collected.usage == Usage(7, 8)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("body", [b"{}", b"", b'{"generation":"a"}', b"<html>", b'{"choices":[]}'])
async def test_an_unrecognised_200_is_a_failure(
    upstream: Upstream, transport: HttpTransport, body: bytes, streaming: bool
) -> None:
    """Never an empty answer; the words for the client quote nothing of it."""
    upstream.says(body)
    error = await failure(scripted(transport), target(upstream.url), streaming=streaming)
    assert error.facts == GARBLED
    assert error.said == Said(502, "The model answered with a body that is not of the form its clients expect.")
    assert error.cause == "answered 200 with a body that is not openai-chat"


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("speaks", "carried", "refused"), [(CHAT, False, True), (CHAT, True, False), ("opaque", False, False)]
)
async def test_a_page_is_no_answer_whatever_it_holds(
    upstream: Upstream, transport: HttpTransport, speaks: str, carried: bool, refused: bool, streaming: bool
) -> None:
    """Its type says so where a dialect is declared; of a call that was carried, whoever did that says so."""
    upstream.says(ANSWER, headers={"Content-Type": "text/html; charset=utf-8"})
    where, asked = target(upstream.url, speaks=speaks), replace(call(PLAIN, streaming=streaming), carried=carried)
    if refused:
        with pytest.raises(BackendError) as caught:
            await scripted(transport).invoke(where, asked, soon())
        assert (caught.value.facts, caught.value.cause) == (GARBLED, "answered 200 with a body of type text/html")
        said = Said(502, "The model answered with a body that is not of the form its clients expect.")
        assert caught.value.said == said
    else:
        reply = await scripted(transport).invoke(where, asked, soon())
        assert reply.content_type == "text/html; charset=utf-8"


async def test_a_stream_that_is_no_event_stream_is_a_failure(upstream: Upstream, transport: HttpTransport) -> None:
    """A JSON error with status 200 is not fed to the decoder, and the rest of it is not waited for."""
    upstream.streams(b'{"message":"private"', asyncio.Event(), headers={"Content-Type": "application/json"})
    error = await failure(scripted(transport), target(upstream.url), WISH, streaming=True)
    async with asyncio.timeout(20):
        await upstream.gone.wait()
    assert (error.facts, error.cause) == (GARBLED, "answered 200 with a body that is not an event stream")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("steps", "cut", "facts"),
    [
        ((chunk(PIECE)[:-3],), False, GARBLED),
        ((chunk(PIECE)[:-1] + b"\x00",), False, GARBLED),
        ((chunk(b"{}"),), True, GARBLED),
        ((chunk(b'{"generation":"a"}'),), False, GARBLED),
        ((broken("modelStreamErrorException"),), False, FailureFacts(Fault.MODEL, None)),
        ((broken("modelTimeoutException"),), False, FailureFacts(Fault.MODEL, None, timed_out=True)),
        ((broken("throttlingException"),), False, FailureFacts(Fault.PLATFORM, True, throttled=True)),
        ((broken("serviceUnavailableException"),), False, FailureFacts(Fault.PLATFORM, None)),
    ],
    ids=["half frame", "bad checksum", "cut", "other dialect", "model", "late", "throttled", "unavailable"],
)
async def test_a_broken_stream_is_a_failure(
    upstream: Upstream,
    transport: HttpTransport,
    steps: tuple[Step, ...],
    cut: bool,
    facts: FailureFacts,
    begun: bool,
    streaming: bool,
) -> None:
    """Before the first event it is the call that fails, after it the stream; a collected one fails whole."""
    upstream.streams(*((chunk(PIECE),) if begun else ()), *steps, cut=cut)
    backend, where = scripted(transport), target(upstream.url)
    if begun and streaming:
        reply = await backend.invoke(where, call(WISH, streaming=True), soon())
        with pytest.raises(BackendError) as caught:
            await pieces(reply)
        error = caught.value
    else:
        error = await failure(backend, where, WISH, streaming=streaming)
    assert error.facts == facts


async def test_an_empty_stream_is_a_failure(upstream: Upstream, transport: HttpTransport) -> None:
    """A stream without one object was no answer."""
    upstream.streams()
    error = await failure(scripted(transport), target(upstream.url), WISH, streaming=True)
    assert error.facts == GARBLED


async def test_a_collected_stream_has_a_limit(upstream: Upstream, transport: HttpTransport) -> None:
    """A blocking client is not sent more than an answer may hold, and the proxy does not keep more."""
    big = chunk(b'{"choices":[{"delta":{"content":"' + b"x" * 9_000_000 + b'"}}]}')
    upstream.streams(big, big, big)
    error = await failure(scripted(transport), target(upstream.url), WISH)
    assert error.cause == f"the answer is longer than {RESPONSE_LIMIT} bytes"


@pytest.mark.parametrize("body", [PLAIN, WISH])
async def test_a_cold_model_is_a_fact(upstream: Upstream, transport: HttpTransport, body: bytes) -> None:
    """Not ready is told before any stream begins, with the wait that was asked for."""
    upstream.says(
        b'{"message":"Model is not ready for inference. Wait and try your request again."}',
        429,
        {"x-amzn-ErrorType": "ModelNotReadyException", "x-amz-retry-after": "30000"},
    )
    error = await failure(scripted(transport), target(upstream.url), body, streaming=True)
    assert error.facts == FailureFacts(Fault.PLATFORM, True, retry_after=30.0, cold=True)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("wants", [False, True])
async def test_all_four_cells_against_the_standin(
    standin: Standin, transport: HttpTransport, streaming: bool, wants: bool
) -> None:
    """Signature and ARN are accepted by botocore's own code, and its frames come out as the answer of an endpoint."""
    reply = await against_standin(transport).invoke(
        target(standin.url, IMPORT_ARN), call(WISH if wants else PLAIN, streaming=streaming), soon()
    )
    assert (reply.stream is not None) is streaming
    whole = b"".join(await pieces(reply)) if streaming else reply.body
    if wants:
        events = whole.decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        objects = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
        assert {each["object"] for each in objects} == {"chat.completion.chunk"}
        assert "amazon-bedrock" not in whole.decode()
    else:
        assert json.loads(whole)["object"] == "chat.completion"


async def test_usage_that_was_asked_for_comes(standin: Standin, transport: HttpTransport) -> None:
    """`stream_options.include_usage` has its event, as a model behind an endpoint would send it."""
    body = WISH[:-1] + b', "stream_options": {"include_usage": true}}'
    reply = await against_standin(transport).invoke(target(standin.url, IMPORT_ARN), call(body), soon())
    usage = json.loads(reply.body.decode().split("\n\n")[-3].removeprefix("data: "))
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize(
    ("fault", "facts"),
    [
        ("ModelNotReadyException", FailureFacts(Fault.PLATFORM, True, cold=True)),
        ("ThrottlingException", FailureFacts(Fault.PLATFORM, True, throttled=True)),
        ("ValidationException", FailureFacts(Fault.MODEL, False)),
        ("ModelTimeoutException", FailureFacts(Fault.MODEL, None, timed_out=True)),
        ("AccessDeniedException", FailureFacts(Fault.CONFIG, True)),
        ("InternalServerException", FailureFacts(Fault.PLATFORM, None)),
        ("ServiceUnavailableException", FailureFacts(Fault.PLATFORM, True)),
        ("garbage-200", GARBLED),
        ("html-504", FailureFacts(Fault.PLATFORM, None)),
    ],
)
async def test_faults_of_the_standin_are_facts(
    standin: Standin, transport: HttpTransport, fault: str, facts: FailureFacts
) -> None:
    """Errors made from botocore's models, by code that does not know ours, are read for what they are."""
    standin.set_faults("imported", fault)
    error = await failure(against_standin(transport), target(standin.url, IMPORT_ARN))
    assert replace(error.facts, retry_after=None) == facts


async def test_a_model_that_is_not_there_is_our_set_up(standin: Standin, transport: HttpTransport) -> None:
    """A wrong ARN in the policy is not the client's fault."""
    error = await failure(against_standin(transport), target(standin.url, IMPORT_ARN[:-1] + "9"))
    assert error.facts == FailureFacts(Fault.CONFIG, True)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai-completions", b'{"prompt": "hi", "max_tokens": 4, "stream": true}'),
        ("bedrock-completion", b'{"prompt": "hi", "max_gen_len": 4, "stream": true}'),
    ],
)
async def test_every_dialect_streams(transport: HttpTransport, dialect: str, body: bytes) -> None:
    """What the stand-in streams in a dialect is recognised as that dialect; [DONE] is OpenAI's alone."""
    async with running_emulator(config_of(with_model("imported", dialect=dialect))) as standin:
        where = target(standin.url, IMPORT_ARN, speaks=dialect)
        reply = await against_standin(transport).invoke(where, call(body), soon())
    assert reply.body.startswith(b"data: {")
    assert reply.body.endswith(b"data: [DONE]\n\n") is (dialect == "openai-completions")
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 4
