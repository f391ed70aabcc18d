"""What workers and their supervisor take of memory, idle and after requests: `python -m benchmarks.memory --help`.

Two policies: one whose targets are all engines, and one with a target of each kind, for which boto3 is loaded; the
latter also with an exporter of traces, which has exported when the second look is taken. Counted are the kernel's own
numbers (`/proc/PID/smaps_rollup`): resident, its proportional share (`Pss`, in which pages that processes have in
common count for each in part), and what a process has for itself alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import machine
from .hop import ARN
from .processes import printed, process

ENGINES = """apiVersion: pointsman/v1
account: "123456789012"
targets:
  engine: {kind: vllm, url: "URL", model: static}
endpoints:
  chat: {serve_from: engine}
"""
EVERY_KIND = ENGINES.replace(
    "endpoints:\n",
    """  dedicated: {kind: endpoint, endpoint: static, region: us-east-1, url: "URL"}
  imported: {kind: bedrock, model: "ARN", speaks: openai-chat, url: "URL"}
endpoints:
  one: {serve_from: dedicated}
  two: {serve_from: imported}
""",
)
SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "engines only": (ENGINES, ()),
    "every kind": (EVERY_KIND, ()),
    "every kind, exporter": (EVERY_KIND, ("--otel", "URL", "--sample", "1")),
}
"""Policies and flags, in which URL is that of the target: it takes spans as it takes all that is posted to it."""
CLIENTS = 20
EXPORTED = 6.0
"""Seconds after which all traces have left: the SDK waits for five."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Memory of one process, in MB (10^6 bytes)."""

    resident: float
    share: float
    own: float


def taken(pid: int) -> Taken:
    """What the process has now."""
    return read(Path(f"/proc/{pid}/smaps_rollup").read_text())


def read(rollup: str) -> Taken:
    """Out of the kernel's page, which counts in KiB."""
    pairs = (line.split(":", 1) for line in rollup.splitlines()[1:])
    kib = {name: int(rest.split()[0]) for name, rest in pairs}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    return Taken(*(round(count * 1024 / 1e6, 1) for count in (kib["Rss"], kib["Pss"], own)))


def as_markdown(rows: list[tuple[str, str, str, Taken]]) -> str:
    """Rows of (policy, process, when, taken) as a table."""
    lines = ["| policy | process | when | resident MB | proportional MB | its own MB |", "|---|---|---|---|---|---|"]
    for policy, who, when, found in rows:
        lines.append(f"| {policy} | {who} | {when} | {found.resident} | {found.share} | {found.own} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--requests", type=int, default=5000, help="sent to the engine before the second look")
    arguments = parser.parse_args()
    rows: list[tuple[str, str, str, Taken]] = []
    for name, (policy, flags) in SETTINGS.items():
        with served(policy, flags, arguments.workers) as (port, admin):
            rows += [(name, who, "idle", taken(pid)) for who, pid in processes(admin)]
            asyncio.run(asked(port, arguments.requests))
            if flags:
                time.sleep(EXPORTED)
            when = f"after {arguments.requests} requests"
            rows += [(name, who, when, taken(pid)) for who, pid in processes(admin)]
    print(f"{machine.facts()['cpu']}, {machine.facts()['python']}\n\n{as_markdown(rows)}")


@contextmanager
def served(policy: str, more: tuple[str, ...], workers: int) -> Iterator[tuple[int, int]]:
    """The ports of a supervisor with so many workers, and a target behind them."""
    with tempfile.TemporaryDirectory() as folder, process([sys.executable, "-m", "benchmarks.upstream"]) as target:
        path = Path(folder) / "policy.yaml"
        url = f"http://127.0.0.1:{int(printed(target))}"
        path.write_text(policy.replace("URL", url).replace("ARN", ARN))
        flags = [
            *(word.replace("URL", url) for word in more),
            "--port",
            "0",
            "--admin-port",
            "0",
            "--workers",
            str(workers),
            "--log",
            f"{folder}/requests.log",
        ]
        with process([sys.executable, "-m", "proxy", "serve", "--policy", str(path), *flags]) as proxy:
            ready = json.loads(printed(proxy))
            yield ready["port"], ready["admin_port"]


def processes(admin: int) -> list[tuple[str, int]]:
    """Who there is, and their process ids."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5) as answer:
        facts = json.load(answer)
    return [("supervisor", facts["pid"]), *((f"worker {each['worker']}", each["pid"]) for each in facts["workers"])]


async def asked(port: int, requests: int) -> None:
    """Send so many requests, on a few connections."""
    body = b'{"messages":[]}'
    head = f"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // CLIENTS):
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


if __name__ == "__main__":
    main()
