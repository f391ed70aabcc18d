"""OpenAI's own package, unchanged but for its base URL: blocking, streaming, models, errors, through every hosting."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.backends.wire.test_bearer import token
from tests.environments import Say
from tests.listening import listening
from tests.standins import REGION, Standin, config_of, emulator_in_thread

from .hosting import MODELS, Hosting, policy
from .openai_package import CHAT, TEXT, Package, running_package
from .serving import Proxy, running_proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

MESSAGES = [{"role": "user", "content": "Which track does the train take?"}]


@pytest.fixture(scope="module")
def package(say: Say) -> Iterator[Package]:
    """The running package."""
    with running_package(say) as running:
        yield running


def model_of(hosting: Hosting) -> str:
    """The hosting as a model's name."""
    return "/".join(hosting.params.values())


def url_of(hosting: Hosting) -> str:
    """The hosting as SageMaker's own URL for OpenAI clients."""
    component = hosting.params.get("InferenceComponentName")
    inside = f"/inference-components/{component}" if component else ""
    return f"{hosting.proxy.url}/endpoints/{hosting.params['EndpointName']}{inside}/openai/v1"


def test_a_chat_is_answered_through_either_url(package: Package, standin_hosting: Hosting) -> None:
    """A plain path with the model in the body, and SageMaker's URL where the body's model is nobody's business."""
    arguments: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 6}
    _, plain = package(f"{standin_hosting.proxy.url}/v1", CHAT, model=model_of(standin_hosting), **arguments)
    _, named = package(url_of(standin_hosting), CHAT, model="", **arguments)
    for done in (plain, named):
        assert done["error"] is None
        assert done["answer"]["usage"]["completion_tokens"] == 6
        assert done["request_id"]
    words = [done["answer"]["choices"][0]["message"]["content"] for done in (plain, named)]
    assert words[0] == words[1] != ""


def test_a_stream_arrives_chunk_by_chunk(package: Package, standin_hosting: Hosting) -> None:
    """The same words as in one piece, one chunk for each token, and a proper end."""
    arguments: dict[str, Any] = {"model": model_of(standin_hosting), "messages": MESSAGES, "max_tokens": 6}
    _, whole = package(f"{standin_hosting.proxy.url}/v1", CHAT, **arguments)
    parts, done = package(f"{standin_hosting.proxy.url}/v1", CHAT, stream=True, **arguments)
    assert done["error"] is None
    words = [part["choices"][0]["delta"].get("content") or "" for part in parts if part["choices"]]
    assert "".join(words) == whole["answer"]["choices"][0]["message"]["content"]
    assert len([word for word in words if word]) >= 6


def test_chunks_are_handed_out_as_they_come(package: Package, dedicated: Hosting) -> None:
    """The model makes the next chunk only when the client has shown the one before."""
    dedicated.fail({"name": "acknowledged"})
    shown = 0

    def acknowledge() -> None:
        nonlocal shown
        while not ended.wait(0.01):
            shown += 1
            dedicated.control("POST", "ack", {"model": "dedicated", "part": shown})

    ended = threading.Event()
    acknowledging = threading.Thread(target=acknowledge)
    acknowledging.start()
    try:
        arguments: dict[str, Any] = {"model": "dedicated", "messages": MESSAGES, "max_tokens": 4, "stream": True}
        parts, done = package(f"{dedicated.proxy.url}/v1", CHAT, **arguments)
    finally:
        ended.set()
        acknowledging.join()
    assert done["error"] is None
    assert len(parts) >= 4


def test_models_are_the_policys_endpoints(package: Package, dedicated: Hosting) -> None:
    """Those that these clients can call; one can be looked at by its name."""
    _, listed = package(f"{dedicated.proxy.url}/v1", "models.list")
    names = [one["id"] for one in listed["answer"]["data"]]
    assert {"dedicated", "host/packed", "imported", "engine", "echo"} <= set(names)
    assert "lines" not in names
    _, one = package(f"{dedicated.proxy.url}/v1", "models.retrieve", model="host/packed")
    assert one["answer"]["id"] == "host/packed"
    _, none = package(f"{dedicated.proxy.url}/v1", "models.retrieve", model="lines")
    assert none["error"]["kind"] == "NotFoundError"


