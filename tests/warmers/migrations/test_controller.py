"""The process that moves migrations on: from evidence to a written step, once, and only while it is on duty."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from backends.state import StoreError
from policies.evidence import Evidence, Side
from policies.migrating import Gate, Measure, Migration
from policies.migration_state import Decision, Event, Phase, State, Verb
from policies.table import RouteTable
from tests.memory import broken_once
from warmers.lease import PERIOD, Duty
from warmers.migrations.controller import DUTY, PUBLISH, Controller
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import order

from .fleet import HOUR, PLAN, Fleet, table

FINE = Side(20_000, 20)
BAD = Side(2_000, 1_000)


async def plenty(plan: Migration, state: State, table: RouteTable) -> Mapping[str, float]:
    return {member.route: 1.0 for member in plan.members}


def controller(fleet: Fleet, holder: str = "a", said: list[Decision] | None = None) -> Controller:
    duty = Duty(fleet.store, holder, fleet.clock, name=DUTY)
    return Controller(fleet.ledger, duty, plenty, fleet.clock, (said if said is not None else []).append)


async def started(fleet: Fleet) -> None:
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())


async def saw(fleet: Fleet, new: Side, old: Side = FINE) -> None:
    """Two workers have each seen half."""
    window = (await state(fleet)).window_id
    for worker in ("w1", "w2"):
        await fleet.ledger.saw("apexguru", window, worker, {"apexguru": Evidence(old, new, at=fleet.clock())})


async def state(fleet: Fleet) -> State:
    return (await fleet.ledger.states())["apexguru"].state


async def test_a_migration_goes_all_the_way() -> None:
    """Step by step, each after its hold and on its own evidence, every decision told and recorded once."""
    fleet, said = Fleet(), list[Decision]()
    one = controller(fleet, said=said)
    await started(fleet)
    shares = [(await state(fleet)).share]
    for _ in range(12):
        await saw(fleet, FINE)
        await one.round(table())
        shares.append((await state(fleet)).share)
        fleet.clock.now += HOUR / 2
    assert (await state(fleet)).phase is Phase.DONE
    assert sorted(set(shares)) == [0.1, 0.5, 1.0]
    assert shares == sorted(shares)
    recorded = [record["event"] for record in await fleet.ledger.history("apexguru")]
    assert recorded == ["started", "grew", "grew", "grew", "done"]
    assert [one.event.value for one in said] == recorded


async def test_a_bad_candidate_is_taken_back() -> None:
    """At the first look that sees it, to the last good step, with an alert."""
    fleet, said = Fleet(), list[Decision]()
    one = controller(fleet, said=said)
    await started(fleet)
    await saw(fleet, FINE)
    fleet.clock.now += HOUR
    await saw(fleet, FINE)
    await one.round(table())
    assert (await state(fleet)).share == 0.5
    await saw(fleet, BAD)
    fleet.clock.now += 5.0
    await one.round(table())
    found = await state(fleet)
    assert (found.share, found.phase) == (0.1, Phase.RUNNING)
    assert [(one.event, one.alert) for one in said[-2:]] == [(Event.GREW, False), (Event.BREACHED, True)]
    assert (await fleet.ledger.history("apexguru"))[-1]["requests"]["apexguru"]["new"] == [4_000, 2_000]


async def test_a_rollback_follows_the_room_that_there_is() -> None:
    """The old target was scaled in: as much goes back as it is shown able to take, the rest as it grows."""
    fleet, has = Fleet(), [1.0]

    async def rooms(plan: Migration, state: State, table: RouteTable) -> Mapping[str, float]:
        return {"apexguru": has[0]}

    said = list[Decision]()
    one = Controller(fleet.ledger, Duty(fleet.store, "a", fleet.clock, name=DUTY), rooms, fleet.clock, said.append)
    await started(fleet)
    for _ in range(2):
        fleet.clock.now += HOUR
        await saw(fleet, FINE)
        await one.round(table())
    assert (await state(fleet)).share == 1.0
    has[0] = 0.25
    await one.round(table())
    await order(fleet.ledger, PLAN, fleet.command(Verb.ROLLBACK), fleet.clock())
    shares = []
    for has[0] in (0.25, 0.25, 0.5, 0.75, 0.75, 1.0):
        fleet.clock.now += 4.0
        await one.round(table())
        shares.append((await state(fleet)).share)
    assert shares == [0.75, 0.75, 0.5, 0.25, 0.25, 0.0]
    assert (await state(fleet)).phase is Phase.ROLLED_BACK


async def test_nothing_grows_without_evidence() -> None:
    """However much time goes by."""
    fleet = Fleet()
    one = controller(fleet)
    await started(fleet)
    for _ in range(5):
        fleet.clock.now += 10 * HOUR
        await one.round(table())
    assert (await state(fleet)).share == 0.1


async def test_who_is_not_on_duty_decides_nothing() -> None:
    """Two processes look, and only the one that has the lease moves anything."""
    fleet = Fleet()
    first, second = controller(fleet, "a"), controller(fleet, "b")
    await started(fleet)
    await first.round(table())
    fleet.clock.now += HOUR
    await first.round(table())
    await saw(fleet, FINE)
    await second.round(table())
    assert (await state(fleet)).share == 0.1
    await first.round(table())
    assert (await state(fleet)).share == 0.5


async def test_two_that_both_believe_to_be_on_duty_take_a_step_once() -> None:
    """The lease makes it rare, compare and set makes it harmless."""
    fleet = Fleet()
    ones = [
        Controller(fleet.ledger, Duty(fleet.store, "x", fleet.clock, name=name), plenty, fleet.clock, lambda _: None)
        for name in ("one", "two")
    ]
    await started(fleet)
    await saw(fleet, FINE)
    fleet.clock.now += HOUR
    await saw(fleet, FINE)
    await asyncio.gather(*(one.round(table()) for one in ones))
    assert (await state(fleet)).step == 1
    assert [one["event"] for one in await fleet.ledger.history("apexguru")] == ["started", "grew", "grew"]


async def test_a_store_that_is_cut_off_stops_everything_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """No exception leaves the controller; it goes on when the store is back."""
    fleet = Fleet()
    one = controller(fleet)
    await started(fleet)
    await one.round(table())
    await saw(fleet, FINE)
    fleet.clock.now += HOUR
    await saw(fleet, FINE)
    await one.round(table())
    assert (await state(fleet)).share == 0.5
    fleet.cut = True
    fleet.clock.now += 4.0
    await one.round(table())
    assert "no migration moves" in caplog.text
    fleet.cut = False
    await one.round(table())


async def test_telling_that_fails_does_not_hold_up_a_step(caplog: pytest.LogCaptureFixture) -> None:
    """What can't be told now is told at a later look; a candidate that fails is taken back all the same."""
    fleet, said = Fleet(), list[Decision]()
    broken = [True]

    class Mute(Ledger):
        async def told(self) -> Mapping[str, int]:
            if broken[0]:
                message = "no such document"
                raise StoreError(message)
            return await super().told()

    duty = Duty(fleet.store, "a", fleet.clock, name=DUTY)
    one = Controller(Mute(fleet.store), duty, plenty, fleet.clock, said.append)
    await started(fleet)
    await saw(fleet, BAD)
    await one.round(table())
    assert (await state(fleet)).share == 0.0
    assert (said, "is told later: no such document" in caplog.text) == ([], True)
    broken[0] = False
    await one.round(table())
    assert [decision.event for decision in said if decision.alert] == [Event.BREACHED]


