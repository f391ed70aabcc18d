"""What an error answer means: whose fault it is, and if the same request may be sent again. Data for both AWS kinds.

`retry_safe` is True only when the model has surely not run: the request was refused before it reached one. It is None
when it may have run, so that only a route that says `idempotent: true` sends it again; a generation that runs twice is
billed twice and, in a session, changes what follows. It is False when the answer would be the same again.

The tables are printed in docs/retry-safety.md, and a test holds the two together. Types come from the service models
of botocore 1.44.5 and from "Common Error Types" in AWS's API references; a known type decides, else the status does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from policies.facts import FailureFacts, Fault

_REFUSED = FailureFacts(Fault.CONFIG, retry_safe=True)
"""Our own set-up is at fault; nothing has run, and another target may be set up well."""
_THROTTLED = FailureFacts(Fault.PLATFORM, retry_safe=True, throttled=True)
_BUSY = FailureFacts(Fault.PLATFORM, retry_safe=True)
_BROKE = FailureFacts(Fault.PLATFORM, retry_safe=None)
_COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)
_WRONG = FailureFacts(Fault.CALLER, retry_safe=False)
_MODEL = FailureFacts(Fault.MODEL, retry_safe=None)
_MODEL_SAYS_NO = FailureFacts(Fault.MODEL, retry_safe=False)
_MODEL_LATE = FailureFacts(Fault.MODEL, retry_safe=None, timed_out=True)

GARBLED = FailureFacts(Fault.NETWORK, retry_safe=None)
"""An answer that is not of the protocol, or of another form than was declared."""

COMMON: Mapping[str, FailureFacts] = MappingProxyType(
    {
        "AccessDenied": _REFUSED,
        "AccessDeniedException": _REFUSED,
        "ExpiredToken": _REFUSED,
        "ExpiredTokenException": _REFUSED,
        "IncompleteSignature": _REFUSED,
        "IncompleteSignatureException": _REFUSED,
        "InvalidClientTokenId": _REFUSED,
        "InvalidSignatureException": _REFUSED,
        "MissingAuthenticationToken": _REFUSED,
        "MissingAuthenticationTokenException": _REFUSED,
        "NotAuthorized": _REFUSED,
        "OptInRequired": _REFUSED,
        "RequestExpired": _REFUSED,
        "SignatureDoesNotMatch": _REFUSED,
        "UnrecognizedClientException": _REFUSED,
        "UnknownOperationException": _REFUSED,
        "ResourceNotFoundException": _REFUSED,
        "ServiceQuotaExceededException": _REFUSED,
        "Throttling": _THROTTLED,
        "ThrottlingException": _THROTTLED,
        "ThrottledException": _THROTTLED,
        "RequestLimitExceeded": _THROTTLED,
        "TooManyRequestsException": _THROTTLED,
        "ModelNotReadyException": _COLD,
        "ServiceUnavailable": _BUSY,
        "ServiceUnavailableException": _BUSY,
        "InternalFailure": _BROKE,
        "InternalServerError": _BROKE,
        "InternalServerException": _BROKE,
    }
)
"""Types that mean the same from both services."""

SAGEMAKER: Mapping[str, FailureFacts] = MappingProxyType(
    {
        "ValidationError": _WRONG,
        "ValidationException": _WRONG,
        "InternalDependencyException": _BROKE,
        "ModelStreamError": _MODEL,
        "InternalStreamFailure": _BROKE,
    }
)
"""SageMaker Runtime's own. `ModelError` is decided by what the container answered (`ORIGINAL`)."""

SAGEMAKER_TEXTS: Mapping[str, FailureFacts] = MappingProxyType(
    {
        r"^Inference Component has no capacity": _COLD,
        r"^Inference Component Name header is ": _REFUSED,
        r"^(Endpoint|Inference Component) .* not found": _REFUSED,
    }
)
"""ValidationErrors that are not the caller's doing: regular expressions that their text matches."""

BEDROCK: Mapping[str, FailureFacts] = MappingProxyType(
    {
        # A model behind an endpoint would have answered 400 by itself: so the client sees a 400 of the model's.
        "ValidationException": _MODEL_SAYS_NO,
        "ModelTimeoutException": _MODEL_LATE,
        "ConflictException": _REFUSED,
    }
)
"""Bedrock Runtime's own. Both model errors are decided by what the model answered (`ORIGINAL`)."""

BEDROCK_TEXTS: Mapping[str, FailureFacts] = MappingProxyType(
    {
        r"^The provided model identifier is invalid": _REFUSED,
        r"^This action doesn't support the model": _REFUSED,
    }
)
"""ValidationExceptions that are about our set-up: regular expressions that their text matches."""

MODEL_ERRORS = frozenset({"ModelError", "ModelErrorException", "ModelStreamErrorException"})
"""Types that wrap what the model's container answered."""

STATUSES: Mapping[int, FailureFacts] = MappingProxyType(
    {
        400: _WRONG,
        401: _REFUSED,
        403: _REFUSED,
        404: _REFUSED,
        405: _REFUSED,
        408: _MODEL_LATE,
        413: _WRONG,
        424: _MODEL,
        429: _THROTTLED,
        500: _BROKE,
        502: _BROKE,
        503: _BUSY,
        504: _BROKE,
        530: _BROKE,
    }
)
"""For an answer without a known type: a load balancer's, or a plain HTTP server's."""

ORIGINAL: Mapping[int, FailureFacts] = MappingProxyType(
    {
        0: _MODEL_LATE,
        429: FailureFacts(Fault.MODEL, retry_safe=True, throttled=True),
        503: FailureFacts(Fault.MODEL, retry_safe=True),
    }
)
"""What the model's container answered, where that is not simply 4xx (refused by it) or 5xx (may have run)."""


def by_status(status: int) -> FailureFacts:
    """The facts of an error answer of which only the status is known."""
    if status in STATUSES:
        return STATUSES[status]
    if 400 <= status < 500:
        return _WRONG
    return _BROKE if status >= 500 else GARBLED


def by_original(status: int) -> FailureFacts:
    """The facts of an error that the model's container answered with; 0 when it did not answer in time."""
    if status in ORIGINAL:
        return ORIGINAL[status]
    return _MODEL_SAYS_NO if 400 <= status < 500 else _MODEL


def by_type(
    types: Mapping[str, FailureFacts], texts: Mapping[str, FailureFacts], kind: str | None, message: str, status: int
) -> FailureFacts:
    """The facts of an AWS error: `types` and `texts` of its service, then the common types, then the status."""
    if kind is not None and kind.startswith("Validation"):
        for pattern, facts in texts.items():
            if re.match(pattern, message):
                return facts
    known = types.get(kind or "") or COMMON.get(kind or "")
    return known or by_status(status)


def after(facts: FailureFacts, retry_after: float | None) -> FailureFacts:
    """`facts` with the wait that the other side asked for, in seconds."""
    return facts if retry_after is None else replace(facts, retry_after=retry_after)


def in_stream(facts: FailureFacts) -> FailureFacts:
    """`facts` of a failure told inside an answer that had begun: the model has been reached, whatever the type says."""
    return replace(facts, retry_safe=None) if facts.retry_safe and not facts.throttled else facts
