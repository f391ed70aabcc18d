"""AWS Signature Version 4, for requests whose body is at hand.

Strategy: the canonical request is one text, its hash is signed with a key derived from the secret, the day, the region
and the service; deriving costs four HMACs and is remembered, so that a signature costs little more than hashing the
body. Canonical form as in the IAM User Guide ("Create a signed AWS API request") and as botocore computes it.

Promises: the request is signed as it is sent. The path of `url` is the wire's, already percent-encoded, and enters
the canonical request encoded once more (`%3A` as `%253A`), except for S3. The value of `Host` is what aiohttp puts on
the wire: the URL's host in its own case, without user, without the port when it is the scheme's own (80, 443), without
trailing dots. Whoever sends the request adds no other `Host` and does not normalise the URL.

Signed are `host`, `content-type`, `accept` and every `x-amz-*` and `x-amzn-*` but `x-amzn-trace-id`, which proxies
rewrite (boto3 leaves it out for the same reason); other headers may be added or changed on the way.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import SplitResult, quote, urlsplit

from cachetools import LRUCache

from ..base import Headers

ALGORITHM = "AWS4-HMAC-SHA256"

_KEYS = 256
"""Signing keys remembered: one per credential, region and service in use, and the day before's around midnight."""
_PLACES, _NAMES = 4096, 1024
"""URLs and names of header fields remembered."""
_OURS = frozenset({"authorization", "x-amz-date", "x-amz-security-token"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What AWS requests are signed with. Its representation holds no secret."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """Session token of temporary credentials."""
    expires: datetime | None = None
    """When they stop being accepted, with a time zone; None when unknown or never."""


def wire_host(parts: SplitResult) -> str:
    """The value of the `Host` header that aiohttp sends for a URL."""
    netloc = parts.netloc.rpartition("@")[2]
    port = parts.port
    if port is not None or netloc.endswith(":"):
        host = netloc.rpartition(":")[0]
        suffix = "" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    else:
        host, suffix = netloc, ""
    return host.rstrip(".") + suffix


def canonical_request(
    method: str, parts: SplitResult, headers: Sequence[tuple[str, str]], body_hash: str, *, service: str
) -> tuple[str, str]:
    """The text whose hash is signed, and the names of the signed headers joined by semicolons.

    Every one of `headers` is signed. `body_hash` is the body's SHA-256 in lower-case hexadecimal.
    """
    collected: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        tidy = " ".join(value.split())
        collected[key] = f"{collected[key]},{tidy}" if key in collected else tidy
    return _text(method.upper(), _path(parts.path, service), _query(parts.query), collected, body_hash)


def _text(method: str, path: str, query: str, signed: Mapping[str, str], body_hash: str) -> tuple[str, str]:
    """The canonical request and the names of the signed headers, from parts that are canonical already."""
    names = sorted(signed)
    joined = ";".join(names)
    fields = "".join([f"{name}:{signed[name]}\n" for name in names])
    return f"{method}\n{path}\n{query}\n{fields}\n{joined}\n{body_hash}", joined


def _path(path: str, service: str) -> str:
    if service == "s3":
        return path or "/"
    if "//" in path or "/." in path:
        path = _normalise(path)
    return quote(path, safe="/~") or "/"


def _normalise(path: str) -> str:
    """Without empty and dot segments, which AWS services remove before they verify."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return f"/{'/'.join(kept)}{'/' if kept and path.endswith('/') else ''}"


def _query(query: str) -> str:
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in quote(query, safe="-_.~%=&").split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)


def _is_signed(name: str) -> bool:
    if name.startswith(("x-amz-", "x-amzn-")):
        return name != "x-amzn-trace-id"
    return name in ("content-type", "accept")


class Signer:
    """Signs requests and remembers the derived keys; one per process is enough. Not thread-safe."""

    __slots__ = ("_keys", "_names", "_places", "_second", "_stamp")

    def __init__(self) -> None:
        self._keys: LRUCache[tuple[str, str, str, str, str], _Key] = LRUCache(_KEYS)
        self._places: LRUCache[tuple[str, str], tuple[str, str, str]] = LRUCache(_PLACES)
        self._names: LRUCache[str, str] = LRUCache(_NAMES)
        self._second: datetime | None = None
        self._stamp = ""

    def sign(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        credentials: Credentials,
        service: str,
        region: str,
        now: datetime,
    ) -> Headers:
        """The headers to add to the request: X-Amz-Date, X-Amz-Security-Token where there is a token, Authorization.

        For S3 also X-Amz-Content-SHA256, which S3 demands. `service` is the signing name (`sagemaker`, `bedrock`).

        Raises:
            ValueError: `now` has no time zone, or `headers` already hold one of those that are added.
        """
        if now.tzinfo is None:
            message = "the time of signing needs a time zone"
            raise ValueError(message)
        body_hash = sha256(body).hexdigest()
        second = now.replace(microsecond=0)
        if second != self._second:
            self._second, self._stamp = second, second.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        stamp = self._stamp
        added = [("X-Amz-Date", stamp)]
        if credentials.token:
            added.append(("X-Amz-Security-Token", credentials.token))
        if service == "s3":
            added.append(("X-Amz-Content-SHA256", body_hash))
        try:
            host, path, query = self._places[url, service]
        except KeyError:
            host, path, query = self._placed(url, service)
        signed = {"host": host}
        for name, value in added:
            signed[name.lower()] = value
        for name, value in headers:
            try:
                key = self._names[name]
            except KeyError:
                key = self._named(name)
            if key:
                tidy = " ".join(value.split())
                signed[key] = f"{signed[key]},{tidy}" if key in signed else tidy
        text, names = _text(method.upper(), path, query, signed, body_hash)
        authorization = self.authorization(
            text, names, credentials=credentials, service=service, region=region, stamp=stamp
        )
        return (*added, ("Authorization", authorization))

    def _named(self, name: str) -> str:
        """A field's name as it is signed, empty where it is not."""
        key = name.lower()
        if key in _OURS:
            message = f"the request already has the header {name}; remove it before signing"
            raise ValueError(message)
        known = self._names[name] = key if _is_signed(key) else ""
        return known

    def _placed(self, url: str, service: str) -> tuple[str, str, str]:
        """What of a URL is signed: host, path and query. A proxy calls few, again and again."""
        parts = urlsplit(url)
        place = self._places[url, service] = (wire_host(parts), _path(parts.path, service), _query(parts.query))
        return place

    def authorization(
        self, text: str, names: str, *, credentials: Credentials, service: str, region: str, stamp: str
    ) -> str:
        """The value of `Authorization` for a canonical request; `stamp` is the time as `YYYYMMDDTHHMMSSZ`."""
        key = self._key(credentials, stamp[:8], region, service)
        # Text that is no UTF-8 (lone surrogates) is left out, as aiohttp's writer leaves it out on the wire.
        digest = sha256(text.encode("utf-8", "ignore")).hexdigest()
        signature = key.sign(f"{ALGORITHM}\n{stamp}\n{key.scope}\n{digest}".encode())
        return f"{key.named}{names}, Signature={signature}"

    def _key(self, credentials: Credentials, day: str, region: str, service: str) -> _Key:
        # The secret is part of the key: a test or an operator may reuse a key id with another secret.
        index = (credentials.access_key, credentials.secret_key, day, region, service)
        try:
            return self._keys[index]
        except KeyError:
            key = self._keys[index] = _Key(credentials, day, region, service)
            return key


class _Key:
    """A signing key for one day, region and service, with the texts that go with it.

    The HMAC is begun once and copied, since OpenSSL sets a key up anew each time.
    """

    __slots__ = ("_begun", "named", "scope")

    def __init__(self, credentials: Credentials, day: str, region: str, service: str) -> None:
        secret = f"AWS4{credentials.secret_key}".encode()
        for part in (day, region, service, "aws4_request"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        self._begun = hmac.new(secret, digestmod="sha256")
        self.scope = f"{day}/{region}/{service}/aws4_request"
        self.named = f"{ALGORITHM} Credential={credentials.access_key}/{self.scope}, SignedHeaders="

    def sign(self, text: bytes) -> str:
        """The HMAC of `text`, in hexadecimal."""
        signing = self._begun.copy()
        signing.update(text)
        return signing.hexdigest()
