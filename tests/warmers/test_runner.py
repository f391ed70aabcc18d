"""The warmer against the stand-in of Bedrock in virtual time: what stays warm, what does not, what it says of it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from backends.base import Call, Reply
from backends.book import named_place
from backends.state import StoreError
from backends.state.sqlite import SqliteStore
from policies.table import EndpointSpec, Target, VllmSpec
from tests.memory import MemoryStore, broken_once
from warmers.idle import IdleLimit, Seen
from warmers.lease import Duty
from warmers.memory import Memory, document, read, write
from warmers.runner import Warmed, Warmer

from .world import World, frozen, imported, route_to

HOUR = 3600.0
MINUTE = 60.0


async def live(world: World, warmer: Warmer, seconds: float) -> list[Warmed]:
    """Let the warmer work for so long in virtual time."""
    end = world.clock.now() + seconds
    found: list[Warmed] = []
    while world.clock.now() < end:
        done, wake = await warmer.round()
        found += done
        world.clock.advance(max(0.0, min(wake, end) - world.clock.now()))
    return found


async def test_every_14_minutes_keeps_warm_what_goes_cold_after_15() -> None:
    """Over four hours every warm-up meets it warm, none is wasted, and the limit is known to be 14 minutes at least."""
    async with imported(lambda target: route_to(target, every=14 * MINUTE)) as (world, model):
        found = await live(world, Warmer(world.parts), 4 * HOUR)
        assert {one.met for one in found} == {"warm"}
        assert len(found) == 18
        assert model.ledger.report()["calls"] == 18
        assert model.roster.state() == "ready"
        assert all(one.advice is None for one in found)
        assert 'pointsman_warm_pings_total{target="imported",met="warm"} 18' in world.rendered
        assert 'pointsman_warm_idle_limit_seconds{target="imported",bound="at_least"} 840' in world.rendered


async def test_every_20_minutes_does_not_and_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Each warm-up meets it cold, waits until it is back, and names the interval that would do."""
    with caplog.at_level(logging.WARNING, "pointsman.warm"):
        async with imported(lambda target: route_to(target, every=20 * MINUTE)) as (world, model):
            found = await live(world, Warmer(world.parts), 2 * HOUR)
            assert {one.met for one in found[1:]} == {"cold"}
            assert all(one.answered == 1 and 60 <= one.seconds < 70 for one in found[1:])
            assert model.ledger.report()["calls"] == len(found)
            assert 'pointsman_warm_idle_limit_seconds{target="imported",bound="at_most"} 1200' in world.rendered
    advice = found[-1].advice or ""
    assert "every 20m do not keep imported warm: it was cold after 20m without use (5 of 5 warm-ups after" in advice
    assert "`every: 14m` would" in advice
    assert "103 instead of 72 billing windows a day" in advice
    said = [record.message for record in caplog.records if record.name == "pointsman.warm"]
    assert said == [found[1].advice]


async def test_traffic_suppresses_warm_ups() -> None:
    """A model that is used every ten minutes gets none; the first is due an interval after the last use."""
    async with imported(lambda target: route_to(target)) as (world, model):
        target, warmer = world.route.warm[0].target, Warmer(world.parts)
        for _ in range(12):
            world.book.begin(target, 0)
            world.book.answered(target, 0, world.clock.now())
            world.book.end(target, 0, None, world.clock.now())
            assert (await warmer.round())[0] == ()
            world.clock.advance(10 * MINUTE)
        assert model.ledger.report()["calls"] == 0
        world.clock.advance(4 * MINUTE)
        ((one,), _) = await warmer.round()
        assert one.gap == 14 * MINUTE


