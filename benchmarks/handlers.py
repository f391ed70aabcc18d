"""What one customer's handler costs another's requests: `python -m benchmarks.handlers --help`.

First: a handler that computes for 20 ms, at 50 requests a second, beside a route without one, which is asked 100 times
a second and measured. It runs in a process, in a thread, inline, and not at all, in turn, and the rounds repeat;
`elsewhere` is the control: the same computing by two processes that the proxy knows nothing of, nice as a worker is.
Then: 50 handlers with 5 different requirements.txt in one proxy: how long until it serves, what they take, and what the
plain route costs among them. Requests leave at random moments, the same in each mode, whether or not earlier ones have
come back (open loop), so that a proxy that stalls cannot slow down its own measurement. Nothing is pinned: workers
compete with the proxy for the cores as they would. Client and target stand for other machines, so they run before all
other work where that is allowed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Any

import uvloop

from proxy.handlers.guest.worker import NICENESS

from . import machine
from .load import Shot, once, shot
from .processes import printed, process

MODES = ("off", "elsewhere", "process", "thread", "inline")
BURN_RATE, IDLE_RATE = 50, 100
"""Requests a second to the handler that computes, and to the route beside it."""
HANDLERS, SETS = 50, 5

BURNS = """
import time
def before(call):
    end = time.thread_time() + 0.020
    while time.thread_time() < end:
        pass
"""
CONTROL = f"""
import os, time
{BURNS}
taken, given = os.pipe()
for _ in range(2):
    if not os.fork():
        os.nice({NICENESS})
        os.close(given)
        while os.read(taken, 1):
            before(None)
        os._exit(0)
due = time.time()
while True:
    os.write(given, b".")
    due += 1 / {BURN_RATE}
    time.sleep(max(0, due - time.time()))
"""
"""Its children end with it: they read to the end of the pipe."""
ECHOES = """
import customers_tool
def before(call):
    return call.reply({"version": customers_tool.version})
"""
HEAD = """apiVersion: pointsman/v1
account: "123456789012"
targets:
  static: {{kind: vllm, urls: ["{url}"], model: static}}
