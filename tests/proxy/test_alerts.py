"""Alerts: one POST of JSON, tried a few times, and never in anyone's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backends.http.transport import HttpTransport
from policies.migration_state import Decision, Event
from proxy.alerts import AGAIN, TRIES, WAITING, Alerts

BREACHED = Decision(
    "apexguru", Event.BREACHED, 5.0, "controller", "errors: old 0.1 %, new 9 %", 0.25, 0.0, -1, 7, alert=True
)


class Hook:
    """A webhook that answers with these statuses, one after the other, and then with 200."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)
        self.bodies: list[bytes] = []
        self.waits: list[float] = []
        self.came = asyncio.Event()
        self.url = ""
        self.pauses = 1_000
        """So many waits are over at once; the one after these never is."""
        self.waited = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.bodies.append(await reader.readexactly(length))
        status = self.statuses.pop(0) if self.statuses else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        if not self.statuses:
            self.came.set()

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) > self.pauses:
            self.waited.set()
            await asyncio.Event().wait()


@asynccontextmanager
async def alerting(hook: Hook) -> AsyncIterator[Alerts]:
    server = await asyncio.start_server(hook.serve, "127.0.0.1", 0)
    hook.url = hook.url or f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    transport = HttpTransport()
    alerts = Alerts(transport, hook.url, asyncio.get_running_loop().time, hook.pause)
    running = asyncio.ensure_future(alerts.run())
    try:
        yield alerts
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await transport.aclose()
        server.close()
        await server.wait_closed()


async def test_a_decision_is_told_in_one_line() -> None:
    """With its parts beside, for machines."""
    hook = Hook()
    async with alerting(hook) as alerts:
        before = alerts.settled
        alerts.tell(BREACHED)
        assert (before, alerts.settled) == (True, False)
        await hook.came.wait()
    (body,) = map(json.loads, hook.bodies)
    assert body["text"] == BREACHED.summary
    assert "\n" not in body["text"]
    assert (body["migration"], body["event"], body["share_before"], body["share_after"]) == (
        "apexguru",
        "breached",
        0.25,
        0.0,
    )


async def test_an_address_that_is_busy_is_tried_again() -> None:
    """After longer and longer waits."""
    hook = Hook("503 Service Unavailable", "500 Internal Server Error", "200 OK")
    async with alerting(hook) as alerts:
        alerts.tell(BREACHED)
        await hook.came.wait()
    assert hook.waits == [AGAIN, 2 * AGAIN]
    assert len(set(hook.bodies)) == 1


async def test_an_alert_that_nobody_takes_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """And the next one is told all the same."""
    hook = Hook(*["404 Not Found"] * TRIES, "200 OK")
    async with alerting(hook) as alerts:
        alerts.tell(BREACHED)
        alerts.tell(BREACHED)
        await hook.came.wait()
    assert "an alert was not taken (HTTP 404): migration apexguru breached" in caplog.text
    assert len(hook.bodies) == TRIES + 1


async def test_an_address_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the alert, and why nobody took it."""
    hook = Hook()
    hook.url, hook.pauses = "http://127.0.0.1:1/hook", TRIES - 1
    async with alerting(hook) as alerts:
        alerts.tell(BREACHED)
        alerts.tell(BREACHED)
        await hook.waited.wait()  # the second one's first wait: the first one is over
        assert not alerts.settled
    assert caplog.text.count("an alert was not taken") == 1


async def test_too_many_are_dropped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """Telling never waits, whatever the address does."""
    transport = HttpTransport()
    alerts = Alerts(transport, "http://127.0.0.1:1/hook", lambda: 0.0, asyncio.sleep)
    for _ in range(WAITING + 1):
        alerts.tell(BREACHED)
    assert caplog.text.count("an alert was not sent") == 1
    await transport.aclose()
