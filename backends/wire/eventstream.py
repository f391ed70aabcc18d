"""AWS event-stream frames (`application/vnd.amazon.eventstream`): written in one pass, read incrementally and strictly.

Strategy: a frame is `total length | headers length | CRC of these two | headers | payload | CRC of all before`, every
number big-endian and unsigned 32 bits, CRC-32 as in zlib (Smithy specification, "Amazon Event Stream"). The writer's
hot path is `payload_part`, whose header block never changes. The reader keeps the pieces it is fed in a list and joins
them once a frame is whole, so that the work stays linear however the bytes are cut.

Promises: any split of the same bytes gives the same frames; frames before a damage are delivered, nothing after it; a
changed byte is an error, never a different frame; at most one frame and one fed piece are held. Refused: both kinds of
wrong checksum, lengths beyond the limits, unknown value types, duplicate or empty header names, text that isn't UTF-8.
"""

from __future__ import annotations

import base64
import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from zlib import crc32

from policies.values import value

HEADERS_LIMIT = 128 * 1024
"""Largest header block of a frame in bytes; botocore's decoder refuses more."""
PAYLOAD_LIMIT = 24 * 1024 * 1024
"""Largest payload of a frame in bytes; botocore's decoder refuses more."""
VALUE_LIMIT = 2**15 - 1
"""Longest string or byte-array header value in bytes that is written: the AWS SDK for Go refuses more."""
NAME_LIMIT = 255
"""Longest header name in bytes: its length is one byte on the wire."""

_PRELUDE = struct.Struct(">II")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")
_THREE = struct.Struct(">III")
_START = 12
"""Bytes before the headers: two lengths and their CRC."""
_FRAMING = 16
"""Bytes of a frame that are neither header nor payload: the start, and the CRC at the end."""
_STRING = 7
_KNOWN, _LONGEST_KNOWN = 256, 1024
"""Heads of frames that a decoder remembers, and the bytes of the longest: a stream's differ in their length alone."""


class EventStreamError(ValueError):
    """Bytes that are no event stream, or a frame that may not be written."""


@value(frozen=True, slots=True)
class Frame:
    """One frame. Header values are text: see `Decoder` for the types that are not strings on the wire."""

    headers: Mapping[str, str]
    payload: bytes


def _header_block(headers: Sequence[tuple[str, str]]) -> bytes:
    pieces: list[bytes] = []
    for name, text in headers:
        raw_name, raw_value = name.encode(), text.encode()
        if not 0 < len(raw_name) <= NAME_LIMIT:
            message = f"a header name has {len(raw_name)} bytes; 1 to {NAME_LIMIT} are allowed"
            raise EventStreamError(message)
        if len(raw_value) > VALUE_LIMIT:
            message = f"the value of header {name!r} has {len(raw_value)} bytes; {VALUE_LIMIT} are allowed"
            raise EventStreamError(message)
        pieces += (bytes((len(raw_name),)), raw_name, bytes((_STRING,)), _U16.pack(len(raw_value)), raw_value)
    if len({name for name, _ in headers}) != len(headers):
        message = "a header name is given twice; names in a frame are unique"
        raise EventStreamError(message)
    block = b"".join(pieces)
    if len(block) > HEADERS_LIMIT:
        message = f"the headers have {len(block)} bytes; {HEADERS_LIMIT} are allowed"
        raise EventStreamError(message)
    return block


def _head(block: bytes, size: int) -> tuple[bytes, int]:
    """A frame up to its payload of `size` bytes, and the checksum so far."""
    if size > PAYLOAD_LIMIT:
        message = f"the payload has {size} bytes; {PAYLOAD_LIMIT} are allowed in a frame"
        raise EventStreamError(message)
    prelude = _PRELUDE.pack(_FRAMING + len(block) + size, len(block))
    head = prelude + _U32.pack(crc32(prelude)) + block
    return head, crc32(head)


def encode(headers: Sequence[tuple[str, str]], payload: bytes) -> bytes:
    """One frame with string headers in the order given. Raises EventStreamError when a limit is passed."""
    head, checksum = _head(_header_block(headers), len(payload))
    return b"".join((head, payload, _U32.pack(crc32(payload, checksum))))


_PAYLOAD_PART = _header_block(
    ((":event-type", "PayloadPart"), (":content-type", "application/octet-stream"), (":message-type", "event"))
)


_HEADS = tuple(_head(_PAYLOAD_PART, size) for size in range(1024))
"""By the payload's size: a model's event has a few hundred bytes, and a frame's head is two thirds of the work."""


def payload_part(payload: bytes) -> bytes:
    """The frame of one PayloadPart event of InvokeEndpointWithResponseStream; the payload is raw bytes, or none.

    Raises EventStreamError when the payload is longer than `PAYLOAD_LIMIT`.
    """
    return payload_parts((payload,))


def payload_parts(payloads: Sequence[bytes]) -> bytes:
    """The frames of several PayloadPart events, one after the other. Raises as `payload_part` does."""
    pieces: list[bytes] = []
    for payload in payloads:
        size = len(payload)
        head, checksum = _HEADS[size] if size < len(_HEADS) else _head(_PAYLOAD_PART, size)
        pieces += (head, payload, _U32.pack(crc32(payload, checksum)))
    return b"".join(pieces)


def exception_frame(kind: str, message: str, error_code: str | None = None) -> bytes:
    """The frame that ends a broken stream: `kind` is `ModelStreamError` or `InternalStreamFailure`.

    `error_code` is `ModelInvocationTimeExceeded` or `StreamBroken` for the first and absent for the second (botocore
    model of sagemaker-runtime).
    """
    fields = {"Message": message}
    if error_code is not None:
        fields["ErrorCode"] = error_code
    headers = ((":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception"))
    return encode(headers, json.dumps(fields, separators=(",", ":")).encode())


