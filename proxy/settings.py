"""Process settings: read once from flags and `POINTSMAN_<FLAG>`, then frozen.

The only reader of the environment. A flag wins over its variable, a variable over the default. What the policy decides
(targets, routes, timeouts) is not here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from backends.http.egress import Egress, egress_of
from backends.http.limits import LIMITS
from backends.wire.container import CUT

from .flags import FLAGS, MIB, Flag, port_of, switch

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
    busy_poll: float = 0.0
    """After a client's last bytes, for so long each of them looks for what comes in place of sleeping."""
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
        no_auth = bool(given.get("no_auth")) or switch(variables.get("POINTSMAN_NO_AUTH", ""))
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
        port = port_of(variables.get(CONTAINER_PORT, "8080"))
    except ValueError:
        msg = f"{CONTAINER_PORT} can't be {variables[CONTAINER_PORT]!r}: a port"
        raise SettingsError(msg) from None
    return {
        "host": "0.0.0.0",
        "port": port,
        "drain": CONTAINER_DRAIN,
        "policy": str(model_folder / "policy.yaml"),
    }
