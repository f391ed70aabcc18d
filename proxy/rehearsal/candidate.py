"""A route's target and its candidate under a number of clients at a time, through the proxy, in virtual time.

Each side is measured alone, with a policy that serves the route from it and from nothing else, from a fresh start for
each number of clients.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from backends.emulator.config import EmulatorConfig
from backends.http.transport import HttpTransport, Outgoing
from policies.load import load_policy
from policies.table import Route

from .candidate_table import Row
from .loop import VirtualLoop
from .pressing import Load, Pressed, press
from .questions import Questions
from .replay import Play, staged
from .standins import Pointed

BEGINS = 1_783_296_000.0
"""Seconds since 1970 at which it begins: 2026-07-06, a Monday."""
_OTHER = ("migrate", "split", "fallback", "last_resort", "when_cold", "warm", "expect", "hedge")
"""What else decides where a route's requests go, or is about targets that it no longer has."""


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


def measured(pointed: Pointed, stand_ins: EmulatorConfig, key: str, model: str, load: Load) -> Iterator[Row]:
    """A row for each concurrency, each from a fresh start. `model` is the stand-in that serves the route `key`."""
    stand_ins = stand_ins.model_copy(update={"seed": stand_ins.seed + load.seed})
    for one in load.concurrency:
        yield _row(Play(pointed, stand_ins, {}, BEGINS, 0.0, load.seed), key, model, one, load)


def _row(play: Play, key: str, model: str, concurrency: int, load: Load) -> Row:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_pressed(play, key, model, concurrency, load))


async def _pressed(play: Play, key: str, model: str, concurrency: int, load: Load) -> Row:
    loop = asyncio.get_running_loop()
    async with staged(play, lambda _: None) as stage:
        route = next(route for route in stage.table.routes.values() if route.key == key)
        questions, transport = Questions(play.seed, 0.0), HttpTransport()
        pressed = Pressed(concurrency)

        def ask() -> Outgoing:
            asked = questions.next(route)
            return Outgoing("POST", f"http://127.0.0.1:{stage.port}{asked.path}", asked.headers, asked.body)

        try:
            await press(transport, ask, load, pressed)
            return pressed.row(loop.time(), len(stage.emulator.models[model].roster.copies()))
        finally:
            await transport.aclose()
