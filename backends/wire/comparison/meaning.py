"""What an answer says: read leniently in its dialect, a whole body and a stream of the same answer alike.

Strategy: a body is cut into JSON documents (one, or one an event or line), and each adds to what its choices have said
so far. What does not look as the dialect says is passed over and makes the answer `readable=False`; comparing that is
scoring's business. An `opaque` body has all its texts read, in order.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import orjson

from ..dialects.streams import data_of
from ..eventstream import Decoder, EventStreamError
from ..restjson import EVENT_STREAM, media_type, read_count
from .heard import Heard
from .shapes import Shape, shape_of

T = TypeVar("T")

_SHAPED = 3
"""Documents at the beginning and at the end of a stream whose shape is looked at: those between repeat one another."""
_END_OF_THOUGHT = "</think>"
"""By which models part their reasoning from the answer where no server has done so (DeepSeek-R1, Qwen3, SmolLM3)."""
SLICE = 100
"""Documents that are read at a stretch: a third of a millisecond (measured with chunks of a chat, Python 3.11)."""
_MOST_TEXTS = 2000
"""Texts of an opaque document that are read."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for."""

    name: str
    arguments: Any
    """Parsed where it is JSON, else the text itself."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers to one request."""

    text: str = ""
    """The final answer, without reasoning."""
    reasoning: str = ""
    tools: tuple[ToolCall, ...] = ()
    finish: str | None = None
    """Why it ended, in the dialect's own word."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """An answer, read."""

    choices: tuple[Choice, ...] = ()
    """By index."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    shape: Shape = frozenset()
    readable: bool = True
    """It is what its dialect says, as far as it was looked at."""


@dataclass(slots=True)
class _Saying:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tools: dict[int, tuple[list[str], list[str]]] = field(default_factory=dict)
    finish: str | None = None

    def choice(self) -> Choice:
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        thought, parted, answer = text.partition(_END_OF_THOUGHT)
        if parted:
            reasoning, text = reasoning + thought.replace("<think>", "", 1), answer
        tools = tuple(ToolCall("".join(name), _parsed("".join(said))) for _, (name, said) in sorted(self.tools.items()))
        return Choice(text, reasoning, tools, self.finish)


def read_meaning(dialect: str, heard: Heard) -> Meaning:
    """What `heard` says in `dialect`. Never raises: what can't be read is not `readable`."""
    return whole(reading(dialect, heard))


def reading(dialect: str, heard: Heard) -> Generator[None, None, Meaning]:
    """The same in slices of `SLICE` documents, so that whoever has other things to do can do them in between."""
    units, clean = _units(heard)
    reader = _Reader(dialect)
    ends: list[Any] = []
    found = 0
    for begin in range(0, len(units), SLICE):
        some = [data for data in map(_data, units[begin : begin + SLICE]) if data and data != b"[DONE]"]
        documents = _parsed_all(some)
        clean = clean and documents is not None
        for document in _parsed_each(some) if documents is None else documents:
            reader.add(document)
            ends.append(document)
            found += 1
        del ends[_SHAPED:-_SHAPED]
        yield
    shape = frozenset[tuple[str, str]]().union(*map(shape_of, ends))
    readable = clean and found > 0
    if dialect == "opaque" and not found:
        reader.said(0).text.append(heard.body.decode("utf-8", "replace"))
        readable = True
    choices = tuple(said.choice() for _, said in sorted(reader.choices.items()))
    readable = readable and not reader.strange and (bool(choices) or dialect == "opaque")
    return Meaning(choices, reader.prompt, reader.completion, shape, readable)


def whole(slices: Generator[None, None, T]) -> T:
    """What is done in slices, at once."""
    while True:
        try:
            next(slices)
        except StopIteration as over:
            return cast(T, over.value)


def _units(heard: Heard) -> tuple[list[bytes], bool]:
    """The parts of a body that are a document each, as they stand there, and whether it could be cut."""
    kind, body = media_type(heard.content_type), heard.body
    if kind == EVENT_STREAM:
        try:
            body = b"".join(frame.payload for frame in Decoder().feed(body))
        except EventStreamError:
            return [], False
        kind = "text/event-stream" if body.lstrip().startswith(b"data") else "application/jsonlines"
    if kind == "text/event-stream":
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return body.split(b"\n\n"), True
    return (body.split(b"\n") if _is_lines(kind) else [body]), True


def _data(unit: bytes) -> bytes:
    """What is in an event or a line; most events are one line of data."""
    if unit.startswith(b"data: ") and b"\n" not in unit:
        return unit[6:]
    return data_of(unit)


def _parsed_all(units: list[bytes]) -> list[Any] | None:
    """The documents, by one call of the parser; None when one of them is no JSON."""
    try:
        found = orjson.loads(b"[" + b",".join(units) + b"]")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, list) and len(found) == len(units) else None


