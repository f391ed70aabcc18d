"""The servers that are compared, and what is asked of them.

A server is a command that listens on a port it is given and passes requests on to the target it is given; a cell is a
request to it. To add one, add a `Server` and its cells: nothing else knows their names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import machine
from ..hop import ARN, body

HANDLER = """\
def before(call):
    return None

def after(reply):
    return None
"""
"""A customer's file that changes nothing: what is left is what running one costs."""

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  vllm: {kind: vllm, urls: ["URL"], model: static, limit: {min: 64}}
  endpoint: {kind: endpoint, endpoint: static, region: us-east-1, url: "URL", limit: {min: 64}}
  bedrock: {kind: bedrock, model: "ARN", url: "URL", speaks: openai-chat, limit: {min: 64}}
endpoints:
"""
"""The adaptive limits are on, but start at more than the connections: a machine that stalls is no overloaded target."""
POLLING = "ours, busy polling"
POLLS = 0.01
"""Seconds: longer than the gaps at a rate of 200 a second, and over before the next server has its turn."""
KINDS = ("vllm", "endpoint", "bedrock")


@dataclass(frozen=True, slots=True)
class Server:
    """One process, or a tree of them."""

    name: str
    command: Callable[[int, str, Path], list[str]]
    """(port, URL of the target, a folder of its own) -> what to run."""
    folder: Path = machine.ROOT
    """Where it runs."""
    starts_in: float = 120.0
    """Seconds for it to answer, on a machine with much else to do."""
    optional: bool = False
    """Left out, with the reason, when it does not run."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One request, sent again and again to one server."""

    name: str
    server: str
    path: str
    body: bytes
    stream: bool = False
    slow: bool = False
    """An answer takes milliseconds of CPU, and is written anew: few at a time, and only its content is compared."""


def policy(url: str, folder: Path, endpoints: int) -> Path:
    """A policy of so many endpoints, as many of each kind, half of them with a handler; of one, it is that cell's."""
    (folder / "model.py").write_text(HANDLER)
    lines = [
        f"  {kind}{number or ''}{mark}: {{serve_from: {kind}{handler}}}\n"
        for kind in KINDS
        for number in range(max(1, endpoints // 6))
        for mark, handler in (("-handled", ", handler: {path: model.py, run: inline}"), ("", ""))
    ][: endpoints if endpoints < 6 else None]
    written = folder / "policy.yaml"
    written.write_text(POLICY.replace("URL", url).replace("ARN", ARN) + "".join(lines))
    return written


def ours(name: str, sample: float, *more: object, endpoints: int = 6, root: Path = machine.ROOT) -> Server:
    """Pointsman as shipped, spans on their way to a collector that takes everything; `more`: further flags."""

    def command(port: int, url: str, folder: Path) -> list[str]:
        flags = ["--policy", policy(url, folder, endpoints), "--log", folder / "requests.log"]
        flags += ["--port", port, "--admin-port", 0, "--otel", url, "--sample", sample, *more]
        return [sys.executable, "-m", "proxy", "serve", *map(str, flags)]

    return Server(name, command, root)


def peer(name: str) -> Server:
    """One of `peers`."""
    return Server(name, lambda port, url, _: [sys.executable, "-m", "benchmarks.cost.peers", name, str(port), url])


def _invoke(name: str, server: str, endpoint: str, answer: str = "whole") -> Cell:
    operation = "invocations-response-stream" if answer == "stream" else "invocations"
    return Cell(name, server, f"/endpoints/{endpoint}/{operation}", body(answer), answer == "stream")


def _opaque(name: str, server: str, answer: str = "whole") -> Cell:
    return Cell(name, server, "/invocations", body(answer), answer == "stream")


SERVERS = (
    peer("floor"),
    peer("rawup"),
    peer("bare"),
    ours("ours", 0.01),
    ours(POLLING, 0.01, "--busy-poll", POLLS),
    ours("ours-0", 0.0),
    ours("ours-10", 0.1),
    ours("ours-100", 1.0),
    ours("ours-1", 0.01, endpoints=1),
    ours("ours-1000", 0.01, endpoints=1002),
)

CELLS = (
    _opaque("floor", "floor"),
    _opaque("rawup", "rawup"),
    _opaque("bare", "bare"),
    _invoke("ours", "ours", "vllm-handled"),
    _invoke(POLLING, POLLING, "vllm-handled"),
    _invoke("ours, no handler", "ours", "vllm"),
    _invoke("ours, endpoint", "ours", "endpoint-handled"),
    _invoke("ours, bedrock", "ours", "bedrock-handled"),
    _invoke("ours, sampled 0 %", "ours-0", "vllm-handled"),
    _invoke("ours, sampled 10 %", "ours-10", "vllm-handled"),
    _invoke("ours, sampled 100 %", "ours-100", "vllm-handled"),
    _invoke("ours, 1 endpoint", "ours-1", "vllm-handled"),
    _invoke("ours, 1,000 endpoints", "ours-1000", "vllm165-handled"),
    _opaque("floor, stream", "floor", "stream"),
    _opaque("bare, stream", "bare", "stream"),
    _invoke("ours, stream", "ours", "vllm", "stream"),
    _invoke(f"{POLLING}, stream", POLLING, "vllm", "stream"),
    _invoke("ours, stream of frames", "ours", "endpoint", "stream"),
)


def checkout(root: Path) -> tuple[Server, tuple[Cell, ...]]:
    """Another checkout of Pointsman as one more server, to compare a change with what was there before."""
    name = f"ours@{root.name}"
    return ours(name, 0.01, root=root), (
        _invoke(name, name, "vllm-handled"),
        _invoke(f"{name}, no handler", name, "vllm"),
        _invoke(f"{name}, endpoint", name, "endpoint-handled"),
        _invoke(f"{name}, bedrock", name, "bedrock-handled"),
        _invoke(f"{name}, stream", name, "vllm", "stream"),
        _invoke(f"{name}, stream of frames", name, "endpoint", "stream"),
    )
