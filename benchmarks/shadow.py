"""What copies cost the clients they are taken from: `python -m benchmarks.shadow --help`.

Three endpoints of one proxy have the same target: `none` does not migrate, `5%` and `100%` are in a shadow step with
that share. Each round sends the same number of requests at the same steady rate to one after the other, in turn first;
a request's latency counts from the moment at which it was due, so that waiting behind another is not left out. The
candidate is a process of its own, as the target is. Percentiles and their ratios are taken within each round, and the
median over the rounds is shown: a machine that stalls for a moment moves one round and not the result.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import uvloop

from . import machine
from .hop import body
from .load import Shot, shot
from .processes import printed, process

SIDES = ("none", "5%", "100%")
POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  old: {kind: vllm, urls: ["OLD"], model: static, speaks: openai-chat, limit: {min: 256}}
  new: {kind: vllm, urls: ["NEW"], model: static, speaks: openai-chat}
endpoints:
  none: {serve_from: old, clients_speak: openai-chat}
  few:
    serve_from: old
    clients_speak: openai-chat
    migrate: {to: new, steps: [{shadow: 5%, hold: 1d}, {share: 100%}]}
  all:
    serve_from: old
    clients_speak: openai-chat
    migrate: {to: new, steps: [{shadow: 100%, hold: 1d}, {share: 100%}]}
"""
ENDPOINTS = dict(zip(SIDES, ("none", "few", "all"), strict=True))
AT_A_TIME = 32
"""Connections; a request waits for one only when the proxy is so far behind."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A running proxy with both migrations in their first step."""

    url: str
    admin: str
    pid: int


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint under one kind of answer."""

    side: str
    answer: str
    rounds: tuple[tuple[float, ...], ...]
    """Latency of every request of each round, sorted."""
    cpu_us: float
    """CPU time of the proxy for each request, copies included."""

    @property
    def requests(self) -> int:
        return sum(map(len, self.rounds))

    def at(self, share: float) -> float:
        """A percentile in milliseconds."""
        return median(_at(one, share) for one in self.rounds) * 1e3

    def against(self, other: Row, share: float) -> float:
        """The same as a multiple of another row's."""
        return median(
            _at(mine, share) / _at(theirs, share) for mine, theirs in zip(self.rounds, other.rounds, strict=True)
        )


