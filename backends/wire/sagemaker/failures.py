"""What an endpoint says when it fails, in an HTTP answer or inside a stream, as facts and as words to repeat.

A ModelError is unwrapped: what counts is the status and the text of the model's container, not the 424 around it.
"""

from __future__ import annotations

import re

from policies.facts import FailureFacts

from ...base import Headers
from ...errors import Said
from ..eventstream import Frame
from ..restjson import ErrorDocument, read_count, read_document, read_object
from ..verdicts import MODEL_ERRORS, SAGEMAKER, SAGEMAKER_TEXTS, after, by_original, by_type, in_stream

_WRAPPED = re.compile(r"Received (?:client|server) error \((\d{1,3})\)")
TIME_EXCEEDED = "ModelInvocationTimeExceeded"
STREAM_BROKEN = "StreamBroken"


def read_error(status: int, headers: Headers, body: bytes) -> tuple[FailureFacts, Said]:
    """The meaning of an answer whose status is not 200."""
    document = read_document(status, headers, body)
    if document.type in MODEL_ERRORS or "OriginalStatusCode" in document.fields:
        return _model_error(document)
    facts = by_type(SAGEMAKER, SAGEMAKER_TEXTS, document.type, document.message, status)
    return after(facts, document.retry_after), Said(status, document.message, document.type)


def _model_error(document: ErrorDocument) -> tuple[FailureFacts, Said]:
    fields = document.fields
    original = read_count(fields.get("OriginalStatusCode"))
    if original is None:
        found = _WRAPPED.search(document.message)
        original = int(found[1]) if found else 500
    message = fields.get("OriginalMessage")
    stream_arn, code = fields.get("LogStreamArn"), fields.get("ErrorCode")
    said = Said(
        original,
        message if isinstance(message, str) else document.message,
        "ModelError",
        log_stream_arn=stream_arn if isinstance(stream_arn, str) else None,
        error_code=code if isinstance(code, str) else None,
    )
    return after(by_original(original), document.retry_after), said


def read_event(frame: Frame) -> bytes | tuple[FailureFacts, Said]:
    """The bytes of a PayloadPart, or the failure that a frame tells of; b"" for an unknown event, which SDKs skip."""
    headers = frame.headers
    match headers.get(":message-type"):
        case "event":
            return frame.payload if headers.get(":event-type") == "PayloadPart" else b""
        case "exception":
            return _stream_exception(headers.get(":exception-type", ""), frame.payload)
        case "error":
            kind, message = headers.get(":error-code", "") or None, headers.get(":error-message", "")
            return in_stream(by_type(SAGEMAKER, {}, kind, "", 500)), Said(500, message, kind)
        case _:
            return b""


def _stream_exception(kind: str, payload: bytes) -> tuple[FailureFacts, Said]:
    fields = read_object(payload) or {}
    message = fields.get("Message") or fields.get("message")
    said_code = fields.get("ErrorCode")
    code = said_code if isinstance(said_code, str) else None
    late = kind == "ModelStreamError" and code == TIME_EXCEEDED
    facts = by_original(0) if late else in_stream(by_type(SAGEMAKER, {}, kind, "", 500))
    text = message if isinstance(message, str) else "The stream broke."
    return facts, Said(0 if late else 500, text, kind or None, error_code=code)
