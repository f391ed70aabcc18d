"""The key file in force, and TLS: what stands on disk for the edge, read at the start and again when it changes.

A key file that can't be used keeps the old keys and says why in the log; a key that is taken out of it ends with the
next look, two seconds later at most. It and the master secret must not be readable by others: both are refused then.
"""

from __future__ import annotations

import logging
import ssl
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from .auth import Doorkeeper
from .keys import MASTER_BYTES, NO_KEYS, KeyFile, KeyFileError, read_keys
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

    def __init__(self, settings: Settings, now: Callable[[], float], seen: Replays | None = None) -> None:
        """Raises SettingsError when a file can't be used. `now`: seconds since the epoch. `seen`: shared memory."""
        self._path = Path(settings.keys) if settings.keys else None
        self._version = self._looked()
        try:
            keys = self._read()
        except KeyFileError as error:
            raise SettingsError(str(error)) from error
        master = read_master(Path(settings.keys_secret)) if settings.keys_secret else None
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

    def _looked(self) -> str:
        try:
            status = self._path.stat() if self._path else None
        except OSError as error:
            return f"unreadable: {error.strerror}"
        return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}" if status else ""

    def _read(self) -> KeyFile:
        if self._path is None:
            return NO_KEYS
        try:
            text = self._path.read_text(encoding="utf-8-sig")  # some editors put a mark first
            return read_keys(text, str(self._path))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            msg = f"--keys {self._path}: {why}; `pointsman key new` prints its lines"
            raise KeyFileError(msg) from error


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


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS for the contracts' port, from 1.2; None without a certificate. Raises SettingsError.

    With a client CA every client has to show a certificate, unless there is a key file: then a key will do as well.
    """
    if settings.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL 1.1.1 would do as many handshakes as a client asks for
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, settings)
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (OSError, ssl.SSLError) as error:
            msg = f"--tls-client-ca {settings.tls_client_ca}: {_unusable(error, 'no certificate in PEM')}"
            raise SettingsError(msg) from error
        context.verify_mode = ssl.CERT_OPTIONAL if settings.keys else ssl.CERT_REQUIRED
    return context


def load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
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


async def watch_certificate(
    context: ssl.SSLContext, settings: Settings, pause: Callable[[float], Awaitable[None]]
) -> None:
    """Use a renewed certificate from the next handshake on, until cancelled. One that is broken changes nothing.

    Chain and key may be written in any order: as long as one does not fit the other, the old ones stay.
    """
    seen = _stamp(settings)
    while True:
        await pause(CERTIFICATE_POLL)
        stamp = _stamp(settings)
        if stamp not in (seen, None):
            try:
                load_certificate(context, settings)
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
    return tuple(number for status in found for number in (status.st_ino, status.st_mtime_ns))


def _unusable(error: OSError, otherwise: str) -> str:
    """Why files of TLS can't be used: OpenSSL's own words for it seldom help."""
    if isinstance(error, ssl.SSLError):
        return f"{otherwise} ({(error.strerror or str(error)).partition(' (_ssl')[0]})"
    return f"{error.strerror or error}; name a file that this user may read"


def _no_passphrase() -> str:
    return ""  # else OpenSSL would ask at the terminal
