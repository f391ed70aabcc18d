"""One pair of dialects and one exchange between them: the client's request goes out, the target's answer comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from policies.dialects import Passage, impossible, passage
from policies.table import TranslateRule

from ...base import Usage
from ..framing import reframer
from ..restjson import media_type
from .answers import read_answer
from .errors import translate_error
from .events import writer
from .pieces import PieceReader
from .replies import write_reply
from .requests import Carried, carry
from .streams import BodyTranslator, StreamTranslator, trimmed
from .tokens import garbled
from .values import Answer, DialectError, Stamp, Wrong

if TYPE_CHECKING:
    from .templates import Template

JSON = "application/json"
EVENTS = "text/event-stream"
LINES = "application/jsonlines"
LONGEST_ANSWER = 25_000_000
"""Bytes of a whole answer that are read; Bedrock's models answer with no more (botocore's bedrock-runtime model)."""


def pair(client: str, target: str, rule: TranslateRule) -> Translation | None:
    """The translation from `client`'s dialect to `target`'s and back; None where bytes are passed as they are.

    Raises DialectError about the REQUEST where the policy does not allow it: a face may speak another dialect than the
    one that the policy was checked for.
    """
    if passage(client, target) is Passage.BYTES:
        return None
    reason = impossible(client, target, rule)
    if reason is not None:
        said = f"This endpoint's model reads {target}, and its policy does not allow it to be sent {client}."
        raise DialectError(Wrong.REQUEST, said)
    return Translation(client, target, rule)


class Translation:
    """One direction of the matrix, ready for any number of requests."""

    __slots__ = ("_rule", "_template", "client", "target")

    def __init__(self, client: str, target: str, rule: TranslateRule) -> None:
        """Raises ValueError when the rule's chat template is none."""
        self.client = client
        self.target = target
        self._rule = rule
        self._template: Template | None = None
        if passage(client, target) is Passage.CHAT_TEMPLATE and rule.chat_template is not None:
            from .templates import Template  # with Jinja it takes 2 MB, which only a policy with templates needs

            self._template = Template(rule.chat_template)

    def request(self, body: bytes, model: str | None, stamp: Stamp) -> Exchange:
        """`body` carried. `model` is the target's name for its model, where it needs one; `stamp` is what an answer
        says of itself when the target says nothing. Raises DialectError about the REQUEST.
        """
        carried = carry(self.client, self.target, body, self._rule, self._template, model)
        if carried.model is not None:
            stamp = replace(stamp, model=carried.model)
        return Exchange(self.client, self.target, self._rule.drop, carried, stamp)

    def error(self, status: int, said: str) -> str:
        """The body of the target's error, in the client's dialect."""
        return translate_error(self.client, self.target, status, said)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request on its way, and how to read what comes back."""

    client: str
    target: str
    drop: frozenset[str]
    carried: Carried
    stamp: Stamp

    @property
    def body(self) -> bytes:
        """What goes to the target, as application/json."""
        return self.carried.body

    def answer(self, content_type: str | None) -> tuple[BodyTranslator, str]:
        """The translator for an answer of this type, and the type that it then has.

        A whole answer stays whole and a stream a stream; without a type the request's word counts. Raises DialectError
        about the ANSWER for a type that is neither.
        """
        kind = media_type(content_type) or (self._stream_type(self.target) if self.carried.wish.streams else JSON)
        if kind == JSON:
            return WholeTranslator(self), JSON
        if kind != EVENTS and not (self.target == "lmi" and kind == LINES):
            raise garbled("a body")
        wish = self.carried.wish
        reader = PieceReader(self.target, self.drop)
        streams = StreamTranslator(reframer(kind), reader, writer(self.client, wish), self.stamp, wish.trims)
        return streams, self._stream_type(self.client)

    def _stream_type(self, dialect: str) -> str:
        return LINES if dialect == "lmi" else EVENTS

    def read(self, body: bytes) -> Answer:
        """A whole answer of the target. Raises DialectError."""
        answer = read_answer(self.target, body, self.drop)
        trims = self.carried.wish.trims
        return replace(answer, pieces=tuple(trimmed(piece, trims) for piece in answer.pieces))

    def write(self, answer: Answer) -> bytes:
        """A whole answer for the client. Raises DialectError."""
        own = answer.stamp or self.stamp
        return write_reply(self.client, answer, self.carried.wish, own)


class WholeTranslator:
    """`BodyTranslator` of a whole answer, which comes out at its end."""

    __slots__ = ("_exchange", "_pieces", "_size", "usage")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pieces: list[bytes] = []
        self._size = 0
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """See `BodyTranslator`."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > LONGEST_ANSWER:
            raise garbled("a body")
        return []

    def finish(self) -> list[bytes]:
        """See `BodyTranslator`."""
        answer = self._exchange.read(b"".join(self._pieces))
        self.usage = answer.counts.usage
        return [self._exchange.write(answer)]