async def test_overlapping_warm_ups_reach_that_many_copies() -> None:
    """Three at the same time, where a copy takes one at a time: each copy has had one, and no fourth is sent."""
    copies = {"min": 3, "max": 3, "concurrency": 1}
    latency = {"first_byte": 1}
    async with imported(lambda target: route_to(target, copies=3), copies=copies, latency=latency) as (world, model):
        began = world.clock.now()
        round_ = asyncio.ensure_future(Warmer(world.parts).round())
        while sum(copy.in_flight for copy in model.roster.copies()) < 3:  # noqa: ASYNC110 - the stand-in rings no bell
            await asyncio.sleep(0)
        while not round_.done():
            world.clock.advance(1.0)
            await asyncio.sleep(0)
        ((one,), wake) = await round_
        assert (one.sent, one.answered, one.met) == (3, 3, "warm")
        assert {name: copy["calls"] for name, copy in model.ledger.report()["copies"].items()} == {
            "copy-1": 1,
            "copy-2": 1,
            "copy-3": 1,
        }
        assert began + 14 * MINUTE < wake <= world.clock.now() + 14 * MINUTE


async def test_one_request_of_traffic_is_no_proof_of_three_copies() -> None:
    """Traffic suppresses the warm-ups of several copies only when it has kept so many busy at a time."""
    copies = {"min": 3, "max": 3, "concurrency": 1}
    async with imported(lambda target: route_to(target, copies=3), copies=copies) as (world, _):
        target = world.route.warm[0].target
        world.book.begin(target, 0)
        world.book.answered(target, 0, world.clock.now())
        world.book.end(target, 0, None, world.clock.now())
        assert len((await Warmer(world.parts).round())[0]) == 1


async def test_nothing_is_sent_outside_the_hours() -> None:
    """Ten in the morning in New York is no time for hours that begin at noon; at noon it is."""
    hours = "Fri 12:00-13:00 America/New_York"
    async with imported(lambda target: route_to(target, hours=hours)) as (world, model):
        found, wake = await Warmer(world.parts).round()
        assert (found, wake - world.clock.now()) == ((), 2 * HOUR)
        found = tuple(await live(world, Warmer(world.parts), 12 * HOUR))
        assert len(found) == 5
        assert model.roster.state() == "cold"


async def test_log_line_span_and_metrics_are_its_own() -> None:
    """A warm-up is told as such, in the name of its route, and is in no metric of requests."""
    async with imported(lambda target: route_to(target)) as (world, _):
        await Warmer(world.parts).once()
        (outcome,) = world.told
        assert (outcome.operation, outcome.endpoint, outcome.owner, outcome.status) == ("Warm", "chat", "us", 200)
        assert (outcome.ended, outcome.policy, outcome.why) == ("done", "d/1", "warm-up of imported")
        assert outcome.usage is not None
        assert outcome.usage.completion_tokens == 1
        assert world.trace.attempts == [("imported", 1, 0)]
        assert world.trace.finished == [outcome]
        assert "pointsman_invocations_total{" not in world.rendered


class Answering:
    """A backend of which a test says what it does."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, int]] = []
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        self.calls.append((target.name, replica))
        self.entered.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return Reply(body=b"{}")


ENDPOINT = Target("dedicated", "endpoint", EndpointSpec("dedicated"), speaks="openai-chat")


async def test_every_replica_is_warmed() -> None:
    """Replicas are addressed one by one, since we choose between them ourselves."""
    backend = Answering()
    target = Target("engine", "vllm", VllmSpec(("http://a", "http://b"), "m"), speaks="openai-chat")
    world = World(route_to(target), {"vllm": backend}, frozen())
    (one,) = await Warmer(world.parts).once()
    assert (one.sent, one.answered) == (2, 2)
    assert sorted(backend.calls) == [("engine", 0), ("engine", 1)]


async def test_failure_is_tried_again_after_a_minute_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Even a bug in a backend leaves the warmer running; the target is not asked again at once."""
    backend = Answering(RuntimeError("a bug"))
    world = World(route_to(ENDPOINT), {"endpoint": backend}, frozen())
    warmer = Warmer(world.parts)
    ((one,), wake) = await warmer.round()
    assert (one.met, one.answered, one.failure) == ("failed", 0, "RuntimeError")
    assert wake == world.clock.now() + 60.0
    world.clock.advance(59.0)
    assert (await warmer.round())[0] == ()
    world.clock.advance(1.0)
    backend.error = None
    ((two,), _) = await warmer.round()
    assert two.met == "warm"
    assert 'met="failed"} 1' in world.rendered
    assert "a bug" in caplog.text


