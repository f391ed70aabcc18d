"""What the tests of dialects share: answers recorded from real vLLM, bodies of the other dialects, translators."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from backends.wire.dialects import BodyTranslator, DialectError, Exchange, Stamp, Wrong, pair
from policies.table import TranslateRule

DATA = Path(__file__).parents[3] / "data" / "dialects"
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}<|assistant|>"
RULE = TranslateRule("user-message", TEMPLATE, frozenset())
"""Allows every pair and drops nothing."""
STAMP = Stamp("cmpl-1", 1_700_000_000, "our-endpoint")
ALL = ("openai-chat", "openai-completions", "bedrock-completion", "tgi", "lmi")
PAIRS = [(client, target) for client in ALL for target in ALL if client != target]
LEAST: dict[str, dict[str, Any]] = {
    "openai-chat": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    "openai-completions": {"prompt": "Hi", "max_tokens": 9},
    "bedrock-completion": {"prompt": "Hi", "max_gen_len": 9},
    "tgi": {"inputs": "Hi", "parameters": {"max_new_tokens": 9}},
    "lmi": {"inputs": "Hi", "parameters": {"max_new_tokens": 9}},
}
"""The smallest request of each dialect that every other one can be sent."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One exchange with real vLLM."""

    request: dict[str, Any]
    status: int
    content_type: str
    body: bytes


@cache
def recorded(dialect: str) -> dict[str, Recorded]:
    """The exchanges in one of the OpenAI dialects, by name."""
    name = f"vllm-{dialect.removeprefix('openai-')}.json"
    return {
        one["name"]: Recorded(one["request"], one["status"], one["content_type"], one["body"].encode())
        for one in json.loads((DATA / name).read_text())
    }


def with_parameters(dialect: str, **parameters: Any) -> dict[str, Any]:
    """The smallest request with more keys, where the dialect has them."""
    least = LEAST[dialect]
    if "inputs" not in least:
        return {**least, **parameters}
    outer: dict[str, Any] = {name: parameters.pop(name) for name in ("stream", "inputs") if name in parameters}
    return {**least, **outer, "parameters": {**least["parameters"], **parameters}}


def exchange(
    client: str,
    target: str,
    request: dict[str, Any] | None = None,
    rule: TranslateRule = RULE,
    model: str | None = None,
) -> Exchange:
    """A request on its way."""
    translation = pair(client, target, rule)
    assert translation is not None
    return translation.request(json.dumps(request or LEAST[client]).encode(), model, STAMP)


def sent(client: str, target: str, request: dict[str, Any] | None = None, rule: TranslateRule = RULE) -> dict[str, Any]:
    """What the target is sent for a request."""
    body: dict[str, Any] = json.loads(exchange(client, target, request, rule).body)
    return body


def refused(client: str, target: str, request: dict[str, Any], rule: TranslateRule = RULE) -> str | None:
    """What a request is refused with, when it is."""
    try:
        sent(client, target, request, rule)
    except DialectError as error:
        return error.message if error.wrong is Wrong.REQUEST else repr(error.wrong)
    return None


def parameters(client: str, target: str, **keys: Any) -> dict[str, Any]:
    """What the target is sent for a request with these keys, TGI's and LMI's parameters on one level."""
    body = sent(client, target, with_parameters(client, **keys))
    return {**body, **body.pop("parameters", {})}


def through(translator: BodyTranslator, body: bytes, *cuts: int) -> bytes:
    """A body translated, fed in pieces that are cut at these places."""
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    parts = [part for begin, end in pairwise(places) for part in translator.feed(body[begin:end])]
    return b"".join([*parts, *translator.finish()])


def answered(one: Exchange, body: bytes, content_type: str | None = "application/json") -> bytes:
    """What the client gets for a target's answer."""
    return through(one.answer(content_type)[0], body)


