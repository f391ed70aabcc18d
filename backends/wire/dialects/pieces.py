"""Streams read: one event's JSON into pieces of text and counts of tokens, each strictly as its dialect says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..restjson import read_count, read_object
from .answers import (
    bedrock_finish,
    failed,
    generate_finish,
    openai_finish,
    read_counts,
    read_stamp,
    text_of,
)
from .tokens import garbled, read_generate, read_openai
from .values import Counts, Piece, Stamp

_DONE = b"[DONE]"


class PieceReader:
    """One stream of `target`, from its first event to its end."""

    __slots__ = ("_done", "_drop", "_open", "_seen", "_target", "counts", "stamp")

    def __init__(self, target: str, drop: frozenset[str]) -> None:
        self._target = target
        self._drop = drop
        self._open: set[int] = set()
        """Choices that have begun and not ended."""
        self._seen = False
        self._done = False
        self.counts = Counts()
        """Tokens, as far as the stream has told them."""
        self.stamp: Stamp | None = None

    def read(self, data: bytes) -> list[Piece]:
        """The pieces in one event. Raises DialectError about the ANSWER, what is LOST, or the MODEL."""
        if self._target.startswith("openai") and data == _DONE:
            self._done = True
            return []
        document = read_object(data)
        if document is None or self._done:
            raise garbled("a piece of a stream")
        if document.get("error") is not None:
            raise failed(document)
        pieces = self._pieces(document)
        for piece in pieces:
            self._seen = True
            if piece.finish is None:
                self._open.add(piece.index)
            else:
                self._open.discard(piece.index)
        return pieces

    def end(self) -> None:
        """The stream is over: raises DialectError when the model had not finished."""
        if self._open or not self._seen:
            raise garbled("a stream without an end")

    def _pieces(self, document: Mapping[str, Any]) -> list[Piece]:
        match self._target:
            case "openai-chat" | "openai-completions":
                return self._openai(document)
            case "bedrock-completion":
                return [self._bedrock(document)]
            case _:
                return [self._generate(document)]

    def _openai(self, document: Mapping[str, Any]) -> list[Piece]:
        choices = document.get("choices")
        if not isinstance(choices, list):
            raise garbled("a piece of a stream")
        self.counts = read_counts(document.get("usage")).or_else(self.counts)
        self.stamp = self.stamp or read_stamp(document)
        return [self._choice(choice) for choice in choices]

    def _choice(self, choice: Any) -> Piece:
        chat = self._target == "openai-chat"
        delta = choice.get("delta") if chat and isinstance(choice, dict) else choice
        index = read_count(choice.get("index")) if isinstance(choice, dict) else None
        if not isinstance(delta, dict) or index is None or (not chat and not isinstance(delta.get("text"), str)):
            raise garbled("a piece of a stream")
        text = text_of(delta, self._drop) if chat else delta["text"]
        finish, stop = openai_finish(choice)
        return Piece(text, index, read_openai(choice.get("logprobs"), choice.get("token_ids")), finish, stop)

    def _bedrock(self, document: Mapping[str, Any]) -> Piece:
        text, reason = document.get("generation"), document.get("stop_reason")
        if not isinstance(text, str):
            raise garbled("a piece of a stream")
        told = Counts(
            read_count(document.get("prompt_token_count")), read_count(document.get("generation_token_count"))
        )
        self.counts = told.or_else(self.counts)
        return Piece(text, finish=None if reason is None else bedrock_finish(reason))

    def _generate(self, document: Mapping[str, Any]) -> Piece:
        whole, details = document.get("generated_text"), document.get("details")
        finish = None if whole is None and details is None else generate_finish(details)
        token = read_generate(document.get("token"), document.get("top_tokens"))
        if isinstance(details, dict):
            told = Counts(read_count(details.get("input_length")), read_count(details.get("generated_tokens")))
            self.counts = told.or_else(self.counts)
        # A special token (the end of the sequence) is no part of the generated text.
        return Piece("" if token.special else token.text, tokens=(token,), finish=finish)
