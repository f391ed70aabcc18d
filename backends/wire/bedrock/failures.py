"""What Bedrock says when it fails, in an HTTP answer or inside a stream, as facts and as words to repeat.

Where Bedrock speaks for the model (a refused body, the model's own error, a model that took too long), `Said` has the
status that the model's container would have answered with behind an endpoint: 400, its own, or 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from policies.facts import FailureFacts

from ...base import Headers
from ...errors import Said
from ..restjson import ErrorDocument, read_count, read_document
from ..verdicts import BEDROCK, BEDROCK_TEXTS, MODEL_ERRORS, after, by_original, by_type, in_stream


def read_error(status: int, headers: Headers, body: bytes) -> tuple[FailureFacts, Said]:
    """The meaning of an answer whose status is not 200."""
    return _read(status, read_document(status, headers, body))


def read_exception(headers: Mapping[str, str], payload: bytes) -> tuple[FailureFacts, Said]:
    """The meaning of a frame whose message type is `exception` or `error`.

    Exceptions are named in lower camel case there (`modelTimeoutException`). Status 500 stands for what has none.
    """
    named = headers.get(":exception-type") or headers.get(":error-code") or ""
    kind = named[:1].upper() + named[1:]
    document = read_document(500, (("x-amzn-errortype", kind),), payload)
    if ":error-message" in headers:
        document = ErrorDocument(kind or None, headers[":error-message"], {}, None)
    facts, said = _read(500, document)
    return in_stream(facts), said


def _read(status: int, document: ErrorDocument) -> tuple[FailureFacts, Said]:
    kind, fields = document.type, document.fields
    if kind in MODEL_ERRORS:
        original = read_count(fields.get("originalStatusCode"))
        original = 500 if original is None else original
        message = fields.get("originalMessage")
        said = Said(original, message if isinstance(message, str) else document.message, kind)
        return after(by_original(original), document.retry_after), said
    facts = by_type(BEDROCK, BEDROCK_TEXTS, kind, document.message, status)
    if facts.timed_out:
        status = 0
    elif kind == "ValidationException":
        status = 400
    return after(facts, document.retry_after), Said(status, document.message, kind)