def _parsed_each(units: list[bytes]) -> Iterator[Any]:
    """Those of them that are JSON."""
    for unit in units:
        with suppress(orjson.JSONDecodeError):
            yield orjson.loads(unit)


def _is_lines(kind: str) -> bool:
    return "jsonl" in kind or "json-lines" in kind or "ndjson" in kind


class _Reader:
    """Takes the documents of one answer, one after the other."""

    __slots__ = ("_dialect", "choices", "completion", "prompt", "strange")

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self.choices: dict[int, _Saying] = {}
        self.prompt: int | None = None
        self.completion: int | None = None
        self.strange = False
        """Something is not as the dialect says."""

    def said(self, index: int) -> _Saying:
        return self.choices.setdefault(index, _Saying())

    def add(self, document: Any) -> None:
        if self._dialect == "tgi" and isinstance(document, list) and len(document) == 1:
            document = document[0]
        if self._dialect == "opaque":
            self.said(0).text.extend(f"{text} " for text in _texts(document))
        elif not isinstance(document, dict) or document.get("error") is not None:
            self.strange = True
        elif self._dialect == "bedrock-completion":
            self._bedrock(document)
        elif self._dialect in ("tgi", "lmi"):
            self._generate(document)
        else:
            self._openai(document)

    def _openai(self, document: dict[str, Any]) -> None:
        usage = document.get("usage")
        if isinstance(usage, dict):
            self._counted(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        choices = document.get("choices")
        if not isinstance(choices, list):
            self.strange = True
            return
        for choice in choices:
            index = read_count(choice.get("index", 0)) if isinstance(choice, dict) else None
            if index is None:
                self.strange = True
                continue
            said = self.said(index)
            said.finish = _word(choice.get("finish_reason")) or said.finish
            if isinstance(choice.get("text"), str):
                said.text.append(choice["text"])
            message = choice.get("message") or choice.get("delta")
            if isinstance(message, dict):
                _heard_message(said, message)

    def _bedrock(self, document: dict[str, Any]) -> None:
        self._counted(document.get("prompt_token_count"), document.get("generation_token_count"))
        said = self.said(0)
        said.finish = _word(document.get("stop_reason")) or said.finish
        self._text(said, document.get("generation"))

    def _generate(self, document: dict[str, Any]) -> None:
        said, token, details = self.said(0), document.get("token"), document.get("details")
        if isinstance(details, dict):
            prefill = details.get("prefill")
            prompt = len(prefill) if isinstance(prefill, list) and prefill else details.get("input_length")
            self._counted(prompt, details.get("generated_tokens"))
            said.finish = _word(details.get("finish_reason")) or said.finish
        if isinstance(token, dict):
            if not token.get("special"):
                self._text(said, token.get("text"))
        else:
            self._text(said, document.get("generated_text"))

    def _text(self, said: _Saying, text: Any) -> None:
        if isinstance(text, str):
            said.text.append(text)
        else:
            self.strange = True

    def _counted(self, prompt: Any, completion: Any) -> None:
        known = read_count(prompt), read_count(completion)
        self.prompt = self.prompt if known[0] is None else known[0]
        self.completion = self.completion if known[1] is None else known[1]


def _heard_message(said: _Saying, message: dict[str, Any]) -> None:
    """A chat's message, or a part of one."""
    content = message.get("content")
    if isinstance(content, str):
        said.text.append(content)
    elif isinstance(content, list):
        said.text.extend(part["text"] for part in content if isinstance(part, dict) and _word(part.get("text")))
    thought = _word(message.get("reasoning_content")) or _word(message.get("reasoning"))
    if thought:
        said.reasoning.append(thought)
    if refusal := _word(message.get("refusal")):
        said.text.append(refusal)
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, list) else []
    if isinstance(message.get("function_call"), dict):
        calls = [*calls, {"function": message["function_call"]}]
    for place, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            index = read_count(call.get("index"))
            names, arguments = said.tools.setdefault(place if index is None else index, ([], []))
            names.append(_word(function.get("name")) or "")
            arguments.append(_word(function.get("arguments")) or "")


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _parsed(said: str) -> Any:
    try:
        return orjson.loads(said)
    except orjson.JSONDecodeError:
        return said


def _texts(document: Any) -> list[str]:
    """Every text and number in a document of unknown form, in its order."""
    found: list[str] = []
    waiting = [document]
    while waiting and len(found) < _MOST_TEXTS:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += reversed(value.values())
        elif isinstance(value, list):
            waiting += reversed(value[:_MOST_TEXTS])
        elif value is not None:
            found.append(value if isinstance(value, str) else repr(value))
    return found
