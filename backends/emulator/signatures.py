"""Signature Version 4, checked by computing it again with botocore.

What the client sent is put into botocore's own signer as it came: raw path, raw query, the headers that the client
names in SignedHeaders, and the hash of the body as received. A proxy that signs one path and sends another, signs
with the wrong service name or touches the body after signing is refused here as AWS refuses it, with the services'
own wording.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request\s*,\s*SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})\s*"
)
_SKEW = datetime.timedelta(minutes=5)
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a signature is not accepted: an error name of the services and its message."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair that the stand-ins know."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """The request as received; header names in the client's case, values as they came."""

    method: str
    target: str
    """Raw path and query, never decoded."""
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


_WRONG = Refusal(
    "InvalidSignatureException",
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details.",
)


class _AsSent(SigV4Auth):  # type: ignore[misc]  # botocore is untyped; only the choice of headers differs
    """Botocore's signer over exactly the headers that the client listed."""

    def headers_to_sign(self, request: Any) -> Any:
        return request.headers


def check(
    request: Signed, keys: Mapping[str, Key], service: str, region: str, wall: Callable[[], datetime.datetime]
) -> Refusal | None:
    """None when the request is signed by a known key for `service` and `region`, else what AWS would say."""
    text = request.header("Authorization")
    if text is None:
        return Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    if text.startswith("Bearer "):
        return Refusal("UnrecognizedClientException", "Bearer tokens are accepted over TLS only")
    match = _AUTHORIZATION.fullmatch(text.strip())
    if match is None:
        return Refusal("IncompleteSignatureException", "Authorization header is not a Signature Version 4 header")
    key = keys.get(match["key"])
    if key is None or request.header("X-Amz-Security-Token") != key.session_token:
        return Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
    return _scope(match, service, region) or _date(request, match, wall()) or _recompute(request, match, key)


def _scope(match: re.Match[str], service: str, region: str) -> Refusal | None:
    if match["region"] != region:
        return Refusal(
            "InvalidSignatureException", f"Credential should be scoped to a valid region, not '{match['region']}'. "
        )
    if match["service"] != service:
        return Refusal("InvalidSignatureException", f"Credential should be scoped to correct service: '{service}'. ")
    return None


def _date(request: Signed, match: re.Match[str], now: datetime.datetime) -> Refusal | None:
    stamp = request.header("X-Amz-Date") or ""
    try:
        moment = datetime.datetime.strptime(stamp, _STAMP).replace(tzinfo=datetime.UTC)
    except ValueError:
        return Refusal(
            "IncompleteSignatureException", "Authorization header requires existence of an 'X-Amz-Date' header."
        )
    if not stamp.startswith(match["date"]):
        return Refusal(
            "InvalidSignatureException",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date",
        )
    if moment < now - _SKEW:
        edge = (now - _SKEW).strftime(_STAMP)
        text = f"Signature expired: {stamp} is now earlier than {edge} ({now.strftime(_STAMP)} - 5 min.)"
        return Refusal("InvalidSignatureException", text)
    if moment > now + _SKEW:
        edge = (now + _SKEW).strftime(_STAMP)
        text = f"Signature not yet current: {stamp} is still later than {edge} ({now.strftime(_STAMP)} + 5 min.)"
        return Refusal("InvalidSignatureException", text)
    return None


def _recompute(request: Signed, match: re.Match[str], key: Key) -> Refusal | None:
    names = match["headers"].split(";")
    if "host" not in names or "x-amz-date" not in names:
        return _WRONG
    claimed = request.header("X-Amz-Content-SHA256")
    if claimed is not None and claimed != hashlib.sha256(request.body).hexdigest():
        return _WRONG
    headers = HTTPHeaders()
    for name, value in request.headers:
        if name.lower() in names:
            if not _is_text(value):
                return _WRONG
            headers[name.lower()] = value
    if set(names) != {name.lower() for name in headers}:
        return _WRONG
    signer = _AsSent(Credentials(key.access_key_id, key.secret_access_key), match["service"], match["region"])
    url = f"http://{request.header('Host')}{request.target}"
    again = AWSRequest(method=request.method, url=url, data=request.body)
    again.headers = headers
    again.context["timestamp"] = request.header("X-Amz-Date")
    try:
        expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    except ValueError:  # a Host or path that is no URL
        return _WRONG
    return None if hmac.compare_digest(expected, match["signature"]) else _WRONG


def _is_text(value: str) -> bool:
    """Whether a header's bytes are UTF-8: botocore's own header type makes something else of other bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
