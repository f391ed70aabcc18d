"""Any backend for clients of another dialect: around scripted backends, and against the stand-ins of AWS."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from backends.aws import StaticCredentials
from backends.base import Backend, Call, Reply, Usage
from backends.bedrock import BedrockBackend
from backends.endpoint import EndpointBackend
from backends.errors import BackendError, Said
from backends.http.transport import HttpTransport
from backends.translated import KEPT, Translated
from backends.wire.sigv4 import Credentials, Signer
from backends.wire.usage import counted
from backends.wire.verdicts import GARBLED
from policies.facts import FailureFacts, Fault
from policies.table import BedrockSpec, EndpointSpec, Target, TranslateRule, VllmSpec
from tests.backends.upstream import call, pieces, soon
from tests.backends.wire.dialects.vectors import ALL, PAIRS, RULE, STREAMS, WHOLE, recorded, text_of, with_parameters
from tests.proxy.parts import Pieces, Scripted
from tests.standins import ACCESS_KEY_ID, IMPORT_ARN, REGION, SECRET_ACCESS_KEY, config_of, running_emulator

REFUSED = FailureFacts(Fault.MODEL, retry_safe=False)
WALL = 1_800_000_000.9


def engine(speaks: str = "openai-completions", adapter: str | None = None) -> Target:
    return Target("engine", "vllm", VllmSpec(("http://127.0.0.1:1",), "base", adapter), speaks=speaks)


def asked(speaks: str, *, streaming: bool = False, rule: TranslateRule = RULE, **keys: Any) -> Call:
    body = json.dumps(with_parameters(speaks, **keys)).encode()
    return replace(call(body, streaming=streaming, accept="text/event-stream"), speaks=speaks, translate=rule)


def translated(backend: Backend) -> Translated:
    return Translated(backend, lambda: WALL)


async def failed(backend: Scripted, target: Target, asking: Call) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await translated(backend).invoke(target, asking, soon())
    return caught.value


@pytest.mark.parametrize(
    ("client", "target"), [("opaque", "tgi"), ("tgi", "opaque"), ("lmi", "lmi"), ("opaque", "opaque")]
)
async def test_where_nothing_differs_nothing_is_looked_at(client: str, target: str) -> None:
    """The very same call goes out and the very same reply comes back, whatever the bytes are."""
    reply, asking = Reply(body=b"\xff"), replace(call(b"\xff not JSON"), speaks=client)
    backend = Scripted([reply])
    assert await translated(backend).invoke(engine(target), asking, soon()) is reply
    assert backend.calls[0][1] is asking


async def test_a_whole_answer_goes_both_ways() -> None:
    """The target reads its own dialect, the client gets its own; types, counts and the rest of the reply go along."""
    backend = Scripted([Reply(body=WHOLE["openai-completions"], content_type="application/json", variant="v")])
    reply = await translated(backend).invoke(engine(), asked("tgi", details=True), soon())
    sent = backend.calls[0][1]
    assert json.loads(sent.body)["prompt"] == "Hi"
    assert (sent.content_type, sent.accept, sent.speaks) == ("application/json", None, "openai-completions")
    assert json.loads(reply.body)[0]["details"]["generated_tokens"] == 8
    assert (reply.content_type, reply.variant, reply.usage) == ("application/json", "v", Usage(5, 8))


@pytest.mark.parametrize(("adapter", "named"), [(None, "base"), ("lora", "lora")])
async def test_the_policys_model_is_named(adapter: str | None, named: str) -> None:
    """A vLLM target is told which of its models is meant, whatever the client's body says."""
    backend = Scripted([Reply(body=WHOLE["openai-completions"], content_type="application/json")])
    await translated(backend).invoke(engine(adapter=adapter), asked("openai-chat", model="theirs"), soon())
    assert json.loads(backend.calls[0][1].body)["model"] == named