class Decoder:
    """Reads one event stream, in any pieces.

    Header values that are no strings come out as text: booleans as `true` or `false`, the four integers in decimal,
    a timestamp as decimal milliseconds since 1970, a byte array in base64, a UUID in its usual form with hyphens.
    """

    __slots__ = ("_damage", "_held", "_known", "_needed", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = _START
        """Bytes that must be held before anything can be decided."""
        self._known: dict[bytes, tuple[Mapping[str, str], int]] = {}
        """By a frame's bytes up to its payload: what they say, and the checksum so far."""
        self._damage: str | None = None
        """In words: a kept exception would keep, by its traceback, whoever asked."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes.

        Raises:
            EventStreamError: the stream is damaged. When frames were completed before the damage in the same `data`,
                they are returned, and the next call raises; `check` says so at once. From then on every call raises.
        """
        self.check()
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._needed:
            return []
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        frames: list[Frame] = []
        try:
            rest = self._take(data, frames)
        except EventStreamError as error:
            self._damage = str(error)
            self._pieces = []
            if not frames:
                raise
            return frames
        self._pieces = [data[rest:]] if rest < len(data) else []
        self._held = len(data) - rest
        return frames

    def check(self) -> None:
        """Raises EventStreamError when the stream is known to be damaged, though more may never come of it."""
        if self._damage is not None:
            raise EventStreamError(self._damage)

    def finish(self) -> None:
        """Says that no byte follows. Raises EventStreamError when the stream is damaged or ends inside a frame."""
        self.check()
        if self._held:
            message = f"the stream ends inside a frame: {self._held} bytes are left over"
            raise EventStreamError(message)

    def _take(self, data: bytes, frames: list[Frame]) -> int:
        """Append every whole frame in `data`; where the rest begins. Sets how many bytes the rest needs."""
        at, size = 0, len(data)
        while size - at >= _START:
            total, headers, _ = _THREE.unpack_from(data, at)
            payload = at + _START + headers
            head = data[at:payload]
            known = self._known.get(head)
            if known is None:
                _check_start(data, at, total, headers)
            end = at + total
            if end > size:
                self._needed = total
                return at
            body = data[payload : end - 4]
            if crc32(body, crc32(head) if known is None else known[1]) != _U32.unpack_from(data, end - 4)[0]:
                message = "the checksum of a frame is wrong: the stream is damaged"
                raise EventStreamError(message)
            frames.append(Frame(self._learn(head) if known is None else known[0], body))
            at = end
        self._needed = _START
        return at

    def _learn(self, head: bytes) -> Mapping[str, str]:
        """What a frame's bytes up to its payload say; the next frame that begins so has been checked so far."""
        headers = MappingProxyType(_read_headers(head[_START:]))
        if len(self._known) < _KNOWN and len(head) <= _LONGEST_KNOWN:
            self._known[head] = headers, crc32(head)
        return headers


def _check_start(data: bytes, at: int, total: int, headers: int) -> None:
    """Raises EventStreamError unless the frame that begins at `at` may have these lengths, and says so correctly."""
    if crc32(data[at : at + 8]) != _U32.unpack_from(data, at + 8)[0]:
        message = "the checksum of a frame's lengths is wrong: damaged, or not an event stream"
        raise EventStreamError(message)
    payload = total - headers - _FRAMING
    if payload < 0:
        message = f"a frame of {total} bytes can't hold {headers} bytes of headers"
        raise EventStreamError(message)
    if headers > HEADERS_LIMIT:
        message = f"a frame has {headers} bytes of headers; {HEADERS_LIMIT} are allowed"
        raise EventStreamError(message)
    if payload > PAYLOAD_LIMIT:
        message = f"a frame has {payload} bytes of payload; {PAYLOAD_LIMIT} are allowed"
        raise EventStreamError(message)


def _read_headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            name, at = _slice(block, at + 1, block[at])
            text = name.decode()
            if not text or text in headers:
                message = f"a header is {'given twice: ' + text if text else 'without a name'}"
                raise EventStreamError(message)
            headers[text], at = _read_value(block, at + 1, block[at])
    except (IndexError, struct.error) as error:
        message = "a header is longer than its frame's header block"
        raise EventStreamError(message) from error
    except UnicodeDecodeError as error:
        message = "a header is not UTF-8"
        raise EventStreamError(message) from error
    return headers


_INTEGERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_TIMESTAMP = 8


def _read_value(block: bytes, at: int, kind: int) -> tuple[str, int]:
    """The value of type `kind` at `at`, as text, and where the next header begins."""
    if kind == _STRING:
        raw, at = _slice(block, at + 2, _U16.unpack_from(block, at)[0])
        return raw.decode(), at
    if kind in (0, 1):
        return ("true", "false")[kind], at
    if kind in _INTEGERS or kind == _TIMESTAMP:
        layout = _INTEGERS[5 if kind == _TIMESTAMP else kind]
        return str(layout.unpack_from(block, at)[0]), at + layout.size
    if kind == 6:
        raw, at = _slice(block, at + 2, _U16.unpack_from(block, at)[0])
        return base64.b64encode(raw).decode("ascii"), at
    if kind == 9:
        raw, at = _slice(block, at, 16)
        return str(uuid.UUID(bytes=raw)), at
    message = f"a header has the unknown value type {kind}"
    raise EventStreamError(message)


def _slice(block: bytes, at: int, size: int) -> tuple[bytes, int]:
    end = at + size
    if end > len(block):
        raise IndexError(end)
    return block[at:end], end
