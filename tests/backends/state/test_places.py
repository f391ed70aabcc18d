"""Addresses of stores: which there are, what each must look like, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.state import StoreError, checked, open_store
from backends.state.s3 import S3Store
from backends.state.sqlite import SqliteStore
from backends.state.valkey import ValkeyStore


async def test_each_kind_has_its_address(tmp_path: Path) -> None:
    """A file, a server with and without TLS, a bucket: opened without asking anyone."""
    found = {
        f"sqlite:///{tmp_path / 'state.db'}": SqliteStore,
        "valkey://cache.internal": ValkeyStore,
        "redis://cache.internal:6380/2": ValkeyStore,
        "rediss://who:secret@cache.internal:6380": ValkeyStore,
        "valkeys://cache.internal:6380/?prefix=team-a": ValkeyStore,
        "s3://bucket/fleet": S3Store,
        "s3://bucket/deep/fleet/": S3Store,
    }
    for url, kind in found.items():
        store = open_store(url)
        assert type(store) is kind
        await store.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://host/x",
        "sqlite:///",
        "state.db",
        "",
        "sqlite:///x?mode=ro",
        "sqlite:///x#y",
        "s3://bucket",
        "s3://bucket/",
        "s3:///prefix",
        "s3://bucket/x?versionId=1",
        "valkey://",
        "valkey://host/name",
        "valkey://host:port/0",
        "valkey://host/0?ssl_cert_reqs=none",
        "valkey://host/0#x",
        "mysql://host/x",
        "valkey://[::1/0",
    ],
)
def test_address_that_is_none(url: str) -> None:
    """The message shows how to write each kind."""
    for ask in (open_store, checked):
        with pytest.raises(ValueError, match=r"write sqlite:///.*valkey://.*s3://"):
            ask(url)


def test_password_is_not_repeated() -> None:
    """An address that is none may still hold a secret: it is left out of the message."""
    with pytest.raises(ValueError, match=r"mysql://\.\.\.@host") as refused:
        open_store("mysql://who:secret@host/x")
    assert "secret" not in str(refused.value)


def test_address_is_checked_without_opening(tmp_path: Path) -> None:
    """Settings are refused for what they say, and not for what is there."""
    url = f"sqlite:///{tmp_path / 'missing' / 'state.db'}"
    assert checked(url) == url
    assert list(tmp_path.iterdir()) == []


async def test_file_that_can_not_be_opened(tmp_path: Path) -> None:
    """A folder that is not there is told at once: a file is opened with the proxy."""
    with pytest.raises(StoreError, match="missing"):
        open_store(f"sqlite:///{tmp_path / 'missing' / 'state.db'}")
