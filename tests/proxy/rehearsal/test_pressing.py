"""A closed loop of clients: so many at a time, bounded, and honest about what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from backends.base import Headers
from backends.http.transport import Outgoing, TransportError
from proxy.rehearsal.candidate_table import NO_ANSWER
from proxy.rehearsal.loop import VirtualLoop
from proxy.rehearsal.pressing import PAUSE, Load, Pressed, press


class Answer:
    """What one call gets."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: Headers = ()

    def header(self, name: str) -> str | None:
        return "new" if name == "x-pointsman-target" else None

    def at_hand(self, limit: int) -> bytes | None:
        return b""

    async def read(self, limit: int) -> bytes:
        return b""

    def chunks(self) -> Iterator[bytes]:
        return iter(())

    async def aclose(self) -> None:
        return


class Service:
    """Answers after a second, with these statuses in turn; 0 breaks the connection."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = statuses
        self.calls = 0
        self.most = 0
        self._now = 0

    async def send(self, request: Outgoing, *, deadline: float, connect_timeout: float) -> Answer:
        status = self.statuses[self.calls % len(self.statuses)]
        self.calls += 1
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(1.0)
        self._now -= 1
        if not status:
            message = "broken"
            raise TransportError(message, sent=True)
        return Answer(status)


def pressed(service: Service, concurrency: int, load: Load) -> tuple[Pressed, float]:
    """What came of it, and when it ended, in seconds after its start."""

    async def whole() -> tuple[Pressed, float]:
        loop = asyncio.get_running_loop()
        began, seen = loop.time(), Pressed(concurrency)
        await press(service, lambda: Outgoing("POST", "http://x/", (), b""), load, seen)  # type: ignore[arg-type]  # as far as it is used
        return seen, loop.time() - began

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(whole())


def test_so_many_at_a_time_and_no_more() -> None:
    """Three clients, each with a call at all times; what is over while it settles is not counted."""
    service = Service(200)
    seen, took = pressed(service, 3, Load((3,), 60.5, 10.5))
    assert service.most == 3
    assert took == pytest.approx(71.0)
    row = seen.row(0.0, 2)
    assert row.p95 == pytest.approx(1.0)
    assert (row.copies, row.failures, row.whole) == (2, {}, True)
    assert row.per_minute == pytest.approx(180, rel=0.02)
    assert dict(row.served) == {"new": len(seen.seen)}
    assert dict(row.before) == {"200": 3 * 10}


def test_what_fails_is_counted_and_pauses() -> None:
    """By status or as no answer; none has a latency, and each costs the client a pause."""
    seen, _ = pressed(Service(200, 503, 0), 1, Load((1,), 60.5, 0.0))
    turn = 3 * 1.0 + 2 * PAUSE
    assert len(seen.seen) == pytest.approx(60.5 / turn, abs=1)
    assert set(seen.failures) == {"503", NO_ANSWER}
    early, _ = pressed(Service(200, 503, 0), 1, Load((1,), 60.5, 100.0, calls=4))
    assert (early.seen, +early.failures, early.before) == ([], {}, {"200": 2, "503": 1, NO_ANSWER: 1})


def test_calls_are_bounded() -> None:
    """It ends with the last of them, and the rate is that of the time it took."""
    service = Service(200)
    seen, took = pressed(service, 2, Load((2,), 3600.0, 0.0, calls=10))
    assert service.calls == 10
    assert took == pytest.approx(5.0)
    assert seen.row(0.0, None).per_minute == pytest.approx(120)


def test_a_row_of_what_there_is_so_far() -> None:
    """Before it is over, and before anything was counted."""
    seen = Pressed(4, begin=100.0)
    seen.seen += [1.0, 2.0]
    row = seen.row(130.0, None, whole=False)
    assert (row.concurrency, row.per_minute, row.seconds, row.whole) == (4, 4.0, 30.0, False)
    assert Pressed(4, begin=100.0).row(90.0, None).per_minute == 0.0