async def test_answers_without_a_name_get_the_requests() -> None:
    """Id, time and model come from the request where the target has none of its own."""
    backend = Scripted([Reply(body=WHOLE["tgi"], content_type="application/json")])
    target = Target("t", "endpoint", EndpointSpec("back"), speaks="tgi")
    reply = await translated(backend).invoke(target, asked("openai-chat"), soon())
    document = json.loads(reply.body)
    assert (document["id"], document["created"], document["model"]) == ("chatcmpl-r-1", int(WALL), "front")


@pytest.mark.parametrize(("client", "target"), PAIRS)
async def test_all_four_cells(client: str, target: str) -> None:
    """Plain or streamed body, blocking or streaming operation: each gives the whole text in the client's dialect."""
    where = Target("t", "endpoint", EndpointSpec("back"), speaks=target)
    for wants in (False, True):
        content_type, body = STREAMS[target] if wants else ("application/json", WHOLE[target])
        for streaming in (False, True):
            stream = Pieces(body[:7], body[7:90], body[90:])
            inner = Reply(stream=stream) if streaming else Reply(body=body)
            backend = Scripted([replace(inner, content_type=content_type)])
            asking = asked(client, streaming=streaming, stream=wants)
            reply = await translated(backend).invoke(where, asking, soon())
            whole = b"".join(await pieces(reply)) if streaming else reply.body
            assert text_of(client, whole, streamed=wants) == text_of(target, body, streamed=wants)
            assert stream.closed == (1 if streaming else 0)


async def test_a_request_that_cannot_be_carried_is_a_400_of_the_model() -> None:
    """Not sent, not retried, told in the client's shape with the key's name; the log has no word of the client's."""
    backend = Scripted([])
    error = await failed(backend, engine(), asked("tgi", watermark=True, secret_word=1))
    assert error.facts == REFUSED
    assert error.said is not None
    assert error.said.status == 400
    document = json.loads(error.said.message)
    assert document["error_type"] == "validation"
    assert "`watermark` cannot be carried from tgi to openai-completions" in document["error"]
    assert error.cause == "the request cannot be carried to the target's dialect: `watermark` in the request"
    assert backend.calls == []
    error = await failed(backend, engine(), asked("tgi", secret_word=1))
    assert "secret" not in error.cause


async def test_a_face_may_speak_what_the_policy_does_not_allow() -> None:
    """The OpenAI face on a route of prompts: refused at the request, in OpenAI's shape."""
    error = await failed(Scripted([]), engine("lmi"), asked("openai-chat", rule=TranslateRule()))
    assert error.said is not None
    assert "does not allow" in json.loads(error.said.message)["error"]["message"]


async def test_a_template_that_is_none_refuses_requests() -> None:
    """A policy that got past its check, say in a test of one's own, ends in a typed answer."""
    error = await failed(Scripted([]), engine(), asked("openai-chat", rule=TranslateRule(chat_template="{% for %}")))
    assert error.said is not None
    assert "chat template" in error.said.message


