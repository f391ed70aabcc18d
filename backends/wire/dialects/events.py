"""Streams written, each as its dialect's own engine would have: events, JSON lines, and what ends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson

from .keys import OPENAI
from .replies import bedrock_finish, full_text, generate_details, openai_finish, write_usage
from .tokens import write_generate, write_openai, write_top
from .values import Counts, DialectError, Piece, Stamp, Token, Wish, Wrong


class Writer(Protocol):
    """Writes one stream."""

    def piece(self, piece: Piece, stamp: Stamp) -> list[bytes]:
        """The events of a piece; `stamp` is what is said of the answer by then."""
        ...

    def finish(self, counts: Counts, stamp: Stamp) -> list[bytes]:
        """The events at the end, once all that the target tells is known."""
        ...


def writer(client: str, wish: Wish) -> Writer:
    """The writer of a client's dialect."""
    if client in OPENAI:
        return OpenAiWriter(wish, chat=client == "openai-chat")
    return BedrockWriter(wish) if client == "bedrock-completion" else GenerateWriter(wish, lmi=client == "lmi")


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


class OpenAiWriter:
    """Chunks of chat or of completions, then `[DONE]`."""

    __slots__ = ("_begun", "_chat", "_offsets", "_wish")

    def __init__(self, wish: Wish, *, chat: bool) -> None:
        self._wish = wish
        self._chat = chat
        self._begun: set[int] = set()
        self._offsets: dict[int, int] = {}

    def piece(self, piece: Piece, stamp: Stamp) -> list[bytes]:
        """See `Writer`. The first chunk of each choice of a chat names the role, as vLLM's does."""
        first = piece.index not in self._begun
        self._begun.add(piece.index)
        events = []
        if first and self._chat:
            delta = {"delta": {"role": "assistant", "content": ""}}
            events.append(
                self._chunk(stamp, [{"index": piece.index, **delta, "logprobs": None, "finish_reason": None}])
            )
        elif first and self._wish.full_text:
            piece = replace(piece, text=self._wish.prompt + piece.text)
        if not piece.text and not piece.tokens and piece.finish is None:
            return events
        choice: dict[str, Any] = {"index": piece.index}
        choice |= {"delta": {"content": piece.text}} if self._chat else {"text": piece.text}
        choice["logprobs"] = self._logprobs(piece)
        choice["finish_reason"] = openai_finish(piece.finish)
        if piece.finish is not None:
            choice["stop_reason"] = piece.stop
        return [*events, self._chunk(stamp, [choice])]

    def finish(self, counts: Counts, stamp: Stamp) -> list[bytes]:
        """See `Writer`. The count of tokens comes only when it was asked for and is known."""
        usage = write_usage(counts) if self._wish.usage else None
        counted = [self._chunk(stamp, [], usage)] if usage is not None else []
        return [*counted, b"data: [DONE]\n\n"]

    def _logprobs(self, piece: Piece) -> dict[str, Any] | None:
        if self._wish.logprobs is None:
            return None
        offset = self._offsets.get(piece.index, 0)
        self._offsets[piece.index] = offset + sum(len(token.text) for token in piece.tokens)
        return write_openai(self._chat, piece.tokens, self._wish.logprobs, offset)

    def _chunk(self, stamp: Stamp, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        document = {"id": stamp.id, "object": kind, "created": stamp.created, "model": stamp.model, "choices": choices}
        return _event(document if usage is None else {**document, "usage": usage})


def _only(piece: Piece) -> None:
    if piece.index:
        raise DialectError(
            Wrong.LOST, "The model gave several answers, and the client's dialect has room for one.", "n"
        )


class GenerateWriter:
    """TGI's events or LMI's lines, one a token; the last one has the whole text and the details.

    A target that tells no tokens has one event a piece, whose token has the piece's text and neither id nor
    probability.
    """

    __slots__ = ("_count", "_held", "_lmi", "_text", "_wish")

    def __init__(self, wish: Wish, *, lmi: bool) -> None:
        self._wish = wish
        self._lmi = lmi
        self._text: list[str] = []
        self._held: tuple[Token, Piece] | None = None
        """The last token, which waits for the counts."""
        self._count = 0

    def piece(self, piece: Piece, stamp: Stamp) -> list[bytes]:
        """See `Writer`."""
        _only(piece)
        self._text.append(piece.text)
        tokens = list(_tokens(piece))
        if piece.finish is not None:
            last = tokens.pop() if tokens else Token("", special=True)
            self._held = last, piece
        return [self._event(token, {}) for token in tokens]

    def finish(self, counts: Counts, stamp: Stamp) -> list[bytes]:
        """See `Writer`."""
        if self._held is None:
            return []
        token, piece = self._held
        counted = self._count + 1 if token.id is not None else None
        generated = counted if counts.completion is None else counts.completion
        details = generate_details(piece, generated, self._wish, lmi=self._lmi)
        if not self._lmi and counts.prompt is not None:
            details["input_length"] = counts.prompt
        text = full_text("".join(self._text), self._wish)
        return [self._event(token, {"generated_text": text, "details": details})]

    def _event(self, token: Token, end: dict[str, Any]) -> bytes:
        self._count += 1
        if self._lmi:
            return orjson.dumps({"token": write_generate(True, token), **end}) + b"\n"
        document: dict[str, Any] = {"index": self._count, "token": write_generate(False, token)}
        if self._wish.logprobs:
            document["top_tokens"] = write_top(token, self._wish.logprobs)
        return b"data:" + orjson.dumps({**document, **(end or {"generated_text": None, "details": None})}) + b"\n\n"


def _tokens(piece: Piece) -> Sequence[Token]:
    """The piece as tokens whose texts joined are its text, whatever the tokens' own texts are.

    They differ where a character spans several tokens, or a stop string was cut off.
    """
    tokens = piece.tokens
    if not tokens:
        return [Token(piece.text)] if piece.text else []
    if "".join(token.text for token in tokens) == piece.text:
        return tokens
    return [*(replace(token, text="") for token in tokens[:-1]), replace(tokens[-1], text=piece.text)]


class BedrockWriter:
    """Bedrock's own objects, as the Server-Sent Events that the same model sends behind an endpoint."""

    __slots__ = ("_begun", "_held", "_wish")

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._begun = False
        self._held: Piece | None = None

    def piece(self, piece: Piece, stamp: Stamp) -> list[bytes]:
        """See `Writer`."""
        _only(piece)
        if not self._begun and self._wish.full_text:
            piece = replace(piece, text=self._wish.prompt + piece.text)
        self._begun = True
        if piece.finish is not None:
            self._held = piece
            return []
        return [self._event(piece, Counts())] if piece.text else []

    def finish(self, counts: Counts, stamp: Stamp) -> list[bytes]:
        """See `Writer`."""
        return [] if self._held is None else [self._event(self._held, counts)]

    def _event(self, piece: Piece, counts: Counts) -> bytes:
        return _event(
            {
                "generation": piece.text,
                "prompt_token_count": counts.prompt,
                "generation_token_count": counts.completion,
                "stop_reason": bedrock_finish(piece.finish),
            }
        )
