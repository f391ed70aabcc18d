"""Event-stream frames, made from botocore's own shapes.

This encoder exists so that the stand-ins cannot agree with Pointsman's codec instead of with AWS: it takes event
names, payload rules and error fields from the service model and is tested against botocore's decoder. A frame is
`total length u32 | headers length u32 | CRC-32 of those eight bytes | headers | payload | CRC-32 of all before`, big
endian; a header is `name length u8 | name | type u8 (7, string) | value length u16 | value` (AWS event-stream
encoding, botocore/eventstream.py).
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Literal

from .aws import stream_errors_of, stream_shape

_STRING = 7
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

BadCrc = Literal["none", "message", "prelude"]


def data_frame(service: str, content: bytes, bad_crc: BadCrc = "none") -> bytes:
    """One data event: `PayloadPart` with raw bytes (SageMaker), `chunk` with base64 in JSON (Bedrock)."""
    name, shape = next((n, s) for n, s in stream_shape(service).members.items() if not s.metadata.get("exception"))
    member, blob = next(iter(shape.members.items()))
    if blob.serialization.get("eventpayload"):
        kind, payload = "application/octet-stream", content
    else:
        # `p` is padding of varying length, which the service adds and decoders must ignore.
        padding = _PADDING[: 1 + zlib.crc32(content) % len(_PADDING)]
        value = {member: base64.b64encode(content).decode(), "p": padding}
        kind, payload = "application/json", json.dumps(value, separators=(",", ":")).encode()
    return frame({":event-type": name, ":content-type": kind, ":message-type": "event"}, payload, bad_crc)


def exception_frame(service: str, name: str, values: Mapping[str, object]) -> bytes:
    """A modelled error inside a stream; `values` are its fields as the model names them.

    Errors: KeyError when the service does not model `name` in its stream, ValueError for a field it does not have.
    """
    shape = stream_errors_of(service)[name]
    unknown = set(values) - set(shape.fields)
    if unknown:
        msg = f"{name} has no field {', '.join(sorted(unknown))}; it has {', '.join(shape.fields)}"
        raise ValueError(msg)
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps(dict(values), ensure_ascii=False).encode())


def error_frame(code: str, message: str) -> bytes:
    """An unmodelled error inside a stream."""
    return frame({":error-code": code, ":error-message": message, ":message-type": "error"}, b"")


def frame(headers: Mapping[str, str], payload: bytes, bad_crc: BadCrc = "none") -> bytes:
    """One frame; `bad_crc` spoils the checksum it names."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(packed) + len(payload), len(packed))
    prelude += struct.pack("!I", zlib.crc32(prelude) ^ (1 if bad_crc == "prelude" else 0))
    rest = packed + payload
    checksum = zlib.crc32(rest, zlib.crc32(prelude)) ^ (1 if bad_crc == "message" else 0)
    return prelude + rest + struct.pack("!I", checksum)


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack("!B", len(key)) + key + struct.pack("!BH", _STRING, len(text)) + text
