"""What the door's files last held: kept by a supervisor, and what a process begins with while they are broken."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.door import Door, tls_context, watch_certificate
from proxy.papers import LONGEST, Papers, in_memory
from proxy.settings import Settings, SettingsError

from .test_door import ID, MASTER, TEAM, TLS, given, shown


def kept_of(settings: Settings) -> dict[str, str]:
    """What a supervisor has heard of a worker that started well."""
    heard: dict[str, str] = {}
    papers = Papers({}, heard.update)
    Door(settings, time.time, papers=papers)
    tls_context(settings, papers)
    assert papers.lent == set()
    return heard


def with_copies(folder: Path) -> Settings:
    """All files of a door in `folder`."""
    for name in ("server.pem", "server.key", "ca.pem"):
        (folder / name).write_bytes((TLS / name).read_bytes())
    tls = {"tls_cert": str(folder / "server.pem"), "tls_key": str(folder / "server.key")}
    return given(folder, **tls, tls_client_ca=str(folder / "ca.pem"))


def test_what_is_good_is_told_and_handed_on() -> None:
    """Byte for byte; of what belongs together all or nothing, and of what is too long for a message nothing."""
    heard: dict[str, str] = {}
    papers = Papers({"tls_cert": "\xff"}, heard.update)
    assert papers.last("tls_cert", "tls_key") is None
    assert papers.last("tls_cert") == {"tls_cert": b"\xff"}
    assert papers.lent == {"tls_cert"}
    papers.good(tls_cert=b"\xfe", tls_key=b"k")
    assert (heard, papers.lent) == ({"tls_cert": "\xfe", "tls_key": "k"}, set())
    papers.good(keys=b"#" * (LONGEST + 1))
    assert "keys" not in heard
    assert not Papers().wanted


def test_in_memory_is_a_name_for_as_long_as_it_is_needed() -> None:
    """It holds what it was given, and nothing is left of it."""
    with in_memory(b"abc") as name:
        assert [Path(name).read_bytes() for _ in range(2)] == [b"abc", b"abc"]
    with pytest.raises(OSError, match="No such file"):
        Path(name).read_bytes()


def test_a_door_begins_with_what_its_files_last_held(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Key file, master secret, certificate and client CA may all be broken; nothing of them is in the log."""
    settings = with_copies(tmp_path)
    kept = kept_of(settings)
    assert set(kept) == {"keys", "keys_secret", "tls_cert", "tls_key", "tls_client_ca"}
    for name in ("keys", "server.pem", "server.key", "ca.pem"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "master").chmod(0o644)
    papers = Papers(kept, kept.update)
    door = Door(settings, time.time, papers=papers)
    assert set(door.keeper.keys.keys) == {ID}
    assert door.keeper._master == MASTER.encode()
    context = tls_context(settings, papers)
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert papers.lent == set(kept)
    said = [record.getMessage() for record in caplog.records]
    assert [words.partition(": ")[0] for words in said] == [
        "the keys begin as they last were",
        "the master secret stays as it was",
        "the certificate stays as it was",
        "the client CA stays as it was",
    ]
    assert not any(secret in words for words in said for secret in (MASTER, TEAM, "PRIVATE"))


def test_the_first_start_needs_its_files(tmp_path: Path) -> None:
    """Nobody has kept anything then: it is refused as ever."""
    settings = with_copies(tmp_path)
    (tmp_path / "server.key").write_bytes((TLS / "client.key").read_bytes())
    with pytest.raises(SettingsError, match="--tls-cert"):
        tls_context(settings, Papers({"tls_cert": "of another file alone"}, lambda _: None))
    (tmp_path / "master").chmod(0o644)
    with pytest.raises(SettingsError, match="--keys-secret"):
        Door(settings, time.time, papers=Papers({}, lambda _: None))