ERRORS: tuple[tuple[Mapping[str, Any], str, int, str | None], ...] = (
    ({"name": "ModelError", "original_status_code": 400}, "BadRequestError", 400, "model_error"),
    ({"name": "ModelError", "original_status_code": 422}, "UnprocessableEntityError", 422, "model_error"),
    ({"name": "ModelError", "original_status_code": 429}, "RateLimitError", 429, "model_error"),
    ({"name": "ModelError", "original_status_code": 503}, "InternalServerError", 503, "model_error"),
    ({"name": "model-timeout"}, "InternalServerError", 504, "deadline_exceeded"),
    ({"name": "ModelNotReadyException"}, "RateLimitError", 429, "model_not_ready"),
    ({"name": "ThrottlingException"}, "RateLimitError", 429, "rate_limit_exceeded"),
    ({"name": "InternalFailure"}, "InternalServerError", 502, "bad_gateway"),
    ({"name": "InternalDependencyException"}, "InternalServerError", 502, "bad_gateway"),
    ({"name": "ServiceUnavailable"}, "InternalServerError", 503, "service_unavailable"),
    ({"name": "ValidationError", "message": "it said so"}, "BadRequestError", 400, None),
    ({"name": "AccessDeniedException"}, "InternalServerError", 500, "internal_error"),
    ({"name": "reset"}, "InternalServerError", 502, "bad_gateway"),
)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("fault", "kind", "status", "code"), ERRORS, ids=[str(each[0]["name"]) for each in ERRORS])
def test_an_error_is_the_packages_own_exception(
    package: Package, dedicated: Hosting, streamed: bool, fault: Mapping[str, Any], kind: str, status: int, code: str
) -> None:
    """With status, code and the request id to ask about, before a stream as well."""
    hosting = dedicated.of(fault)
    hosting.fail(fault)
    arguments: dict[str, Any] = {"model": model_of(hosting), "messages": MESSAGES, "stream": streamed}
    parts, done = package(f"{hosting.proxy.url}/v1", CHAT, **arguments)
    error = done["error"]
    assert (parts, error["kind"], error["status_code"], error["code"]) == ([], kind, status, code)
    assert error["request_id"]
    assert error["message"]


def test_an_engines_error_is_the_clients_unchanged(package: Package, dedicated: Hosting) -> None:
    """Every field of it, as if the client spoke to vLLM."""
    dedicated.control("POST", "faults", {"model": "engine", "faults": [{"name": "engine-error", "status": 400}]})
    assert dedicated.standin is not None
    path, kind = "/_engine/engine/invocations", {"Content-Type": "application/json"}
    _, _, raw = dedicated.standin.http("POST", path, json.dumps({"messages": MESSAGES}).encode(), kind)
    _, done = package(f"{dedicated.proxy.url}/v1", CHAT, model="engine", messages=MESSAGES)
    assert done["error"]["kind"] == "BadRequestError"
    assert done["error"]["body"] == json.loads(raw)["error"]


@pytest.mark.parametrize("fault", [{"name": "cut-stream"}, {"name": "ModelStreamError"}, {"name": "bad-crc"}])
def test_a_stream_that_breaks_is_an_exception_after_its_chunks(
    package: Package, dedicated: Hosting, fault: Mapping[str, Any]
) -> None:
    """The package raises APIError at the event that ends it, never a clean end."""
    dedicated.fail({**fault, "after": {"part": 3}})
    arguments: dict[str, Any] = {"model": "dedicated", "messages": MESSAGES, "max_tokens": 8, "stream": True}
    parts, done = package(f"{dedicated.proxy.url}/v1", CHAT, **arguments)
    assert 1 <= len(parts) <= 3
    assert done["error"]["kind"] == "APIError"
    assert done["error"]["code"] in {"stream_broken", "model_error"}


@pytest.mark.parametrize(
    ("fault", "calls", "served"),
    [
        ({"name": "ThrottlingException", "first": 1}, 2, True),
        ({"name": "ServiceUnavailable", "first": 1}, 2, True),
        ({"name": "InternalFailure"}, 1, False),
        ({"name": "ModelError", "original_status_code": 500}, 1, False),
        ({"name": "reset"}, 1, False),
        ({"name": "model-timeout"}, 1, False),
    ],
    ids=lambda value: str(value["name"]) if isinstance(value, dict) else None,
)
def test_the_package_tries_again_only_where_nothing_has_run(
    package: Package, dedicated: Hosting, fault: Mapping[str, Any], calls: int, served: bool
) -> None:
    """By its own defaults it would send every one of these again."""
    dedicated.fail(fault)
    _, done = package(f"{dedicated.proxy.url}/v1", CHAT, retries=2, model="dedicated", messages=MESSAGES)
    assert (done["error"] is None) is served
    assert len(dedicated.calls()) == calls


