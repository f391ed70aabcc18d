"""Process settings: read once from flags and `POINTSMAN_<FLAG>`, then frozen.

The only reader of the environment. A flag wins over its variable, a variable over the default. What the policy decides
(targets, routes, timeouts) is not here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MIB = 1024 * 1024

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def environment() -> Mapping[str, str]:
    """The process's environment, for policies' `${VARIABLE}` and for flags' defaults."""
    return os.environ


class SettingsError(Exception):
    """A setting can't be used; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `pointsman serve` was told. Sizes are bytes, times seconds."""

    policy: str
    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int = 8081
    otel: str = "off"
    sample: float = 0.01
    log: str = "-"
    body_limit: int = 25 * MIB
    body_budget: int = 1024 * MIB
    drain: float = 30.0
    poll: float = 10.0
    auth: bool = True
    admin_token: str | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """One setting on the command line."""

    name: str
    read: Callable[[str], Any]
    help: str
    default: Any = None
    metavar: str | None = None

    @property
    def variable(self) -> str:
        return "POINTSMAN_" + self.name.upper().replace("-", "_")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _mib(text: str) -> int:
    size = int(float(text) * MIB)
    if size <= 0:
        raise ValueError
    return size


def _seconds(text: str) -> float:
    seconds = float(text)
    if seconds <= 0:
        raise ValueError
    return seconds


def _exporter(text: str) -> str:
    if text not in {"off", "console"} and not text.startswith(("http://", "https://")):
        raise ValueError
    return text


def _switch(text: str) -> bool:
    if text.lower() not in {"1", "true", "0", "false", ""}:
        raise ValueError
    return text.lower() in {"1", "true"}


FLAGS = (
    Flag("policy", str, "the policy: a file, or s3://bucket/key", metavar="FILE"),
    Flag("host", str, "address that clients reach", "127.0.0.1"),
    Flag("port", _port, "port of the contracts; 0 takes a free one", 8080, "N"),
    Flag(
        "admin-port", _port, "port of /livez, /readyz, /metrics and /admin on 127.0.0.1; 0 takes a free one", 8081, "N"
    ),
    Flag("otel", _exporter, "where spans go: off, console, or the URL of an OTLP/HTTP receiver", "off", "WHERE"),
    Flag("sample", _share, "share of requests that are traced when the caller did not decide", 0.01, "SHARE"),
    Flag("log", str, "where the request log goes: - is standard output", "-", "FILE"),
    Flag("body-limit", _mib, "largest request body in MiB; SageMaker's own limit is 25", 25 * MIB, "MIB"),
    Flag("body-budget", _mib, "bodies of all requests in flight together, in MiB", 1024 * MIB, "MIB"),
    Flag("drain", _seconds, "seconds that requests in flight are given at the end", 30.0, "S"),
    Flag("poll", _seconds, "seconds between two looks at an s3:// policy", 10.0, "S"),
    Flag("admin-token", str, "token that writes on the admin port ask for; without one they are off", metavar="TOKEN"),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` every flag of `pointsman serve`."""
    for flag in FLAGS:
        note = f" (default {_shown(flag)}; {flag.variable})" if flag.default is not None else f" ({flag.variable})"
        parser.add_argument(f"--{flag.name}", metavar=flag.metavar, help=flag.help + note)
    parser.add_argument(
        "--no-auth",
        action="store_true",
        default=None,
        help="serve an address other than loopback without authenticating callers (POINTSMAN_NO_AUTH=1)",
    )


def _shown(flag: Flag) -> str:
    if flag.read is _mib:
        return f"{flag.default // MIB}"
    return str(flag.default)


def read(given: Mapping[str, Any], variables: Mapping[str, str]) -> Settings:
    """Settings from parsed flags and the environment. Raises SettingsError."""
    values: dict[str, Any] = {}
    for flag in FLAGS:
        field = flag.name.replace("-", "_")
        text = given.get(field)
        origin = f"--{flag.name}"
        if text is None:
            text, origin = variables.get(flag.variable), flag.variable
        if text is None:
            if flag.default is not None:
                values[field] = flag.default
            continue
        try:
            values[field] = flag.read(text)
        except ValueError:
            msg = f"{origin} can't be {text!r}: {flag.help}"
            raise SettingsError(msg) from None
    if "policy" not in values:
        msg = "no policy given: name one with --policy FILE (`make run` starts with an example)"
        raise SettingsError(msg)
    try:
        no_auth = bool(given.get("no_auth")) or _switch(variables.get("POINTSMAN_NO_AUTH", ""))
    except ValueError:
        msg = f"POINTSMAN_NO_AUTH can't be {variables['POINTSMAN_NO_AUTH']!r}: 1 or 0"
        raise SettingsError(msg) from None
    settings = Settings(**values, auth=not no_auth)
    if settings.host not in LOOPBACK and settings.auth:
        msg = (
            f"--host {settings.host} is reachable by others and callers can't be authenticated yet: "
            "listen on 127.0.0.1, or add --no-auth when the network in front of it is trusted"
        )
        raise SettingsError(msg)
    return settings
