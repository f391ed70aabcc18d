"""A request of one dialect as a request of another, with what has to be remembered until its answer comes.

What differs beyond names, each from the dialects' own documents:
- TGI and LMI are greedy unless told to sample, and TGI refuses `temperature: 0`; OpenAI's dialects sample unless
  `temperature` is 0. So greedy is `temperature: 0` there and `do_sample: false` here, where `top_p` and its like say
  nothing and are left out.
- A dialect's own limit of tokens is always said, since the target's is another; a chat without one asks for as much as
  the context holds, which only OpenAI's dialects can be asked.
- TGI leaves a stop string at the end of its text, the others do not: it is asked for, or cut off.
- What the answer needs and the target gives only on request is requested: TGI's `details` for finish reasons and
  counts, vLLM's `logprobs` and `return_token_ids` for TGI's tokens, usage at the end of every OpenAI stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from policies.table import TranslateRule

from .asking import Asked, read_request, refusal
from .grammars import write_grammar
from .keys import GENERATE, OPENAI, TABLES
from .messages import image_parts, plain_messages
from .values import DialectError, Wish, Wrong

if TYPE_CHECKING:
    from .templates import Template

_ALTERED = frozenset(
    {
        "text", "limit", "stream", "usage", "model", "full_text", "details", "logprobs", "sample", "include_stop",
        "stop", "images", "temperature",
    }
)  # fmt: skip
"""Concepts that are not simply copied."""
_SHAPING = ("top_p", "top_k", "min_p")
"""What says nothing where nothing is drawn."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A request, carried."""

    body: bytes
    wish: Wish
    model: str | None
    """The client's word for the model; the policy's is another."""


def carry(
    client: str, target: str, body: bytes, rule: TranslateRule, template: Template | None, model: str | None
) -> Carried:
    """`body` as `target` wants it; `model` is the name that the target knows it by, where it needs one.

    Raises DialectError about the REQUEST.
    """
    asked = read_request(client, target, body, rule)
    values = asked.values
    prompt = values["text"] if client != "openai-chat" else ""
    document: dict[str, Any] = _text(client, target, asked, template)
    if target in OPENAI and model is not None:
        document["model"] = model
    _write_limit(client, target, asked, document)
    _write_sampling(client, target, asked, document)
    document |= write_grammar(client, target, asked.grammar)
    trims = _write_stop(client, target, asked, document)
    names = {key.concept: key.name for key in TABLES[target] if key.concept and not key.reads_only}
    document |= {names[concept]: value for concept, value in values.items() if concept not in _ALTERED}
    streams = bool(values.get("stream"))
    _write_answer(client, target, asked, document, streams)
    said = values.get("model")
    wish = Wish(
        streams=streams,
        usage=bool(values.get("usage")),
        prompt=prompt,
        full_text=bool(values.get("full_text")),
        details=bool(values.get("details")),
        logprobs=values.get("logprobs"),
        seed=values.get("seed"),
        trims=trims,
    )
    return Carried(_written(target, document), wish, said if isinstance(said, str) else None)


def _text(client: str, target: str, asked: Asked, template: Template | None) -> dict[str, Any]:
    """What the model reads, under the target's name for it."""
    text = asked.values["text"]
    if client == "openai-chat":
        if template is None:
            raise refusal("messages", "would need the chat template of the model, which the policy does not give")
        text = template.render(plain_messages(text), asked.template)
    images = asked.values.get("images") or []
    if target == "openai-chat":
        content = text if not images else [{"type": "text", "text": text}, *image_parts(images)]
        return {"messages": [{"role": "user", "content": content}]}
    name = next(key.name for key in TABLES[target] if key.concept == "text")
    return {name: text}


def _write_limit(client: str, target: str, asked: Asked, document: dict[str, Any]) -> None:
    limit = asked.values["limit"]
    if limit is None and target not in OPENAI:
        name = "max_tokens"
        raise refusal(
            name, f"is missing, and {target} cannot be asked for as many tokens as there is room for; give it"
        )
    if limit is not None or target == "openai-completions":
        document[next(key.name for key in TABLES[target] if key.concept == "limit")] = limit


def _write_sampling(client: str, target: str, asked: Asked, document: dict[str, Any]) -> None:
    values = asked.values
    temperature = values.get("temperature")
    greedy = temperature == 0
    if client in GENERATE:
        shaped = (temperature or 1) != 1 or any(name in values for name in _SHAPING)
        # An explicit `do_sample: false` beside a temperature: TGI samples all the same, LMI does not.
        said = values.get("sample")
        greedy = greedy or not (said or (shaped and (said is None or client == "tgi")))
    if greedy:
        for name in _SHAPING:
            values.pop(name, None)
    if target in GENERATE:
        document["do_sample"] = not greedy
        if not greedy and temperature is not None:
            document["temperature"] = temperature
    elif greedy:
        document["temperature"] = 0
    elif temperature is not None or client in GENERATE:
        document["temperature"] = 1.0 if temperature is None else temperature


def _write_stop(client: str, target: str, asked: Asked, document: dict[str, Any]) -> tuple[str, ...]:
    """Says the stop strings; those that the proxy has to cut off afterwards."""
    stop = asked.values.get("stop")
    keep = bool(asked.values.get("include_stop")) or client == "tgi"
    if not stop:
        return ()
    document[next(key.name for key in TABLES[target] if key.concept == "stop")] = stop
    if target == "tgi":
        return () if keep else tuple(stop)
    if keep:
        document["include_stop_str_in_output"] = True
    return ()


def _write_answer(client: str, target: str, asked: Asked, document: dict[str, Any], streams: bool) -> None:
    """What the target has to be asked for, so that the answer can be told in the client's dialect."""
    logprobs = asked.values.get("logprobs")
    if logprobs is not None and client in OPENAI and asked.values.get("full_text"):
        raise refusal("echo", "cannot be carried beside `logprobs`: the prompt has no probabilities elsewhere")
    if streams:
        document["stream"] = True
        if target in OPENAI:
            document["stream_options"] = {"include_usage": True}
    if target in GENERATE:
        # Finish reasons and counts stand in the details; a stream's last event has them unasked.
        document["details"] = client not in GENERATE or bool(asked.values.get("details")) or streams
        if logprobs and target == "lmi":
            raise asked.refuse("logprobs", "asks for alternatives to tokens, which lmi does not give; ask for none")
        if logprobs:
            document["top_n_tokens"] = logprobs
        return
    if client in GENERATE and (streams or logprobs is not None) and target in OPENAI:
        # Every streamed token has its id and probability there, asked or not.
        logprobs = logprobs or 0
        document["return_token_ids"] = True
    if logprobs is None:
        return
    document["logprobs"] = logprobs if target == "openai-completions" else True
    if target == "openai-chat":
        document["top_logprobs"] = logprobs


def _written(target: str, document: dict[str, Any]) -> bytes:
    if target in GENERATE:
        outer: dict[str, Any] = {name: document.pop(name) for name in ("inputs", "stream") if name in document}
        document = {**outer, "parameters": document}
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError as error:  # it reads 1,024 levels, and writes 254
        message = "the body is nested too deeply to be carried to another dialect"
        raise DialectError(Wrong.REQUEST, message) from error
