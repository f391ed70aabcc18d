"""Commands: carried out at once, counted once, refused with a reason."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from backends.state import Store, StoreError
from policies.evidence import Evidence, Side
from policies.migration_state import Event, Phase, State, Verb
from warmers.migrations.ledger import Kept, Ledger
from warmers.migrations.orders import CLOCKS, TRIES, OtherMigrationError, differing, order, refused
from warmers.migrations.report import GateSeen, Report

from .fleet import PLAN, Fleet


async def test_command_is_in_the_state_and_in_the_audit() -> None:
    """When it returns both are written, with who and why."""
    fleet = Fleet()
    command = fleet.command(Verb.START)
    state, decisions = await order(fleet.ledger, PLAN, command, fleet.clock())
    assert refused(decisions, command) is None
    assert state.phase is Phase.RUNNING
    assert (await fleet.ledger.states())["apexguru"].state == state
    first = (await fleet.ledger.history("apexguru"))[0]
    assert (first["event"], first["who"], first["why"]) == ("started", "ann@laptop", "because")


async def test_refused_command_says_why_and_is_recorded() -> None:
    """Nothing but the record changes."""
    fleet = Fleet()
    command = fleet.command(Verb.ROLLBACK)
    state, decisions = await order(fleet.ledger, PLAN, command, fleet.clock())
    why = refused(decisions, command)
    assert why is not None
    assert "nothing to roll back" in why.why
    assert state.phase is Phase.PLANNED
    assert [one["event"] for one in await fleet.ledger.history("apexguru")] == ["refused"]


async def test_command_that_is_given_twice_counts_once() -> None:
    """Also when its answer was lost and it is given again."""
    fleet = Fleet()
    command = fleet.command(Verb.START)
    once, _ = await order(fleet.ledger, PLAN, command, fleet.clock())
    twice, decisions = await order(fleet.ledger, PLAN, command, fleet.clock())
    assert decisions == ()
    assert twice == once


async def test_two_who_command_at_once_are_both_heard() -> None:
    """One of them decides anew, from what the other has made of it."""
    fleet = Fleet()
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    commands = fleet.command(Verb.PAUSE), fleet.command(Verb.ROLLBACK)
    await asyncio.gather(*(order(fleet.ledger, PLAN, one, fleet.clock()) for one in commands))
    answered = {one["command"] for one in await fleet.ledger.history("apexguru")}
    assert {one.id for one in commands} <= answered
    assert (await fleet.ledger.states())["apexguru"].state.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("changed", ["steps", "members"])
async def test_command_from_another_policy_is_not_carried_out(changed: str) -> None:
    """It would rewrite what the fleet does. A start may, once the old migration is over."""
    fleet = Fleet()
    other = {
        "steps": replace(PLAN, steps=PLAN.steps[1:]),
        "members": replace(PLAN, members=(replace(PLAN.members[0], new="another"),)),
    }[changed]
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    for verb in (Verb.ROLLBACK, Verb.START):
        with pytest.raises(OtherMigrationError, match="the policy file that the proxies have"):
            await order(fleet.ledger, other, fleet.command(verb), fleet.clock())
    await order(fleet.ledger, PLAN, fleet.command(Verb.ROLLBACK), fleet.clock())
    state, _ = await order(fleet.ledger, other, fleet.command(Verb.START), fleet.clock())
    assert (state.phase, state.identity, state.course) == (Phase.RUNNING, other.identity, other.course)


async def test_only_what_takes_back_is_carried_out_by_a_policy_that_differs() -> None:
    """Gates and hours that are not the fleet's must not let it grow: neither by a start nor by a promotion."""
    fleet = Fleet()
    loose = replace(PLAN, members=(replace(PLAN.members[0], gates=()),))
    await fleet.ledger.publish([PLAN], 1)
    assert await differing(fleet.ledger, loose) == ("gates",)
    assert await differing(fleet.ledger, PLAN) == ()
    with pytest.raises(OtherMigrationError, match=r"says something else \(gates\) than the migration apexguru"):
        await order(fleet.ledger, loose, fleet.command(Verb.START), fleet.clock())
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    for verb in (Verb.RESUME, Verb.APPROVE, Verb.PROMOTE):
        with pytest.raises(OtherMigrationError, match="nothing was done"):
            await order(fleet.ledger, loose, fleet.command(verb), fleet.clock())
    state, _ = await order(fleet.ledger, loose, fleet.command(Verb.ROLLBACK), fleet.clock())
    assert state.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize(
    ("room", "ago", "share"), [(1.0, 30.0, 0.0), (0.95, 30.0, 0.05), (0.0, 30.0, 0.1), (0.0, 600.0, 0.0)]
)
async def test_rollback_goes_as_far_as_there_was_room_lately(room: float, ago: float, share: float) -> None:
    """By the controller's last word; without a recent one by what is safe into unknown room."""
    fleet = Fleet()
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    told = Report(fleet.clock() - ago, 1, "holding", rooms={"apexguru": room})
    await fleet.ledger.tell("apexguru", told, 1)
    state, _ = await order(fleet.ledger, PLAN, fleet.command(Verb.ROLLBACK), fleet.clock())
    assert state.share == pytest.approx(share)


