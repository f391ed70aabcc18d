"""A model for each dialect under each kind of hosting, all with the same weights, and the policy that routes to them.

The stand-ins host what exists: an engine speaks OpenAI's two dialects, an endpoint anything but Bedrock's format. The
policy allows more, since other servers may speak more (TGI serves `/invocations`, too): for those the stand-ins' model
answers from a plain HTTP server, by itself as an engine, or as the container behind the stand-in of SageMaker.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from backends.emulator.config import EmulatorConfig
from backends.emulator.container import Container, Question, Reply
from tests.listening import listening
from tests.standins import ACCOUNT, REGION, config_of, emulator_in_thread

from .hosting import written
from .matrix import KINDS, Way, ways

WEIGHTS = "same"
OPENAI = ("openai-chat", "openai-completions")
BY_THEMSELVES = ("tgi", "lmi", "bedrock-completion")
"""Dialects that the stand-in of an engine does not speak."""


def arn(dialect: str) -> str:
    """The import that speaks a dialect."""
    return f"arn:aws:bedrock:{REGION}:{ACCOUNT}:imported-model/{(dialect.replace('-', '') + '0' * 12)[:12]}"


def _models(containers: Mapping[str, int]) -> dict[str, Any]:
    """What the stand-ins host; `containers` are the ports of the servers below."""
    behind = {"url": f"http://127.0.0.1:{containers['bedrock-completion']}"}
    models: dict[str, Any] = {
        f"endpoint-{dialect}": {"kind": "endpoint", "dialect": dialect, "weights": WEIGHTS}
        for dialect in (*OPENAI, "tgi", "lmi")
    }
    models |= {
        f"bedrock-{dialect}": {"kind": "import", "arn": arn(dialect), "dialect": dialect, "weights": WEIGHTS}
        for dialect in KINDS["bedrock"]
    }
    models["endpoint-bedrock-completion"] = {"kind": "endpoint", "container": behind}
    models["engine"] = {"kind": "engine", "dialect": "openai-chat", "weights": WEIGHTS}
    return models


def _target(way: Way, standins: str, containers: Mapping[str, int]) -> dict[str, Any]:
    speaks = {"speaks": way.target}
    match way.kind:
        case "endpoint":
            name = f"endpoint-{way.heard}"
            return {"kind": "endpoint", "region": REGION, "url": standins, "endpoint": name, **speaks}
        case "bedrock":
            return {"kind": "bedrock", "url": standins, "model": arn(way.heard), **speaks}
        case "vllm" if way.heard in OPENAI:
            return {"kind": "vllm", "url": f"{standins}/_engine/engine", "model": "engine", **speaks}
        case "vllm":
            return {"kind": "vllm", "url": f"http://127.0.0.1:{containers[way.heard]}", "model": "any", **speaks}
        case _:
            raise AssertionError(f"a new kind, {way.kind}: say here who plays it")


@dataclass(frozen=True, slots=True)
class Speaking:
    """The running models."""

    policy: str
    """A policy with an endpoint for every way."""


@contextlib.contextmanager
def speaking() -> Iterator[Speaking]:
    """Every model until the block ends."""
    with contextlib.ExitStack() as stack:
        ports = {dialect: stack.enter_context(_server(dialect)) for dialect in BY_THEMSELVES}
        standin = stack.enter_context(emulator_in_thread(config_of(_models(ports))))
        targets = {way.endpoint["serve_from"]: _target(way, standin.url, ports) for way in ways()}
        yield Speaking(written(targets, {way.name: way.endpoint for way in ways()}))


@contextlib.contextmanager
def _server(dialect: str) -> Iterator[int]:
    """`/ping` and `/invocations` of one model, on a free port."""
    container = Container(_config(dialect), dialect)

    class Serving(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, "text/plain", b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply = _answer(container, dialect, body)
            if not reply.streamed:
                self._send(reply.status, reply.content_type, b"".join(reply.chunks))
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in (*reply.chunks, b""):
                self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Serving)) as server:
        yield server.server_port


def _config(dialect: str) -> EmulatorConfig:
    native = dialect == "bedrock-completion"
    kind: dict[str, Any] = {"kind": "import", "arn": arn(dialect)} if native else {"kind": "endpoint"}
    return config_of({dialect: {**kind, "dialect": dialect, "weights": WEIGHTS}})


def _answer(container: Container, dialect: str, body: bytes) -> Reply:
    question = Question(body, call="0", now=0.0, content_type="application/json")
    if dialect != "bedrock-completion" or json.loads(body).get("stream") is not True:
        return container.answer(question)
    reply = container.stream_objects(question)
    return replace(reply, chunks=reply.chunks[:-1])  # Bedrock's format knows no `[DONE]`