async def test_what_was_seen_is_told_when_it_differs_or_is_old() -> None:
    """For `status`: gates, waits and rooms; a late holder of the duty does not overwrite its successor's."""
    fleet = Fleet()
    one = controller(fleet)
    await started(fleet)
    await one.round(table())
    first = await fleet.ledger.report("apexguru")
    assert first is not None
    assert (first.standing, first.rooms) == ("holding", {"apexguru": 1.0})
    assert first.gates[0].answer == "not yet"
    fleet.clock.now += 10.0
    await saw(fleet, FINE)
    await one.round(table())
    second = await fleet.ledger.report("apexguru")
    assert second is not None
    assert second.gates[0].answer == "green"
    await fleet.ledger.tell("apexguru", first, 0)
    assert await fleet.ledger.report("apexguru") == second


async def test_one_migration_that_breaks_does_not_hold_up_another(caplog: pytest.LogCaptureFixture) -> None:
    """Neither evidence that can't be read, nor a defect of ours."""
    fleet = Fleet()
    others = {name: replace(PLAN, name=name) for name in ("broken", "unreadable", "zebra")}
    for plan in others.values():
        await order(fleet.ledger, plan, fleet.command(Verb.START), fleet.clock())
    await fleet.store.put("evidence/unreadable", "1.1 w apexguru", b"{}")

    async def rooms(plan: Migration, state: State, table: RouteTable) -> Mapping[str, float]:
        if plan.name == "broken":
            message = "a defect"
            raise KeyError(message)
        return await plenty(plan, state, table)

    one = Controller(
        fleet.ledger, Duty(fleet.store, "a", fleet.clock, name=DUTY), rooms, fleet.clock, list[Decision]().append
    )
    for _ in range(2):
        await one.round(replace(table(), migrations=others))
    assert await fleet.ledger.report("zebra") is not None
    assert "broke at migration broken" in caplog.text
    assert caplog.text.count("evidence of migration unreadable can't be read") == 1