@pytest.mark.parametrize(
    ("reply", "facts", "status"),
    [
        (Reply(body=b"{}", content_type="application/json"), GARBLED, 502),
        (Reply(body=b"<html>", content_type="text/html"), GARBLED, 502),
        (Reply(body=b'{"error": "boom"}', content_type="application/json"), FailureFacts(Fault.MODEL, None), 500),
        (Reply(body=recorded("openai-chat")["reasoning"].body, content_type="application/json"), REFUSED, 502),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_answers_that_cannot_be_told_are_failures_before_the_first_byte(
    reply: Reply, facts: FailureFacts, status: int, streaming: bool
) -> None:
    """Of no declared dialect, an error inside a 200, or something with no place: typed, and the stream is closed."""
    stream = Pieces(reply.body)
    if streaming:
        reply = replace(reply, body=b"", stream=stream)
    error = await failed(Scripted([reply]), engine("openai-chat"), asked("tgi", streaming=streaming))
    assert error.facts == facts
    assert error.said is not None
    assert (error.said.status, "error" in json.loads(error.said.message)) == (status, True)
    assert stream.closed == (1 if streaming else 0)


async def test_a_stream_that_breaks_after_its_first_byte() -> None:
    """What came is passed on; what then fails is raised out of the stream, the backend's own failures as they are."""
    content_type, body = STREAMS["openai-completions"]
    half = body[: body.index(b"\n\n", 400) + 2]
    own = BackendError(GARBLED, engine(), "cut")
    for ending, cause in (
        (b'data: {"choices": 5}\n\n', "the answer is not of the target's dialect: answer"),
        (own, "cut"),
    ):
        stream = Pieces(half, ending)
        backend = Scripted([Reply(stream=stream, content_type=content_type)])
        reply = await translated(backend).invoke(engine(), asked("lmi", streaming=True, stream=True), soon())
        assert reply.content_type == "application/jsonlines"
        assert reply.stream is not None
        told = [await anext(aiter(reply.stream))]
        with pytest.raises(BackendError) as caught:
            told += [piece async for piece in reply.stream]
        assert caught.value.cause == cause
        assert told[0].startswith(b'{"token":')
        await reply.stream.aclose()
        assert stream.closed == 1


async def test_a_translated_streams_counts_are_its_targets() -> None:
    """They are known at its end, whether or not the client's dialect has a place for them."""
    content_type, body = STREAMS["openai-completions"]
    backend = Scripted([Reply(stream=Pieces(body), content_type=content_type)])
    reply = await translated(backend).invoke(engine(), asked("tgi", streaming=True, stream=True), soon())
    assert reply.stream is not None
    _ = [piece async for piece in reply.stream]
    last = next(event for event in reversed(body.split(b"\n\n")) if b'"usage":{' in event)
    told = json.loads(last.removeprefix(b"data: "))["usage"]
    assert counted(reply) == Usage(told["prompt_tokens"], told["completion_tokens"])


async def test_a_stream_that_fails_at_once_is_closed() -> None:
    """The backend's failure before the first piece is the call's failure."""
    stream = Pieces(BackendError(GARBLED, engine(), "cut"))
    backend = Scripted([Reply(stream=stream, content_type="text/event-stream")])
    error = await failed(backend, engine(), asked("lmi", streaming=True, stream=True))
    assert (error.cause, stream.closed) == ("cut", 1)


async def test_a_stream_can_be_left_early() -> None:
    """A client that goes away frees the upstream at once."""
    content_type, body = STREAMS["openai-completions"]
    stream = Pieces(body[:900], body[900:])
    backend = Scripted([Reply(stream=stream, content_type=content_type)])
    reply = await translated(backend).invoke(engine(), asked("tgi", streaming=True, stream=True), soon())
    assert reply.stream is not None
    await anext(aiter(reply.stream))
    await reply.stream.aclose()
    assert stream.closed == 1


async def test_what_the_container_said_is_told_in_the_clients_shape() -> None:
    """vLLM's 400 reaches a TGI client as TGI's; status, facts and log stay."""
    facts = FailureFacts(Fault.MODEL, retry_safe=False)
    said = Said(400, recorded("openai-completions")["bad value"].body.decode(), "ModelError", "arn:aws:logs:x")
    error = await failed(Scripted([facts], said=said), engine(), asked("tgi"))
    assert error.said is not None
    assert json.loads(error.said.message)["error"].startswith("temperature must be non-negative")
    assert (error.facts, error.said.status, error.said.log_stream_arn) == (facts, 400, "arn:aws:logs:x")
    assert error.request_id == "theirs"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.MODEL, None),
        (Fault.MODEL, Said(0, "late")),
        (Fault.PLATFORM, Said(429, "slow down", "ThrottlingException")),
        (Fault.CALLER, Said(400, "no such thing", "ValidationError")),
    ],
)
async def test_what_others_said_stays_as_it_is(fault: Fault, said: Said | None) -> None:
    """Only the model's container speaks a dialect. The failure is the very one, and has not come from itself."""
    error = await failed(Scripted([FailureFacts(fault, None)], said=said), engine(), asked("tgi"))
    assert error.said == said
    assert error.__cause__ is None


