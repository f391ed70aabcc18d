"""The kinds of hosting that the contract is tested over, each reached through the proxy under its own endpoint name.

Four are stand-ins, which fail on demand; the fifth is real vLLM. The models behind the stand-ins have the same weights,
so that the same request has the same words in its answer wherever it was served.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.standins import ACCOUNT, REGION, Standin

from .serving import Proxy

Name = Literal["dedicated", "packed", "imported", "engine", "vllm", "dedicated-cold", "packed-cold", "imported-cold"]
STANDINS: tuple[Name, ...] = ("dedicated", "packed", "imported", "engine")
COLD = frozenset({"ModelNotReadyException", "no-capacity"})
"""Faults that say that a model is not loaded, which a proxy remembers of its target until it has been restored."""
COLD_ARN = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:imported-model/contract0002"
ARN = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:imported-model/contract0001"

MODELS: Mapping[str, Any] = {
    "dedicated": {"kind": "endpoint", "dialect": "openai-chat", "weights": "same"},
    "packed": {"kind": "component", "endpoint": "host", "dialect": "openai-chat", "weights": "same"},
    # It stays loaded: on a slow machine five minutes pass in which no test asks for it.
    "imported": {"kind": "import", "arn": ARN, "dialect": "openai-chat", "weights": "same", "copies": {"min": 1}},
    "engine": {"kind": "engine", "dialect": "openai-chat", "weights": "same", "adapters": ["lora-a"]},
    "dedicated-cold": {"kind": "endpoint", "dialect": "openai-chat", "weights": "same"},
    "packed-cold": {"kind": "component", "endpoint": "host", "dialect": "openai-chat", "weights": "same"},
    "imported-cold": {"kind": "import", "arn": COLD_ARN, "dialect": "openai-chat", "weights": "same"},
    "echo": {"kind": "endpoint", "dialect": "echo"},
    "echo-component": {"kind": "component", "endpoint": "host", "dialect": "echo"},
    "lines": {"kind": "endpoint", "dialect": "lmi"},
}
"""What the emulator hosts."""


@dataclass(frozen=True, slots=True)
class Hosting:
    """One kind of hosting, as clients of the proxy address it."""

    name: Name
    proxy: Proxy
    params: Mapping[str, str]
    """EndpointName, and InferenceComponentName where the endpoint has components."""
    standin: Standin | None
    """None for real vLLM."""

    def ask(self, **more: str) -> dict[str, str]:
        """Parameters of a call with a JSON body."""
        return {**self.params, "ContentType": "application/json", **more}

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Ask the stand-ins' control interface; an answer that is not 200 is a mistake of the test."""
        assert self.standin is not None
        connection = http.client.HTTPConnection("127.0.0.1", self.standin.port, timeout=60)
        try:
            connection.request(method, f"/_emulator/{path}", None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            return json.loads(text)
        finally:
            connection.close()

    def of(self, fault: Mapping[str, Any]) -> Hosting:
        """The hosting to play a fault on: a twin of this one for those that leave their target cold for a while."""
        if fault["name"] not in COLD:
            return self
        twins: Mapping[Name, Name] = {
            "dedicated": "dedicated-cold",
            "packed": "packed-cold",
            "imported": "imported-cold",
        }
        name = twins[self.name]
        return Hosting(name, self.proxy, params_of(name), self.standin)

    def fail(self, *faults: Mapping[str, Any]) -> None:
        """Make the stand-in behind this hosting fail so, until told otherwise."""
        self.control("POST", "faults", {"model": self.name, "faults": list(faults)})

    def calls(self) -> list[dict[str, Any]]:
        """What the stand-ins were sent since the test began, but for the proxy's own looks at what was left cold."""
        found: list[dict[str, Any]] = self.control("GET", "calls")
        return [call for call in found if not str(call["model"]).endswith("-cold")]


def policy(standins: str) -> str:
    """The proxy's policy for the stand-ins at that URL. One attempt each, so that every failure reaches the client."""
    endpoint = {"kind": "endpoint", "region": REGION, "url": standins}
    targets = {
        "dedicated": endpoint | {"endpoint": "dedicated", "speaks": "openai-chat"},
        "packed": endpoint | {"endpoint": "host", "component": "packed", "speaks": "openai-chat"},
        "imported": {"kind": "bedrock", "model": ARN, "url": standins, "speaks": "openai-chat"},
        "engine": {"kind": "vllm", "url": f"{standins}/_engine/engine", "model": "engine", "speaks": "openai-chat"},
        "engine-lora": {
            "kind": "vllm",
            "url": f"{standins}/_engine/engine",
            "model": "engine",
            "adapter": "lora-a",
            "speaks": "openai-chat",
        },
        "dedicated-cold": endpoint | {"endpoint": "dedicated-cold", "speaks": "openai-chat"},
        "packed-cold": endpoint | {"endpoint": "host", "component": "packed-cold", "speaks": "openai-chat"},
        "imported-cold": {"kind": "bedrock", "model": COLD_ARN, "url": standins, "speaks": "openai-chat"},
        "echo": endpoint | {"endpoint": "echo"},
        "echo-component": endpoint | {"endpoint": "host", "component": "echo-component"},
        "lines": endpoint | {"endpoint": "lines", "speaks": "lmi"},
    }
    return written(
        targets,
        {
            "dedicated": {"clients_speak": "openai-chat", "serve_from": "dedicated"},
            "imported": {"clients_speak": "openai-chat", "serve_from": "imported"},
            "dedicated-cold": {"clients_speak": "openai-chat", "serve_from": "dedicated-cold"},
            "imported-cold": {"clients_speak": "openai-chat", "serve_from": "imported-cold"},
            "engine": {"clients_speak": "openai-chat", "serve_from": "engine"},
            "engine-lora": {"clients_speak": "openai-chat", "serve_from": "engine-lora"},
            "echo": {"serve_from": "echo"},
            "lines": {"clients_speak": "lmi", "serve_from": "lines"},
            "host": {
                "components": {
                    "packed": {"clients_speak": "openai-chat", "serve_from": "packed"},
                    "packed-cold": {"clients_speak": "openai-chat", "serve_from": "packed-cold"},
                    "echo-component": {"serve_from": "echo-component"},
                }
            },
        },
    )


def written(targets: Mapping[str, Any], endpoints: Mapping[str, Any]) -> str:
    """A policy file."""
    document = {
        "apiVersion": "pointsman/v1",
        "account": ACCOUNT,
        "defaults": {"timeout": "20s", "stream_timeout": "30s", "retry": {"attempts": 1}},
        "targets": targets,
        "endpoints": endpoints,
    }
    return json.dumps(document)


def params_of(name: Name) -> Mapping[str, str]:
    """How clients address a hosting."""
    return (
        {"EndpointName": "host", "InferenceComponentName": name}
        if name.startswith("packed")
        else {"EndpointName": name}
    )


def chat(*, stream: bool | None = None, tokens: int = 6, says: str = "Which track does the train take?") -> bytes:
    """The body of an OpenAI chat request; `model` names something that nobody serves, as clients' bodies do."""
    document: dict[str, Any] = {
        "model": "what-the-client-believes",
        "messages": [{"role": "user", "content": says}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    return json.dumps(document if stream is None else {**document, "stream": stream}).encode()


def deltas(parts: tuple[bytes, ...]) -> list[str]:
    """The text of each Server-Sent Event of a chat, one event a part; the last must be the end mark."""
    assert all(part.startswith(b"data: ") and part.endswith(b"\n\n") and part.count(b"\n\n") == 1 for part in parts)
    assert parts[-1] == b"data: [DONE]\n\n"
    choices = [json.loads(part.removeprefix(b"data: "))["choices"] for part in parts[:-1]]
    return [choice[0]["delta"].get("content") or "" for choice in choices if choice]
