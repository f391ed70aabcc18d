"""A stream of one dialect as a stream of another: bytes in, bytes out, nothing waited for.

What comes out does not depend on how the bytes were cut on their way in, and its texts joined are the text of the same
answer given whole. Nothing is held back but the last token (until the counts are known), and, from TGI, characters
that may turn out to be the stop string that the client does not expect.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from ...base import Usage
from ..framing import Reframer
from .events import Writer
from .pieces import PieceReader
from .values import Finish, Piece, Stamp


class BodyTranslator(Protocol):
    """Translates one body as it arrives. All raise DialectError; after that, or after `finish`, it is used up."""

    @property
    def usage(self) -> Usage | None:
        """Tokens, once the body has told them."""
        ...

    def feed(self, data: bytes) -> list[bytes]:
        """What `data` completes."""
        ...

    def finish(self) -> list[bytes]:
        """What belongs at the proper end of the body."""
        ...


class StreamTranslator:
    """`BodyTranslator` of a stream."""

    __slots__ = ("_reader", "_reframer", "_stamp", "_trims", "_writer")

    def __init__(
        self, reframer: Reframer, reader: PieceReader, writer: Writer, stamp: Stamp, trims: tuple[str, ...]
    ) -> None:
        """`stamp` is used where the target says none of its own; only its model may differ then."""
        self._reframer = reframer
        self._reader = reader
        self._writer = writer
        self._stamp = stamp
        self._trims = {0: Trim(trims)} if trims else {}

    @property
    def usage(self) -> Usage | None:
        """See `BodyTranslator`."""
        return self._reader.counts.usage

    def feed(self, data: bytes) -> list[bytes]:
        """See `BodyTranslator`."""
        return self._written(self._reframer.feed(data))

    def finish(self) -> list[bytes]:
        """See `BodyTranslator`."""
        parts = self._written(self._reframer.finish())
        self._reader.end()
        return [*parts, *self._writer.finish(self._reader.counts, self._said())]

    def _written(self, units: list[bytes]) -> list[bytes]:
        written: list[bytes] = []
        for unit in units:
            data = data_of(unit)
            for piece in self._reader.read(data) if data else ():
                trim = self._trims.get(piece.index)
                whole = piece if trim is None else trim.feed(piece)
                written += self._writer.piece(whole, self._said())
        return written

    def _said(self) -> Stamp:
        return self._reader.stamp or self._stamp


def data_of(unit: bytes) -> bytes:
    """The data of a Server-Sent Event, or a JSON line; b"" for a comment or an empty line."""
    if not unit.lstrip().startswith((b"data", b"event", b"id", b"retry", b":")):
        return unit.strip()
    lines = unit.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    found = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(found).strip()


class Trim:
    """Cuts the stop string off the end of a text that comes in pieces."""

    __slots__ = ("_held", "_stops")

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""

    def feed(self, piece: Piece) -> Piece:
        """The piece with the text that is surely wanted; the end of it comes with the last piece or not at all."""
        text = self._held + piece.text
        if piece.finish is None:
            keep = max((_overlap(text, stop) for stop in self._stops), default=0)
            self._held = text[len(text) - keep :]
            return replace(piece, text=text[: len(text) - keep])
        self._held = ""
        return trimmed(replace(piece, text=text), self._stops)


def trimmed(piece: Piece, stops: tuple[str, ...]) -> Piece:
    """A finished piece without the stop string that ended it."""
    stop = max((one for one in stops if piece.text.endswith(one)), key=len, default=None)
    if piece.finish is not Finish.STOP or stop is None:
        return piece
    return replace(piece, text=piece.text[: -len(stop)], stop=stop)


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    return next((size for size in range(min(len(stop), len(text)), 0, -1) if text.endswith(stop[:size])), 0)
