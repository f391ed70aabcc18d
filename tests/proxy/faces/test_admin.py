"""The admin port: what operators read is free, what they write needs the token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backends.http.edge import ByteBudget, Listener
from policies.facts import FailureFacts, Fault
from proxy.faces.admin import LONGEST_BODY, Admin, State
from proxy.services import Services

from ..parts import POLICY, Scripted, TextSource, services


@asynccontextmanager
async def admin(
    token: str | None = "t", names: str | None = None, policy: str = POLICY
) -> AsyncIterator[tuple[int, State, Services]]:
    parts, state = await services(Scripted(), text=policy), State()
    face = Admin(parts, state, token, lambda: 7, names)
    listener = Listener(face.handle, face.malformed, ByteBudget(4096), drain=1.0)
    port = await listener.start("127.0.0.1", 0)
    try:
        yield port, state, parts
    finally:
        await listener.stop()
        parts.log.close()


async def ask(port: int, line: str, token: str | None = None, host: str = "h", body: bytes = b"") -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    writer.write((head + (f"Authorization: Bearer {token}\r\n" if token else "") + "\r\n").encode() + body)
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(raw.split(b" ", 2)[1]), raw.partition(b"\r\n\r\n")[2]


async def test_a_web_page_cannot_read_it() -> None:
    """A name of the internet that leads here by now is refused, whatever is asked, unless the operator gave it."""
    async with admin(names="metrics.internal") as (port, _, _):
        for line in ("GET /metrics", "GET /livez", "HEAD /metrics", "POST /admin/reload", "PUT /"):
            assert (await ask(port, line, "t", "evil.example:8081"))[0] == 421
        assert "--admin-names" in json.loads((await ask(port, "GET /readyz", None, "evil.example"))[1])["error"]
        for host in ("127.0.0.1:8081", "localhost", "pointsman:8081", "metrics.internal:8081"):
            assert (await ask(port, "GET /metrics", None, host))[0] == 200


@pytest.mark.parametrize(("size", "status"), [(LONGEST_BODY + 1, 413), (4097, 429), (4096, 401)])
async def test_a_long_body_is_refused_and_no_bug_of_ours(
    size: int, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond what is read, and beyond what there is room for: no traceback for whoever on the machine sends one."""
    async with admin() as (port, _, _):
        assert (await ask(port, "POST /admin/reload", "wrong", body=b"x" * size))[0] == status
    assert caplog.records == []


async def test_live_and_ready_are_told_apart() -> None:
    """A draining process lives on but takes no new traffic."""
    async with admin() as (port, state, _):
        assert (await ask(port, "GET /livez"))[0] == 200
        assert (await ask(port, "GET /readyz"))[0] == 200
        state.draining = True
        assert (await ask(port, "GET /livez"))[0] == 200
        status, body = await ask(port, "GET /readyz")
    assert (status, json.loads(body)["draining"]) == (503, True)


async def test_metrics_are_in_prometheus_form() -> None:
    """Scrapers get text with the process's own gauges."""
    async with admin() as (port, state, _):
        state.loop_lag = 0.25
        status, body = await ask(port, "GET /metrics?name=x")
    assert status == 200
    assert b"pointsman_event_loop_lag_seconds 0.25" in body
    assert b"# TYPE pointsman_invocations_total counter" in body


async def test_a_handler_that_can_not_be_loaded_is_stale() -> None:
    """An old one goes on, which nobody would notice otherwise."""
    async with admin() as (port, _, parts):
        assert b"pointsman_handler_stale 0.0" in (await ask(port, "GET /metrics"))[1]
        parts.handlers.problem = "endpoints.chat.handler: ValueError"
        assert b"pointsman_handler_stale 1.0" in (await ask(port, "GET /metrics"))[1]


async def test_the_policy_in_force_can_be_read() -> None:
    """Routes with their targets, in order, and what is in flight."""
    text = POLICY.replace("retry: {attempts: 1}", "last_resort: second")
    async with admin(policy=text) as (port, _, parts):
        _, body = await ask(port, "GET /admin/policy")
    told = json.loads(body)
    assert (told["policy"], told["in_flight"]) == (parts.policy.current.label, 7)
    assert told["routes"][0]["fallback"] == ["second"]
    assert [route["last_resort"] for route in told["routes"]] == [None, "second", None, None]


@pytest.mark.parametrize(
    ("token", "given", "status"), [(None, "t", 403), ("t", None, 401), ("t", "wrong", 401), ("t", "t", 200)]
)
async def test_a_reload_needs_the_token(token: str | None, given: str | None, status: int) -> None:
    """Without a token writes are off; with one it must be given exactly."""
    async with admin(token) as (port, _, _):
        assert (await ask(port, "POST /admin/reload", given))[0] == status


