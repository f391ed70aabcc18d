"""What an imported model answers, recognised strictly and given the form that it has behind an endpoint.

A 200 whose body is not of the declared dialect is a failure, never an empty answer: Bedrock sends such bodies while a
model is not ready, and clients that guess show users nothing at all. Bedrock's stream is frames with one base64-coded
JSON object each; behind an endpoint the same model sends Server-Sent Events, `data: <object>` and a blank line, and in
OpenAI's dialects `data: [DONE]` at the end. Objects are passed on byte for byte, unless Bedrock's own
`amazon-bedrock-invocationMetrics` must be taken out or a line break inside would end the event early.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import orjson

from policies.facts import FailureFacts

from ...base import Usage
from ...errors import Said
from ..eventstream import Frame
from ..restjson import read_count, read_object
from ..verdicts import GARBLED
from .failures import read_exception

RESPONSE_LIMIT = 25_000_000
"""Longest body of an answer, in bytes (botocore's bedrock-runtime model)."""
SERVER_SENT_EVENTS = "text/event-stream"
METRICS = "amazon-bedrock-invocationMetrics"

_DONE = b"data: [DONE]\n\n"
_OPENAI = {"openai-chat": ("message", "delta"), "openai-completions": ("text", "text")}
"""Dialect: the key of a choice in a whole answer, and in a streamed object."""
_MARK = b'"choices":'
_MARKS = {
    "openai-chat": (b'"choices":[{"index":0,"message":{', b'"choices": [{"index": 0, "message": {'),
    "openai-completions": (b'"choices":[{"index":0,"text":"', b'"choices": [{"index": 0, "text": "'),
}
"""What a whole answer of an engine has near its beginning, written closely or not: `_MARK` and what follows it. Inside
a text its quotes would be escaped."""
_MARKED = 512
"""Bytes in which it begins: before it are an id, the model's name, and little else."""
_ENDS = frozenset({*_OPENAI, "bedrock-completion"})
"""Dialects whose last piece says why the model stopped."""


def engines_own(speaks: str, body: bytes) -> bool:
    """Whether a whole body is of the dialect `speaks` by how it begins and ends: what vLLM, which serves imports,
    writes there stands in no answer of another form. For what is False here `read_answer` has the word."""
    marks = _MARKS.get(speaks)
    if marks is None:
        return False
    at = body.find(_MARK, 0, _MARKED)
    return at > 0 and body.startswith(marks, at) and body.endswith(b"}")


def read_answer(speaks: str, body: bytes) -> tuple[bool, Usage | None]:
    """Whether a whole body is of the dialect `speaks`, and the tokens it counts. An opaque body is any JSON object."""
    document = read_object(body)
    if document is None or not _recognised(speaks, document, streamed=False):
        return False, None
    return True, _usage(document)


def read_usage(header: Callable[[str], str | None]) -> Usage | None:
    """Tokens as Bedrock's response headers count them; not every model has them, and no AWS model lists them.

    `header` finds the first value of a field, by its name in lower case.
    """
    return _pair(header("x-amzn-bedrock-input-token-count"), header("x-amzn-bedrock-output-token-count"))


def garbled(what: str) -> tuple[FailureFacts, Said]:
    """The failure of an answer that is not of the declared form; `what` says which part of it, and quotes nothing."""
    return GARBLED, Said(502, f"The model answered with {what} that is not of the form its clients expect.")


class EventWriter:
    """Turns one stream of frames into Server-Sent Events. Pure state: frames in, bytes out."""

    __slots__ = ("_finished", "_last", "_speaks", "_told_usage", "_wants_usage", "usage")

    def __init__(self, speaks: str, *, include_usage: bool) -> None:
        self._speaks = speaks
        self._wants_usage = include_usage
        self._told_usage = False
        self._last: dict[str, Any] = {}
        self._finished = False
        self.usage: Usage | None = None
        """Tokens, once the stream has said them."""

    def feed(self, frame: Frame) -> bytes | tuple[FailureFacts, Said]:
        """The events that a frame holds (b"": none that a client sees), or the failure it tells of."""
        headers = frame.headers
        if headers.get(":message-type") in {"exception", "error"}:
            return read_exception(headers, frame.payload)
        if headers.get(":message-type") != "event" or headers.get(":event-type") != "chunk":
            return b""
        raw = _decoded(frame.payload)
        document = None if raw is None else read_object(raw)
        if raw is None or document is None:
            return garbled("a piece of a stream")
        return self._event(raw, document)

    def finish(self) -> bytes | tuple[FailureFacts, Said]:
        """What belongs behind the last event of a stream that came to its proper end."""
        if not self._finished:
            return garbled("a stream without its last piece")
        if self._speaks not in _OPENAI:
            return b""
        if not (self._wants_usage and self.usage) or self._told_usage:
            return _DONE
        kept = {key: self._last[key] for key in ("id", "object", "created", "model") if key in self._last}
        counts = {"prompt_tokens": self.usage.prompt_tokens, "completion_tokens": self.usage.completion_tokens}
        usage = {**counts, "total_tokens": sum(counts.values())}
        return b"data: " + orjson.dumps({**kept, "choices": [], "usage": usage}) + b"\n\n" + _DONE

    def _event(self, raw: bytes, document: dict[str, Any]) -> bytes | tuple[FailureFacts, Said]:
        metrics = document.pop(METRICS, None)
        if isinstance(metrics, dict):
            self.usage = _pair(metrics.get("inputTokenCount"), metrics.get("outputTokenCount")) or self.usage
        if not document:
            return b""
        if not _recognised(self._speaks, document, streamed=True):
            return garbled("a piece of a stream")
        self._finished = self._finished or self._speaks not in _ENDS or _finishes(document)
        self._last = document
        counted = _usage(document)
        if counted is not None:
            self.usage = counted
            self._told_usage = True
        if metrics is not None or b"\n" in raw or b"\r" in raw:
            raw = orjson.dumps(document)
        return b"data: " + raw + b"\n\n"


def _decoded(payload: bytes) -> bytes | None:
    """The bytes of a chunk event; None when it is not one."""
    outer = read_object(payload)
    coded = outer.get("bytes") if outer is not None else None
    if not isinstance(coded, str):
        return None
    try:
        return base64.b64decode(coded, validate=True)
    except ValueError:  # not base64, or not even ASCII
        return None


def _recognised(speaks: str, document: dict[str, Any], *, streamed: bool) -> bool:
    if speaks in _OPENAI:
        choices = document.get("choices")
        if not isinstance(choices, list) or (not choices and not streamed):
            return False
        key = _OPENAI[speaks][streamed]
        for choice in choices:  # noqa: SIM110 - nearly always one, and a generator costs as much as all the rest
            if not isinstance(choice, dict) or key not in choice:
                return False
        return True
    if speaks == "bedrock-completion":
        return "generation" in document
    return True


def _finishes(document: dict[str, Any]) -> bool:
    """Whether the model says in this piece that it has stopped: vLLM, which serves imports, always does."""
    choices = document.get("choices")
    if isinstance(choices, list):
        return any(choice.get("finish_reason") is not None for choice in choices)
    return document.get("stop_reason") is not None


def _usage(document: dict[str, Any]) -> Usage | None:
    usage = document.get("usage")
    if isinstance(usage, dict):
        return _pair(usage.get("prompt_tokens"), usage.get("completion_tokens"))
    return _pair(document.get("prompt_token_count"), document.get("generation_token_count"))


def _pair(prompt: object, completion: object) -> Usage | None:
    prompt_tokens, completion_tokens = read_count(prompt), read_count(completion)
    if prompt_tokens is None or completion_tokens is None:
        return None
    return Usage(prompt_tokens, completion_tokens)
