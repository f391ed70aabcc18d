"""The engine's stand-in, as vLLM 0.32 behaves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.emulator.clock import Clock
from backends.emulator.engine import wants_stream
from tests.standins import Standin, config_of, emulator_in_thread, with_model

CHAT = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 4}
JSON = {"Content-Type": "application/json"}
ADAPTER = "X-Amzn-SageMaker-Adapter-Identifier"


def post(standin: Standin, path: str, value: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    status, _, answer = standin.http("POST", f"/_engine/engine/{path}", body, {**JSON, **(headers or {})})
    return status, json.loads(answer) if answer.startswith(b"{") else answer


def test_invocations_ignores_the_bodys_model(standin: Standin) -> None:
    """Without the adapter header the base model answers whatever the body names, an adapter included."""
    for named in ("nope", "lora-a", "engine", ""):
        status, answer = post(standin, "invocations", {**CHAT, "model": named})
        assert (status, answer["model"]) == (200, "engine")


def test_the_adapter_header_chooses(standin: Standin) -> None:
    """A loaded adapter answers under its own name, an unknown one is 404 NotFoundError."""
    assert post(standin, "invocations", CHAT, {ADAPTER: "lora-a"})[1]["model"] == "lora-a"
    status, answer = post(standin, "invocations", CHAT, {ADAPTER: "lora-b"})
    assert (status, answer["error"]["type"]) == (404, "NotFoundError")


@pytest.mark.parametrize(
    ("path", "body"), [("v1/chat/completions", CHAT), ("v1/completions", {"prompt": "hello there", "max_tokens": 4})]
)
def test_v1_knows_its_models(standin: Standin, path: str, body: dict[str, Any]) -> None:
    """Base model, adapter, empty or no name are served; others are 404."""
    names = {"engine": "engine", "lora-a": "lora-a", "": "engine"}
    assert {name: post(standin, path, {**body, "model": name})[1]["model"] for name in names} == names
    assert post(standin, path, body)[0] == 200
    status, answer = post(standin, path, {**body, "model": "nope"})
    assert (status, answer["error"]) == (
        404,
        {"message": "The model `nope` does not exist.", "type": "NotFoundError", "param": "model", "code": 404},
    )


def test_invocations_takes_chat_and_completions(standin: Standin) -> None:
    """By shape; TGI bodies and broken JSON are 400 in the engine's own error shape."""
    assert post(standin, "invocations", CHAT)[1]["object"] == "chat.completion"
    assert post(standin, "invocations", {"prompt": "x"})[1]["object"] == "text_completion"
    status, answer = post(standin, "invocations", {"inputs": "x"})
    assert (status, answer["error"]["message"]) == (
        400,
        "Either prompt or prompt_embeds must be provided and must not be empty.",
    )
    assert post(standin, "invocations", b"{")[0] == 400


def test_only_json_is_taken(standin: Standin) -> None:
    """Any other content type, or none, is 400."""
    body = json.dumps(CHAT).encode()
    for headers in ({"Content-Type": "text/csv"}, {"Content-Type": ""}, {}):
        assert standin.http("POST", "/_engine/engine/invocations", body, headers)[0] == 400
    assert standin.http("POST", "/_engine/engine/invocations", body, {"content-type": "application/json; x"})[0] == 200


def test_streams_are_sse(standin: Standin) -> None:
    """Events with the same text as the whole answer, then [DONE]."""
    status, headers, events = standin.http(
        "POST", "/_engine/engine/v1/chat/completions", json.dumps({**CHAT, "stream": True}).encode(), JSON
    )
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    *data, done = [line[6:] for line in events.decode().split("\n\n") if line]
    assert done == "[DONE]"
    text = "".join(json.loads(value)["choices"][0]["delta"]["content"] for value in data)
    assert text == post(standin, "invocations", CHAT)[1]["choices"][0]["message"]["content"]
    assert post(standin, "v1/chat/completions", {"stream": True})[0] == 400


def test_sessions_are_off(standin: Standin) -> None:
    """A session header on /invocations is refused, as vLLM does by default."""
    status, answer = post(standin, "invocations", CHAT, {"X-Amzn-SageMaker-Session-Id": "s"})
    assert status == 400
    assert "stateful sessions not enabled" in answer["error"]["message"]
    assert post(standin, "v1/chat/completions", CHAT, {"X-Amzn-SageMaker-Session-Id": "s"})[0] == 200


def test_the_other_paths(standin: Standin) -> None:
    """Health, ping by both methods, models, version, load and metrics; nothing else."""
    paths = {path: standin.http("GET", f"/_engine/engine/{path}") for path in ("health", "ping", "version", "load")}
    assert [status for status, _, _ in paths.values()] == [200] * 4
    assert json.loads(paths["load"][2]) == {"server_load": 0}
    assert standin.http("POST", "/_engine/engine/ping", b"")[0] == 200
    models = json.loads(standin.http("GET", "/_engine/engine/v1/models")[2])
    assert [model["id"] for model in models["data"]] == ["engine", "lora-a"]
    metrics = standin.http("GET", "/_engine/engine/metrics")[2].decode()
    assert 'vllm:num_requests_running{engine="0",model_name="engine"} 0.0' in metrics
    for method, path in (
        ("GET", "engine/nope"),
        ("POST", "engine/nope"),
        ("PUT", "engine/invocations"),
        ("GET", "dedicated/ping"),
    ):
        assert standin.http(method, f"/_engine/{path}", b"")[0] == 404


def test_errors_on_demand(standin: Standin) -> None:
    """The engine's own errors, whole or as an event before [DONE]."""
    standin.set_faults("engine", {"name": "engine-error", "status": 503, "message": "busy"})
    status, answer = post(standin, "invocations", CHAT)
    assert (status, answer["error"]["message"], answer["error"]["type"]) == (503, "busy", "ServiceUnavailableError")
    standin.set_faults("engine", "sse-error")
    status, events = post(standin, "invocations", {**CHAT, "stream": True})
    assert status == 200
    assert b'data: {"error":' in events


def test_an_engine_that_loads_is_not_ready() -> None:
    """503 until its model is loaded, on health and on calls; a full one refuses."""
    clock = Clock()
    clock.freeze()
    models = with_model("engine", cold={"starts": "cold", "restore": 14}, copies={"concurrency": 1, "queue": 0})
    with emulator_in_thread(config_of(models), clock=clock) as standin:
        assert standin.http("GET", "/_engine/engine/health")[0] == 503
        assert post(standin, "invocations", CHAT)[0] == 503
        clock.advance(14)
        assert standin.http("GET", "/_engine/engine/health")[0] == 200
        assert post(standin, "invocations", CHAT)[0] == 200


def test_only_true_is_a_wish_to_stream() -> None:
    """Bodies that are no JSON object want nothing."""
    assert wants_stream(b'{"stream": true}')
    assert not any(wants_stream(body) for body in (b'{"stream": 1}', b"[]", b"{", b"\xff"))
