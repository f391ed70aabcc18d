"""Decisions told once, whoever took them and whoever tells."""

from __future__ import annotations

import pytest

from policies.migration_state import Decision, Event, Verb
from warmers.migrations.orders import order
from warmers.migrations.telling import Teller

from .fleet import PLAN, Fleet


async def given(fleet: Fleet, *verbs: Verb) -> None:
    """Commands from a laptop."""
    for verb in verbs:
        await order(fleet.ledger, PLAN, fleet.command(verb), fleet.clock())


async def look(fleet: Fleet, teller: Teller, token: int = 1) -> None:
    await teller.catch_up(await fleet.ledger.states(), token)


def events(said: list[Decision]) -> list[str]:
    return [one.event.value for one in said]


async def test_commands_are_told_as_they_were_recorded() -> None:
    """Several between two looks as well, in their order, each with who and why; and no second time."""
    fleet, said = Fleet(), list[Decision]()
    teller = Teller(fleet.ledger, said.append)
    await look(fleet, teller)
    await given(fleet, Verb.START, Verb.APPROVE, Verb.PAUSE, Verb.ROLLBACK)
    for _ in range(2):
        await look(fleet, teller)
    assert events(said) == [one["event"] for one in await fleet.ledger.history("apexguru")]
    assert events(said)[:4] == ["started", "grew", "refused", "paused"]
    assert {(one.who, one.migration) for one in said if one.command} == {("ann@laptop", "apexguru")}
    assert [one.alert for one in said if one.event is Event.ROLLBACK] == [True]


async def test_who_has_the_duty_next_goes_on_from_there() -> None:
    """Neither what was told is told again, nor is left out what was decided in between."""
    fleet, first, second = Fleet(), list[Decision](), list[Decision]()
    await given(fleet, Verb.START)
    await look(fleet, Teller(fleet.ledger, first.append), 1)
    await given(fleet, Verb.PAUSE)
    await look(fleet, Teller(fleet.ledger, second.append), 2)
    assert (events(first), events(second)) == (["started", "grew"], ["paused"])


async def test_duty_that_was_elsewhere_for_a_while() -> None:
    """A process that has it again does not tell what the other told meanwhile."""
    fleet, said, others = Fleet(), list[Decision](), list[Decision]()
    teller = Teller(fleet.ledger, said.append)
    await given(fleet, Verb.START)
    await look(fleet, teller, 1)
    await given(fleet, Verb.PAUSE)
    await look(fleet, Teller(fleet.ledger, others.append), 2)
    await given(fleet, Verb.RESUME)
    await look(fleet, teller, 3)
    assert (events(said), events(others)) == (["started", "grew", "resumed"], ["paused"])


@pytest.mark.parametrize(("arrived", "again"), [(False, ["started", "grew"]), (True, [])])
async def test_what_has_not_arrived_is_told_again_by_the_next(arrived: bool, again: list[str]) -> None:
    """A process that is killed before its alerts are out loses none; one that ends in order says how far it came."""
    fleet, said, later = Fleet(), list[Decision](), list[Decision]()
    settled = [False]
    teller = Teller(fleet.ledger, said.append, lambda: settled[0])
    await given(fleet, Verb.START)
    await look(fleet, teller, 1)
    await look(fleet, teller, 1)
    settled[0] = arrived
    await teller.leave()
    await look(fleet, Teller(fleet.ledger, later.append), 2)
    assert (events(said), events(later)) == (["started", "grew"], again)


async def test_state_that_was_lost_begins_anew() -> None:
    """Its versions are small again: what is decided from then on is told."""
    fleet, said = Fleet(), list[Decision]()
    teller = Teller(fleet.ledger, said.append)
    await given(fleet, Verb.START, Verb.PAUSE, Verb.RESUME)
    await look(fleet, teller)
    fleet.store.groups.clear()
    said.clear()
    await given(fleet, Verb.START)
    await look(fleet, teller)
    assert events(said) == ["started", "grew"]


async def test_record_that_can_not_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The others are told, and it is in the log."""
    fleet, said = Fleet(), list[Decision]()
    await given(fleet, Verb.START, Verb.PAUSE)
    await fleet.store.put("audit/apexguru", "000000001.00", b'{"event": "started"}')
    await look(fleet, Teller(fleet.ledger, said.append))
    assert events(said) == ["grew", "paused"]
    assert "a record of migration apexguru can't be read" in caplog.text


async def test_store_that_is_away_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Leaving raises nothing: the next one may tell again, which is said."""
    fleet, settled = Fleet(), [False]
    teller = Teller(fleet.ledger, list[Decision]().append, lambda: settled[0])
    await given(fleet, Verb.START)
    await look(fleet, teller)
    fleet.cut, settled[0] = True, True
    await teller.leave()
    assert "may tell of decisions again: cut off" in caplog.text


async def test_mark_that_can_not_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """Everything is told again rather than nothing."""
    fleet, said = Fleet(), list[Decision]()
    await given(fleet, Verb.START)
    await fleet.store.write("told", b"[1]", 1)
    await look(fleet, Teller(fleet.ledger, said.append))
    assert events(said) == ["started", "grew"]
    assert "it is told again" in caplog.text
