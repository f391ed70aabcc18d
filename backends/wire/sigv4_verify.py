"""AWS Signature Version 4 from the other side: is this request signed with that secret, as it came and in its time?

Strategy: read the Authorization field strictly, hold it to what can be checked without a secret (form, scope, time,
which headers are covered), and only then compute the signature again over the request as received: raw path, raw
query, the listed header fields, the hash of the body. The two are compared in constant time.

Promises: what decides about an invocation is covered by the signature. So `host`, the time, and every `x-amz-*` and
`x-amzn-*` field have to be signed, but for `x-amzn-trace-id`, which proxies rewrite; a field added on the way is
refused. A scope of another service or of another day than the time says is refused. A body is always part of it:
`UNSIGNED-PAYLOAD` and signatures in the query do not exist for the Runtime API.

Numbers: SageMaker, like most AWS services, allows five minutes between the clocks (IAM User Guide, "Troubleshoot
Signature Version 4 signing").
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from urllib.parse import SplitResult

from ..base import Headers
from .sigv4 import ALGORITHM, Credentials, Signer, canonical_request

WINDOW = 300.0
"""Seconds by which the time of signing may differ from ours, either way."""
SERVICE = "sagemaker"
"""Signing name of the Runtime API (botocore model)."""
LONGEST = 4096
"""Characters of an Authorization field; boto3's have about 300."""

_FORM = re.compile(
    rf"{ALGORITHM} +Credential=(?P<key>[\w.+=@-]{{1,128}})/(?P<day>\d{{8}})/(?P<region>[a-z0-9-]{{1,32}})"
    r"/(?P<service>[a-z0-9-]{1,64})/aws4_request *, *SignedHeaders=(?P<names>[!#$%&'*+.^_`|~0-9a-z;-]{1,2048})"
    r" *, *Signature=(?P<signature>[0-9a-f]{64}) *",
    re.ASCII,
)
_STAMP = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_NOT_COVERED = frozenset({"x-amzn-trace-id"})


class Flaw(Enum):
    """Why a signature is not accepted."""

    FORM = "the Authorization header is not a Signature Version 4"
    SCOPE = "the credential's scope is not this service's, or not the day of X-Amz-Date"
    TIME = "the time of signing is more than five minutes away"
    COVER = "the signature does not cover host, X-Amz-Date and every X-Amz- header that was sent"
    SIGNATURE = "the signature does not match"


class Unverified(Exception):
    """The request is not what it claims to be; the message holds nothing of it."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Claim:
    """What an Authorization field says, held to everything that needs no secret."""

    access_key: str
    region: str
    stamp: str
    """Time of signing, `YYYYMMDDTHHMMSSZ`."""
    signed: tuple[str, ...]
    """Names of the signed fields, in lower case, sorted."""
    signature: str


def is_signature(value: str) -> bool:
    """True for an Authorization field that means to be a signature of AWS's."""
    return value.startswith("AWS4-")


def read_claim(headers: Headers, now: float) -> Claim:
    """The claim of a request at `now` (seconds since the epoch). Raises Unverified."""
    given: dict[str, list[str]] = {}
    for name, value in headers:
        given.setdefault(name.lower(), []).append(value)
    authorizations, stamps = given.get("authorization", []), given.get("x-amz-date", [])
    found = _FORM.fullmatch(authorizations[0]) if len(authorizations) == 1 else None
    if found is None or len(authorizations[0]) > LONGEST or len(stamps) != 1 or not _STAMP.fullmatch(stamps[0]):
        raise Unverified(Flaw.FORM)
    stamp, names = stamps[0], tuple(found["names"].split(";"))
    if found["service"] != SERVICE or found["day"] != stamp[:8]:
        raise Unverified(Flaw.SCOPE)
    signed_at = _seconds(stamp)
    if signed_at is None or abs(now - signed_at) > WINDOW:
        raise Unverified(Flaw.TIME)
    if names != tuple(sorted(set(names))) or not _covers(frozenset(names), frozenset(given)):
        raise Unverified(Flaw.COVER)
    return Claim(found["key"], found["region"], stamp, names, found["signature"])


def _covers(signed: frozenset[str], given: frozenset[str]) -> bool:
    """Whether what was signed was sent, and what decides was signed."""
    deciding = {name for name in given if name.startswith(("x-amz-", "x-amzn-"))} - _NOT_COVERED
    return signed <= given and (deciding | {"host"}) <= signed


def _seconds(stamp: str) -> float | None:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def verify(
    claim: Claim, method: str, raw_path: str, headers: Headers, body: bytes, secret: str, signer: Signer
) -> None:
    """Hold the request, as received, against the signature that `secret` gives. Raises Unverified.

    `signer` remembers the derived keys.
    """
    path, _, query = raw_path.partition("?")
    signed = frozenset(claim.signed)
    fields = [(name, value) for name, value in headers if name.lower() in signed]
    parts = SplitResult("http", "", path, query, "")
    try:
        text, names = canonical_request(method, parts, fields, sha256(body).hexdigest(), service=SERVICE)
        text.encode()
    except UnicodeEncodeError:  # no UTF-8 in the path or a signed field: no SDK sends it, and it could be changed
        raise Unverified(Flaw.SIGNATURE) from None
    credentials = Credentials(claim.access_key, secret)
    computed = signer.authorization(
        text, names, credentials=credentials, service=SERVICE, region=claim.region, stamp=claim.stamp
    )
    if not hmac.compare_digest(computed.rpartition("=")[2].encode(), claim.signature.encode()):
        raise Unverified(Flaw.SIGNATURE)
