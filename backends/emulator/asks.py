"""What a model is asked: bodies of each dialect read into one value, refused as the real container would refuse
them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .config import Dialect
from .text import count_tokens

_WEIGHED = ("repetition_penalty", "presence_penalty", "frequency_penalty")
"""Parameters that change which words are the likeliest ones."""
_SAMPLING = ("temperature", "top_p", "top_k", "seed", "do_sample", *_WEIGHED)


class AskError(Exception):
    """The container refuses the body: `status` and text are the container's, shaped by its dialect."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a model, in no dialect."""

    dialect: Dialect
    """The dialect of the answer."""
    prompt: str
    limit: int | None
    minimum: int = 0
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    details: bool = False
    model: str | None = None
    sampling: str = ""
    """Canonical JSON of the parameters that change what is said."""

    @property
    def prompt_tokens(self) -> int:
        """Words of the prompt."""
        return count_tokens(self.prompt)


def read_ask(dialect: Dialect, body: bytes) -> Ask:
    """The question in `body`. Errors: AskError."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise AskError(400, f"Invalid JSON: {_why(error)}") from error
    if not isinstance(value, dict):
        raise AskError(400, "The body must be a JSON object.")
    match dialect:
        case "openai-chat":
            return _chat(value)
        case "openai-completions":
            return _completion(value)
        case "tgi" | "lmi":
            return _inputs(value, dialect)
        case "bedrock-completion" | "echo":
            return _bedrock(value)


def openai_shape(body: bytes) -> Dialect:
    """Which OpenAI dialect a body on `/invocations` is, by its shape, as vLLM chooses. Errors: AskError."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise AskError(400, f"Invalid JSON: {_why(error)}") from error
    return "openai-chat" if isinstance(value, dict) and "messages" in value else "openai-completions"


def import_shape(body: bytes) -> Dialect:
    """Which format an imported model answers in: `messages`, or `prompt` with `max_tokens`, or its native one."""
    try:
        value = json.loads(body)
    except ValueError:
        return "bedrock-completion"
    if isinstance(value, dict) and "messages" in value:
        return "openai-chat"
    return "openai-completions" if isinstance(value, dict) and "max_tokens" in value else "bedrock-completion"


def _why(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "the text is not UTF-8"


def _chat(value: Mapping[str, Any]) -> Ask:
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise AskError(400, "[{'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required'}]", "messages")
    lines = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise AskError(400, "each message needs a role and content", "messages")
        lines.append(_content(message.get("content")))
    limit = value.get("max_completion_tokens", value.get("max_tokens"))
    return _openai(value, "openai-chat", "\n".join(lines), limit)


def _content(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise AskError(400, "a message's content is text or a list of parts", "messages")
    return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _completion(value: Mapping[str, Any]) -> Ask:
    prompt = value.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise AskError(400, "Either prompt or prompt_embeds must be provided and must not be empty.", "prompt")
    return _openai(value, "openai-completions", prompt, value.get("max_tokens", 16))


def _openai(value: Mapping[str, Any], dialect: Dialect, prompt: str, limit: object) -> Ask:
    if value.get("n") not in {None, 1}:
        raise AskError(400, "the stand-in gives one choice; n must be 1", "n")
    cap = _count(limit, "max_tokens", 400)
    minimum = _count(value.get("min_tokens"), "min_tokens", 400, least=0) or 0
    if value.get("ignore_eos") is True and cap is not None:
        minimum = cap
    options = value.get("stream_options")
    model = value.get("model")
    return Ask(
        dialect=dialect,
        prompt=prompt,
        limit=cap,
        minimum=minimum,
        stop=_stops(value.get("stop")),
        stream=value.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        model=model if isinstance(model, str) else None,
        sampling=_sampling(value),
    )


def _inputs(value: Mapping[str, Any], dialect: Dialect) -> Ask:
    status = 422 if dialect == "tgi" else 424
    inputs, parameters = value.get("inputs"), value.get("parameters", {})
    if not isinstance(inputs, str):
        raise AskError(status, "Input validation error: missing field `inputs`", "inputs")
    if not isinstance(parameters, dict):
        raise AskError(status, "Input validation error: `parameters` must be an object", "parameters")
    return Ask(
        dialect=dialect,
        prompt=inputs,
        limit=_count(parameters.get("max_new_tokens", 30 if dialect == "lmi" else 100), "max_new_tokens", status),
        stop=_stops(parameters.get("stop", parameters.get("stop_sequences"))),
        stream=value.get("stream") is True,
        details=parameters.get("details") is True,
        sampling=_sampling(parameters),
    )


def _bedrock(value: Mapping[str, Any]) -> Ask:
    prompt = value.get("prompt")
    if not isinstance(prompt, str):
        raise AskError(
            400,
            "Malformed input request: #: required key [prompt] not found, please reformat your input and try again.",
        )
    limit = _count(value.get("max_gen_len", value.get("max_tokens", 512)), "max_gen_len", 400)
    return Ask(
        dialect="bedrock-completion",
        prompt=prompt,
        limit=limit,
        stop=_stops(value.get("stop")),
        sampling=_sampling(value),
    )


def _count(value: object, name: str, status: int, *, least: int = 1) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise AskError(status, f"{name} must be at least {least}, got {json.dumps(value)[:40]}.", name)
    return value


def _stops(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _sampling(value: Mapping[str, Any]) -> str:
    """The same for all ways to ask for the likeliest words, which dialects write differently."""
    greedy = value.get("temperature") == 0 or value.get("do_sample") is False
    keys = _WEIGHED if greedy else _SAMPLING
    return json.dumps({key: value[key] for key in keys if value.get(key) is not None}, sort_keys=True)