@pytest.mark.parametrize("mend", ["content", "mode"])
async def test_keys_are_taken_from_the_file_once_it_is_good(tmp_path: Path, mend: str) -> None:
    """By the watch, as after any change; and what is good then is told."""
    settings = given(tmp_path)
    heard: dict[str, str] = {}
    keys = tmp_path / "keys"
    keys.write_text("nonsense")
    door = Door(settings, time.time, papers=Papers({"keys": TEAM}, heard.update))
    assert (len(door.keeper.keys.keys), heard) == (1, {"keys_secret": MASTER})
    mended: list[Callable[[], object]] = [lambda: keys.write_text("# nobody")]
    if mend == "mode":  # as of one that this user might not read: neither its size nor its time has changed since
        keys.write_text("# nobody")
        door._version = door._looked()
        mended = [lambda: keys.chmod(0o600)]

    async def pause(_: float) -> None:
        if not mended:
            raise asyncio.CancelledError
        mended.pop()()

    with pytest.raises(asyncio.CancelledError):
        await door.watch(pause)
    assert (len(door.keeper.keys.keys), heard["keys"]) == (0, "# nobody")


async def test_a_key_file_that_is_cut_within_a_line_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before ` allow=` its key would call everything. The watch says so once, and takes the file when it is whole."""
    settings = given(tmp_path, f"# ours\n{TEAM}")
    heard: dict[str, str] = {}
    door = Door(settings, time.time, papers=Papers({}, heard.update))
    keys, cut = tmp_path / "keys", f"# ours\n{TEAM.partition(' allow=')[0]}"
    allowed = []
    writes: list[str | None] = [cut, None, f"# ours\n{TEAM},more"]

    async def pause(_: float) -> None:
        allowed.append(door.keeper.keys.keys[ID].principal.allow)
        if not writes:
            raise asyncio.CancelledError
        if (text := writes.pop(0)) is not None:
            keys.write_text(text)

    with pytest.raises(asyncio.CancelledError):
        await door.watch(pause)
    assert allowed == [("chat", "packed/*")] * 3 + [("chat", "packed/*", "more")]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"the keys stay as they were: {keys}, line 2: ends within a line that is in force, so that it seems "
        "half-written; let it end with a line break if that is all of it"
    ]
    keys.write_text(cut)
    begun = Door(settings, time.time, papers=Papers({"keys": f"# ours\n{TEAM}"}, heard.update))
    assert begun.keeper.keys.keys[ID].principal.allow == ("chat", "packed/*")


async def test_a_certificate_is_taken_from_its_file_once_it_is_good(tmp_path: Path) -> None:
    """Also where it was mended before the first look; handshakes have the last one until then."""
    settings = with_copies(tmp_path)
    settings = Settings(policy="unused", tls_cert=settings.tls_cert, tls_key=settings.tls_key)
    heard: dict[str, str] = {}
    tls_context(settings, Papers({}, heard.update))
    old = dict(heard)
    for name in ("pem", "key"):
        (tmp_path / f"server.{name}").write_bytes(b"broken")
    papers = Papers(old, heard.update)
    context = tls_context(settings, papers)
    assert context is not None
    assert await shown(context) == "localhost"
    for name in ("pem", "key"):
        (tmp_path / f"server.{name}").write_bytes((TLS / f"client.{name}").read_bytes())
    looks = 0

    async def pause(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await watch_certificate(context, settings, pause, papers)
    assert await shown(context) == "team-a"
    assert heard["tls_cert"] == (TLS / "client.pem").read_text()


def test_nothing_is_left_open(tmp_path: Path) -> None:
    """A worker that begins with what was kept holds no more descriptors than another."""
    settings = with_copies(tmp_path)
    kept = kept_of(settings)
    (tmp_path / "server.pem").write_bytes(b"broken")
    before = len(os.listdir("/proc/self/fd"))
    assert isinstance(tls_context(settings, Papers(kept, kept.update)), ssl.SSLContext)
    assert len(os.listdir("/proc/self/fd")) == before
