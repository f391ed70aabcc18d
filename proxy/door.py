"""The key file in force, and TLS: what stands on disk for the edge, read at the start and again when it changes.

A key file that can't be used, or looks half-written, keeps the old keys and says why in the log; a key that is taken
out of it ends with the next look, two seconds later at most. The master secret must not be readable by others.
A worker that starts while a file can't be used begins with what that last held (`papers`), and says so.
"""

from __future__ import annotations

import logging
import ssl
import stat
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from .auth import Doorkeeper
from .keys import MASTER_BYTES, NO_KEYS, KeyFile, KeyFileError, cut_line, read_keys
from .papers import Papers, in_memory
from .replays import Replays
from .settings import Settings, SettingsError

log = logging.getLogger("pointsman.auth")

POLL = 2.0
"""Seconds between two looks at the key file: one stat() each."""
CERTIFICATE_POLL = 30.0
"""Seconds between two looks at the certificate."""


_NO_PAIR = "no chain and key in PEM that fit each other, the key without a passphrase"


class Door:
    """The doorkeeper with the files that it works from; made when a process starts."""

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], float],
        seen: Replays | None = None,
        papers: Papers | None = None,
    ) -> None:
        """`now`: seconds since the epoch. `seen`: shared memory. `papers`: what the files held when they were good.

        Raises SettingsError when a file can't be used and never could.
        """
        self._path = Path(settings.keys) if settings.keys else None
        self._papers = papers or Papers()
        self._version = self._looked()
        keys = self._first()
        master = _master(Path(settings.keys_secret), self._papers) if settings.keys_secret else None
        certificates = settings.tls_client_ca is not None
        self.keeper = Doorkeeper(keys, master, now, seen or Replays(), certificates=certificates)

    async def watch(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Read the key file again whenever it changes, until cancelled. `pause` waits that many seconds."""
        while True:
            await pause(POLL)
            version = self._looked()
            if version != self._version:
                self._version = version
                self.reload()

    def reload(self) -> bool:
        """Put the file's keys in force; False when it can't be used and the old ones stay."""
        try:
            self.keeper.keys = self._read()
        except KeyFileError as error:
            log.warning("the keys stay as they were: %s", error)
            return False
        found = self.keeper.keys
        log.info("%d keys and %d certificates are in force", len(found.keys), len(found.certificates or ()))
        return True

    def _first(self) -> KeyFile:
        kept = self._papers.last("keys")
        self._text = kept["keys"].decode() if kept is not None else ""
        try:
            return self._read()
        except KeyFileError as error:
            if kept is None:
                raise SettingsError(str(error)) from error
            log.warning("the keys begin as they last were: %s", error)
            return read_keys(self._text)

    def _looked(self) -> str:
        try:
            status = self._path.stat() if self._path else None
        except OSError as error:
            return f"unreadable: {error.strerror}"
        return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}" if status else ""

    def _read(self) -> KeyFile:
        if self._path is None:
            return NO_KEYS
        try:
            text = self._path.read_text(encoding="utf-8-sig")  # some editors put a mark first
            keys = read_keys(text, str(self._path))
            if (number := cut_line(text, self._text)) is not None:
                msg = (
                    f"{self._path}, line {number}: ends within a line that is in force, so that it seems half-written; "
                    "let it end with a line break if that is all of it"
                )
                raise KeyFileError(msg)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            msg = f"--keys {self._path}: {why}; `pointsman key new` prints its lines"
            raise KeyFileError(msg) from error
        self._text = text
        self._papers.good(keys=text.encode())
        return keys


def _master(path: Path, papers: Papers) -> bytes:
    try:
        master = read_master(path)
    except SettingsError as error:
        kept = papers.last("keys_secret")
        if kept is None:
            raise
        log.warning("the master secret stays as it was: %s", error)
        return kept["keys_secret"]
    papers.good(keys_secret=master)
    return master


def read_master(path: Path) -> bytes:
    """The master secret. Raises SettingsError, also when others may read it."""
    try:
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
        master = path.read_bytes().strip()
    except OSError as error:
        msg = f"--keys-secret {path}: {error.strerror}; `pointsman key new` makes one"
        raise SettingsError(msg) from error
    if others:
        msg = f"--keys-secret {path} can be read by others: chmod 600 {path}"
        raise SettingsError(msg)
    if len(master) < MASTER_BYTES:
        msg = f"--keys-secret {path} is shorter than {MASTER_BYTES} bytes: let `pointsman key new` make one"
        raise SettingsError(msg)
    return master


def tls_context(settings: Settings, papers: Papers | None = None) -> ssl.SSLContext | None:
    """TLS for the contracts' port, from 1.2; None without a certificate. Raises SettingsError where a file can't be
    used and `papers` have nothing that it held.

    With a client CA every client has to show a certificate, unless there is a key file: then a key will do as well.
    """
    if settings.tls_cert is None:
        return None
    papers = papers or Papers()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL 1.1.1 would do as many handshakes as a client asks for
    context.set_alpn_protocols(["http/1.1"])
    try:
        load_certificate(context, settings, papers)
    except SettingsError as error:
        kept = papers.last(*_pair(settings))
        if kept is None:
            raise
        log.warning("the certificate stays as it was: %s", error)
        _take(context, kept)
    if settings.tls_client_ca is not None:
        _trust(context, settings.tls_client_ca, papers)
        context.verify_mode = ssl.CERT_OPTIONAL if settings.keys else ssl.CERT_REQUIRED
    return context


def _trust(context: ssl.SSLContext, authority: str, papers: Papers) -> None:
    """Believe what the client CA says of clients. Raises SettingsError."""
    try:
        context.load_verify_locations(authority)
        papers.good(tls_client_ca=Path(authority).read_bytes())
    except (OSError, ssl.SSLError) as error:
        msg = f"--tls-client-ca {authority}: {_unusable(error, 'no certificate in PEM')}"
        kept = papers.last("tls_client_ca")
        if kept is None:
            raise SettingsError(msg) from error
        log.warning("the client CA stays as it was: %s", msg)
        with in_memory(kept["tls_client_ca"]) as name:
            context.load_verify_locations(name)


def load_certificate(context: ssl.SSLContext, settings: Settings, papers: Papers | None = None) -> None:
    """Read certificate and key (again): handshakes from now on use them. Raises SettingsError, and nothing changes.

    They are tried first: OpenSSL takes a chain that does not fit its key all the same, and forgets the key that it had.
    """
    assert settings.tls_cert is not None  # noqa: S101 - the caller's condition
    try:
        for taking in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            taking.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        msg = f"--tls-cert {settings.tls_cert}, --tls-key {settings.tls_key}: {_unusable(error, _NO_PAIR)}"
        raise SettingsError(msg) from error
    if papers is not None and papers.wanted:
        with suppress(OSError):  # they are being written again: the next look will find them
            held = {name: Path(path).read_bytes() for name, path in _pair(settings).items()}
            _take(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), held)
            papers.good(**held)


def _pair(settings: Settings) -> dict[str, str]:
    """Where chain and key are; both are in one file where no other is named."""
    files = {"tls_cert": settings.tls_cert, "tls_key": settings.tls_key}
    return {name: path for name, path in files.items() if path is not None}


def _take(context: ssl.SSLContext, held: dict[str, bytes]) -> None:
    """Use chain and key as they are in memory. Raises OSError."""
    with ExitStack() as opened:
        chain, *key = (opened.enter_context(in_memory(each)) for each in held.values())
        context.load_cert_chain(chain, key[0] if key else None, password=_no_passphrase)


async def watch_certificate(
    context: ssl.SSLContext,
    settings: Settings,
    pause: Callable[[float], Awaitable[None]],
    papers: Papers | None = None,
) -> None:
    """Use a renewed certificate from the next handshake on, until cancelled. One that is broken changes nothing.

    Chain and key may be written in any order: as long as one does not fit the other, the old ones stay.
    """
    papers = papers or Papers()
    seen = None if "tls_cert" in papers.lent else _stamp(settings)
    while True:
        await pause(CERTIFICATE_POLL)
        stamp = _stamp(settings)
        if stamp not in (seen, None):
            try:
                load_certificate(context, settings, papers)
            except SettingsError as error:
                log.warning("the certificate stays as it was: %s", error)
            else:
                log.info("a renewed certificate is in force")
            seen = stamp


def _stamp(settings: Settings) -> tuple[int, ...] | None:
    """Which files they are: another one where either was written anew."""
    try:
        found = [Path(name).stat() for name in (settings.tls_cert, settings.tls_key) if name is not None]
    except OSError:
        return None  # in the middle of a rename
    return tuple(number for status in found for number in (status.st_ino, status.st_mtime_ns, status.st_ctime_ns))


def _unusable(error: OSError, otherwise: str) -> str:
    """Why files of TLS can't be used: OpenSSL's own words for it seldom help."""
    if isinstance(error, ssl.SSLError):
        return f"{otherwise} ({(error.strerror or str(error)).partition(' (_ssl')[0]})"
    return f"{error.strerror or error}; name a file that this user may read"


def _no_passphrase() -> str:
    return ""  # else OpenSSL would ask at the terminal
