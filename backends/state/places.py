"""A store from its address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from .store import Store

DEFAULT_PREFIX = "pointsman"
"""What the names of keys in a Valkey that others use too begin with; `?prefix=` gives another."""
WAYS = (
    "sqlite:///relative/path.db, sqlite:////absolute/path.db, valkey://host:6379/0, valkeys:// or rediss:// for TLS,"
    " or s3://bucket/prefix"
)

Maker = Callable[[bool], Store]
"""Opens a store; told whether it may make one where there is none."""


def open_store(url: str, *, make: bool = True) -> Store:
    """The store at `url`: a SQLite file is opened, servers are asked for the first time when they are first used.

    So a proxy starts although the fleet's server is away, and serves what it would without one. `make` says whether a
    file that is not there is made: who only asks or holds would else take a slip in the path for a fleet at rest.

    Raises:
        ValueError: the URL names no known kind of store, with the right ways to write it.
        StoreError: the file can't be opened, or is not there and is not to be made.
    """
    return _maker(url)(make)


def checked(url: str) -> str:
    """`url`, when it is the address of a store; nothing is opened. Raises ValueError as `open_store` does."""
    _maker(url)
    return url


def _maker(url: str) -> Maker:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is none raises ValueError
        found = None if parts.fragment else _KINDS.get(parts.scheme, _unknown)(parts)
    except ValueError:
        found = None
    if found is None:
        msg = f"{_without_password(url)!r} is not a store: write {WAYS}"
        raise ValueError(msg)
    return found


def _unknown(parts: SplitResult) -> None:
    """No store has such a scheme."""


def _file(parts: SplitResult) -> Maker | None:
    path = unquote(parts.path)[1:]
    if parts.netloc or parts.query or not path:
        return None

    def made(make: bool) -> Store:
        from .sqlite import SqliteStore  # what is not in use takes no memory: 1 MB, and boto3 10

        return SqliteStore(Path(path), make=make)

    return made


def _bucket(parts: SplitResult) -> Maker | None:
    prefix = unquote(parts.path).strip("/")
    if not parts.netloc or parts.query or not prefix:
        return None

    def made(make: bool) -> Store:
        from .s3 import S3Store  # nor a tenth of a second at a start

        return S3Store(parts.netloc, prefix)

    return made


def _server(parts: SplitResult) -> Maker | None:
    prefix = re.fullmatch(r"(?:prefix=([\w.-]+))?", parts.query)
    if prefix is None or not parts.hostname or not re.fullmatch(r"/?\d*", parts.path):
        return None
    address = parts._replace(scheme=_SCHEMES[parts.scheme], query="").geturl()
    named = prefix[1] or DEFAULT_PREFIX

    def made(make: bool) -> Store:
        from .valkey import ValkeyStore  # the client library too

        return ValkeyStore(address, named)

    return made


_SCHEMES = {"valkey": "redis", "redis": "redis", "valkeys": "rediss", "rediss": "rediss"}
"""Scheme as people write it, and as the client library knows it."""
_KINDS: Mapping[str, Callable[[SplitResult], Maker | None]] = {
    "sqlite": _file,
    "s3": _bucket,
    **dict.fromkeys(_SCHEMES, _server),
}


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//...@", url)
