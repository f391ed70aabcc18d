"""Random callers, restores and failures at a cold target: what holds whatever happens."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Call, Reply
from backends.errors import BackendError
from policies.choose import Attempt
from policies.facts import FailureFacts, Fault
from policies.table import Target
from policies.temperature import Warmth
from proxy import cold

from .parts import Held
from .test_cold import World, world

COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)
BROKEN = FailureFacts(Fault.NETWORK, retry_safe=True)

ASKS = [("ask", endpoint) for endpoint in ("spills", "holds", "fails", "nowhere")]
ENDS = [(who, how) for who in ("probe", "caller") for how in ("ready", "cold", "broken")]
WAITS = [("wait", seconds) for seconds in ("1", "70", "400")]
EVENTS = st.lists(st.sampled_from([*ASKS, *ASKS, *ENDS, *WAITS]), min_size=6, max_size=30)


class Watched(Held):
    """Answers a probe with what it is told next, and knows how many are out at a time."""

    def __init__(self) -> None:
        super().__init__(Reply(body=b"{}"))
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.out: dict[str, int] = {}
        self.most = 0

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.out[target.name] = self.out.get(target.name, 0) + 1
        self.most = max(self.most, self.out[target.name])
        try:
            match await self.told.get():
                case "cold":
                    raise BackendError(COLD, target, "scripted")
                case "broken":
                    raise BackendError(BROKEN, target, "scripted")
                case _:
                    return self.answer
        finally:
            self.out[target.name] -= 1


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


async def caller(made: World, endpoint: str, sent: list[tuple[str, bool]]) -> None:
    """One request: where it may go, with whether that target was known to be cold then."""
    names = await made.passed(endpoint, deadline=100.0)
    target = made.target(names[0])
    proven = made.temperatures.warmth(target, made.now) in cold.NOT_LOADED and made.temperatures.proven(target)
    sent.append((names[0], proven))


def typed(end: BaseException | None) -> bool:
    """Whether a caller was sent on, went away, or was told in the right words when to come again."""
    if isinstance(end, BackendError):
        return end.facts.cold and (end.facts.retry_after or 0.0) >= 1.0
    return end is None or isinstance(end, asyncio.CancelledError)


def happened(made: World, what: str) -> None:
    """A caller's own request to the import ended like that."""
    imported = made.target("imported")
    made.temperatures.sent(imported, made.now)
    if what == "ready":
        made.temperatures.answered(imported, made.now, made.now)
        return
    error = BackendError(COLD if what == "cold" else BROKEN, imported, "scripted")
    cold.refused(Attempt(imported), error, made.now, made.now, made.services)


async def played(events: list[tuple[str, str]]) -> None:
    backend = Watched()
    async with world(backend) as made:
        callers: list[asyncio.Task[None]] = []
        sent: list[tuple[str, bool]] = []
        happened(made, "cold")
        for what, how in events:
            match what:
                case "ask":
                    callers.append(asyncio.ensure_future(caller(made, how, sent)))
                case "probe":
                    backend.told.put_nowait(how)
                case "caller":
                    happened(made, how)
                case _:
                    made.now += float(how)
            await settle()
            assert backend.most <= 1
            seen = {one.target: one.waiting for one in made.temperatures.seen(made.now)}
            assert seen["imported"] <= made.target("imported").limit.queue
        for one in callers:
            one.cancel()
        assert all(map(typed, await asyncio.gather(*callers, return_exceptions=True)))
        assert not any(proven for _, proven in sent)
        assert {name for name, _ in sent} <= {"imported", "warm", "silent"}
        assert not any(seen.waiting for seen in made.temperatures.seen(made.now))
        if made.temperatures.warmth(made.target("imported"), made.now) is Warmth.READY:
            assert "imported" in await made.passed("holds")


@settings(deadline=None, max_examples=40)
@given(EVENTS)
def test_whatever_happens(events: list[tuple[str, str]]) -> None:
    """One probe at a time; nobody is sent to a target that is proven cold, waits without bound, or fails untyped."""
    asyncio.run(played(events))
