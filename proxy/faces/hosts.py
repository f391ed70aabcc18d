"""By which names the admin port may be asked: no web page may read it through a browser on the operator's machine.

A page's own name can be made to lead to 127.0.0.1 after it was loaded (DNS rebinding); the browser then takes the admin
port for the page's own server, and shows the page what it says. Only the `Host` field tells. So a request is answered
for addresses, `localhost`, names without a dot, which nobody can have on the internet, and names that the operator
gave; scrapers by address or by such a name notice nothing. Who is refused is told what to do, and the log says so once.
"""

from __future__ import annotations

import ipaddress
import logging
import re

from backends.base import Headers

log = logging.getLogger("pointsman.admin")

_FIELD = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]*))(?::\d*)?")
_LONGEST = 253
"""Characters of a name that a refusal repeats: no name in DNS is longer."""


class Hosts:
    """The names of one admin port."""

    __slots__ = ("_all", "_names", "_told")

    def __init__(self, names: str | None = None) -> None:
        """`names`: further ones, with commas between them; `*` is every name."""
        self._names = frozenset(name.strip().lower() for name in (names or "").split(","))
        self._all = "*" in self._names
        self._told = False

    def refusal(self, headers: Headers) -> str | None:
        """What is wrong with the name that a request was sent to; None when nothing is.

        One without a name is no browser's: HTTP/1.0 has none.
        """
        host = next((value for name, value in headers if name.lower() == "host"), "")
        if self._all or self._knows(host.strip().lower()):
            return None
        what = (
            f"this port is not asked as {host[:_LONGEST]!r}: use an address or localhost, or start with --admin-names"
        )
        if not self._told:
            self._told = True
            log.warning("refused on the admin port, and said here once: %s", what)
        return what

    def _knows(self, host: str) -> bool:
        found = _FIELD.fullmatch(host)
        if found is None:
            return False
        name = found["v6"] or found["name"].removesuffix(".")
        if "." not in name and found["v6"] is None:
            return True
        return name.endswith(".localhost") or name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
