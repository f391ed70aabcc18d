"""The flags of `pointsman serve`: what each is called, how its text is read, what `--help` says of it. Pure."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from backends.http.limits import LIMITS
from backends.state import checked
from backends.wire.container import CUT, MARGIN

MIB = 1024 * 1024


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


N = TypeVar("N", int, float)


def _between(kind: Callable[[str], N], least: N, most: N) -> Callable[[str], N]:
    def read(text: str) -> N:
        number = kind(text)
        if not least <= number <= most or math.isinf(number):
            raise ValueError
        return number

    return read


port_of = _between(int, 0, 65535)
_workers = _between(int, 1, 64)
_platform_time = _between(float, 2 * MARGIN, math.inf)
_busy_poll = _between(float, 0.0, 60.0)
_look = _between(float, 0.1, 5.0)
"""Two of them have to fit into the ten seconds that a command may take."""


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _mib(text: str) -> int:
    size = float(text) * MIB
    if not 1 <= size < math.inf:
        raise ValueError
    return int(size)


def _count(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError
    return seconds


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", text):
        raise ValueError
    return text


def _alerts(text: str) -> str:
    if text not in {"urgent", "all"}:
        raise ValueError
    return text


def _text(text: str) -> str:
    if not text.strip():  # a variable that was never filled in: taken for "none" it would leave the door open
        raise ValueError
    return text


def _exporter(text: str) -> str:
    if text not in {"off", "console"} and not text.startswith(("http://", "https://")):
        raise ValueError
    return text


def switch(text: str) -> bool:
    if text.lower() not in {"1", "true", "0", "false", ""}:
        raise ValueError
    return text.lower() in {"1", "true"}


def _face(text: str) -> str:
    if text not in {"all", "container"}:
        raise ValueError
    return text


def _attribute(text: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,64}", text, re.ASCII):
        raise ValueError
    return text


FLAGS = (
    Flag("policy", _text, "the policy: a file, or s3://bucket/key", metavar="FILE"),
    Flag("host", _text, "address that clients reach", "127.0.0.1"),
    Flag("port", port_of, "port of the contracts; 0 takes a free one", 8080, "N"),
    Flag(
        "admin-port",
        port_of,
        "port of /livez, /readyz, /metrics and /admin on 127.0.0.1; 0 takes a free one",
        8081,
        "N",
    ),
    Flag("workers", _workers, "processes that serve, 1 to 64; each uses one core", 1, "N"),
    Flag(
        "busy-poll",
        _busy_poll,
        "seconds after each request, up to 60, in which a worker looks for the next one in place of sleeping: answers"
        " come sooner, and it takes its core whole meanwhile; 0 is off",
        0.0,
        "S",
    ),
    Flag("otel", _exporter, "where spans go: off, console, or the URL of an OTLP/HTTP receiver", "off", "WHERE"),
    Flag("sample", _share, "share of requests that are traced when the caller did not decide", 0.01, "SHARE"),
    Flag("log", _text, "where the request log goes: - is standard output", "-", "FILE"),
    Flag("body-limit", _mib, "largest request body in MiB; SageMaker's own limit is 25", 25 * MIB, "MIB"),
    Flag("body-budget", _mib, "bodies of all requests in flight together, in MiB", 1024 * MIB, "MIB"),
    Flag(
        "connections",
        _count,
        "connections of clients at once; one more is answered 503",
        LIMITS.connections,
        "N",
    ),
    Flag("head-time", _seconds, "seconds in which a request's head has to arrive", LIMITS.head_time, "S"),
    Flag("body-time", _seconds, "seconds in which its body has to arrive after that", LIMITS.body_time, "S"),
    Flag("drain", _seconds, "seconds that requests in flight are given at the end", 30.0, "S"),
    Flag("load-time", _seconds, "seconds in which a handler, or what else a worker starts with, loads", 120.0, "S"),
    Flag("poll", _seconds, "seconds between two looks at an s3:// policy", 10.0, "S"),
    Flag("face", _face, "what is served: all, or container for SageMaker's container contract alone", metavar="FACE"),
    Flag("endpoint", _text, "endpoint, or endpoint/component, that this process is the container of", metavar="NAME"),
    Flag("endpoint-attribute", _attribute, "item of CustomAttributes that names the endpoint instead", metavar="KEY"),
    Flag("platform-time", _platform_time, "seconds after which SageMaker cuts a container's answer, from 4", CUT, "S"),
    Flag(
        "handler-cache",
        _text,
        "where environments for handlers' requirements.txt are kept",
        "~/.cache/pointsman/handlers",
        "DIR",
    ),
    Flag(
        "state",
        checked,
        "the fleet's shared state: sqlite:///PATH, valkey://HOST:6379, rediss://HOST:6379 or s3://BUCKET/PREFIX;"
        " without it this process is on its own",
        metavar="URL",
    ),
    Flag(
        "state-copy",
        str,
        "where this machine keeps a copy of where migrations stand, for a start while the shared state is away",
        "~/.cache/pointsman/state",
        "FOLDER",
    ),
    Flag("state-poll", _look, "seconds between two looks at the shared state, 0.1 to 5", 4.0, "S"),
    Flag("prices", _text, "dated prices, for what warm-ups cost; without it those that ship here", metavar="FILE"),
    Flag("alert-url", _address, "POST a line there when a migration is taken back, by whomever", metavar="URL"),
    Flag("alert-on", _alerts, "which decisions about migrations are told there: urgent, or all", "urgent", "WHICH"),
    Flag("keys", _text, "who may call: the file of issued keys (`pointsman key new`)", metavar="FILE"),
    Flag("keys-secret", _text, "file of the master secret: AWS SDKs may sign with issued keys", metavar="FILE"),
    Flag("tls-cert", _text, "certificate chain of the contracts' port, PEM", metavar="FILE"),
    Flag("tls-key", _text, "its private key, PEM", metavar="FILE"),
    Flag("tls-client-ca", _text, "CA of clients' certificates, PEM: callers have to show one", metavar="FILE"),
    Flag("admin-names", str, "further names that the admin port may be asked by: a,b,... or *", metavar="NAMES"),
    Flag("admin-token", _text, "token that writes on the admin port want; without one they are off", metavar="TOKEN"),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` every flag of `pointsman serve`."""
    for flag in FLAGS:
        note = f" (default {_shown(flag)}; {flag.variable})" if flag.default is not None else f" ({flag.variable})"
        parser.add_argument(f"--{flag.name}", metavar=flag.metavar, help=(flag.help + note).replace("%", "%%"))
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
