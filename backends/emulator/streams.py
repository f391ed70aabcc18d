"""From a container's chunks to the parts of a stream: reshaped, framed and broken as the faults of the call say.

Pure: the result is a tuple of parts with their waits and the way the stream ends; the server writes it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .answers import Part
from .aws import SAGEMAKER
from .faults import Effects, Fault
from .frames import data_frame, error_frame, exception_frame
from .hosting import timed
from .shapes import encode

Ending = Literal["clean", "close", "reset"]


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of waiting within one stream, and how many of them the service allows."""

    first_byte: float
    per_part: float
    limit: float | None = None


def reshape(chunks: Sequence[bytes], how: Sequence[str]) -> tuple[bytes, ...]:
    """The same bytes in other pieces, as the faults named in `how` say."""
    found = list(chunks)
    for name in how:
        match name:
            case "two-events-in-one-part":
                found = [b"".join(found[at : at + 2]) for at in range(0, len(found), 2)]
            case "one-event-over-two-parts":
                found = [half for chunk in found for half in _halves(chunk)]
            case _:
                found = _split_character(found)
    return tuple(found)


def framed(
    service: str, chunks: Sequence[bytes], effects: Effects, pace: Pace, values: Callable[[Fault], dict[str, object]]
) -> tuple[tuple[Part, ...], Ending]:
    """Parts of an event stream. `values` gives the fields of an in-stream exception that a fault asks for."""
    pieces = reshape(chunks, effects.reshape)
    frames = [data_frame(service, piece, effects.bad_crc(index)) for index, piece in enumerate(pieces)]
    end = effects.stream_end
    if end is not None and end.name == "cut-stream":
        return _cut(frames, end, pace)
    if end is not None:
        at = _at(end)
        last = (
            error_frame(end.error_code or "InternalError", end.message or "The stand-in was asked for this.")
            if end.name == "unmodelled-stream-error"
            else exception_frame(service, end.name, values(end))
        )
        frames = [*frames[:at], last]
    return _within(service, timed(frames, pace.first_byte, pace.per_part), pace), "clean"


def raw(chunks: Sequence[bytes], effects: Effects, pace: Pace) -> tuple[tuple[Part, ...], Ending]:
    """Parts of a plain stream (an engine's SSE)."""
    pieces = list(reshape(chunks, effects.reshape))
    end = effects.stream_end
    if end is not None and end.name == "cut-stream":
        return _cut(pieces, end, pace)
    if end is not None:
        text = end.message or "The stand-in was asked for this."
        error = {"error": {"message": text, "type": "InternalServerError", "param": None, "code": end.status or 500}}
        pieces = [*pieces[: _at(end)], b"data: " + encode(error) + b"\n\n", b"data: [DONE]\n\n"]
    return timed(pieces, pace.first_byte, pace.per_part), "clean"


def _at(fault: Fault) -> int:
    return fault.after.part if fault.after is not None else 1


def _cut(pieces: Sequence[bytes], end: Fault, pace: Pace) -> tuple[tuple[Part, ...], Ending]:
    at = _at(end)
    kept = list(pieces[:at])
    if end.end == "half-frame":
        rest = pieces[at] if at < len(pieces) else pieces[-1]
        kept.append(rest[: len(rest) // 2])
    parts = timed(kept, pace.first_byte, pace.per_part)
    return parts, "clean" if end.end in {"clean", "half-frame"} else end.end  # type: ignore[return-value]  # narrowed


def _within(service: str, parts: tuple[Part, ...], pace: Pace) -> tuple[Part, ...]:
    if pace.limit is None:
        return parts
    spent = 0.0
    for index, part in enumerate(parts):
        if spent + part.wait > pace.limit:
            return (*parts[:index], Part(_too_late(service), pace.limit - spent))
        spent += part.wait
    return parts


def _too_late(service: str) -> bytes:
    if service == SAGEMAKER:
        values = {
            "Message": "Model invocation exceeded the time limit for streaming.",
            "ErrorCode": "ModelInvocationTimeExceeded",
        }
        return exception_frame(service, "ModelStreamError", values)
    return exception_frame(service, "modelTimeoutException", {"message": "The model took too long to answer."})


def _halves(chunk: bytes) -> tuple[bytes, ...]:
    at = len(chunk) // 2
    while 0 < at < len(chunk) and chunk[at] & 0xC0 == 0x80:
        at += 1
    return tuple(half for half in (chunk[:at], chunk[at:]) if half)


def _split_character(chunks: Sequence[bytes]) -> list[bytes]:
    for index, chunk in enumerate(chunks):
        at = next((place for place, byte in enumerate(chunk) if byte & 0xC0 == 0x80), None)
        if at is not None:
            return [*chunks[:index], chunk[:at], chunk[at:], *chunks[index + 1 :]]
    return list(chunks)
