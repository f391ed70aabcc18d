"""A request read into concepts: what each key says, checked where it will be used. The first half of carrying it.

Nothing is guessed: a key that no table knows, one that the target has nothing for, a value of the wrong type, each
refuses the request with the key's name and the remedy. `null` says what absence says, except that vLLM's completions
read `max_tokens: null` as no limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from policies.table import TranslateRule

from ..restjson import read_object
from .keys import BY_NAME, GENERATE, OPENAI, TABLES, UNTOLD_LIMIT, Key, fate
from .values import DialectError, Wrong

MOST_NAMED = 64
"""Characters of a key's name that are repeated in an error."""


@dataclass(slots=True)
class Asked:
    """A request, by concept. `keys` says by which of the client's keys, for errors."""

    values: dict[str, Any]
    keys: dict[str, str]
    grammar: dict[str, Any]
    """Constraints on the text, by the client's key."""
    template: dict[str, Any]
    """Variables of the chat template, by the client's key."""

    def refuse(self, concept: str, reason: str) -> DialectError:
        """The refusal of a value that the target cannot take."""
        return refusal(self.keys.get(concept, concept), reason)


def refusal(key: str, reason: str) -> DialectError:
    """The request cannot be carried because of one key."""
    known = any(key in names for names in BY_NAME.values())
    return DialectError(Wrong.REQUEST, f"`{key[:MOST_NAMED]}` {reason}", key if known else None)


def read_request(client: str, target: str, body: bytes, rule: TranslateRule) -> Asked:
    """The request of `client` as far as `target` has something for it. Raises DialectError."""
    document = read_object(body)
    if document is None:
        message = f"the body is not a JSON object, which a request of {client} is"
        raise DialectError(Wrong.REQUEST, message)
    asked = Asked({}, {}, {}, {})
    flat = _flat(client, document)
    if client == "openai-completions" and "max_tokens" in flat and flat["max_tokens"] is None:
        asked.values["limit"] = None
    kept: dict[str, Any] = {}
    for name, value in flat.items():
        if value is None:
            continue
        key = BY_NAME[client].get(name, Key(name))
        if value in key.neutral:
            continue
        if fate(client, target, key) is not None:
            _read(asked, key, value)
            kept[name] = value
        elif name not in rule.drop:
            raise refusal(name, f"cannot be carried from {client} to {target}; {_remedy(name)}")
    if "text" not in asked.values:
        raise refusal(next(key.name for key in TABLES[client] if key.concept == "text"), "is missing")
    asked.values.setdefault("limit", UNTOLD_LIMIT[client])
    _logprobs(client, asked, kept)
    return asked


def _remedy(name: str) -> str:
    return f"leave it out, or let the policy drop it (translate: {{drop: [{name[:MOST_NAMED]}]}})"


def _flat(client: str, document: dict[str, Any]) -> dict[str, Any]:
    """The keys of a request on one level; TGI's and LMI's stand under `parameters`."""
    if client not in GENERATE:
        return document
    outer = dict(document)
    parameters = outer.pop("parameters", None)
    if parameters is None:
        return outer
    if not isinstance(parameters, dict):
        raise refusal("parameters", "is not an object")
    twice = next((name for name in parameters if name in outer), None)
    if twice is not None:
        raise refusal(twice, "stands inside `parameters` and beside it; keep one")
    return {**outer, **parameters}


def _read(asked: Asked, key: Key, value: Any) -> None:
    concept = key.concept or ""
    if concept == "grammar":
        asked.grammar[key.name] = value
    elif concept == "template":
        asked.template[key.name] = value
    elif concept == "usage":
        asked.values["usage"] = _wants_usage(value)
    elif concept != "logprobs" and (concept not in asked.values or not key.reads_only or concept == "limit"):
        asked.values[concept] = READERS.get(concept, _as_it_is)(key.name, value)
        asked.keys[concept] = key.name


def _as_it_is(name: str, value: Any) -> Any:
    return value


def _text(name: str, value: Any) -> Any:
    """A prompt or messages; a list of one prompt is that prompt."""
    if name == "messages":
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            raise refusal(name, "is not a list of messages")
        return value
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise refusal(name, "is not one text; lists of prompts and token ids cannot be carried to another dialect")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise refusal(name, "is not true or false")
    return value


def _number(name: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal(name, "is not a number")
    return value


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal(name, "is not a whole number")
    return value


def _limit(name: str, value: Any) -> int:
    count = _count(name, value)
    if count < 1:
        raise refusal(name, "is not a whole number above 0")
    return count


def _texts(name: str, value: Any) -> list[str]:
    """Stop strings; one alone is a list of one."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise refusal(name, "is not a list of texts")
    return [one for one in texts if one]


READERS: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {
        "text": _text,
        "limit": _limit,
        "temperature": _number,
        "top_p": _number,
        "top_k": _count,
        "seed": _count,
        "stop": _texts,
        "stream": lambda name, value: _flag(name, value if value not in (0, 1) else bool(value)),
        "sample": _flag,
        "full_text": _flag,
        "details": _flag,
        "include_stop": _flag,
        "images": _texts,
    }
)
"""Concept -> its value, checked. The others go on as they are, for the target to judge."""


def _wants_usage(value: Any) -> bool:
    if not isinstance(value, dict):
        raise refusal("stream_options", "is not an object")
    unknown = next((name for name, said in value.items() if name != "include_usage" and said), None)
    if unknown is not None:
        raise refusal(f"stream_options.{unknown}", "cannot be carried; leave it out")
    return value.get("include_usage") is True


def _logprobs(client: str, asked: Asked, flat: Mapping[str, Any]) -> None:
    """How many alternatives to a token the client wants to see, as `values["logprobs"]`; absent: no probabilities."""
    first = {"openai-chat": "top_logprobs", "openai-completions": "logprobs", "tgi": "top_n_tokens"}.get(client)
    most = flat.get(first) if first is not None else None
    if most is not None:
        most = _count(first or "", most)
    if client == "openai-chat":
        if not _flag("logprobs", flat.get("logprobs") or False):
            if most:
                raise refusal("top_logprobs", "needs `logprobs: true`")
            return
        most = most or 0
    if client in GENERATE and not asked.values.get("details"):
        return
    if client in OPENAI and most is None:
        return
    asked.values["logprobs"] = most or 0
    asked.keys["logprobs"] = first or "details"
