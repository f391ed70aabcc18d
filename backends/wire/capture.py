"""Lines in the form in which SageMaker captures data: a request and its answer as one JSON object.

Written so that tools for captured data read them as they are, and read back. The form is that of the developer guide,
"Capture data from real-time endpoint": `captureData` with `endpointInput` and `endpointOutput`, each of them `data` in
an `encoding` of `JSON`, `CSV` (the text itself) or `BASE64`; `eventMetadata` with an id and the time; `eventVersion`.
What else is known stands under a key of our own, which such tools pass over.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson

from .restjson import media_type

OWN = "pointsman"
"""Key of what is not of SageMaker's form."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as text; bytes that are no text are the caller's to leave out."""

    content_type: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Capture:
    """One line."""

    event_id: str
    inference_id: str
    """What lines about the same request have in common."""
    at: float
    """Seconds since 1970."""
    asked: Payload
    answered: Payload
    own: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """JSON values under a key of our own."""


def write_capture(capture: Capture) -> bytes:
    """The line, with its line feed."""
    moment = datetime.fromtimestamp(capture.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "captureData": {
            "endpointInput": _written(capture.asked, "INPUT"),
            "endpointOutput": _written(capture.answered, "OUTPUT"),
        },
        "eventMetadata": {
            "eventId": capture.event_id,
            "inferenceId": capture.inference_id,
            "inferenceTime": moment,
        },
        "eventVersion": "0",
        OWN: dict(capture.own),
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def read_capture(line: bytes) -> Capture | None:
    """The capture of a line, SageMaker's own included; None when it is none."""
    try:
        document = orjson.loads(line)
        data, event = document["captureData"], document["eventMetadata"]
        moment = datetime.fromisoformat(event["inferenceTime"]).timestamp()
        asked, answered = _read(data["endpointInput"]), _read(data["endpointOutput"])
        own = document.get(OWN)
        return Capture(
            str(event["eventId"]),
            str(event.get("inferenceId") or ""),
            moment,
            asked,
            answered,
            MappingProxyType(own if isinstance(own, dict) else {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _written(payload: Payload, mode: str) -> dict[str, str]:
    kind = media_type(payload.content_type)
    encoding = "JSON" if kind == "application/json" else "CSV" if kind == "text/csv" else "BASE64"
    clean = payload.text.encode("utf-8", "replace")
    return {
        "observedContentType": payload.content_type or "",
        "mode": mode,
        "data": base64.b64encode(clean).decode() if encoding == "BASE64" else clean.decode(),
        "encoding": encoding,
    }


def _read(written: Mapping[str, Any]) -> Payload:
    data, kind = written["data"], written.get("observedContentType")
    if not isinstance(data, str) or not isinstance(kind, str | None):
        raise TypeError
    if written.get("encoding") == "BASE64":
        try:
            data = base64.b64decode(data, validate=True).decode("utf-8", "replace")
        except binascii.Error as error:
            raise ValueError from error
    return Payload(kind or None, data)
