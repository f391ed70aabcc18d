"""The model's container."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from backends.emulator.asks import AskError
from backends.emulator.container import Container, Question
from tests.standins import config_of, with_model

CHAT = {"messages": [{"role": "user", "content": "hello there"}]}


def container(name: str = "dedicated", **changes: Any) -> Container:
    return Container(config_of(with_model(name, **changes)), name)


def question(value: object, **facts: Any) -> Question:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Question(body=body, call="ab", now=1_000.0, **facts)


def content(reply: Any) -> str:
    return str(json.loads(b"".join(reply.chunks))["choices"][0]["message"]["content"])


def test_same_weights_say_the_same_wherever_they_are_hosted() -> None:
    """Prompt, seed and sampling decide the text; kind, name and hosting don't, other weights do."""
    said = content(container().answer(question(CHAT)))
    assert said == content(container("packed").answer(question(CHAT)))
    assert said != content(container(weights="other").answer(question(CHAT)))
    assert said != content(container().answer(question({**CHAT, "seed": 3})))
    other_seed = Container(config_of(seed=8), "dedicated")
    assert said != content(other_seed.answer(question(CHAT)))


def test_the_body_decides_whether_the_container_streams() -> None:
    """`stream: true` gives one chunk per event and the same tokens."""
    whole, stream = container().answer(question(CHAT)), container().answer(question({**CHAT, "stream": True}))
    assert (whole.streamed, len(whole.chunks)) == (False, 1)
    assert stream.streamed
    assert len(stream.chunks) == stream.completion_tokens + 2
    assert (whole.prompt_tokens, whole.completion_tokens) == (stream.prompt_tokens, stream.completion_tokens)


def test_answers_name_the_served_model() -> None:
    """The model's name, a configured one, or account and id for an import."""
    assert container().served_model == "dedicated"
    assert container(served_model="x").served_model == "x"
    assert container("imported").served_model == "123456789012-standin00001"


def test_echo_gives_the_very_bytes_back() -> None:
    """Bytes, content type and custom attributes come back untouched, in pieces of 64 KiB."""
    body = bytes(range(256)) * 600
    reply = container("echo").answer(question(body, content_type="a/b; x=1", custom_attributes="c"))
    assert b"".join(reply.chunks) == body
    assert len(reply.chunks) == 3
    assert reply.content_type == "a/b; x=1"
    assert reply.headers == {"X-Amzn-SageMaker-Custom-Attributes": "c"}
    assert container("echo").answer(question(b"")).content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        ("dedicated", None, 200),
        ("dedicated", "application/json; charset=utf-8", 200),
        ("dedicated", "application/vnd.x+json", 200),
        ("dedicated", "text/csv", 400),
        ("engine", "application/json", 200),
        ("engine", None, 400),
    ],
)
def test_content_types(name: str, kind: str | None, status: int) -> None:
    """Behind an endpoint an absent type is let through, an engine wants JSON."""
    assert container(name).answer(question(CHAT, content_type=kind)).status == status


def test_a_wrong_body_is_the_containers_own_error() -> None:
    """It replies, in its dialect's shape."""
    assert container().answer(question(b"{")).status == 400
    assert container("dedicated", dialect="tgi").answer(question(CHAT)).status == 422


def test_the_engine_chooses_by_shape() -> None:
    """Chat and completion bodies are both taken on /invocations."""
    reply = container("engine").answer(question({"prompt": "x"}, content_type="application/json"))
    assert json.loads(reply.chunks[0])["object"] == "text_completion"


def test_bedrock_decides_by_url() -> None:
    """The two ways ignore the body's `stream`."""
    assert container("imported").stream_objects(question(CHAT)).streamed
    assert not container("imported").whole(question({**CHAT, "stream": True})).streamed
    with pytest.raises(AskError):
        container("imported").whole(question(b"{"))


def opened(reply: Any) -> str:
    value = reply.headers["X-Amzn-SageMaker-New-Session-Id"]
    assert re.fullmatch(r"[a-z0-9-]{36}; Expires=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)
    return str(value).partition(";")[0]


def test_sessions_are_opened_used_and_closed() -> None:
    """NEW_SESSION in the body or in the header opens one; CLOSE closes it; a closed one is not known."""
    one = container(sessions="strict")
    session = opened(one.answer(question({"requestType": "NEW_SESSION"}, session="NEW_SESSION")))
    assert one.answer(question(CHAT, session=session)).status == 200
    closed = one.answer(question({"requestType": "CLOSE"}, session=session))
    assert closed.headers == {"X-Amzn-SageMaker-Closed-Session-Id": session}
    assert one.answer(question(CHAT, session=session)).status == 400
    reply = one.answer(question(CHAT, session="NEW_SESSION"))
    assert opened(reply) != session
    assert content(reply)


def test_sessions_expire() -> None:
    """After 20 minutes an id is not known any more."""
    one = container(sessions="strict")
    session = opened(one.answer(question({"requestType": "NEW_SESSION"})))
    late = Question(body=json.dumps(CHAT).encode(), call="ab", now=1_000.0 + 1200, session=session)
    assert one.answer(late).status == 400


def test_lenient_takes_any_id_and_off_takes_none() -> None:
    """A container that knows no sessions ignores the header; one that refuses them says so (an engine's default)."""
    assert container().answer(question(CHAT, session="whatever")).status == 200
    assert container().answer(question({"requestType": "CLOSE"}, session="whatever")).status == 400
    refused = container(sessions="off").answer(question(CHAT, session="x"))
    assert refused.status == 400
    assert b"stateful sessions not enabled" in refused.chunks[0]
    engine = container("engine").answer(question(CHAT, content_type="application/json", session="x"))
    assert engine.status == 400


def test_a_body_that_only_looks_like_a_session_wish_is_an_ordinary_one() -> None:
    """The word requestType in a prompt does nothing."""
    mentioned = {"messages": [{"role": "user", "content": "requestType"}]}
    assert container().answer(question(mentioned)).status == 200
    assert container().answer(question(b'["requestType"]')).status == 400
    assert container().answer(question(b"requestType")).status == 400