async def test_run_goes_on_until_cancelled_and_gives_up_what_is_under_way() -> None:
    """A target that takes long is not asked twice meanwhile, and no task is left behind."""
    backend = Answering()
    backend.go_on.clear()
    world = World(route_to(ENDPOINT), {"endpoint": backend}, frozen())
    looks = 0
    enough = asyncio.Event()

    async def pause(seconds: float) -> None:
        nonlocal looks
        looks += 1
        assert 0 < seconds <= 10.01
        world.clock.advance(HOUR)
        if looks > 20:
            enough.set()
        await asyncio.sleep(0)

    warmer = Warmer(replace(world.parts, pause=pause))
    task = asyncio.ensure_future(warmer.run())
    await enough.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert backend.calls == [("dedicated", 0)]
    assert {one.get_name() for one in asyncio.all_tasks()} & {"warm-dedicated"} == set()
    assert world.book.views([ENDPOINT])["dedicated"][0].in_flight == 0


async def test_a_look_that_breaks_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the shared state gives, even what no store may: it is said, and the next look warms what is due."""
    backend = Answering()
    world = World(route_to(ENDPOINT), {"endpoint": backend}, frozen())

    async def pause(seconds: float) -> None:
        world.clock.advance(seconds)
        if backend.calls:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    store = MemoryStore(broken_once())
    with pytest.raises(asyncio.CancelledError):
        await Warmer(replace(world.parts, pause=pause), store, Duty(store, "a", world.clock.now)).run()
    assert "no answer of a store" in caplog.text
    assert backend.calls == [("dedicated", 0)]


async def fleet(world: World, path: Path, holder: str) -> tuple[Warmer, SqliteStore]:
    store = SqliteStore(path)
    return Warmer(world.parts, store, Duty(store, holder, world.clock.now)), store


async def test_one_of_a_fleet_warms_and_its_successor_goes_on_where_it_left_off(tmp_path: Path) -> None:
    """The second sends nothing while the first is on duty, and after its end nothing before it is due again."""
    backend = Answering()
    clock = frozen()
    worlds = [World(route_to(ENDPOINT), {"endpoint": backend}, clock) for _ in range(2)]
    first, store = await fleet(worlds[0], tmp_path / "state.db", "a")
    second, other = await fleet(worlds[1], tmp_path / "state.db", "b")
    assert len((await first.round())[0]) == 1
    assert (await second.round())[0] == ()
    assert (first.on_duty, second.on_duty) == (True, False)
    clock.advance(20.0)  # the first is silent: its lease has run out
    assert (await second.round())[0] == ()
    assert second.on_duty
    clock.advance(10.0)
    assert (await first.round())[0] == ()
    assert not first.on_duty
    clock.advance(14 * MINUTE - 30.0)
    ((one,), _) = await second.round()
    assert (one.gap, one.doubled) == (14 * MINUTE, False)
    assert len(backend.calls) == 2
    await store.aclose()
    await other.aclose()


async def test_warm_up_that_its_sender_did_not_end_is_sent_once_more_and_counted(tmp_path: Path) -> None:
    """The successor can't know whether it arrived: one doubles per takeover, and the record says so."""
    backend = Answering()
    world = World(route_to(ENDPOINT), {"endpoint": backend}, frozen())
    warmer, store = await fleet(world, tmp_path / "state.db", "b")
    await store.write(document("dedicated"), write(Memory(begun=world.clock.now() - 5.0, open=True)), 0)
    (one,) = await warmer.once()
    assert one.doubled
    memory = read(await store.read(document("dedicated")))
    assert (memory.doubled, memory.open, memory.ended) == (1, False, world.clock.now())
    assert "repeats one that was cut off" in world.told[0].why
    again, other = await fleet(world, tmp_path / "state.db", "c")
    assert await again.once() == ()
    for each in (store, other):
        await each.aclose()


async def test_who_warms_once_leaves_the_duty_to_others(tmp_path: Path) -> None:
    """`warm run --once` is over: nobody has to wait until its lease has run out."""
    world = World(route_to(ENDPOINT), {"endpoint": Answering()}, frozen())
    warmer, store = await fleet(world, tmp_path / "state.db", "a")
    assert len(await warmer.once()) == 1
    other, theirs = await fleet(world, tmp_path / "state.db", "b")
    await other.round()
    assert other.on_duty
    for each in (store, theirs):
        await each.aclose()


