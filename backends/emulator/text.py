"""The text that stand-in models say: a function of seed, weights, prompt and sampling parameters.

Tokenisation is the plainest that counts right: a token is a word between white space, in prompts and in answers. Some
words are not ASCII on purpose, so that whoever splits bytes in the middle of a character is found out. The same
inputs give the same words on every machine; a limit only cuts them short.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WORDS = (
    *(
        "the",
        "points",
        "signal",
        "line",
        "track",
        "switch",
        "train",
        "is",
        "set",
        "for",
        "north",
        "south",
        "a",
        "class",
    ),
    *("method", "field", "query", "loop", "result", "value", "returns", "list", "map", "apex", "trigger", "account"),
    *("record", "batch", "limit", "select", "where", "order", "by", "update", "insert", "call", "test", "future"),
    *("naïve", "café", "Größe", "señal", "日本語", "→", "🚂", "élan", "with", "without", "before", "after", "every"),
    *("never", "always", "one", "two", "three", "and", "or", "not", "if", "then", "else", "while", "done", "ready"),
    *("clear", "stop", "go"),
)
ACCENTED = "naïve"


@dataclass(frozen=True, slots=True)
class Said:
    """A generated text: `pieces` joined are the text, one piece is one token."""

    pieces: tuple[str, ...]
    finish: Literal["stop", "length"]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


def count_tokens(text: str) -> int:
    """Tokens of a text: its words."""
    return len(text.split())


def say(
    key: str,
    *,
    length: tuple[int, int],
    limit: int | None,
    minimum: int = 0,
    stop: Sequence[str] = (),
    accent: bool = False,
) -> Said:
    """The answer for `key` (seed, weights, prompt, sampling): between `length[0]` and `length[1]` words by itself,
    at least `minimum`, at most `limit`, and cut before the first of the `stop` strings. `accent` makes sure that the
    first word has a character of more than one byte.
    """
    low, high = length
    natural = max(low + _number(f"{key}/length") % (high - low + 1), minimum)
    wanted = natural if limit is None else min(natural, limit)
    words = [WORDS[number % len(WORDS)] for number in _numbers(key, wanted)]
    if accent and words:
        words[0] = ACCENTED
    pieces = tuple(word if index == 0 else f" {word}" for index, word in enumerate(words))
    cut = min((at for text in stop if text and (at := "".join(pieces).find(text)) >= 0), default=None)
    if cut is not None:
        return Said(_until(pieces, cut), "stop")
    return Said(pieces, "stop" if limit is None or natural <= limit else "length")


def _until(pieces: Sequence[str], end: int) -> tuple[str, ...]:
    kept: list[str] = []
    for piece in pieces:
        kept.append(piece[:end])
        end -= len(piece)
        if end <= 0:
            break
    return tuple(piece for piece in kept if piece)


def _number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _numbers(key: str, count: int) -> list[int]:
    found: list[int] = []
    start = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    for block in range((count + 7) // 8):
        digest = hashlib.sha256(start + block.to_bytes(4, "big")).digest()
        found += [int.from_bytes(digest[at : at + 4], "big") for at in range(0, 32, 4)]
    return found[:count]
