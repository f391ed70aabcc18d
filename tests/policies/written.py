"""Policies and compiled values for tests: short to write, so that a test shows only what it is about."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from hypothesis import settings

from policies.errors import PolicyError
from policies.load import load_policy
from policies.table import EndpointSpec, Route, RouteTable, Target, VllmSpec, Weighted

PATIENT = settings(deadline=None, max_examples=60)
"""For property tests: on a busy machine a single example may take long, which says nothing about the code."""

HEAD = 'apiVersion: pointsman/v1\naccount: "123456789012"\n'
IMPORT = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12"


def policy(endpoints: str, targets: str = "a: {}\nb: {}\n") -> str:
    """A policy around its endpoints; a target written as `name: {}` is an ordinary SageMaker endpoint."""
    lines = []
    for line in textwrap.dedent(targets).strip().splitlines():
        name, _, rest = line.partition(":")
        plain = rest == " {}" and not line.startswith(" ")
        lines.append(f"{name}: {{kind: endpoint, endpoint: {name}, region: us-east-1}}" if plain else line)
    written = textwrap.indent("\n".join(lines), "  ")
    return f"{HEAD}targets:\n{written}\nendpoints:\n{textwrap.indent(textwrap.dedent(endpoints).strip(), '  ')}\n"


def load(text: str, environment: Mapping[str, str] | None = None) -> RouteTable:
    """The table of a policy that is expected to be right."""
    return load_policy(text, environment or {})


def one_route(endpoint: str, targets: str = "a: {}\nb: {}\n") -> Route:
    """The route of a policy with the one endpoint `x`, given by the lines of its block."""
    return load(policy("x:\n" + textwrap.indent(textwrap.dedent(endpoint).strip(), "  "), targets)).routes["x", None]


def problems(text: str, environment: Mapping[str, str] | None = None) -> list[tuple[int, str, str]]:
    """(line, path, message) of everything wrong with a policy, in the order of the report."""
    try:
        load_policy(text, environment or {})
    except PolicyError as error:
        return [(problem.line, problem.path, problem.message) for problem in error.problems]
    return []


def report(text: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Path to message of everything wrong with a policy."""
    return {path: message for _, path, message in problems(text, environment)}


def target(name: str, **changes: Any) -> Target:
    """A target like any other, but for the changes."""
    fields: dict[str, Any] = {"kind": "endpoint", "spec": EndpointSpec(name), "region": "us-east-1"}
    return Target(name, **fields | changes)


def engine(name: str, replicas: int) -> Target:
    """A vLLM target with that many replicas."""
    urls = tuple(f"http://{name}-{index}:8000" for index in range(replicas))
    return Target(name, "vllm", VllmSpec(urls, "model"))


def split(**weights: float) -> tuple[Weighted, ...]:
    """First choices by name and weight."""
    return tuple(Weighted(target(name), weight) for name, weight in weights.items())
