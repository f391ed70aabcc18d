"""Process settings: read once from flags and `POINTSMAN_<FLAG>`, then frozen.

The only reader of the environment. A flag wins over its variable, a variable over the default. What the policy decides
(targets, routes, timeouts) is not here.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from backends.http.egress import Egress, egress_of
from backends.http.limits import LIMITS
from backends.state import checked
from backends.wire.container import CUT, MARGIN

MIB = 1024 * 1024

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

MODEL_FOLDER = Path("/opt/ml/model")
"""Where SageMaker puts a model's artifact (developer guide); the folder exists in its containers and nowhere else."""
CONTAINER_PORT = "SAGEMAKER_BIND_TO_PORT"
"""Variable by which SageMaker names a container's port when it is not 8080."""
CONTAINER_DRAIN = 25.0
"""Seconds: SageMaker kills a container 30 s after SIGTERM."""


def environment() -> MutableMapping[str, str]:
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
    workers: int = 1
    """Processes that serve; from two on, a supervisor owns the ports."""
    otel: str = "off"
    sample: float = 0.01
    log: str = "-"
    body_limit: int = 25 * MIB
    body_budget: int = 1024 * MIB
    connections: int = LIMITS.connections
    head_time: float = LIMITS.head_time
    body_time: float = LIMITS.body_time
    platform_time: float = CUT
    """After which the platform around a container gives up waiting for a whole answer."""
    drain: float = 30.0
    load_time: float = 120.0
    """For one handler to be loaded, and for a worker between two things that it loads."""
    poll: float = 10.0
    handler_cache: str = "~/.cache/pointsman/handlers"
    state: str | None = None
    """Where the fleet's shared state is; None: this process is on its own."""
    alert_url: str | None = None
    """What is told of decisions about migrations."""
    alert_on: str = "urgent"
    """Of which: `urgent`, those that should wake somebody, or `all`."""
    state_copy: str = "~/.cache/pointsman/state"
    """Folder of this machine's copy of where migrations stand; empty: none is kept."""
    state_poll: float = 4.0
    """Time between two looks at it: a command from elsewhere is in force within two."""
    prices: str | None = None
    """File of prices, for what warm-ups cost; None: those that ship with the product."""
    keys: str | None = None
    """File of the keys that callers were issued."""
    keys_secret: str | None = None
    """File of the master secret that keys for AWS SDKs are derived from."""
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    """Certificates that clients' ones have to be signed by."""
    auth: bool = True
    admin_token: str | None = None
    admin_names: str | None = None
    """Names that the admin port may be asked by, with commas between them."""
    face: str = "all"
    """`all`, or `container`: SageMaker's container contract alone, without an admin port."""
    endpoint: str | None = None
    """`endpoint` or `endpoint/component` that the container contract's requests are for."""
    endpoint_attribute: str | None = None
    """The item of CustomAttributes that names it instead."""


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


_port = _between(int, 0, 65535)
_workers = _between(int, 1, 64)
_platform_time = _between(float, 2 * MARGIN, math.inf)
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


def _switch(text: str) -> bool:
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
    Flag("port", _port, "port of the contracts; 0 takes a free one", 8080, "N"),
    Flag(
        "admin-port", _port, "port of /livez, /readyz, /metrics and /admin on 127.0.0.1; 0 takes a free one", 8081, "N"
    ),
    Flag("workers", _workers, "processes that serve, 1 to 64; each uses one core", 1, "N"),
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
    Flag("prices", str, "dated prices, for what warm-ups cost; without it those that ship here", metavar="FILE"),
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


