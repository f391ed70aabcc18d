"""SageMaker's bearer tokens, with which OpenAI clients call endpoints: read, and held to what can be checked here.

A token is `sagemaker-api-key-` and the base64 of a presigned URL (Signature Version 4) for the action
`CallWithBearerToken`; AWS's generator makes them valid for at most twelve hours. Whoever holds one has the rights of
its signer, so it is a credential: nothing of it stands in a refusal, in a log or in a trace.

Promises: a token of another form, for another service, or out of its time is refused. The signature cannot be
verified: that needs the signer's secret key, which AWS alone has. So an accepted token proves nothing about its sender.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

PREFIX = "sagemaker-api-key-"
LONGEST_TOKEN = 16 * 1024
"""Characters; those with a session token of AWS STS have about 2,000."""
LONGEST_LIFE = 43_200
"""Seconds between X-Amz-Date and the end of a token: twelve hours (developer guide)."""
SKEW = 300.0
"""Seconds by which a signer's clock may be ahead of ours: AWS's own tolerance."""

_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_CREDENTIAL = re.compile(r"[^/\s]+/\d{8}/[a-z0-9-]+/sagemaker/aws4_request")
_DATE = re.compile(r"\d{8}T\d{6}Z")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_NOT_A_TOKEN = "The bearer token is not a SageMaker API key: make one with the SageMaker SDK's token generator."  # noqa: S105 - no secret


def bearer_tokens(authorizations: Iterable[str]) -> Iterable[str]:
    """The bearer tokens among the values of `Authorization` fields."""
    return (found[1] for value in authorizations if (found := _BEARER.fullmatch(value.strip(" \t"))))


def token_refusal(token: str, now: float) -> str | None:
    """Why `token` is refused at `now` (seconds since the epoch), in words for its sender; None when it is not.

    A bearer token that does not begin as SageMaker's do is not refused: OpenAI clients always send one, and what it
    says is the business of whatever stands in front.
    """
    if not token.startswith(PREFIX):
        return None
    fields = _fields(token.removeprefix(PREFIX))
    if fields is None:
        return _NOT_A_TOKEN
    signed = _signed_at(fields["X-Amz-Date"])
    life = int(fields["X-Amz-Expires"])
    if signed is None or not 0 < life <= LONGEST_LIFE:
        return _NOT_A_TOKEN
    if now < signed - SKEW:
        return "The bearer token is not valid yet: the clock of the machine that made it is ahead."
    if now >= signed + life:
        return "The bearer token has expired: make a new one."
    return None


def _fields(packed: str) -> Mapping[str, str] | None:
    """The parameters of the presigned URL; None when it is none of CallWithBearerToken."""
    if len(packed) > LONGEST_TOKEN:
        return None
    try:
        raw = base64.b64decode(packed.translate(_URL_SAFE) + "=" * (-len(packed) % 4), validate=True)
        url = raw.decode("ascii")
        fields = dict(parse_qsl(url.partition("?")[2], strict_parsing=True, max_num_fields=32))
    except (binascii.Error, ValueError):
        return None
    return fields if all(part.fullmatch(fields.get(name, "")) for name, part in _PARTS.items()) else None


def _signed_at(date: str) -> float | None:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


_URL_SAFE = str.maketrans("-_", "+/")
_PARTS = {
    "Action": re.compile("CallWithBearerToken"),
    "X-Amz-Algorithm": re.compile("AWS4-HMAC-SHA256"),
    "X-Amz-Credential": _CREDENTIAL,
    "X-Amz-Date": _DATE,
    "X-Amz-Expires": re.compile(r"[0-9]{1,6}"),
    "X-Amz-Signature": _SIGNATURE,
}
