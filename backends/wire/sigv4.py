"""AWS Signature Version 4, for requests whose body is at hand.

Strategy: the canonical request is one text, its hash is signed with a key derived from the secret, the day, the region
and the service. The body's hash is the last of that text, so that all before it, and the HMAC up to it, is the same for
requests of one second to one place with the same header fields: it is hashed once (`Begun`) and copied for each. What
stays the same for longer is the place's own (`Place`). Canonical form as in the IAM User Guide ("Create a signed AWS
API request") and as botocore computes it.

Promises: the request is signed as it is sent. The path of `url` is the wire's, already percent-encoded, and enters
the canonical request encoded once more (`%3A` as `%253A`), except for S3. The value of `Host` is what aiohttp puts on
the wire: the URL's host in its own case, without user, without the port when it is the scheme's own (80, 443), without
trailing dots. Whoever sends the request adds no other `Host` and does not normalise the URL.

Signed are `host`, `content-type`, `accept` and every `x-amz-*` and `x-amzn-*` but `x-amzn-trace-id`, which proxies
rewrite (boto3 leaves it out for the same reason); other headers may be added or changed on the way.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit

from cachetools import LRUCache

from ..base import Headers

if TYPE_CHECKING:
    from _hashlib import HASH

ALGORITHM = "AWS4-HMAC-SHA256"

_KEYS = 256
"""Signing keys remembered: one per credential, region and service in use, and the day before's around midnight."""
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
    names = sorted(collected)
    joined = ";".join(names)
    fields = "".join([f"{name}:{collected[name]}\n" for name in names])
    path, query = _path(parts.path, service), _query(parts.query)
    return f"{method.upper()}\n{path}\n{query}\n{fields}\n{joined}\n{body_hash}", joined


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


class Place:
    """Where requests go, as their signatures know it: all of a signature but a request's values, its body and its time.

    It has the form of the canonical request for the header fields that the last request had, and what that one's
    signature began with: those to one place mostly have the same, and others cost one anew. Not for two threads.
    """

    __slots__ = ("_begin", "_host", "_names", "_order", "begun", "form", "region", "service", "signed")

    def __init__(self, method: str, url: str, *, service: str, region: str) -> None:
        """`service` is the signing name (`sagemaker`, `bedrock`)."""
        parts = urlsplit(url)
        self.service = service
        self.region = region
        self._begin = f"{method.upper()}\n{_path(parts.path, service)}\n{_query(parts.query)}\n"
        self._host = wire_host(parts)
        self.begun: Begun | None = None
        """What the last signature began with."""
        self._names: tuple[str, ...] | None = None  # of the header fields that `form` is for
        self._order: tuple[int, ...] = ()  # which value each `%s` stands for
        self.form = self.signed = ""
        """The canonical request up to the body's hash, with a `%s` for each signed value; the signed names, joined."""

    def filled(self, fields: Headers, given: int) -> str:
        """The form with the values of `fields`, the first so many of which are the request's own. Raises ValueError."""
        names = tuple([name for name, _ in fields])
        if names != self._names:
            self._learn(names, given)
        return self.form % tuple([" ".join(fields[number][1].split()) for number in self._order])

    def _learn(self, names: tuple[str, ...], given: int) -> None:
        places: dict[str, list[int]] = {"host": []}
        for number, name in enumerate(names):
            key = name.lower()
            if number < given and key in _OURS:
                message = f"the request already has the header {name}; remove it before signing"
                raise ValueError(message)
            if _is_signed(key):
                places.setdefault(key, []).append(number)
        self.signed = ";".join(sorted(places))
        lines = [
            f"{_literal(key)}:{','.join(['%s'] * len(places[key])) or _literal(self._host)}\n" for key in sorted(places)
        ]
        self.form = f"{_literal(self._begin)}{''.join(lines)}\n{_literal(self.signed)}\n"
        self._order = tuple(number for key in sorted(places) for number in places[key])
        self._names = names


def _literal(text: str) -> str:
    return text.replace("%", "%%")


class Begun:
    """What the signatures of one second begin with, for requests to one place with the same header fields.

    `own` are the request's fields and `added` those that go with a signature, both as they are sent; the latter end
    where the signature belongs. `count` is how many they are together.
    """

    __slots__ = ("added", "canonical", "count", "credentials", "headers", "inner", "key", "own", "pairs", "stamp")

    def __init__(
        self, headers: Headers, pairs: Headers, credentials: Credentials, stamp: str, key: _Key, canonical: HASH
    ) -> None:
        """`pairs` are the added fields, the last of which is cut where the signature belongs; `canonical` is the
        canonical request up to the body's hash, hashed so far.
        """
        self.headers = headers
        self.pairs = pairs
        self.credentials = credentials
        self.stamp = stamp
        self.key = key
        self.canonical = canonical
        self.inner = key.inner_at(stamp)
        self.own = _lines(headers)
        self.added = _lines(pairs)[:-2]
        self.count = len(headers) + len(pairs)


def _lines(fields: Headers) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in fields])