async def test_sender_that_was_overtaken_sends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process that slept through its lease finds its announcement refused, before the warm-up goes out."""
    backend = Answering()
    world = World(route_to(ENDPOINT), {"endpoint": backend}, frozen())
    warmer, store = await fleet(world, tmp_path / "state.db", "a")
    await store.write(document("dedicated"), write(Memory()), 1 << 40)
    assert await warmer.once() == ()
    assert backend.calls == []
    assert "has taken over" in caplog.text
    await store.aclose()


class Cut(MemoryStore):
    """A store that gives a lease and then can't be reached."""

    async def read(self, name: str) -> bytes | None:
        raise StoreError("cut off")

    async def write(self, name: str, value: bytes, token: int) -> bool:
        raise StoreError("cut off")


async def test_store_that_is_lost_stops_no_warm_up_of_the_holder() -> None:
    """As long as the lease holds nobody else can be on duty, so it is sent; only its record is lost."""
    backend = Answering()
    world = World(route_to(ENDPOINT), {"endpoint": backend}, frozen())
    store = Cut()
    (one,) = await Warmer(world.parts, store, Duty(store, "a", world.clock.now)).once()
    assert one.met == "warm"
    await store.aclose()


MOVED = replace(ENDPOINT, spec=EndpointSpec("another"))
"""What a newer policy calls by the same name."""


async def test_target_that_a_reload_moves_is_warmed_at_once() -> None:
    """That its name was warmed a second ago, or could not be, says nothing of where it is now."""
    backend = Answering()
    now, then = (World(route_to(target), {"endpoint": backend}, frozen()) for target in (ENDPOINT, MOVED))
    tables = [now.parts.table()]
    now.book.keep([ENDPOINT])
    warmer = Warmer(replace(now.parts, table=lambda: tables[-1]))
    assert len((await warmer.round())[0]) == 1
    tables.append(then.parts.table())
    now.book.keep([MOVED])
    backend.error = RuntimeError("no")
    ((failed,), _) = await warmer.round()
    assert (failed.met, failed.gap) == ("failed", None)
    tables.append(tables[0])
    now.book.keep([ENDPOINT])
    backend.error = None
    assert await warmer.round() == ((), now.clock.now() + 14 * MINUTE)


async def test_what_a_predecessor_did_at_another_place_is_nothing(tmp_path: Path) -> None:
    """Its record is of where the name was under the policy before; the record of the new place takes its room."""
    world = World(route_to(MOVED), {"endpoint": Answering()}, frozen())
    warmer, store = await fleet(world, tmp_path / "state.db", "b")
    there = Memory(world.clock.now() - 5.0, world.clock.now() - 4.0, open=True, at=named_place(ENDPOINT))
    await store.write(document("dedicated"), write(there), 0)
    (one,) = await warmer.once()
    assert (one.gap, one.doubled) == (None, False)
    assert read(await store.read(document("dedicated"))).at == named_place(MOVED)
    await store.aclose()


async def test_nothing_to_warm() -> None:
    """A policy without warm targets is looked at, and that is all."""
    route = replace(route_to(ENDPOINT), warm=())
    world = World(route, {}, frozen())
    assert await Warmer(world.parts).round() == ((), inf)


async def test_what_a_predecessor_has_measured_counts(tmp_path: Path) -> None:
    """An interval that was seen to hold is proposed before one that others report; billing windows are Bedrock's."""
    world = World(route_to(ENDPOINT, every=20 * MINUTE), {"endpoint": Answering()}, frozen())
    warmer, store = await fleet(world, tmp_path / "state.db", "b")
    seen = (Seen(17 * MINUTE, cold=False), Seen(19 * MINUTE + 0.31, cold=True))
    await store.write(document("dedicated"), write(Memory(limit=IdleLimit(seen), at=named_place(ENDPOINT))), 0)
    (one,) = await warmer.once()
    assert one.advice == (
        "warm-ups every 20m do not keep dedicated warm: it was cold after 19m without use (1 of 1 warm-ups after that "
        "or longer); `every: 17m` would (gaps as long have ended warm)"
    )
    await store.aclose()