@pytest.mark.parametrize(("answer", "version", "grows"), [("green", 0, True), ("red", 0, False), ("red", -1, True)])
async def test_what_it_costs_is_what_the_controller_has_said_of_this_state(
    answer: str, version: int, grows: bool
) -> None:
    """Only it can know: who promotes past a price that is too high takes back. Of another state it has said nothing."""
    fleet = Fleet()
    now, _ = await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    seen = Evidence(Side(1000), Side(1000), at=fleet.clock())
    await fleet.ledger.saw("apexguru", now.window_id, "w", {"apexguru": seen})
    gate = GateSeen("apexguru", "cost_at_full_share", answer, "dear", None)
    told = Report(fleet.clock(), now.version + version, "holding", gates=(gate,), rooms={"apexguru": 1.0})
    await fleet.ledger.tell("apexguru", told, 1)
    after, _ = await order(fleet.ledger, PLAN, fleet.command(Verb.PROMOTE), fleet.clock())
    assert after.in_force[0] == (PLAN.steps[1].share if grows else 0.0)


async def test_who_loses_every_race_is_told() -> None:
    """It does not try for ever."""
    fleet = Fleet()
    tries = []

    class Late(Ledger):
        def __init__(self, store: Store) -> None:
            super().__init__(store)

        async def write(self, before: Kept | None, state: State, records: tuple[bytes, ...]) -> bool:
            tries.append(state)
            return False

    with pytest.raises(StoreError, match="give the command again"):
        await order(Late(fleet.store), PLAN, fleet.command(Verb.START), fleet.clock())
    assert len(tries) == TRIES


async def told(fleet: Fleet) -> None:
    """The controller says that it has looked now."""
    token = await fleet.store.take("migrations", "w", fleet.clock(), 15.0)
    assert token is not None
    kept = await fleet.ledger.state("apexguru")
    version = kept.state.version if kept is not None else 0
    await fleet.ledger.tell("apexguru", Report(fleet.clock(), version, "", rooms={"apexguru": 1.0}), token.token)


async def test_clock_that_is_behind_is_put_right() -> None:
    """A laptop of yesterday neither shortens a hold, nor ends its own bypass before it began, nor goes unheard."""
    fleet = Fleet()
    true = fleet.clock()
    await told(fleet)
    fleet.clock.now -= 100_000.0
    state, _ = await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    assert (state.phase, state.since) == (Phase.RUNNING, true)
    command = fleet.command(Verb.BYPASS, fleet.clock() + 60.0)
    state, decisions = await order(fleet.ledger, PLAN, command, fleet.clock())
    assert refused(decisions, command) is None
    assert state.bypass == true + 60.0
    assert {one["at"] for one in await fleet.ledger.history("apexguru")} == {true}


async def test_clocks_that_agree_to_seconds_are_left_alone() -> None:
    """The controller's word may be a moment younger than the command that follows it."""
    fleet = Fleet()
    await told(fleet)
    fleet.clock.now -= CLOCKS
    state, _ = await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    assert state.since == fleet.clock()


async def test_clock_that_is_ahead_ends_no_bypass() -> None:
    """By it the controller is silent and the bypass over: what was asked for is done, and nothing beside it."""
    fleet = Fleet()
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    await order(fleet.ledger, PLAN, fleet.command(Verb.BYPASS, fleet.clock() + 7200.0), fleet.clock())
    await told(fleet)
    fleet.clock.now += 10_000.0
    state, decisions = await order(fleet.ledger, PLAN, fleet.command(Verb.APPROVE), fleet.clock())
    assert [one.event for one in decisions] == [Event.REFUSED]
    assert state.in_force == (0.0, 0.0)
