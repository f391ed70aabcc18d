"""Whole answers read, each strictly as its dialect says. What is of no declared dialect is an error, never guessed.

An answer may hold what no prompt dialect has a place for: tool calls, reasoning, a refusal. It is refused, unless the
policy drops the key by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from ..restjson import read_count
from .tokens import garbled, read_all, read_openai
from .values import Answer, Counts, DialectError, Finish, Piece, Stamp, Wrong

NOT_IN_PROMPTS = ("reasoning", "reasoning_content", "tool_calls", "function_call", "refusal", "audio")
"""Keys of a chat message that prompt dialects have no place for (vLLM 0.32, OpenAI's API reference)."""

_OPENAI_FINISHES: Mapping[str, Finish] = MappingProxyType(
    {
        "length": Finish.LENGTH,
        "stop": Finish.END,
        "tool_calls": Finish.TOOL_CALLS,
        "function_call": Finish.TOOL_CALLS,
        "content_filter": Finish.FILTERED,
    }
)
_GENERATE_FINISHES: Mapping[str, Finish] = MappingProxyType(
    {"length": Finish.LENGTH, "eos_token": Finish.END, "stop_sequence": Finish.STOP}
)
FAILED = frozenset({"error", "abort"})
"""Finish reasons by which LMI and vLLM say, inside a 200, that the model failed."""


def read_answer(target: str, body: bytes, drop: frozenset[str]) -> Answer:
    """A whole answer of `target`. Raises DialectError about the ANSWER, what is LOST, or the MODEL."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise garbled("a body") from error
    if target == "tgi":
        document = document[0] if isinstance(document, list) and len(document) == 1 else None
    if not isinstance(document, dict):
        raise garbled("a body")
    if document.get("error") is not None:
        raise failed(document)
    match target:
        case "openai-chat" | "openai-completions":
            return _openai(document, drop, chat=target == "openai-chat")
        case "bedrock-completion":
            return _bedrock(document)
        case _:
            return _generate(document)


def failed(document: Mapping[str, Any]) -> DialectError:
    """What an answer with an `error` says."""
    error = document.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    return DialectError(Wrong.MODEL, said if isinstance(said, str) else "The model failed.")


def text_of(message: Mapping[str, Any], drop: frozenset[str]) -> str:
    """The text of a chat message or delta, when it holds nothing that would be lost."""
    for key in NOT_IN_PROMPTS:
        if message.get(key) and key not in drop:
            remedy = f"let the policy drop it (translate: {{drop: [{key}]}})"
            raise DialectError(
                Wrong.LOST, f"The answer holds `{key}`, which a prompt's answer has no place for; {remedy}", key
            )
    content = message.get("content")
    if content is None:
        content = ""
    if not isinstance(content, str):
        raise garbled("a message")
    return content


def openai_finish(choice: Mapping[str, Any]) -> tuple[Finish | None, str | None]:
    """Why a choice ended, and by which stop string."""
    reason, stop = choice.get("finish_reason"), choice.get("stop_reason")
    if reason is None:
        return None, None
    if not isinstance(reason, str):
        raise garbled("a finish reason")
    if reason in FAILED:
        raise DialectError(Wrong.MODEL, "The model broke its answer off.")
    finish = _OPENAI_FINISHES.get(reason)
    if finish is None:
        raise garbled("a finish reason")
    return (Finish.STOP, stop) if finish is Finish.END and isinstance(stop, str) else (finish, None)


def generate_finish(details: Any) -> Finish:
    """Why a generation of TGI or LMI ended."""
    reason = details.get("finish_reason") if isinstance(details, dict) else None
    if not isinstance(reason, str):
        raise garbled("a finish reason")
    if reason in FAILED:
        raise DialectError(Wrong.MODEL, "The model failed while it generated.")
    if reason not in _GENERATE_FINISHES:
        raise garbled("a finish reason")
    return _GENERATE_FINISHES[reason]


def bedrock_finish(reason: Any) -> Finish:
    """Why a generation of Bedrock's own format ended."""
    if reason not in ("stop", "length"):
        raise garbled("a stop reason")
    return Finish.END if reason == "stop" else Finish.LENGTH


def read_counts(usage: Any) -> Counts:
    """OpenAI's `usage`."""
    if not isinstance(usage, dict):
        return Counts()
    return Counts(read_count(usage.get("prompt_tokens")), read_count(usage.get("completion_tokens")))


def read_stamp(document: Mapping[str, Any]) -> Stamp | None:
    """What an OpenAI answer says of itself; None when it does not say all of it."""
    name, created, model = document.get("id"), document.get("created"), document.get("model")
    if not isinstance(name, str) or not isinstance(created, int) or not isinstance(model, str):
        return None
    return Stamp(name, created, model)


def _openai(document: Mapping[str, Any], drop: frozenset[str], *, chat: bool) -> Answer:
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices:
        raise garbled("a body")
    pieces = tuple(_choice(choice, drop, chat=chat) for choice in choices)
    return Answer(pieces, read_counts(document.get("usage")), read_stamp(document))


def _choice(choice: Any, drop: frozenset[str], *, chat: bool) -> Piece:
    message = choice.get("message") if chat and isinstance(choice, dict) else choice
    if not isinstance(message, dict) or (not chat and not isinstance(message.get("text"), str)):
        raise garbled("a choice")
    text = text_of(message, drop) if chat else message["text"]
    finish, stop = openai_finish(choice)
    index = read_count(choice.get("index"))
    if finish is None or index is None:
        raise garbled("a choice")
    return Piece(text, index, read_openai(choice.get("logprobs"), choice.get("token_ids")), finish, stop)


def _bedrock(document: Mapping[str, Any]) -> Answer:
    text = document.get("generation")
    if not isinstance(text, str):
        raise garbled("a body")
    counts = Counts(read_count(document.get("prompt_token_count")), read_count(document.get("generation_token_count")))
    return Answer((Piece(text, finish=bedrock_finish(document.get("stop_reason"))),), counts)


def _generate(document: Mapping[str, Any]) -> Answer:
    text, details = document.get("generated_text"), document.get("details")
    if not isinstance(text, str):
        raise garbled("a body")
    if details is None:
        return Answer((Piece(text),))
    finish = generate_finish(details)
    tokens = read_all(details.get("tokens"), details.get("top_tokens"))
    prefill = read_all(details.get("prefill"), None)
    counts = Counts(
        len(prefill) or read_count(details.get("input_length")), read_count(details.get("generated_tokens"))
    )
    return Answer((Piece(text, tokens=tokens, finish=finish),), counts, prefill=prefill)