async def test_policy_without_migrations_asks_nobody() -> None:
    """Neither does one whose migrations nobody has started write anything."""
    fleet = Fleet()
    one = controller(fleet)
    await one.round(replace(table(), migrations={}))
    assert fleet.store.asked == 0
    await one.round(table())
    assert fleet.store.groups == {}


async def test_duty_is_released_at_the_end() -> None:
    """So that another process has it at once."""
    fleet = Fleet()
    one, other = controller(fleet, "a"), controller(fleet, "b")
    looked = asyncio.Event()

    async def pause(seconds: float) -> None:
        looked.set()
        await asyncio.Event().wait()

    running = asyncio.ensure_future(one.run(table, pause))
    await looked.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await other.round(table())
    assert fleet.store.leases[DUTY].holder == "b"


async def test_a_look_that_breaks_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the shared state gives, even what no store may: it is said, and the next look takes the step."""
    fleet, looks = Fleet(), 0
    await started(fleet)

    async def pause(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise asyncio.CancelledError

    fleet.store.cut = broken_once()
    with pytest.raises(asyncio.CancelledError):
        await controller(fleet).run(table, pause)
    assert "no answer of a store" in caplog.text
    assert (await state(fleet)).share == 0.1


async def test_cost_is_evidence() -> None:
    """What the new target would cost is asked for at every look, and judged and recorded with the rest."""
    fleet, said, asked = Fleet(), list[Decision](), list[str]()

    def costs(plan: Migration, table: RouteTable, seen: Mapping[str, Evidence], now: float) -> Mapping[str, Evidence]:
        asked.append(f"{plan.name} {seen['apexguru'].busy}")
        return {"apexguru": Evidence(cost=(now, 0.9, 0.9))}

    member = replace(PLAN.members[0], gates=(Gate(Measure.COST, 0.8),))
    plan = replace(PLAN, members=(member,))
    duty = Duty(fleet.store, "a", fleet.clock, name=DUTY)
    one = Controller(fleet.ledger, duty, plenty, fleet.clock, said.append, costs=costs)
    await order(fleet.ledger, plan, fleet.command(Verb.START), fleet.clock())
    await fleet.ledger.saw("apexguru", "1.1", "w", {"apexguru": Evidence(busy=frozenset({7}))})
    await one.round(table(plan))
    assert (asked, said[-1].event) == (["apexguru frozenset({7})"], Event.BREACHED)
    assert "90% of the old target's cost, 80% allowed" in said[-1].why


async def test_the_plans_in_force_are_left_where_commands_find_them() -> None:
    """Before anything is started, anew when the policy changes, and again after an hour: a state may have been lost."""
    fleet = Fleet()
    one = controller(fleet)
    assert await fleet.ledger.plans() is None
    await one.round(table())
    assert await fleet.ledger.plans() == {"apexguru": PLAN}
    other = replace(PLAN, steps=PLAN.steps[1:])
    await one.round(table(other))
    assert await fleet.ledger.plans() == {"apexguru": other}
    fleet.store.documents.clear()
    await one.round(table(other))
    assert await fleet.ledger.plans() is None
    fleet.clock.now += PUBLISH
    await one.round(table(other))
    assert await fleet.ledger.plans() == {"apexguru": other}


async def test_the_plans_are_left_anew_once_the_state_was_emptied() -> None:
    """Where the leases are lost as well, at the first look that takes the duty again, and not an hour later."""
    fleet = Fleet()
    one = controller(fleet)
    await one.round(table())
    fleet.store.documents.clear()
    fleet.store.leases.clear()
    fleet.clock.now += PERIOD
    await one.round(table())
    assert await fleet.ledger.plans() == {"apexguru": PLAN}


async def test_who_writes_late_into_an_emptied_state_does_not_silence_its_successors() -> None:
    """The one that has the duty until it asks again, while another has it by what the state knows."""
    fleet = Fleet()
    one, other = controller(fleet, "a"), controller(fleet, "b")
    for _ in range(3):  # a number that a new state would take long to come to
        await one.round(table())
        fleet.clock.now += 2 * PERIOD
    await one.round(table())
    fleet.store.documents.clear()
    fleet.store.leases.clear()
    fleet.clock.now += 1.0
    await other.round(table())
    await one.round(table(replace(PLAN, steps=PLAN.steps[1:])))
    fleet.clock.now += PERIOD / 3
    await one.round(table())
    changed = replace(PLAN, steps=PLAN.steps[2:])
    await other.round(table(changed))
    assert await fleet.ledger.plans() == {"apexguru": changed}
