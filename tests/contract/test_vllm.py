"""Real vLLM behind the proxy: what only the engine itself can prove. The four cells are in `test_answers`."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.engines import ADAPTER, MODEL, running_vllm

from .conftest import GetClient
from .hosting import chat, deltas, written
from .serving import Proxy, running_proxy

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.timeout(300, func_only=True)]


def said(document: Any) -> str:
    """The text of a chat answer."""
    text: str = document["choices"][0]["message"]["content"]
    return text


def test_policy_decides_who_answers_whatever_the_body_says(
    client_name: str, vllm_proxy: Proxy, get_client: GetClient
) -> None:
    """The same body, whose `model` nobody serves, is answered by the base model or its adapter, as the route says."""
    client = get_client(client_name, vllm_proxy)
    answers = [
        json.loads(client.call({"EndpointName": name, "ContentType": "application/json"}, chat(tokens=12)).body)
        for name in ("vllm", "vllm-lora")
    ]
    assert [answer["model"] for answer in answers] == [MODEL, ADAPTER]
    assert said(answers[0]) != said(answers[1])


def test_stream_of_the_adapter_is_the_adapter_s(streaming_name: str, vllm_proxy: Proxy, get_client: GetClient) -> None:
    """The adapter is asked for on streams as well, and every event says that it answers."""
    params = {"EndpointName": "vllm-lora", "ContentType": "application/json"}
    answer = get_client(streaming_name, vllm_proxy).call(params, chat(stream=True), stream=True)
    assert answer.error is None
    assert "".join(deltas(answer.parts))
    assert {json.loads(part.removeprefix(b"data: "))["model"] for part in answer.parts[:-1]} == {ADAPTER}


@pytest.mark.parametrize("stream", [False, True])
def test_model_that_the_engine_does_not_serve_is_its_404(
    vllm_proxy: Proxy, get_client: GetClient, stream: bool
) -> None:
    """A policy that names a wrong model gets no answer from another one: the engine's refusal reaches the client."""
    params = {"EndpointName": "vllm-nope", "ContentType": "application/json"}
    answer = get_client("boto3-newest", vllm_proxy).call(params, chat(stream=stream), stream=stream)
    assert answer.error is not None
    assert answer.error["code"] == "ModelError"
    assert answer.error["members"]["OriginalStatusCode"] == 404
    assert "does not exist" in answer.error["members"]["OriginalMessage"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"messages": [', "JSON"),
        (json.dumps({"inputs": "which track?"}).encode(), "prompt"),
        (chat(says="track " * 2000), "maximum context length"),
    ],
)
def test_body_that_the_engine_refuses_is_a_model_error_with_its_words(
    client_name: str, vllm_proxy: Proxy, get_client: GetClient, body: bytes, words: str
) -> None:
    """The engine's 400, wrapped as SageMaker wraps a container's."""
    params = {"EndpointName": "vllm", "ContentType": "application/json"}
    answer = get_client(client_name, vllm_proxy).call(params, body)
    assert answer.error is not None
    assert answer.error["code"] == "ModelError"
    assert "Received client error (400) from primary" in answer.error["message"]
    if client_name != "awscli":
        assert answer.error["members"]["OriginalStatusCode"] == 400
        assert words in answer.error["members"]["OriginalMessage"]


def test_usage_of_a_stream_comes_as_the_client_asked(
    streaming_name: str, vllm_proxy: Proxy, get_client: GetClient
) -> None:
    """`stream_options` reaches the engine untouched, its last event counts the tokens, and the proxy has them of it."""
    before = generated(vllm_proxy)
    document = json.loads(chat(stream=True, tokens=7)) | {"stream_options": {"include_usage": True}, "ignore_eos": True}
    params = {"EndpointName": "vllm", "ContentType": "application/json"}
    answer = get_client(streaming_name, vllm_proxy).call(params, json.dumps(document).encode(), stream=True)
    assert answer.error is None
    assert json.loads(answer.parts[-2].removeprefix(b"data: "))["usage"]["completion_tokens"] == 7
    while generated(vllm_proxy) == before:  # what follows a request comes after its answer
        time.sleep(0.01)
    assert generated(vllm_proxy) == before + 7


def generated(proxy: Proxy) -> float:
    """Tokens that the proxy has counted of the endpoint `vllm`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.admin_port}/metrics") as page:
        told = page.read().decode()
    found = re.findall(r'^pointsman_output_tokens_total\{endpoint="vllm",.*\} (\S+)$', told, re.MULTILINE)
    return sum(map(float, found))


def test_engine_that_dies_in_the_middle_of_a_stream(tmp_path: Path, get_client: GetClient) -> None:
    """kill -9 between two tokens: what came is the client's, then an exception; afterwards it is 503, at once."""
    with running_vllm(tmp_path / "vllm.log") as engine:
        target = {"kind": "vllm", "url": engine.url, "model": MODEL, "speaks": "openai-chat", "first_byte": "4m"}
        route = {"clients_speak": "openai-chat", "serve_from": "mortal", "stream_timeout": "4m"}
        policy = written({"mortal": target}, {"mortal": route})
        with running_proxy(tmp_path, policy) as proxy:
            client = get_client("boto3-newest", proxy)
            params = {"EndpointName": "mortal", "ContentType": "application/json"}
            document = json.loads(chat(stream=True, tokens=400)) | {"ignore_eos": True}
            parts = 0
            for news in client.follow(params, json.dumps(document).encode()):
                if isinstance(news, bytes):
                    parts += 1
                    if parts == 5:
                        for child in children(engine.process.pid):
                            os.kill(child, signal.SIGKILL)
                        os.kill(engine.process.pid, signal.SIGKILL)
                elif not isinstance(news, str):
                    assert news.error is not None
                    assert (news.error["kind"], news.error["code"]) == ("EventStreamError", "ModelStreamError")
            assert 5 <= parts < 400
            after = client.call(params, chat())
            assert after.error is not None
            assert (after.status, after.error["code"]) == (503, "ServiceUnavailable")


def children(process: int) -> list[int]:
    """The processes that `process` has started."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]
