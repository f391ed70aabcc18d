"""What a request wishes and an answer holds, in no dialect: the values that readers make and writers take."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ...base import Usage


class Wrong(enum.Enum):
    """What a `DialectError` is about."""

    REQUEST = "request"
    """The client's request cannot be carried; nothing was sent."""
    ANSWER = "answer"
    """The target's answer is not of the dialect that the policy declares for it."""
    LOST = "lost"
    """The target's answer holds something that the client's dialect has no place for."""
    MODEL = "model"
    """The target says, inside a 200, that the model failed."""


class DialectError(Exception):
    """Something cannot be translated. `message` is for the client: it names the key and the remedy.

    The text of the exception is for the log: it holds nothing that the client or the model said.
    """

    def __init__(self, wrong: Wrong, message: str, key: str | None = None) -> None:
        super().__init__(f"`{key}` in the {wrong.value}" if key is not None else wrong.value)
        self.wrong = wrong
        self.message = message


class Finish(enum.Enum):
    """Why a model stopped."""

    LENGTH = "length"
    END = "end"
    """It said its end-of-sequence token."""
    STOP = "stop"
    """It said one of the request's stop strings."""
    TOOL_CALLS = "tool_calls"
    FILTERED = "content_filter"


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that the model weighed at one place."""

    text: str
    logprob: float
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token."""

    text: str
    logprob: float | None = None
    id: int | None = None
    special: bool = False
    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one choice of an answer; a whole answer is one piece a choice."""

    text: str = ""
    index: int = 0
    tokens: tuple[Token, ...] = ()
    finish: Finish | None = None
    stop: str | None = None
    """The stop string that ended it, where the target says which."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What answers in OpenAI's dialects carry, for a target that does not: values from outside, so that all is pure."""

    id: str
    created: int
    """Seconds since the epoch."""
    model: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens, as far as the target counts them: TGI and LMI do not count the prompt's."""

    prompt: int | None = None
    completion: int | None = None

    @property
    def usage(self) -> Usage | None:
        """Both counts, or None."""
        if self.prompt is None or self.completion is None:
            return None
        return Usage(self.prompt, self.completion)

    def or_else(self, other: Counts) -> Counts:
        """These counts, with `other`'s where they are not known."""
        return Counts(
            other.prompt if self.prompt is None else self.prompt,
            other.completion if self.completion is None else self.completion,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `stamp` holds what the target itself said of it."""

    pieces: tuple[Piece, ...]
    counts: Counts = Counts()
    stamp: Stamp | None = None
    prefill: tuple[Token, ...] = ()
    """The prompt's tokens, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asked of its answer, remembered until the answer comes."""

    streams: bool = False
    usage: bool = False
    """A stream is to end with a count of tokens."""
    prompt: str = ""
    full_text: bool = False
    """The answer begins with the prompt."""
    details: bool = False
    logprobs: int | None = None
    """Alternatives wanted at each token; 0: the token's own probability only; None: none at all."""
    seed: int | None = None
    trims: tuple[str, ...] = ()
    """Stop strings that the target leaves at the end of its text and the client does not expect there."""
