"""Clients of every dialect through the proxy to real vLLM: what it is asked for exists, and the answers are its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.wire.dialects.vectors import TEMPLATE, text_of, with_parameters
from tests.engines import MODEL, Engine

from .conftest import GetClient
from .serving import Proxy, running_proxy

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.timeout(300, func_only=True)]

TARGETS = {"chat": "openai-chat", "text": "openai-completions"}
CLIENTS = ("tgi", "lmi", "openai-chat", "openai-completions", "bedrock-completion")
PAIRS = [(client, target) for client in CLIENTS for target in TARGETS if TARGETS[target] != client]


@pytest.fixture(scope="module")
def translating(vllm: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with a route `CLIENT-TARGET` for each pair of dialects."""
    folder: Path = tmp_path_factory.mktemp("dialects")
    (folder / "chat.jinja").write_text(TEMPLATE)
    rule = {"prompt_as": "user-message", "chat_template": "chat.jinja"}
    policy = {
        "apiVersion": "pointsman/v1",
        "account": "123456789012",
        "targets": {
            name: {"kind": "vllm", "url": vllm.url, "model": MODEL, "speaks": speaks}
            for name, speaks in TARGETS.items()
        },
        "endpoints": {
            f"{client}-{target}": {"clients_speak": client, "serve_from": target, "translate": rule}
            for client, target in PAIRS
        },
    }
    with running_proxy(folder, json.dumps(policy)) as proxy:
        yield proxy


def ask(get_client: GetClient, proxy: Proxy, pair: tuple[str, str], *, stream: bool, **keys: Any) -> Any:
    params = {"EndpointName": "-".join(pair), "ContentType": "application/json"}
    body = json.dumps(with_parameters(pair[0], stream=stream, **keys)).encode()
    return get_client("boto3-newest", proxy).call(params, body, stream=stream)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_whole_and_streamed_answers_are_the_same_text(
    pair: tuple[str, str], translating: Proxy, get_client: GetClient
) -> None:
    """Greedy, the model says the same twice; one event or line is one part of the stream."""
    client = pair[0]
    whole = ask(get_client, translating, pair, stream=False, temperature=0)
    streamed = ask(get_client, translating, pair, stream=True, temperature=0)
    assert (whole.error, streamed.error) == (None, None)
    text = text_of(client, whole.body, streamed=False)
    assert text
    assert text_of(client, b"".join(streamed.parts), streamed=True) == text
    assert all(part.count(b"\n") == (1 if client == "lmi" else 2) for part in streamed.parts)


@pytest.mark.parametrize("target", TARGETS)
def test_tokens_of_tgi_clients_are_vllms(target: str, translating: Proxy, get_client: GetClient) -> None:
    """Details and streams have the ids and probabilities of real tokens, as many as were generated."""
    whole = ask(get_client, translating, ("tgi", target), stream=False, details=True)
    details = json.loads(whole.body)[0]["details"]
    ids = [token["id"] for token in details["tokens"]]
    assert details["generated_tokens"] == len(ids) == 9
    assert all(isinstance(number, int) for number in ids)
    streamed = ask(get_client, translating, ("tgi", target), stream=True)
    events = [json.loads(part.removeprefix(b"data:")) for part in streamed.parts]
    assert [event["token"]["id"] for event in events] == ids
    assert all(event["token"]["logprob"] < 0 for event in events)
    assert events[-1]["details"]["generated_tokens"] == 9


@pytest.mark.parametrize("target", TARGETS)
def test_a_stop_string_stays_for_tgi_and_goes_for_openai(
    target: str, translating: Proxy, get_client: GetClient
) -> None:
    """vLLM leaves it in where the client's dialect does."""
    plain = ask(get_client, translating, ("tgi", target), stream=False)
    text = json.loads(plain.body)[0]["generated_text"]
    stop = next(mark for mark in text[1:] if mark.isascii() and mark.isprintable())
    kept = ask(get_client, translating, ("tgi", target), stream=False, stop=[stop], details=True)
    (answer,) = json.loads(kept.body)
    assert answer["generated_text"].endswith(stop)
    assert answer["details"]["finish_reason"] == "stop_sequence"
    cut = ask(get_client, translating, ("lmi", target), stream=False, stop_sequences=[stop])
    assert json.loads(cut.body)["generated_text"] == answer["generated_text"].removesuffix(stop)


@pytest.mark.parametrize(("keys", "said"), [({"temperature": -1}, "temperature"), ({"watermark": True}, "watermark")])
def test_refusals_have_the_clients_shape(
    keys: dict[str, Any], said: str, translating: Proxy, get_client: GetClient
) -> None:
    """vLLM's own 400 and ours look alike to a TGI client: ModelError, OriginalStatusCode 400, TGI's body."""
    answer = ask(get_client, translating, ("tgi", "text"), stream=False, **keys)
    assert answer.error is not None
    assert (answer.error["code"], answer.error["members"]["OriginalStatusCode"]) == ("ModelError", 400)
    document = json.loads(answer.error["members"]["OriginalMessage"])
    assert document["error_type"] == "validation"
    assert said in document["error"]
