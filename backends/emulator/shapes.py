"""What a model answers: one generated text in the shape of each dialect, whole or piece by piece.

OpenAI shapes are vLLM's (0.32), which imported models also answer in (Bedrock guide, "advanced API features"); TGI
and LMI shapes are those of text-generation-inference and of djl-serving's LMI handlers. A stream is given as JSON
values; how they become bytes (SSE, JSON lines, Bedrock chunks) is the last function's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .asks import Ask, AskError
from .config import Dialect
from .text import Said

SSE, JSON, JSON_LINES = "text/event-stream; charset=utf-8", "application/json", "application/jsonlines"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What differs between two answers with the same text."""

    call: str
    """Hex digits of the answer's id."""
    created: int
    """Seconds since 1970, emulated."""
    model: str


def encode(value: object) -> bytes:
    """Compact JSON in UTF-8, non-ASCII characters as they are (as the engines send them)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def whole(ask: Ask, said: Said, stamp: Stamp) -> object:
    """The answer to a call that does not stream."""
    match ask.dialect:
        case "openai-chat":
            return _chat(ask, said, stamp)
        case "openai-completions":
            return _completion(ask, said, stamp)
        case "tgi":
            return [_generated(ask, said, "finish_reason")]
        case "lmi":
            return _generated(ask, said, "finish_reason")
        case "bedrock-completion" | "echo":
            return {
                "generation": said.text,
                "prompt_token_count": ask.prompt_tokens,
                "generation_token_count": len(said.pieces),
                "stop_reason": said.finish,
                "logprobs": None,
            }


def pieces(ask: Ask, said: Said, stamp: Stamp) -> list[Any]:
    """The JSON objects of a stream, in order."""
    match ask.dialect:
        case "openai-chat" | "openai-completions":
            return list(_openai_pieces(ask, said, stamp))
        case "tgi" | "lmi":
            return list(_token_pieces(ask, said))
        case "bedrock-completion" | "echo":
            return list(_generation_pieces(ask, said))


def stream_bytes(dialect: Dialect, objects: Sequence[object]) -> tuple[str, tuple[bytes, ...]]:
    """Content type and the events of a stream behind an endpoint or an engine, one event each."""
    if dialect == "lmi":
        return JSON_LINES, tuple(encode(value) + b"\n" for value in objects)
    if dialect == "tgi":
        return "text/event-stream", tuple(b"data:" + encode(value) + b"\n\n" for value in objects)
    events = tuple(b"data: " + encode(value) + b"\n\n" for value in objects)
    return SSE, (*events, b"data: [DONE]\n\n")


def refusal(dialect: Dialect, error: AskError) -> bytes:
    """A container's own error body."""
    if dialect == "tgi":
        return encode({"error": error.message, "error_type": "validation"})
    if dialect == "lmi":
        return encode({"error": error.message, "code": error.status})
    return engine_error(error.status, error.message, error.param)


def engine_error(status: int, message: str, param: str | None = None) -> bytes:
    """An error as vLLM writes it."""
    kind = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError", 503: "ServiceUnavailableError"}.get(
        status
    )
    return encode(
        {"error": {"message": message, "type": kind or "InternalServerError", "param": param, "code": status}}
    )


def _usage(ask: Ask, said: Said) -> dict[str, Any]:
    answer = len(said.pieces)
    return {
        "prompt_tokens": ask.prompt_tokens,
        "total_tokens": ask.prompt_tokens + answer,
        "completion_tokens": answer,
        "prompt_tokens_details": None,
    }


def _chat(ask: Ask, said: Said, stamp: Stamp) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": said.text,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning": None,
    }
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": said.finish,
        "stop_reason": None,
        "token_ids": None,
    }
    return {
        "id": f"chatcmpl-{stamp.call}",
        "object": "chat.completion",
        "created": stamp.created,
        "model": stamp.model,
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": _usage(ask, said),
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "kv_transfer_params": None,
    }


def _completion(ask: Ask, said: Said, stamp: Stamp) -> dict[str, Any]:
    choice = {
        "index": 0,
        "text": said.text,
        "logprobs": None,
        "finish_reason": said.finish,
        "stop_reason": None,
        "token_ids": None,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
    }
    return {
        "id": f"cmpl-{stamp.call}",
        "object": "text_completion",
        "created": stamp.created,
        "model": stamp.model,
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": _usage(ask, said),
        "kv_transfer_params": None,
    }


def _openai_pieces(ask: Ask, said: Said, stamp: Stamp) -> Iterator[dict[str, Any]]:
    chat = ask.dialect == "openai-chat"
    head = {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{stamp.call}",
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": stamp.created,
        "model": stamp.model,
    }
    if chat:
        first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        yield {**head, "choices": [first], "prompt_token_ids": None}
    last = len(said.pieces) - 1
    for index, piece in enumerate(said.pieces or ("",)):
        finish = said.finish if index >= last else None
        body: dict[str, Any] = {"delta": {"content": piece}} if chat else {"text": piece}
        choice = {"index": 0, **body, "logprobs": None, "finish_reason": finish, "stop_reason": None, "token_ids": None}
        yield {**head, "choices": [choice]}
    if ask.include_usage:
        yield {**head, "choices": [], "usage": _usage(ask, said)}


def _generated(ask: Ask, said: Said, reason: str) -> dict[str, Any]:
    found: dict[str, Any] = {"generated_text": said.text}
    if ask.details:
        finish = "length" if said.finish == "length" else "eos_token"
        found["details"] = {reason: finish, "generated_tokens": len(said.pieces), "inputs": None, "tokens": None}
    return found


def _token_pieces(ask: Ask, said: Said) -> Iterator[dict[str, Any]]:
    tgi = ask.dialect == "tgi"
    last = len(said.pieces) - 1
    for index, piece in enumerate(said.pieces or ("",)):
        token: dict[str, Any] = {"id": sum(piece.encode()), "text": piece, "logprob" if tgi else "log_prob": -0.5}
        found: dict[str, Any] = {"index": index + 1, "token": {**token, "special": False}} if tgi else {"token": token}
        if index >= last:
            finish = "length" if said.finish == "length" else "eos_token"
            details = {"finish_reason": finish, "generated_tokens": len(said.pieces), "input_length": ask.prompt_tokens}
            found |= {"generated_text": said.text, "details": details}
        elif tgi:
            found |= {"generated_text": None, "details": None}
        yield found


def _generation_pieces(ask: Ask, said: Said) -> Iterator[dict[str, Any]]:
    last = len(said.pieces) - 1
    for index, piece in enumerate(said.pieces or ("",)):
        yield {
            "generation": piece,
            "prompt_token_count": ask.prompt_tokens if index == 0 else None,
            "generation_token_count": min(index + 1, len(said.pieces)),
            "stop_reason": said.finish if index >= last else None,
            "logprobs": None,
        }
