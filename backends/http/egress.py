"""How targets are reached from here: through which proxy, and whose certificates are believed besides the system's.

Both are said by variables that curl and AWS's SDKs read too, so that what works for them works here: HTTPS_PROXY and
HTTP_PROXY, by the scheme of the target's URL, NO_PROXY, and AWS_CA_BUNDLE. In lower case the first three win, as there.
The system's own trust, which is always believed, is OpenSSL's: SSL_CERT_FILE and SSL_CERT_DIR move it.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit

_BUNDLE = "AWS_CA_BUNDLE"
_EXCEPTION = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?")
"""A name or an address, IPv6 in brackets, and a port where it is that one's alone."""


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """An HTTP proxy on the way to targets."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    """The header line that shows who we are there, or nothing. It is a secret."""


@dataclass(frozen=True, slots=True)
class Egress:
    """The ways out. Pure."""

    http: ForwardProxy | None = None
    https: ForwardProxy | None = None
    exceptions: str = ""
    """Hosts that are reached directly, as in NO_PROXY."""
    trust: ssl.SSLContext | None = None
    """None: the system's."""

    def proxy(self, *, tls: bool, host: str, port: int) -> ForwardProxy | None:
        """The proxy to `host`; None where it is reached directly, as this machine itself always is."""
        found = self.https if tls else self.http
        return None if found is None or _direct(host, port, self.exceptions) else found

    @property
    def words(self) -> str:
        """What is in force, for the log, without a secret; nothing where all is as it always is."""
        ways = (("https", self.https), ("http", self.http))
        told = [f"{scheme} targets by the proxy {way.host}:{way.port}" for scheme, way in ways if way is not None]
        told += [f"directly: {self.exceptions}"] if told and self.exceptions else []
        return ", ".join([*told, *([f"{_BUNDLE} is believed"] if self.trust is not None else [])])


DIRECT = Egress()


def egress_of(variables: Mapping[str, str]) -> Egress:
    """What the variables say. Raises ValueError, which names the variable, for one that can't be used."""
    return Egress(
        _proxy_of(variables, "HTTP_PROXY"),
        _proxy_of(variables, "HTTPS_PROXY"),
        variables.get("no_proxy", variables.get("NO_PROXY", "")),
        _trust_of(variables),
    )


def _proxy_of(variables: Mapping[str, str], name: str) -> ForwardProxy | None:
    text = variables.get(name.lower(), variables.get(name, "")).strip()
    if not text:
        return None
    wrong = f"{name} is no http:// address of a proxy: write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT"
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme != "http" or not host or not host.isprintable() or " " in host:
        raise ValueError(wrong)
    shown = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    known = f"Proxy-Authorization: Basic {base64.b64encode(shown).decode()}\r\n" if parts.username else ""
    return ForwardProxy(host, port, known)


def _trust_of(variables: Mapping[str, str]) -> ssl.SSLContext | None:
    name = variables.get(_BUNDLE, "")
    if not name:
        return None
    context, path = ssl.create_default_context(), Path(name)
    try:
        if path.is_dir():
            context.load_verify_locations(capath=name)
        else:
            context.load_verify_locations(cafile=name)
    except OSError as error:
        why = "it has no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        message = f"{_BUNDLE} can't be used: {name}: {why}"
        raise ValueError(message) from error
    return context


def _direct(host: str, port: int, exceptions: str) -> bool:
    host = host.rstrip(".").lower()
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_named(each, host, port, address) for each in re.split(r"[,\s]+", exceptions.lower()) if each)


def _named(exception: str, host: str, port: int, address: IPv4Address | IPv6Address | None) -> bool:
    """Whether `exception` means `host`: all hosts by `*`, a name and what lies in it, an address, or a net of them."""
    if exception == "*":
        return True
    try:
        net = ip_network(exception, strict=False)
    except ValueError:
        found = _EXCEPTION.fullmatch(exception)
        if found is None or (found[2] is not None and int(found[2]) != port):
            return False
        name = found[1].removeprefix("*").strip("[].")
        return bool(name) and (host == name or (address is None and host.endswith(f".{name}")))
    return address is not None and address in net


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