def read(given: Mapping[str, Any], variables: Mapping[str, str], model_folder: Path = MODEL_FOLDER) -> Settings:
    """Settings from parsed flags and the environment. Raises SettingsError.

    Where neither says which contracts are served, SageMaker is recognised by its port's variable or by `model_folder`.
    Its containers have defaults of their own.
    """
    values: dict[str, Any] = {}
    for flag in FLAGS:
        found, value = _value(flag, given, variables)
        if found:
            values[flag.name.replace("-", "_")] = value
    values.setdefault("face", "container" if CONTAINER_PORT in variables or model_folder.is_dir() else "all")
    inside = values["face"] == "container"
    values = (_container_defaults(variables, model_folder) if inside else {}) | values
    if "policy" not in values:
        msg = "no policy given: name one with --policy FILE (`make run` starts with an example)"
        raise SettingsError(msg)
    try:
        no_auth = bool(given.get("no_auth")) or _switch(variables.get("POINTSMAN_NO_AUTH", ""))
    except ValueError:
        msg = f"POINTSMAN_NO_AUTH can't be {variables['POINTSMAN_NO_AUTH']!r}: 1 or 0"
        raise SettingsError(msg) from None
    settings = Settings(**values, auth=not no_auth and not inside)
    _check_door(settings)
    _check_workers(settings)
    egress(variables)
    return settings


def egress(variables: Mapping[str, str]) -> Egress:
    """How targets are reached from here, by HTTPS_PROXY and the like. Raises SettingsError."""
    try:
        return egress_of(variables)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _check_workers(settings: Settings) -> None:
    """Raises SettingsError when a process's share is too small to serve with."""
    workers, least = settings.workers, -(-settings.workers * settings.body_limit // MIB)
    if settings.body_budget < workers * settings.body_limit:
        what = f"{workers} workers that share it" if workers > 1 else "a single body of --body-limit"
        msg = f"--body-budget is too small for {what}: give {least} MiB or more"
        raise SettingsError(msg)
    if settings.connections < settings.workers:
        msg = f"--connections is too small for {settings.workers} workers that share them: give {settings.workers}"
        raise SettingsError(msg)


def of_one_worker(settings: Settings) -> Settings:
    """The settings of one of several workers: its part of what all of them together may hold, and no admin token."""
    return replace(
        settings,
        body_budget=settings.body_budget // settings.workers,
        connections=settings.connections // settings.workers,
        admin_token=None,
    )


def unusual(settings: Settings) -> dict[str, Any]:
    """What differs from the defaults, as a worker is told it: it may be of a release that knows fewer settings."""
    return {each.name: value for each in fields(settings) if (value := getattr(settings, each.name)) != each.default}


def _check_door(settings: Settings) -> None:
    """Raises SettingsError for a door that can't be closed, or stands open."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        msg = "--tls-cert and --tls-key come together: name both files"
        raise SettingsError(msg)
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        msg = "--tls-client-ca needs --tls-cert and --tls-key: clients show certificates over TLS only"
        raise SettingsError(msg)
    if settings.keys_secret is not None and settings.keys is None:
        msg = "--keys-secret needs --keys: the file that says which keys were issued"
        raise SettingsError(msg)
    known = settings.keys is not None or settings.tls_client_ca is not None
    if settings.host not in LOOPBACK and settings.auth and not known:
        msg = (
            f"--host {settings.host} is reachable by others and callers would not be authenticated: listen on "
            "127.0.0.1, issue keys (--keys), or add --no-auth when the network in front of it is trusted"
        )
        raise SettingsError(msg)


def _value(flag: Flag, given: Mapping[str, Any], variables: Mapping[str, str]) -> tuple[bool, Any]:
    """Whether a flag was set at all, on the command line or by its variable, and to what."""
    text, origin = given.get(flag.name.replace("-", "_")), f"--{flag.name}"
    if text is None:
        text, origin = variables.get(flag.variable), flag.variable
    if text is None:
        return False, None
    try:
        return True, flag.read(text)
    except ValueError:
        shown = re.sub(r"//[^@/]*@", "//...@", text)  # a password, which has no place in a log
        msg = f"{origin} can't be {shown!r}: {flag.help}"
        raise SettingsError(msg) from None


def _container_defaults(variables: Mapping[str, str], model_folder: Path) -> dict[str, Any]:
    """What holds in a SageMaker container unless it is said otherwise; the platform authenticates callers there."""
    try:
        port = _port(variables.get(CONTAINER_PORT, "8080"))
    except ValueError:
        msg = f"{CONTAINER_PORT} can't be {variables[CONTAINER_PORT]!r}: a port"
        raise SettingsError(msg) from None
    return {
        "host": "0.0.0.0",
        "port": port,
        "drain": CONTAINER_DRAIN,
        "policy": str(model_folder / "policy.yaml"),
    }
