"""OpenAI's API on a real socket, over scripted backends: answers, streams, the list of models, tokens, failures."""

from __future__ import annotations

import json

import pytest

from backends.base import Reply
from backends.errors import BackendError
from policies.facts import FailureFacts, Fault
from policies.table import Target, VllmSpec
from proxy.faces.front import Front
from proxy.services import Services

from ...backends.wire.test_bearer import SIGNED, token
from ..parts import Pieces
from .listening import ask, listening

TARGET = Target("first", "vllm", VllmSpec(("http://127.0.0.1:1",), "m"))
BROKEN = BackendError(FailureFacts(Fault.NETWORK, None), TARGET, "reset")
CHAT = "POST /endpoints/chat/openai/v1/chat/completions"
EVENTS = "text/event-stream; charset=utf-8"


def face(parts: Services) -> Front:
    """The API behind the door that it has in the product."""
    return Front(parts, None)


POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  first: {kind: vllm, url: "http://127.0.0.1:1", model: m, region: us-east-1}
  spoken: {kind: vllm, url: "http://127.0.0.1:2", model: m, region: us-east-1, speaks: openai-chat}
  tgi: {kind: endpoint, endpoint: t, region: us-east-1, speaks: tgi}
endpoints:
  chat: {serve_from: spoken, clients_speak: openai-chat, owner: us}
  raw: {serve_from: first}
  old: {serve_from: tgi, clients_speak: tgi}
  packed:
    components:
      one: {serve_from: first}
      two: {serve_from: first}
"""


async def test_a_reply_is_the_models_own_bytes() -> None:
    """Body as it came, the model's type, both names of the request id, and where it went."""
    async with listening(face, Reply(b'{"id": "x"}', content_type="application/json"), text=POLICY) as running:
        heard = await ask(running.port, CHAT, b'{"messages": []}', "Content-Type: application/json")
        call = running.backend.calls[0][1]
        line = running.last_line()
    assert (heard.status, heard.body, heard.headers["content-type"]) == (200, b'{"id": "x"}', "application/json")
    assert heard.headers["x-request-id"] == heard.headers["x-amzn-requestid"] == "request-1"
    assert heard.headers["x-pointsman-target"] == "spoken"
    assert (call.body, call.invocation.speaks, call.streaming) == (b'{"messages": []}', "openai-chat", False)
    assert (line["operation"], line["endpoint"], line["ended"]) == ("ChatCompletions", "chat", "done")


@pytest.mark.parametrize(
    ("path", "body", "target"),
    [
        ("/v1/completions", b'{"model": "raw", "prompt": ""}', "first"),
        ("/v1/embeddings", b'{"model": "packed/one", "stream": true}', "first"),
        ("/gw/v1/chat/completions", b'{"model": "chat"}', "spoken"),
        ("/endpoints/packed/inference-components/two/openai/v1/completions", b'{"model": "else"}', "first"),
        ("/endpoints/raw/openai/v1/completions", b"no json", "first"),
    ],
)
async def test_a_model_is_found_by_url_or_by_body(path: str, body: bytes, target: str) -> None:
    """The URL's word wins and the body is then not read; embeddings never stream."""
    async with listening(face, Reply(b"{}"), text=POLICY) as running:
        heard = await ask(running.port, f"POST {path}", body)
        name, call, _ = running.backend.calls[0]
    assert (heard.status, name, call.streaming, call.content_type) == (200, target, False, "application/json")


async def test_a_stream_goes_through_event_by_event() -> None:
    """Server-sent events as the model wrote them, `[DONE]` included, and no frames around them."""
    stream = Pieces(b"data: {}\n", b"\ndata: \xc3", b"\xa9\n\ndata: [DONE]\n\n")
    async with listening(face, Reply(stream=stream, content_type=EVENTS), text=POLICY) as running:
        heard = await ask(running.port, CHAT, b'{"stream": true}', "Accept: application/json")
        call = running.backend.calls[0][1]
    assert heard.whole
    assert heard.body == "data: {}\n\ndata: é\n\ndata: [DONE]\n\n".encode()
    assert (heard.headers["content-type"], heard.headers["cache-control"]) == (EVENTS, "no-cache")
    assert (call.streaming, call.accept) == (True, None)
    assert stream.closed == 1


async def test_a_stream_that_breaks_ends_in_an_error_event() -> None:
    """Whole events are delivered, half a one is not; no `[DONE]` follows the error."""
    stream = Pieces(b"data: {}\n\ndata: {", BROKEN)
    async with listening(face, Reply(stream=stream, content_type=EVENTS), text=POLICY) as running:
        heard = await ask(running.port, CHAT, b'{"stream": true}')
        line = running.last_line()
    first, last, rest = heard.body.split(b"\n\n")
    assert (first, rest, heard.whole) == (b"data: {}", b"", True)
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stream_broken"
    assert (line["ended"], line["error_type"]) == ("upstream_broken", "ModelStreamError")


async def test_another_body_that_breaks_off_is_a_broken_connection() -> None:
    """An event would be no event in the middle of JSON."""
    stream = Pieces(b'{"id": ', BROKEN)
    async with listening(face, Reply(stream=stream, content_type="application/json"), text=POLICY) as running:
        heard = await ask(running.port, CHAT, b'{"stream": true}')
    assert not heard.whole
    assert b"error" not in heard.body


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/models", ["chat", "raw", "packed/one", "packed/two"]),
        ("/endpoints/packed/openai/v1/models", ["packed/one", "packed/two"]),
        ("/endpoints/packed/inference-components/two/openai/v1/models", ["packed/two"]),
        ("/endpoints/old/openai/v1/models", []),
    ],
)
async def test_models_are_what_the_policy_has_for_these_clients(path: str, shown: list[str]) -> None:
    """Routes whose clients speak OpenAI or anything; under an endpoint's URL those of the endpoint."""
    async with listening(face, text=POLICY) as running:
        heard = await ask(running.port, f"GET {path}")
    assert heard.status == 200
    assert [one["id"] for one in json.loads(heard.body)["data"]] == shown