@pytest.mark.parametrize(
    ("model", "kind"), [("gpt-9", "NotFoundError"), ("host", "NotFoundError"), ("", "BadRequestError")]
)
def test_an_unknown_model_is_not_found(package: Package, dedicated: Hosting, model: str, kind: str) -> None:
    """As at OpenAI."""
    _, done = package(f"{dedicated.proxy.url}/v1", CHAT, model=model, messages=MESSAGES)
    assert done["error"]["kind"] == kind
    assert done["error"]["param"] == "model"


def test_sagemakers_token_opens_while_it_is_valid(package: Package, dedicated: Hosting) -> None:
    """An expired one is an AuthenticationError; neither is in the log or passed on."""
    signed = datetime.now(UTC) - timedelta(minutes=10)
    for minutes, kind in ((15, None), (5, "AuthenticationError")):
        key = token(X_Amz_Date=signed.strftime("%Y%m%dT%H%M%SZ"), X_Amz_Expires=str(minutes * 60))
        _, done = package(url_of(dedicated), CHAT, key=key, model="", messages=MESSAGES)
        assert (done["error"] and done["error"]["kind"]) == kind
        assert key not in dedicated.proxy.log.read_text() + json.dumps(dedicated.calls())


EMBEDDING = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}], "model": "e"}


class Embedder(BaseHTTPRequestHandler):
    """An engine that embeds whatever it is sent."""

    def do_POST(self) -> None:
        """`/invocations`."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({**EMBEDDING, "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Standin]]:
    """A proxy with models of other dialects, and one that embeds."""
    models = {**MODELS, "text": {"kind": "endpoint", "dialect": "openai-completions"}}
    models["tgi"] = {"kind": "endpoint", "dialect": "tgi"}
    with (
        listening(ThreadingHTTPServer(("127.0.0.1", 0), Embedder)) as server,
        emulator_in_thread(config_of(models)) as standin,
    ):
        document = json.loads(policy(standin.url))
        endpoint = {"kind": "endpoint", "region": REGION, "url": standin.url}
        document["targets"] |= {
            "text": {**endpoint, "endpoint": "text", "speaks": "openai-completions"},
            "tgi": {**endpoint, "endpoint": "tgi", "speaks": "tgi"},
            "embed": {"kind": "vllm", "url": f"http://127.0.0.1:{server.server_port}", "model": "e"},
        }
        document["endpoints"] |= {
            "text": {"clients_speak": "openai-completions", "serve_from": "text"},
            "tgi": {"clients_speak": "tgi", "serve_from": "tgi"},
            "embed": {"serve_from": "embed"},
        }
        with running_proxy(tmp_path_factory.mktemp("mixed"), json.dumps(document)) as proxy:
            yield proxy, standin


@pytest.mark.parametrize("model", ["text", "tgi"])
def test_text_completions_reach_models_that_read_prompts(
    package: Package, mixed: tuple[Proxy, Standin], model: str
) -> None:
    """The URL says what the body is, whatever the endpoint's other clients speak: TGI's model is translated to."""
    url = f"{mixed[0].url}/v1"
    _, whole = package(url, TEXT, model=model, prompt="Which track?", max_tokens=5)
    assert whole["error"] is None, whole["error"]
    parts, done = package(url, TEXT, model=model, prompt="Which track?", max_tokens=5, stream=True)
    assert done["error"] is None
    words = "".join(part["choices"][0]["text"] for part in parts if part["choices"])
    assert words.strip() == whole["answer"]["choices"][0]["text"].strip() != ""


def test_what_can_not_be_translated_is_refused(package: Package, mixed: tuple[Proxy, Standin]) -> None:
    """A chat needs the model's template to become a prompt, and this policy has none: 400."""
    _, done = package(f"{mixed[0].url}/v1", CHAT, model="tgi", messages=MESSAGES)
    assert (done["error"]["kind"], done["error"]["status_code"]) == ("BadRequestError", 400)


def test_embeddings_pass(package: Package, mixed: tuple[Proxy, Standin]) -> None:
    """As the engine answers them."""
    _, done = package(f"{mixed[0].url}/v1", "embeddings.create", model="embed", input="x", encoding_format="float")
    assert done["error"] is None
    assert done["answer"]["data"][0]["embedding"] == [0.5, -1.0]