async def test_a_reload_that_fails_says_why() -> None:
    """409, the policy that stays, and the whole report."""
    async with admin() as (port, _, parts):
        source = parts.policy._source
        assert isinstance(source, TextSource)
        source.text = POLICY + "surprise: 1\n"
        status, body = await ask(port, "POST /admin/reload", "t")
    told = json.loads(body)
    assert (status, "surprise" in told["problem"], told["policy"]) == (409, True, parts.policy.current.label)


@pytest.mark.parametrize(("line", "status"), [("GET /", 404), ("POST /admin/x", 404), ("DELETE /livez", 405)])
async def test_anything_else_says_what_there_is(line: str, status: int) -> None:
    """An operator's typo is answered with the way on."""
    async with admin() as (port, _, _):
        found, body = await ask(port, line, "t")
    assert (found, "error" in json.loads(body)) == (status, True)


async def test_breakers_are_shown_and_reset_with_the_token() -> None:
    """An ejected target is seen in the list and in the metrics, and an operator can bring it back."""
    down = FailureFacts(Fault.NETWORK, retry_safe=True)
    async with admin() as (port, _, parts):
        target = parts.policy.current.table.targets["first"]
        for _ in range(5):
            parts.book.begin(target, 0)
            parts.book.end(target, 0, down, 1e6)
        status, body = await ask(port, "GET /admin/breakers")
        assert (status, json.loads(body)) == (
            200,
            {"breakers": [{"target": "first", "replica": 0, "state": "open"}]},
        )
        assert b'pointsman_breaker_state{target="first",replica="0"} 2' in (await ask(port, "GET /metrics"))[1]
        assert (await ask(port, "POST /admin/breakers/first/reset"))[0] == 401
        assert (await ask(port, "POST /admin/breakers/nobody/reset", "t"))[0] == 404
        status, body = await ask(port, "POST /admin/breakers/first/reset", "t")
        assert (status, json.loads(body)["breakers"][0]["state"]) == (200, "closed")


async def test_limits_are_shown() -> None:
    """In the list and in the metrics, as they are at this moment."""
    async with admin() as (port, _, parts):
        target = parts.policy.current.table.targets["first"]
        assert parts.gates.enter(target)
        row = {"target": "first", "limit": 256, "in_flight": 1, "waiting": 0}
        assert json.loads((await ask(port, "GET /admin/limits"))[1]) == {"limits": [row]}
        page = (await ask(port, "GET /metrics"))[1].decode()
        for name, value in (("limit", 256), ("least_limit", 256), ("in_flight", 1), ("waiting", 0)):
            assert f'pointsman_target_{name}{{target="first"}} {value}\n' in page
        parts.gates.leave(target)
        assert b'pointsman_target_in_flight{target="first"} 0\n' in (await ask(port, "GET /metrics"))[1]


async def test_temperatures_are_shown() -> None:
    """Of each target that may be cold: its state, for how long, what a restore takes, and who waits."""
    async with admin() as (port, _, parts):
        target = parts.policy.current.table.targets["first"]
        assert json.loads((await ask(port, "GET /admin/temperatures"))[1]) == {"temperatures": []}
        parts.temperatures.met_cold(target, parts.now())
        (shown,) = json.loads((await ask(port, "GET /admin/temperatures"))[1])["temperatures"]
        assert (shown["target"], shown["state"], shown["waiting"], shown["copies"]) == ("first", "cold", 0, None)
        keys = ("restore_median", "restore_p90", "restore_assumed", "restores_measured")
        assert [shown[key] for key in keys] == [None, None, 300.0, 0]
        assert shown["cold_for"] >= 0
        assert b'pointsman_target_temperature{target="first"} 4' in (await ask(port, "GET /metrics"))[1]
        parts.temperatures.answered(target, parts.now() + 60.0, parts.now() + 60.0)
        (shown,) = json.loads((await ask(port, "GET /admin/temperatures"))[1])["temperatures"]
        assert shown["restore_p90"] >= shown["restore_median"] >= 60.0
        assert (shown["restore_assumed"], shown["restores_measured"]) == (None, 1)


async def test_running_tasks_are_listed_by_name() -> None:
    """What leaks shows as a name whose count grows; the asker's own connections are among them."""
    async with admin() as (port, _, _):
        status, body = await ask(port, "GET /admin/tasks")
    assert status == 200
    assert json.loads(body)["tasks"]["Connection.start"] == 1
