"""Generated tokens with their probabilities, in the forms of vLLM's two OpenAI dialects, TGI and LMI.

Where a form has no id, none is known; where the form wants one and none is known, it is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from .values import Alternative, DialectError, Token, Wrong

_NUMBER = (int, float, type(None))


def garbled(what: str) -> DialectError:
    """The target's answer is not of its dialect; `what` names the part and quotes nothing."""
    return DialectError(Wrong.ANSWER, f"The model answered with {what} that is not of the form its clients expect.")


def read_openai(logprobs: Any, ids: Any) -> tuple[Token, ...]:
    """Tokens out of a choice's `logprobs` and `token_ids`, of either OpenAI dialect."""
    if logprobs is None:
        return ()
    try:
        found = _chat(logprobs["content"]) if "content" in logprobs else _completions(logprobs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise garbled("token probabilities") from error
    if isinstance(ids, list) and len(ids) == len(found):
        found = [
            Token(token.text, token.logprob, number, top=token.top) for token, number in zip(found, ids, strict=True)
        ]
    return tuple(map(_sound, found))


def _chat(content: Any) -> list[Token]:
    return [
        Token(one["token"], one["logprob"], top=tuple(Alternative(each["token"], each["logprob"])
                                                      for each in one.get("top_logprobs") or ()))
        for one in content or ()
    ]  # fmt: skip


def _completions(logprobs: dict[str, Any]) -> list[Token]:
    texts, numbers = logprobs["tokens"], logprobs["token_logprobs"]
    tops = logprobs.get("top_logprobs") or [None] * len(texts)
    return [
        Token(text, number, top=tuple(_ranked(Alternative(word, value) for word, value in (top or {}).items())))
        for text, number, top in zip(texts, numbers, tops, strict=True)
    ]


def _ranked(alternatives: Iterable[Alternative]) -> list[Alternative]:
    return sorted(alternatives, key=lambda one: -one.logprob)


def write_openai(chat: bool, tokens: Sequence[Token], most: int, offset: int) -> dict[str, Any] | None:
    """`logprobs` of a choice; `most` alternatives a token, `offset` characters of text before the first token."""
    if not tokens:
        return None
    if chat:
        return {"content": [{**_in_chat(one), "top_logprobs": [_in_chat(each) for each in one.top[:most]]}
                            for one in tokens]}  # fmt: skip
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "text_offset": offsets,
        "token_logprobs": [token.logprob for token in tokens],
        "tokens": [token.text for token in tokens],
        "top_logprobs": [{one.text: one.logprob for one in token.top[:most]} for token in tokens] if most else None,
    }


def _in_chat(one: Token | Alternative) -> dict[str, Any]:
    return {"token": one.text, "logprob": one.logprob, "bytes": list(one.text.encode("utf-8", "surrogatepass"))}


def read_generate(token: Any, top: Any = ()) -> Token:
    """A token of TGI's or LMI's."""
    try:
        text, number = token["text"], token.get("logprob", token.get("log_prob"))
        special = bool(token.get("special") or token.get("special_token"))
        others = tuple(Alternative(each["text"], each["logprob"], each.get("id")) for each in top or ())
        found = Token(text, number, token.get("id"), special, others)
    except (KeyError, TypeError, AttributeError) as error:
        raise garbled("a token") from error
    return _sound(found)


def read_all(tokens: Any, tops: Any) -> tuple[Token, ...]:
    """The tokens of a whole answer of TGI's or LMI's, with what was weighed at each place; either may be None."""
    listed, weighed = tokens or [], tops or []
    if not isinstance(listed, list) or not isinstance(weighed, list):
        raise garbled("tokens")
    return tuple(read_generate(one, top) for one, top in zip_longest(listed, weighed[: len(listed)], fillvalue=()))


def _sound(token: Token) -> Token:
    """`token`, held to its types: what is of another one could not be written."""
    weighed: tuple[Any, ...] = (token, *token.top)  # what the target sent, of whatever type
    for one in weighed:
        if not isinstance(one.text, str) or not isinstance(one.logprob, _NUMBER) or not isinstance(one.id, int | None):
            raise garbled("a token")
    return token


def write_generate(lmi: bool, token: Token) -> dict[str, Any]:
    """A token as TGI or LMI has it."""
    if lmi:
        return {"id": token.id, "text": token.text, "log_prob": token.logprob}
    return {"id": token.id, "text": token.text, "logprob": token.logprob, "special": token.special}


def write_top(token: Token, most: int) -> list[dict[str, Any]]:
    """TGI's `top_tokens` of one token."""
    return [{"id": one.id, "text": one.text, "logprob": one.logprob, "special": False} for one in token.top[:most]]