@pytest.mark.parametrize(
    ("model", "status"), [("chat", 200), ("packed%2Fone", 200), ("packed/one", 200), ("old", 404), ("no", 404)]
)
async def test_one_model_can_be_looked_at(model: str, status: int) -> None:
    """The package encodes the slash, people do not."""
    async with listening(face, text=POLICY) as running:
        heard = await ask(running.port, f"GET /v1/models/{model}")
    assert heard.status == status
    assert (json.loads(heard.body).get("object") == "model") is (status == 200)


@pytest.mark.parametrize(
    ("line", "body", "status", "code"),
    [
        ("POST /v1/chat/completions", b'{"model": "gpt-9"}', 404, "model_not_found"),
        ("POST /v1/chat/completions", b'{"model": "a b/../c"}', 404, "model_not_found"),
        ("POST /v1/chat/completions", b'{"model": "packed"}', 404, "model_not_found"),
        ("POST /v1/chat/completions", b'{"model": "chat/one"}', 404, "model_not_found"),
        ("POST /v1/chat/completions", b"{}", 400, None),
        ("POST /v1/chat/completions", b"x" * 1025, 413, "request_too_large"),
        ("POST /endpoints//openai/v1/completions", b"{}", 404, "model_not_found"),
        ("GET /v1/completions", b"", 404, "unknown_url"),
    ],
)
async def test_what_can_not_be_served_is_refused_in_openais_shape(
    line: str, body: bytes, status: int, code: str | None
) -> None:
    """With the status that OpenAI's clients have an exception for."""
    async with listening(face, text=POLICY) as running:
        heard = await ask(running.port, line, body)
    assert heard.status == status
    assert json.loads(heard.body)["error"]["code"] == code
    assert heard.headers["x-request-id"]


async def test_headers_are_held_to_their_constraints() -> None:
    """The runtime API's own headers are understood, so they are checked."""
    async with listening(face, Reply(b"{}"), text=POLICY) as running:
        heard = await ask(running.port, CHAT, b"{}", "X-Amzn-SageMaker-Session-Id: a b")
        await ask(running.port, CHAT, b"{}", "X-Amzn-SageMaker-Session-Id: s-1")
        looped = await ask(running.port, CHAT, b"{}", "x-pointsman-hop: 3")
        call = running.backend.calls[0][1]
    assert (heard.status, json.loads(heard.body)["error"]["type"]) == (400, "invalid_request_error")
    assert call.invocation.session_id == "s-1"
    assert looped.status == 400


@pytest.mark.parametrize("line", [CHAT, "GET /v1/models"])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ([], 200),
        (["Authorization: Bearer EMPTY"], 200),
        ([f"Authorization: Bearer {token()}"], 200),
        ([f"Authorization: Bearer {token(X_Amz_Expires='1')}"], 401),
        (["Authorization: Bearer sagemaker-api-key-x"], 401),
    ],
)
async def test_sagemakers_tokens_are_held_to_their_time(line: str, authorization: list[str], status: int) -> None:
    """An expired or malformed one is refused before the body is read, in words that repeat nothing of it."""
    async with listening(face, Reply(b"{}"), text=POLICY, wall=SIGNED + 60) as running:
        heard = await ask(running.port, line, b"{}" if line == CHAT else b"", *authorization)
        log = running.log.getvalue()
    assert heard.status == status
    if status == 401:
        assert json.loads(heard.body)["error"]["code"] == "invalid_api_key"
        assert running.backend.calls == []
    assert b"AKIDTOKEN" not in heard.body + log


async def test_a_bug_is_an_answer_and_no_clean_stream() -> None:
    """Before the head it is a 500 without our insides."""
    async with listening(face, ZeroDivisionError("insides"), text=POLICY) as running:
        heard = await ask(running.port, CHAT, b"{}")
    assert (heard.status, heard.headers["x-should-retry"]) == (500, "false")
    assert b"insides" not in heard.body


async def test_a_failure_has_one_name_in_log_and_metrics_whatever_the_face() -> None:
    """The runtime API's, so that what counts as a model's error does so here, too."""
    kinds = []
    for answer, body in ((FailureFacts(Fault.MODEL, retry_safe=None), b"{}"), (Reply(b"{}"), b"x" * 1025)):
        async with listening(face, answer, text=POLICY.replace("owner: us", "retry: {attempts: 1}")) as running:
            await ask(running.port, CHAT, body)
            kinds.append(running.last_line()["error_type"])
    async with listening(face, text=POLICY) as running:
        await ask(running.port, "POST /v1/completions", b"{}")
        kinds.append(running.last_line()["error_type"])
    assert kinds == ["ModelError", "413", "ValidationError"]


async def test_a_refused_request_says_which_endpoint_its_url_named() -> None:
    """Before its body is read; one that names its model in the body has named none by then."""
    for path, endpoint in (("/endpoints/chat/openai/v1/chat/completions", "chat"), ("/v1/chat/completions", "")):
        async with listening(face) as running:
            await ask(running.port, f"POST {path}", b"x" * 1025)
            line = running.last_line()
        assert (line["status"], line["operation"], line["endpoint"]) == (413, "ChatCompletions", endpoint)