class Signer:
    """Signs requests; one per process is enough. Not thread-safe."""

    __slots__ = ("_keys", "_now", "_second", "_stamp")

    def __init__(self) -> None:
        self._keys: LRUCache[tuple[str, str, str, str, str], _Key] = LRUCache(_KEYS)
        self._now = self._second = datetime.min.replace(tzinfo=UTC)
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

        For S3 also X-Amz-Content-SHA256, which S3 demands. Raises as `sign_at` does.
        """
        place = Place(method, url, service=service, region=region)
        begun, signature = self.sign_at(place, headers, body, credentials, now)
        *pairs, (name, value) = begun.pairs
        return (*pairs, (name, value + signature))

    def sign_at(
        self, place: Place, headers: Headers, body: bytes, credentials: Credentials, now: datetime
    ) -> tuple[Begun, str]:
        """What the request's signature begins with, and the signature.

        Raises:
            ValueError: `now` has no time zone, or `headers` already hold one of those that are added.
        """
        if now is not self._now:  # a clock of whole seconds gives the same value again
            self._turn(now)
        body_hash, begun = sha256(body).hexdigest(), place.begun
        if (
            begun is None
            or begun.stamp is not self._stamp
            or begun.credentials is not credentials
            or begun.headers != headers
            or place.service == "s3"
        ):
            begun = place.begun = self._begin(place, headers, credentials, body_hash)
        canonical = begun.canonical.copy()
        canonical.update(body_hash.encode())
        return begun, begun.key.signature(canonical, begun.inner)

    def _turn(self, now: datetime) -> None:
        if now.tzinfo is None:
            message = "the time of signing needs a time zone"
            raise ValueError(message)
        second, self._now = now.replace(microsecond=0), now
        if second != self._second:
            self._second, self._stamp = second, second.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")

    def authorization(
        self, text: str, names: str, *, credentials: Credentials, service: str, region: str, stamp: str
    ) -> str:
        """The value of `Authorization` for a canonical request; `stamp` is the time as `YYYYMMDDTHHMMSSZ`."""
        key = self._key(credentials, stamp[:8], region, service)
        return f"{key.named}{names}, Signature={key.signature(_hashed(text), key.inner_at(stamp))}"

    def _begin(self, place: Place, headers: Headers, credentials: Credentials, body_hash: str) -> Begun:
        stamp, before = self._stamp, place.begun
        added: Headers = (("X-Amz-Date", stamp),)
        if credentials.token:
            added += (("X-Amz-Security-Token", credentials.token),)
        if place.service == "s3":
            added += (("X-Amz-Content-SHA256", body_hash),)
        canonical = _hashed(place.filled(headers + added, len(headers)))
        if before is not None and before.credentials is credentials and before.stamp[:8] == stamp[:8]:
            key = before.key
        else:
            key = self._key(credentials, stamp[:8], place.region, place.service)
        named = ("Authorization", f"{key.named}{place.signed}, Signature=")
        return Begun(headers, (*added, named), credentials, stamp, key, canonical)

    def _key(self, credentials: Credentials, day: str, region: str, service: str) -> _Key:
        # The secret is part of the key: a test or an operator may reuse a key id with another secret.
        index = (credentials.access_key, credentials.secret_key, day, region, service)
        try:
            return self._keys[index]
        except KeyError:
            key = self._keys[index] = _Key(credentials, day, region, service)
            return key


def _hashed(text: str) -> HASH:
    # Text that is no UTF-8 (lone surrogates) is left out, as aiohttp's writer leaves it out on the wire.
    return sha256(text.encode("utf-8", "ignore"))


_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
"""What HMAC makes of a key's bytes (RFC 2104)."""
_BLOCK = 64
"""Bytes that SHA-256 takes at once."""


class _Key:
    """A signing key for one day, region and service, with the texts that go with it.

    HMAC is two hashes that begin with the key: both are begun once, the first of them with what all signatures of a
    second begin with, and copied. That takes a third of what the `hmac` module does.
    """

    __slots__ = ("_inner", "_outer", "_second", "_stamp", "named", "scope")

    def __init__(self, credentials: Credentials, day: str, region: str, service: str) -> None:
        secret = f"AWS4{credentials.secret_key}".encode()
        for part in (day, region, service, "aws4_request"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        block = secret.ljust(_BLOCK, b"\0")
        self._inner, self._outer = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))
        self._stamp, self._second = "", self._inner
        self.scope = f"{day}/{region}/{service}/aws4_request"
        self.named = f"{ALGORITHM} Credential={credentials.access_key}/{self.scope}, SignedHeaders="

    def inner_at(self, stamp: str) -> HASH:
        """HMAC's first hash with what all signatures of the second `stamp` begin with."""
        if stamp != self._stamp:
            self._stamp, self._second = stamp, self._inner.copy()
            self._second.update(f"{ALGORITHM}\n{stamp}\n{self.scope}\n".encode())
        return self._second

    def signature(self, canonical: HASH, second: HASH) -> str:
        """Of the hashed canonical request, at the time of `second`, which `inner_at` gave."""
        inner, outer = second.copy(), self._outer.copy()
        inner.update(canonical.hexdigest().encode())
        outer.update(inner.digest())
        return outer.hexdigest()