def events(body: bytes) -> list[Any]:
    """The JSON of Server-Sent Events or of JSON lines; `[DONE]` as a text."""
    lines = [line.removeprefix(b"data:").strip() for line in body.split(b"\n") if line.strip()]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


def text_of(client: str, body: bytes, *, streamed: bool) -> str:
    """All the text of an answer as a client of the dialect reads it."""
    documents = [one for one in events(body) if one != "[DONE]"] if streamed else [json.loads(body)]
    return "".join(_text(client, one, streamed=streamed) for one in documents)


def _text(client: str, document: Any, *, streamed: bool) -> str:
    match client:
        case "openai-chat":
            key = "delta" if streamed else "message"
            return "".join(choice[key].get("content") or "" for choice in document["choices"])
        case "openai-completions":
            return "".join(choice["text"] for choice in document["choices"])
        case "bedrock-completion":
            return str(document["generation"])
        case _:
            whole = document[0] if isinstance(document, list) else document
            return str(whole["token"]["text"] if streamed else whole["generated_text"])


TGI_DETAILS = {
    "finish_reason": "length",
    "generated_tokens": 2,
    "seed": None,
    "prefill": [],
    "tokens": [
        {"id": 5, "text": "Hel", "logprob": -0.5, "special": False},
        {"id": 6, "text": "lo", "logprob": -0.25, "special": False},
    ],
}
WHOLE: dict[str, bytes] = {
    "openai-chat": recorded("openai-chat")["plain"].body,
    "openai-completions": recorded("openai-completions")["plain"].body,
    "bedrock-completion": json.dumps(
        {"generation": "Hello", "prompt_token_count": 3, "generation_token_count": 2, "stop_reason": "length",
         "logprobs": None}
    ).encode(),
    "tgi": json.dumps([{"generated_text": "Hello", "details": TGI_DETAILS}]).encode(),
    "lmi": json.dumps(
        {"generated_text": "Hello", "details": {
            "finish_reason": "length", "generated_tokens": 2, "inputs": "Hi",
            "tokens": [{"id": 5, "text": "Hel", "log_prob": -0.5}, {"id": 6, "text": "lo", "log_prob": -0.25}]}}
    ).encode(),
}  # fmt: skip
"""A whole answer of each dialect: vLLM's recorded, the others as their documents show them."""


def _sse(*documents: Any) -> bytes:
    return b"".join(b"data:" + json.dumps(one).encode() + b"\n\n" for one in documents)


STREAMS: dict[str, tuple[str, bytes]] = {
    "openai-chat": ("text/event-stream; charset=utf-8", recorded("openai-chat")["stream with usage"].body),
    "openai-completions": ("text/event-stream", recorded("openai-completions")["stream with usage"].body),
    "bedrock-completion": ("text/event-stream", _sse(
        {"generation": "Hel", "prompt_token_count": 3, "generation_token_count": 1, "stop_reason": None},
        {"generation": "lo", "prompt_token_count": None, "generation_token_count": 2, "stop_reason": "length"},
    )),
    "tgi": ("text/event-stream", _sse(
        {"index": 1, "token": {"id": 5, "text": "Hel", "logprob": -0.5, "special": False},
         "generated_text": None, "details": None},
        {"index": 2, "token": {"id": 6, "text": "lo", "logprob": -0.25, "special": False}, "generated_text": "Hello",
         "details": {"finish_reason": "length", "generated_tokens": 2, "seed": None, "input_length": 3}},
    )),
    "lmi": ("application/jsonlines", b"".join(json.dumps(one).encode() + b"\n" for one in (
        {"token": {"id": 5, "text": "Hel", "log_prob": -0.5}},
        {"token": {"id": 6, "text": "lo", "log_prob": -0.25}, "generated_text": "Hello",
         "details": {"finish_reason": "length", "generated_tokens": 2, "inputs": "Hi"}},
    ))),
}  # fmt: skip
"""A stream of each dialect, of the same answer as `WHOLE`."""
