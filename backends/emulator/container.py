"""The model's container: a question in, an answer out, as the engine behind an endpoint or an import would give it.

A container knows nothing of SageMaker's framing or Bedrock's: `stream: true` in the body is what makes it stream, and
the face that it stands behind decides what its chunks become. It keeps one thing: the stateful sessions that it has
opened.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import asks, shapes, text
from .asks import Ask, AskError
from .config import Dialect, EmulatorConfig, ModelConfig

_ECHO_PIECE = 65_536
_SESSION_SECONDS = 1200.0
"""Default of SAGEMAKER_SESSIONS_EXPIRATION (model-hosting-container-standards)."""
_DISABLED = "Invalid payload. stateful sessions not enabled"


@dataclass(frozen=True, slots=True)
class Question:
    """What reaches the container of one call."""

    body: bytes
    call: str
    """Hex digits that differ per call."""
    now: float
    content_type: str | None = None
    custom_attributes: str | None = None
    session: str | None = None
    adapter: str | None = None
    dialect: Dialect | None = None
    """Instead of the model's own, where the path says so."""
    accent: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """The container's answer; `chunks` joined are its body."""

    status: int
    content_type: str
    chunks: tuple[bytes, ...]
    streamed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    objects: tuple[Any, ...] = ()
    """A stream's JSON values, for the face that frames values instead of bytes."""


class Container:
    """One model's container. `answer` never raises for bad input: it replies as the container would."""

    def __init__(self, config: EmulatorConfig, name: str) -> None:
        self._config = config
        self._name = name
        self._model: ModelConfig = config.models[name]
        self._dialect: Dialect = self._model.dialect or "echo"
        self._sessions: dict[str, float] = {}
        self._opened = 0

    def answer(self, question: Question) -> Reply:
        """The answer to a question on `/invocations`."""
        if self._dialect == "echo":
            return _echo(question)
        dialect = question.dialect or self._dialect
        try:
            self._check_type(question)
            session = self._session(question)
            if session is not None:
                return session
            if self._model.kind == "engine" and question.dialect is None:
                dialect = asks.openai_shape(question.body)
            ask = asks.read_ask(dialect, question.body)
            return self._say(ask, question)
        except AskError as error:
            return Reply(error.status, shapes.JSON, (shapes.refusal(dialect, error),))

    def generate(self, ask: Ask, question: Question) -> tuple[text.Said, shapes.Stamp]:
        """The text for `ask` and what goes round it."""
        key = f"{self._config.seed}|{self._model.weights}|{ask.sampling}|{ask.prompt}"
        length = (self._model.tokens.min, self._model.tokens.max)
        said = text.say(key, length=length, limit=ask.limit, minimum=ask.minimum, stop=ask.stop, accent=question.accent)
        return said, shapes.Stamp(
            call=question.call, created=int(question.now), model=question.adapter or self.served_model
        )

    @property
    def served_model(self) -> str:
        """The `model` of answers."""
        if self._model.served_model is not None:
            return self._model.served_model
        if self._model.arn is not None:
            return f"{self._config.account}-{self._model.arn.rpartition('/')[2]}"
        return self._name

    def _say(self, ask: Ask, question: Question) -> Reply:
        said, stamp = self.generate(ask, question)
        extra = self._opening(question)
        if ask.stream:
            objects = shapes.pieces(ask, said, stamp)
            kind, chunks = shapes.stream_bytes(ask.dialect, objects)
            reply = Reply(200, kind, chunks, streamed=True, headers=extra, objects=tuple(objects))
        else:
            reply = Reply(200, shapes.JSON, (shapes.encode(shapes.whole(ask, said, stamp)),), headers=extra)
        return replace(reply, prompt_tokens=ask.prompt_tokens, completion_tokens=len(said.pieces))

    def stream_objects(self, question: Question) -> Reply:
        """The answer as the JSON objects of a stream whatever the body's `stream` says: what Bedrock's URL decides.

        Errors: AskError.
        """
        dialect = question.dialect or self._dialect
        ask = replace(asks.read_ask(dialect, question.body), stream=True)
        return self._say(ask, question)

    def whole(self, question: Question) -> Reply:
        """The answer in one piece whatever the body's `stream` says. Errors: AskError."""
        dialect = question.dialect or self._dialect
        ask = replace(asks.read_ask(dialect, question.body), stream=False)
        return self._say(ask, question)

    def _check_type(self, question: Question) -> None:
        kind = (question.content_type or "").partition(";")[0].strip().lower()
        if self._model.kind == "engine":
            wrong = kind != "application/json"
        else:
            wrong = bool(kind) and kind != "application/json" and not kind.endswith("+json")
        if wrong:
            raise AskError(400, "Unsupported Media Type: Only 'application/json' is allowed")

    def _policy(self) -> str:
        return self._model.sessions or ("off" if self._model.kind == "engine" else "lenient")

    def _session(self, question: Question) -> Reply | None:
        wish = _wish(question.body)
        if question.session is None and wish is None:
            return None
        if self._policy() == "off":
            raise AskError(400, _DISABLED)
        if wish == "NEW_SESSION":
            return Reply(200, "text/plain", (b"Session created",), headers=self._open(question.now))
        known = question.session in self._sessions and self._sessions[question.session or ""] > question.now
        if question.session not in {None, "NEW_SESSION"} and not known and (wish or self._policy() == "strict"):
            raise AskError(400, f"Bad request: session not found: {question.session}")
        if wish == "CLOSE" and question.session is not None:
            self._sessions.pop(question.session, None)
            closed = {"X-Amzn-SageMaker-Closed-Session-Id": question.session}
            return Reply(200, "text/plain", (b"Session closed",), headers=closed)
        return None

    def _opening(self, question: Question) -> Mapping[str, str]:
        return self._open(question.now) if question.session == "NEW_SESSION" else {}

    def _open(self, now: float) -> Mapping[str, str]:
        self._opened += 1
        digest = hashlib.sha256(f"{self._config.seed}/{self._name}/{self._opened}/{now}".encode()).digest()
        session = str(uuid.UUID(bytes=digest[:16], version=4))
        self._sessions = {key: end for key, end in self._sessions.items() if end > now}
        self._sessions[session] = now + _SESSION_SECONDS
        end = datetime.datetime.fromtimestamp(now + _SESSION_SECONDS, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"X-Amzn-SageMaker-New-Session-Id": f"{session}; Expires={end}"}


def _wish(body: bytes) -> str | None:
    if len(body) > 200 or b"requestType" not in body:
        return None
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value.get("requestType") if isinstance(value, dict) else None


def _echo(question: Question) -> Reply:
    body = question.body
    chunks = tuple(body[at : at + _ECHO_PIECE] for at in range(0, len(body), _ECHO_PIECE)) or (b"",)
    attributes = question.custom_attributes
    extra = {"X-Amzn-SageMaker-Custom-Attributes": attributes} if attributes is not None else {}
    return Reply(200, question.content_type or "application/octet-stream", chunks, headers=extra)
