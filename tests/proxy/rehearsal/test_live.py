"""The candidate's table for real: a proxy of our own on loopback, in front of targets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backends.emulator.config import load_config
from backends.emulator.server import Emulator
from backends.tasks import start
from proxy.rehearsal.candidate import only
from proxy.rehearsal.candidate_table import Row
from proxy.rehearsal.live import as_written, measure, proxied
from proxy.rehearsal.pressing import Load, Pressed
from proxy.wiring import static_credentials

KEYS = ("AKIDEMULATOREXAMPLE", "emulator-secret-not-a-secret")
STAND_INS = f"""\
apiVersion: pointsman-emulator/v1
credentials: [{{access_key_id: {KEYS[0]}, secret_access_key: {KEYS[1]}}}]
models:
  old: {{kind: endpoint, dialect: openai-chat}}
  new: {{kind: endpoint, dialect: openai-chat}}
"""
POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  old: {kind: endpoint, endpoint: old, region: us-east-1, speaks: openai-chat, url: "${WHERE}"}
  new: {kind: endpoint, endpoint: new, region: us-east-1, speaks: openai-chat, url: "${WHERE}"}
endpoints:
  chat: {clients_speak: openai-chat, serve_from: old, fallback: [new]}
"""


def unread(name: str) -> str:
    raise FileNotFoundError(name)


@asynccontextmanager
async def targets() -> AsyncIterator[str]:
    """Both targets; where they are."""
    emulator = Emulator(load_config(STAND_INS, "emulator.yaml"))
    port = await emulator.start("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await emulator.stop()


async def test_each_side_is_asked_through_a_proxy_of_its_own() -> None:
    """As many calls as are allowed, all answered, and by the side that was meant."""
    async with targets() as where:
        policy = as_written(POLICY, "policy.yaml", {"WHERE": where}, unread)
        (route,) = policy.table.routes.values()
        for name in ("old", "new"):
            rows: list[Row] = []
            async with proxied(only(policy, route, name), "policy.yaml", {}, static_credentials(*KEYS)) as url:
                await measure(url, route, Load((1, 3), 600.0, 0.0, calls=12), rows, lambda *_: None)
            assert [row.concurrency for row in rows] == [1, 3]
            assert [(dict(row.served), row.failures, row.copies) for row in rows] == [({name: 12}, {}, None)] * 2
            assert all(row.p95 is not None and row.p95 > 0 for row in rows)


async def test_the_body_and_the_callers_headers_are_sent() -> None:
    """What every request holds, and what a proxy asks of callers: here it refuses a body that is no JSON."""
    async with targets() as where:
        policy = as_written(POLICY, "policy.yaml", {"WHERE": where}, unread)
        (route,) = policy.table.routes.values()
        rows: list[Row] = []
        async with proxied(only(policy, route, "old"), "policy.yaml", {}, static_credentials(*KEYS)) as url:
            load = Load((1,), 600.0, 0.0, calls=1)
            await measure(url, route, load, rows, lambda *_: None, b"no json", (("Authorization", "Bearer x"),))
    assert sum(rows[0].failures.values()) == 1


async def test_what_was_measured_stays_when_it_is_stopped() -> None:
    """The row that was under way as well, marked as stopped; a row without any answer is none."""
    rows: list[Row] = []
    answered = asyncio.Event()

    def tell(pressed: Pressed, left: float) -> None:
        if pressed.concurrency == 2 and pressed.seen:
            answered.set()

    async with targets() as where:
        policy = as_written(POLICY, "policy.yaml", {"WHERE": where}, unread)
        (route,) = policy.table.routes.values()
        async with proxied(only(policy, route, "old"), "policy.yaml", {}, static_credentials(*KEYS)) as url:
            first = measure(url, route, Load((1,), 600.0, 0.0, calls=3), rows, tell)
            await first
            both = start(measure(url, route, Load((2,), 600.0, 0.0), rows, tell), name="measured")
            await answered.wait()
            both.cancel()
            with pytest.raises(asyncio.CancelledError):
                await both
    assert [(row.concurrency, row.whole) for row in rows] == [(1, True), (2, False)]