endpoints:
  plain: {{serve_from: static}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy."""

    url: str
    pid: int
    ready: float
    """Seconds from its start to its first line."""


def main() -> None:
    """Measure, print, write both files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.handlers", description="What handlers cost others.", allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one mode in one round")
    parser.add_argument("--out", type=Path, default=machine.RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    about = {"commit": machine.commit(), "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **machine.facts()}
    with tempfile.TemporaryDirectory() as name, process([sys.executable, "-m", "benchmarks.upstream"]) as target:
        folder, url = Path(name), f"http://127.0.0.1:{int(printed(target))}"
        with machine.preferred((os.getpid(), target.pid)) as preferred:
            beside = uvloop.run(beside_a_burner(folder, url, arguments.rounds, arguments.seconds))
            many = uvloop.run(many_handlers(folder, url, arguments.seconds))
    about["client and target"] = "run before all other work" if preferred else "run like all other work"
    facts: dict[str, Any] = {"about": about, "beside a burner": beside, "fifty handlers": many}
    text = as_markdown(facts)
    arguments.out.mkdir(parents=True, exist_ok=True)
    out = arguments.out / f"handlers-{datetime.now(UTC):%Y-%m-%d}-{about['commit']}"
    out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    out.with_suffix(".md").write_text(text)
    print(f"{text}\nwritten to {out}.md and .json")


async def beside_a_burner(folder: Path, url: str, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Latencies of the plain route in milliseconds, by where the other's handler runs."""
    (folder / "burner.py").write_text(BURNS)
    samples: dict[str, list[float]] = {mode: [] for mode in MODES}
    burned: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(rounds):
        for mode in MODES[number % 2 :] + MODES[: number % 2]:
            policy = folder / f"burner-{mode}.yaml"
            handler = "" if mode in ("off", "elsewhere") else f", handler: {{path: burner.py, run: {mode}}}"
            policy.write_text(HEAD.format(url=url) + f"  burner: {{serve_from: static{handler}}}\n")
            with _proxy(folder, policy) as proxy:
                plain, burner = (_shot(proxy, name) for name in ("plain", "burner"))
                await asyncio.gather(once(plain), once(burner))
                with _burning() if mode == "elsewhere" else nullcontext():
                    both = await asyncio.gather(paced(plain, IDLE_RATE, seconds), paced(burner, BURN_RATE, seconds, 1))
                samples[mode] += both[0]
                burned[mode] += both[1]
            print(f"round {number + 1} of {rounds}: {mode}", file=sys.stderr, flush=True)
    return {mode: _summary(samples[mode]) | {"burner p50": _summary(burned[mode])["p50"]} for mode in MODES}


async def many_handlers(folder: Path, url: str, seconds: float) -> dict[str, float]:
    """50 handlers with 5 dependency sets in one proxy."""
    lines = []
    for number in range(HANDLERS):
        own = folder / f"customer-{number}"
        own.mkdir()
        (own / "model.py").write_text(ECHOES)
        version = f"{number % SETS + 1}.0"
        (own / "requirements.txt").write_text(f"{_wheel(folder, version)}\n")
        lines.append(
            f"  c{number}: {{serve_from: static, handler: {{path: customer-{number}/model.py, workers: 1}}}}\n"
        )
    policy = folder / "many.yaml"
    policy.write_text(HEAD.format(url=url) + "".join(lines))
    with _proxy(folder, policy) as proxy:
        built = proxy.ready
    with _proxy(folder, policy) as proxy:
        shots = [_shot(proxy, f"c{number}") for number in range(HANDLERS)]
        answers = [json.loads(await once(each)) for each in shots]
        right = sum(answer["version"] == f"{number % SETS + 1}.0" for number, answer in enumerate(answers))
        idle = await paced(_shot(proxy, "plain"), IDLE_RATE, seconds)
        both = await asyncio.gather(
            paced(_shot(proxy, "plain"), IDLE_RATE, seconds),
            *(paced(each, 2, seconds, number) for number, each in enumerate(shots, 1)),
        )
        workers = _children(proxy.pid)
        sizes = [_private_kib(pid) for pid in workers]
        return {
            "handlers that answered with their own version": right,
            "seconds to ready, environments built": round(built, 1),
            "seconds to ready, environments there": round(proxy.ready, 1),
            "worker processes": len(workers),
            "MiB of their own a worker": round(sum(sizes) / max(1, len(sizes)) / 1024, 1),
            "plain route p50 ms, handlers idle": _summary(idle)["p50"],
            "plain route p99 ms, handlers idle": _summary(idle)["p99"],
            "plain route p50 ms, 100 hooks a second": _summary(both[0])["p50"],
            "plain route p99 ms, 100 hooks a second": _summary(both[0])["p99"],
            "handler p50 ms": _summary([each for one in both[1:] for each in one])["p50"],
        }


async def paced(one: Shot, rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Milliseconds of requests, each of which leaves at a random moment of its own part of the time.

    At even times two streams of requests would meet each time, or never.
    """
    began, taken, chance = time.perf_counter(), [], Random(seed)

    async def fire() -> None:
        sent = time.perf_counter()
        await once(one)
        taken.append((time.perf_counter() - sent) * 1e3)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + (number + chance.random()) / rate - time.perf_counter()))
            tasks.create_task(fire())
    return taken


def as_markdown(facts: dict[str, Any]) -> str:
    """The tables of the results."""
    beside = facts["beside a burner"]
    lines = ["# What handlers cost others", "", *(f"- {key}: {value}" for key, value in facts["about"].items()), ""]
    lines += [
        f"A handler that computes 20 ms, {BURN_RATE} times a second; a plain route, asked {IDLE_RATE} times a second.",
        "",
        "| handler runs | requests | plain p50 ms | p90 | p99 | max | burner p50 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for mode, row in beside.items():
        cells = [row[key] for key in ("count", "p50", "p90", "p99", "max", "burner p50")]
        lines.append(f"| {mode} | {' | '.join(f'{cell:g}' for cell in cells)} |")
    lines += ["", f"{HANDLERS} handlers with {SETS} dependency sets in one proxy.", "", "| fact | value |", "|---|---|"]
    lines += [f"| {key} | {value:g} |" for key, value in facts["fifty handlers"].items()]
    return "\n".join(lines) + "\n"


def _summary(values: list[float]) -> dict[str, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    picked = {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(values)}
    return {"count": len(values), **{name: round(value, 2) for name, value in picked.items()}}


def _shot(proxy: Proxy, endpoint: str) -> Shot:
    return shot(f"{proxy.url}/endpoints/{endpoint}/invocations", b'{"messages": []}', {"Connection": "close"})


@contextmanager
def _proxy(folder: Path, policy: Path) -> Iterator[Proxy]:
    flags = ["--policy", str(policy), "--port", "0", "--admin-port", "0", "--log", str(folder / "requests.log")]
    began = time.perf_counter()
    cache = ["--handler-cache", str(folder / "environments")]
    with process([sys.executable, "-m", "proxy", "serve", *flags, *cache], 40, errors=False) as child:
        ready = json.loads(printed(child))
        yield Proxy(f"http://127.0.0.1:{ready['port']}", child.pid, time.perf_counter() - began)


@contextmanager
def _burning() -> Iterator[None]:
    """20 ms of computing 50 times a second, with a worker's priority, in two processes that take turns as they can."""
    with process([sys.executable, "-c", CONTROL]):
        yield


def _wheel(folder: Path, version: str) -> Path:
    """A package that needs no index."""
    file = folder / f"customers_tool-{version}-py3-none-any.whl"
    if not file.exists():
        info = f"customers_tool-{version}.dist-info"
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("customers_tool.py", f"version = {version!r}\n")
            made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: customers-tool\nVersion: {version}\n")
            made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            made.writestr(f"{info}/RECORD", "")
    return file


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _private_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


if __name__ == "__main__":
    main()