async def test_translations_are_kept_and_bounded() -> None:
    """Templates are compiled once a rule, and old rules give way."""
    backend = translated(
        Scripted([Reply(body=WHOLE["openai-completions"], content_type="application/json")] * (KEPT + 9))
    )
    for number in range(KEPT + 8):
        rule = TranslateRule(drop=frozenset({f"key{number}"}))
        await backend.invoke(engine(), asked("tgi", rule=rule), soon())


def against(target: str, url: str, transport: HttpTransport) -> tuple[Translated, Target]:
    """The stand-in that speaks `target`: an import for Bedrock's own format, a SageMaker endpoint for the others."""
    credentials = StaticCredentials(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY))
    if target == "bedrock-completion":
        bedrock = BedrockBackend(transport, credentials, Signer(), lambda: datetime.now(UTC))
        return translated(bedrock), Target("t", "bedrock", BedrockSpec(IMPORT_ARN, url), target, REGION)
    endpoint = EndpointBackend(transport, credentials, Signer(), lambda: datetime.now(UTC))
    return translated(endpoint), Target("t", "endpoint", EndpointSpec("spoken", url=url), target, REGION)


@pytest.mark.parametrize("target", ALL)
async def test_stand_ins_are_understood_and_understand(target: str, transport: HttpTransport) -> None:
    """Every other dialect, all four cells, against a model not made with our codecs: the same text each time."""
    models = {
        "spoken": {"kind": "endpoint", "dialect": "openai-chat" if target == "bedrock-completion" else target},
        "imported": {"kind": "import", "arn": IMPORT_ARN, "dialect": "bedrock-completion"},
    }
    async with running_emulator(config_of(models)) as standin:
        backend, where = against(target, standin.url, transport)
        for client in ALL:
            if client == target:
                continue
            texts = set()
            for wants in (False, True):
                for streaming in (False, True):
                    asking = asked(client, streaming=streaming, stream=wants)
                    reply = await backend.invoke(where, asking, soon())
                    whole = b"".join(await pieces(reply)) if streaming else reply.body
                    texts.add(text_of(client, whole, streamed=wants))
            assert len(texts) == 1
            assert texts != {""}


@pytest.mark.parametrize("client", ["openai-chat", "opaque"])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>no backend</html>", content_type="text/html"),
        Reply(body=WHOLE["openai-chat"][:-9], content_type="application/json"),
    ],
    ids=["a page", "half a document"],
)
async def test_what_is_no_answer_of_a_declared_dialect_is_a_failure(client: str, reply: Reply) -> None:
    """It passes unread and can't be one: the client gets an error of the model, and a fallback may be tried."""
    error = await failed(Scripted([reply]), engine("openai-chat"), replace(call(b"{}"), speaks=client))
    assert (error.facts, error.said and error.said.status) == (GARBLED, 502)
    opaque = Scripted([reply])
    assert await translated(opaque).invoke(engine("opaque"), replace(call(b"{}"), speaks=client), soon()) is reply


async def test_a_backend_that_reads_its_answers_is_not_looked_after() -> None:
    """What it gives passes; it is told of calls that were carried, the answers to which are read here."""
    page = Reply(body=b"<html>no backend</html>", content_type="text/html")
    inner = Scripted([page, page])
    backend = Translated(inner, lambda: WALL, looks=False)
    same = replace(call(b"{}"), speaks="openai-chat")
    assert await backend.invoke(engine("openai-chat"), same, soon()) is page
    with pytest.raises(BackendError, match="not of the target's dialect"):
        await backend.invoke(engine("tgi"), asked("openai-chat"), soon())
    assert [sent.carried for _, sent, _ in inner.calls] == [False, True]


async def test_a_streamed_page_is_a_failure_before_its_first_byte() -> None:
    """Its type is enough, and its connection is freed."""
    stream = Pieces(b"<html>")
    error = await failed(
        Scripted([Reply(stream=stream, content_type="text/html")]),
        engine("openai-chat"),
        replace(call(b"{}", streaming=True), speaks="openai-chat"),
    )
    assert error.facts == GARBLED
    assert stream.closed
