"""A route's target and its candidate under a number of clients at a time, through the proxy, in virtual time.

Each side is measured alone, with a policy that serves the route from it and from nothing else. Clients ask again as
soon as they are answered with 200, and after `PAUSE` when they are not: failures that come at once would leave the
virtual clock no timer to jump to. Only answers with 200 have a latency and are requests a minute. What is over
before `settle` has passed is not counted: a service that adds copies has done so by then.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends.base import Headers
from backends.emulator.config import EmulatorConfig
from backends.http.transport import HttpTransport, Outgoing, TransportError
from backends.tasks import start
from policies.load import load_policy
from policies.table import Route

from .loop import VirtualLoop
from .questions import Questions
from .replay import LARGEST, PATIENCE, Play, staged
from .standins import Pointed
from .tally import quantile

OK = 200
PAUSE = 1.0
"""Seconds, virtual, that a client waits after a call that failed."""
BEGINS = 1_783_296_000.0
"""Seconds since 1970 at which it begins: 2026-07-06, a Monday."""
NO_ANSWER = "no answer"
_OTHER = ("migrate", "split", "fallback", "last_resort", "when_cold", "warm", "expect")
"""What else decides where a route's requests go, or is about targets that it no longer has."""


@dataclass(frozen=True, slots=True)
class Row:
    """One target under one number of clients."""

    concurrency: int
    p95: float | None
    """Seconds; None when nothing was answered."""
    per_minute: float
    failures: Mapping[str, int]
    """How many calls failed, by status or `NO_ANSWER`."""
    copies: int
    """Copies of the stand-in at the end."""


@dataclass(frozen=True, slots=True)
class Load:
    """How it is measured. Seconds are virtual."""

    concurrency: tuple[int, ...]
    seconds: float
    settle: float
    seed: int = 0


def only(pointed: Pointed, route: Route, target: str) -> Pointed:
    """The policy that serves `route` from `target` and from nothing else."""
    document: dict[str, Any] = json.loads(pointed.text)
    block = document["endpoints"][route.endpoint]
    if route.component is not None:
        block = block["components"][route.component]
    for key in _OTHER:
        block.pop(key, None)
    block["serve_from"] = target
    document["endpoints"] = {route.endpoint: document["endpoints"][route.endpoint]}
    text = json.dumps(document)
    table = load_policy(text, {}, "policy.yaml", lambda name: pointed.files[name])
    return replace(pointed, text=text, table=table)


def measured(pointed: Pointed, stand_ins: EmulatorConfig, key: str, model: str, load: Load) -> tuple[Row, ...]:
    """A row for each concurrency, each from a fresh start. `model` is the stand-in that serves the route `key`."""
    stand_ins = stand_ins.model_copy(update={"seed": stand_ins.seed + load.seed})
    return tuple(
        _row(Play(pointed, stand_ins, {}, BEGINS, 0.0, load.seed), key, model, one, load) for one in load.concurrency
    )


def _row(play: Play, key: str, model: str, concurrency: int, load: Load) -> Row:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_pressed(play, key, model, concurrency, load))


async def _pressed(play: Play, key: str, model: str, concurrency: int, load: Load) -> Row:
    loop = asyncio.get_running_loop()
    async with staged(play, lambda _: None) as stage:
        route = next(route for route in stage.table.routes.values() if route.key == key)
        questions, transport = Questions(play.seed, 0.0), HttpTransport()
        url = f"http://127.0.0.1:{stage.port}"
        begin, seen, failures = loop.time() + load.settle, list[float](), Counter[str]()

        async def client() -> None:
            while True:
                asked = questions.next(route)
                sent = loop.time()
                status = await _status(transport, url + asked.path, asked.headers, asked.body)
                counts = loop.time() >= begin
                if status == OK and counts:
                    seen.append(loop.time() - sent)
                elif status != OK:
                    failures[NO_ANSWER if status is None else str(status)] += counts
                    await asyncio.sleep(PAUSE)

        clients = [start(client(), name="bench-client") for _ in range(concurrency)]
        try:
            await asyncio.sleep(load.settle + load.seconds)
            copies = len(stage.emulator.models[model].roster.copies())
        finally:
            for one in clients:
                one.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
            await transport.aclose()
    return Row(concurrency, quantile(sorted(seen), 0.95), len(seen) * 60 / load.seconds, +failures, copies)


async def _status(transport: HttpTransport, url: str, headers: Headers, body: bytes) -> int | None:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    try:
        answer = await transport.send(Outgoing("POST", url, headers, body), deadline=deadline, connect_timeout=5.0)
        try:
            await answer.read(LARGEST)
        finally:
            await answer.aclose()
    except TransportError:
        return None
    return answer.status


PUBLISHED: Mapping[int, tuple[float, float]] = {1: (7.2, 11), 4: (7.96, 41), 16: (9.35, 133), 32: (10.44, 232)}
"""Concurrency: P95 in seconds and requests a minute of ApexGuru (QWEN-2.5 13B) on an import, from one to three copies
of 1 custom model unit, as Salesforce published them (AWS Machine Learning blog; ZenML's LLMOps database)."""


def table(
    sides: Sequence[tuple[str, tuple[Row, ...]]], usd_per_hour: Mapping[str, float | None], *, published: bool
) -> list[tuple[str, ...]]:
    """Rows of text, heading first. `usd_per_hour`: of one copy, or of an instance's all, by target."""
    head = ["target", "concurrency", "P95", "requests/min", "copies", "failed", "USD/1000 requests"]
    rows = [tuple(head + (["published P95", "published/min", "P95 off", "rate off"] if published else []))]
    for number, (name, measured_rows) in enumerate(sides):
        for row in measured_rows:
            hourly = usd_per_hour[name]
            usd = hourly * row.copies / row.per_minute / 60 * 1000 if hourly is not None and row.per_minute else None
            p95 = "-" if row.p95 is None else f"{row.p95:.2f}s"
            cells = [
                name,
                f"{row.concurrency}",
                p95,
                f"{row.per_minute:.0f}",
                f"{row.copies}",
                f"{sum(row.failures.values())}",
            ]
            cells.append("-" if usd is None else f"{usd:.2f}")
            known = PUBLISHED.get(row.concurrency) if number == 1 else None
            if published and known is not None and row.p95 is not None:
                off = (row.p95 / known[0] - 1, row.per_minute / known[1] - 1)
                cells += [f"{known[0]:.2f}s", f"{known[1]:.0f}", *(f"{one:+.0%}" for one in off)]
            elif published:
                cells += ["-"] * 4
            rows.append(tuple(cells))
    return rows
