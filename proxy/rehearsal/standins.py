"""A policy pointed at stand-ins, and stand-ins for its targets where no file describes them.

What is known of a target is what the policy says: its kind and dialect, how long a restore takes, after how long it
goes, how many units a copy has. The rest are the defaults below; a file of `pointsman emulate` says better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.emulator.config import EmulatorConfig
from policies.document import read_document
from policies.interpolate import interpolate
from policies.load import load_policy
from policies.table import BedrockSpec, EndpointSpec, ImportCost, RouteTable, Target

PORT = 9080
"""Where the stand-ins listen, on the rehearsal's own network."""
RESTORE = 60.0
"""Seconds of a restore that the policy does not declare: what AWS's blogs tell of smaller models."""
IDLE = 900.0
"""Seconds without a call after which an import goes, where the policy does not say: AWS says 5 and 60 minutes, pings
every 14 minutes imply 15."""
FIRST_BYTE, PER_TOKEN, SPREAD = 0.4, 0.03, 0.25
"""Seconds before an answer and per token of it, and how far answers differ (standard deviation of the logarithm)."""
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9]+")


@dataclass(frozen=True, slots=True)
class Pointed:
    """A policy whose targets are stand-ins."""

    text: str
    files: Mapping[str, str]
    """What the policy's files held, by the names that it calls them."""
    table: RouteTable
    notes: tuple[str, ...]
    """What is not as it is in production."""


def pointed(
    text: str,
    source: str,
    variables: Mapping[str, str],
    read_file: Callable[[str], str],
    config: EmulatorConfig | None,
    *,
    handlers: bool = False,
) -> tuple[Pointed, EmulatorConfig]:
    """The policy with every target at a stand-in, and the stand-ins. Raises PolicyError as `load_policy` does.

    `handlers`: customers' code stays in, and runs in the proxy's loop; else it is left out.
    Raises ValueError when `config` lacks one of the targets.
    """
    files: dict[str, str] = {}

    def read(name: str) -> str:
        files[name] = found = read_file(name)
        return found

    table = load_policy(text, variables, source, read)
    stand_ins = config if config is not None else invented(table)
    names = {stand_ins.address(name): name for name in stand_ins.models}
    document: Any = resolved(interpolate(read_document(text), variables).data)
    notes = list(_handlers(document, handlers))
    for name, target in table.targets.items():
        written = document["targets"][name]
        written.pop("assume_role", None)
        address = _address(target)
        if address not in names:
            message = f"the stand-ins lack {' '.join(address)}, which target {name} is; add a model of that address"
            raise ValueError(message)
        _point(written, target, names[address])
    return Pointed(json.dumps(document), files, table, tuple(notes)), stand_ins


def invented(table: RouteTable) -> EmulatorConfig:
    """Stand-ins for all targets of a policy, as far as it describes them."""
    models: dict[str, dict[str, object]] = {}
    for address, target in {_address(one): one for one in table.targets.values()}.items():
        short = _name((target.name,))  # as people know it, unless another's is the same but for its signs
        models[short if short not in models else _name(address)] = _model(target)
    return EmulatorConfig.model_validate(
        {
            "apiVersion": "pointsman-emulator/v1",
            "credentials": [{"access_key_id": "AKIDREHEARSAL", "secret_access_key": "not-a-secret"}],
            "signatures": "off",
            "keep": {"calls": 0},
            "models": models,
        }
    )


def stand_in(target: Target, config: EmulatorConfig) -> str:
    """The name of the model that stands in for a target."""
    address = _address(target)
    return next(name for name in config.models if config.address(name) == address)


def _model(target: Target) -> dict[str, object]:
    low, high = target.restore or (RESTORE, RESTORE)
    imported = isinstance(target.spec, BedrockSpec)
    idle = target.idle_limit or (IDLE if imported else None)
    found: dict[str, object] = {
        "dialect": "echo" if target.speaks == "opaque" else target.speaks,
        # A candidate whose answers are not known is taken to agree: else every gate of agreement would be red.
        "weights": "as good as each other",
        "latency": {"first_byte": FIRST_BYTE, "per_token": PER_TOKEN, "spread": SPREAD},
        "cold": {"restore": (low + high) / 2},
        "copies": {"max": 3 if imported else target.replicas, "concurrency": 64},
    }
    if isinstance(target.cost, ImportCost):
        found["units"] = target.cost.units
    if idle is not None and (imported or target.restore is not None):
        found |= {"idle": idle, "copies": {"min": 0, "max": 3, "concurrency": 64}}
    match target.spec:
        case EndpointSpec(endpoint=endpoint, component=None):
            return found | {"kind": "endpoint", "endpoint": endpoint}
        case EndpointSpec(endpoint=endpoint, component=component):
            return found | {"kind": "component", "endpoint": endpoint, "component": component}
        case BedrockSpec(model=arn):
            return found | {"kind": "import", "arn": arn}
        case spec:
            return found | {"kind": "engine", "served_model": spec.model, "adapters": [spec.adapter or "none"]}


def _address(target: Target) -> tuple[str, ...]:
    """As `EmulatorConfig.address`: an engine is known by its target's name."""
    match target.spec:
        case EndpointSpec(endpoint=endpoint, component=None):
            return ("endpoint", endpoint)
        case EndpointSpec(endpoint=endpoint, component=component):
            return ("component", endpoint, component or "")
        case BedrockSpec(model=arn):
            return ("import", arn)
        case _:
            return ("engine", _name((target.name,)))


def _name(address: tuple[str, ...]) -> str:
    """A name for a model of the stand-ins."""
    if len(address) > 1 and address[0] == "engine":
        return address[1]
    words = address if len(address) == 1 else (address[0], *address[1:])
    return _NOT_IN_NAMES.sub("-", "-".join(words)).strip("-")[-63:].strip("-")


def _point(written: dict[str, Any], target: Target, name: str) -> None:
    url = f"http://127.0.0.1:{PORT}"
    if target.kind != "vllm":
        written["url"] = url
    elif "urls" in written:  # replicas have to have addresses of their own, and all hosts lead to the stand-ins
        written["urls"] = [f"http://127.0.0.{turn + 1}:{PORT}/_engine/{name}" for turn in range(target.replicas)]
    else:
        written["url"] = f"{url}/_engine/{name}"


def resolved(value: Any) -> Any:
    """The same, so that it reads alike with no variables at all: what they gave is never looked at again."""
    match value:
        case str():
            return value.replace("${", "$${")
        case dict():
            return {key: resolved(child) for key, child in value.items()}
        case list():
            return [resolved(child) for child in value]
        case _:
            return value


def _handlers(document: Any, stay: bool) -> Iterator[str]:
    """Take customers' code out, or into the loop: threads and processes know no virtual time."""
    for endpoint, block in document["endpoints"].items():
        for part in (block, *block.get("components", {}).values()):
            handler = part.get("handler")
            if handler is not None and stay:
                handler["run"] = "inline"
                yield f"{endpoint}: its handler runs in the proxy's loop, and takes no virtual time"
            elif part.pop("handler", None) is not None:
                yield f"{endpoint}: its handler is left out; --handlers leaves it in"