def _at(ordered: tuple[float, ...], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    """Measure, print the table, write both files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shadow", description="What copies cost clients.", allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one side of one round")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--out", type=Path, default=machine.RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    about = {"commit": machine.commit(), "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **machine.facts()}
    about |= {"rate": f"{arguments.rate:g}/s", "rounds": arguments.rounds, "seconds a side": arguments.seconds}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as bench:
        rows = uvloop.run(measure(bench, arguments.rounds, arguments.seconds, arguments.rate))
        became = results(bench)
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = arguments.out / f"shadow-{datetime.now(UTC):%Y-%m-%d}-{about['commit']}"
    text = table(rows, became, about)
    document = {
        "about": about,
        "copies": became,
        "rows": [
            {"shadow": row.side, "answer": row.answer, "requests": row.requests, "cpu_us": row.cpu_us}
            | {f"p{share * 100:g}_ms": row.at(share) for share in (0.5, 0.9, 0.99)}
            for row in rows
        ],
    }
    name.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    name.with_suffix(".md").write_text(text)
    print(f"{text}\nwritten to {name}.md and .json")


@contextmanager
def running(folder: Path) -> Iterator[Bench]:
    """Target, candidate and proxy, with the migrations begun; all end with the block."""
    cores = machine.split_cores()
    if cores:
        machine.pin(0, cores[1])
    upstream, state = [sys.executable, "-m", "benchmarks.upstream"], f"sqlite:///{folder / 'state.db'}"
    with process(upstream) as old, process(upstream) as new:
        policy = folder / "policy.yaml"
        text = POLICY.replace("OLD", f"http://127.0.0.1:{int(printed(old))}")
        policy.write_text(text.replace("NEW", f"http://127.0.0.1:{int(printed(new))}"))
        fleet = ["--policy", str(policy), "--state", state]
        for endpoint in ("few", "all"):
            order = [sys.executable, "-m", "proxy", "migrate", "start", endpoint, "--reason", "benchmark", *fleet]
            with process(order) as ordered:
                ordered.wait(60)
        flags = ["--port", "0", "--admin-port", "0", "--log", str(folder / "requests.log")]
        with process([sys.executable, "-m", "proxy", "serve", *fleet, *flags]) as proxy:
            ready = json.loads(printed(proxy))
            if cores:
                machine.pin(proxy.pid, cores[0])
            yield Bench(f"http://127.0.0.1:{ready['port']}", f"http://127.0.0.1:{ready['admin_port']}", proxy.pid)


async def measure(bench: Bench, rounds: int, seconds: float, rate: float) -> list[Row]:
    """Every endpoint and kind of answer, interleaved; the first round warms up and is not kept."""
    keys = list(itertools.product(("whole", "stream"), SIDES))
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {key: [] for key in keys}
    cpu = dict.fromkeys(keys, 0.0)
    for number in range(-1, rounds):
        for answer, side in keys if number % 2 else reversed(keys):
            operation = "invocations-response-stream" if answer == "stream" else "invocations"
            target = shot(f"{bench.url}/endpoints/{ENDPOINTS[side]}/{operation}", body(answer), {})
            before = machine.cpu(bench.pid).ran
            latencies = await paced(target, rate, int(seconds * rate))
            if number >= 0:
                found[answer, side].append(tuple(sorted(latencies)))
                cpu[answer, side] += machine.cpu(bench.pid).ran - before
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return [
        Row(side, answer, tuple(found[answer, side]), cpu[answer, side] / sum(map(len, found[answer, side])) * 1e6)
        for answer, side in keys
    ]


async def paced(target: Shot, rate: float, number: int) -> list[float]:
    """Latencies of `number` requests, each due so long after the one before as the rate says."""
    begin, latencies = perf_counter() + 0.05, []

    async def connection(first: int) -> None:
        reader, writer = await asyncio.open_connection(target.host, target.port)
        for turn in range(first, number, AT_A_TIME):
            due = begin + turn / rate
            await asyncio.sleep(max(0.0, due - perf_counter()))
            writer.write(target.data)
            await _read(reader)
            latencies.append(perf_counter() - due)
        writer.close()

    await asyncio.gather(*(connection(first) for first in range(min(AT_A_TIME, number))))
    return latencies


async def _read(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise SystemExit(f"the proxy answered {head[:200]!r}")
    if b"\r\ncontent-length:" in head:
        await reader.readexactly(int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0]))
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)


def results(bench: Bench) -> dict[str, int]:
    """What became of sampled requests."""
    with urllib.request.urlopen(f"{bench.admin}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found: dict[str, int] = {}
    for line in lines:
        if line.startswith("pointsman_shadow_requests_total{"):
            result = line.split('result="')[1].split('"')[0]
            found[result] = found.get(result, 0) + int(float(line.rsplit(" ", 1)[1]))
    return found


def table(rows: list[Row], became: dict[str, int], about: dict[str, str]) -> str:
    """The report."""
    lines = ["# What copies cost clients", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()]
    lines += [f"- sampled requests: {', '.join(f'{count} {word}' for word, count in sorted(became.items()))}", ""]
    lines += ["| answer | shadow | requests | p50 ms | p90 ms | p99 ms | p50 | p99 | CPU us a request |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    base = {row.answer: row for row in rows if row.side == "none"}
    for row in rows:
        against = base[row.answer]
        ratios = " | ".join(f"{row.against(against, share):.2f}x" for share in (0.5, 0.99))
        shown = " | ".join(f"{row.at(share):.2f}" for share in (0.5, 0.9, 0.99))
        lines.append(f"| {row.answer} | {row.side} | {row.requests} | {shown} | {ratios} | {row.cpu_us:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
