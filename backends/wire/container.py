"""SageMaker's container contract, as the container: `GET /ping` and `POST /invocations` on one port.

SageMaker strips a client's request to the header fields of `PASSED` before a container sees it, and an answer to those
of `HONOURED` before the client does (developer guide, "Use your own inference code with hosting services"). What a
container answers with an error status, SageMaker wraps into a ModelError: so errors go out raw here.
"""

from __future__ import annotations

import re

import orjson

from ..base import Headers, Reply
from .restjson import read_object
from .sagemaker.errors import ErrorReply, clip
from .sagemaker.replies import write_reply

PING, INVOCATIONS = "/ping", "/invocations"

PASSED = frozenset(
    {
        "content-type",
        "accept",
        "x-amzn-sagemaker-custom-attributes",
        "x-amzn-sagemaker-inference-id",
        "x-amzn-sagemaker-session-id",
    }
)
"""Request header fields that reach a container. Others may arrive, and a container must ignore them."""

HONOURED = frozenset(
    {
        "content-type",
        "x-amzn-sagemaker-custom-attributes",
        "x-amzn-sagemaker-new-session-id",
        "x-amzn-sagemaker-closed-session-id",
    }
)
"""Answer header fields that reach the client."""

MARGIN = 2.0
"""Seconds before SageMaker's cut at which an answer is given: once it has cut, nobody learns what happened here."""
TIMED_OUT = 504
"""What a container says of a model that did not answer in time, where it has to say it."""
CUT = 60.0
"""Seconds after which SageMaker answers its client itself: ModelError, OriginalStatusCode 0, its time-out text."""
STREAM_DEADLINE = 478.0
"""The same for a whole stream, which SageMaker cuts at 8 minutes."""


def passed(headers: Headers) -> Headers:
    """Those fields of a request that a container goes by."""
    return tuple(pair for pair in headers if pair[0].lower() in PASSED)


def read_attribute(custom_attributes: str | None, key: str) -> str | None:
    """The value of the item `key=value` of CustomAttributes, items being separated by `,`, `;` or white space."""
    found = re.search(rf"(?:^|[,;\s]){re.escape(key)}=([^,;\s]*)", custom_attributes or "")
    return found[1] if found else None


def write_head(reply: Reply, request_id: str) -> Headers:
    """Header fields of a 200."""
    return tuple(pair for pair in write_reply(reply, request_id) if pair[0].lower() in HONOURED)


def write_failure(reply: ErrorReply, request_id: str) -> tuple[int, Headers, bytes]:
    """Status, header fields and body of an error answer.

    A ModelError is unwrapped: the model's own status and body, or 504 when it did not answer in time. Anything else
    keeps the status that a client of the runtime API would have been given, with its type and text as JSON.
    """
    headers: Headers = (("x-amzn-RequestId", request_id),)
    if reply.original_status is None:
        body = orjson.dumps({"__type": reply.type, "Message": clip(reply.message)})
        return reply.status, (*headers, ("Content-Type", "application/json")), body
    status = _status(reply.original_status)
    body = (reply.original_message or "").encode("utf-8", "replace")
    kind = "text/plain; charset=utf-8" if read_object(body) is None else "application/json"
    return status, (*headers, ("Content-Type", kind)), body


def _status(original: int) -> int:
    if original == 0:
        return TIMED_OUT
    return original if 400 <= original <= 599 else 502
