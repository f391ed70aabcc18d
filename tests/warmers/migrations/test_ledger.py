"""What is kept of migrations: states by compare and set, records that survive their writer, evidence that adds up."""

from __future__ import annotations

import pytest

from backends.state import StoreError
from policies.agreement import Agreement
from policies.evidence import Evidence, Side
from policies.migration_state import Phase, State, Verb
from warmers.migrations.ledger import Ledger, together
from warmers.migrations.orders import order

from .fleet import PLAN, Fleet


async def test_of_two_writers_one_wins() -> None:
    """Who has not seen the newest state changes nothing, and nothing of its records is kept."""
    fleet = Fleet()
    planned = State.planned(PLAN)
    assert await fleet.ledger.write(None, planned, (b'{"event":"one"}',))
    assert not await fleet.ledger.write(None, planned, (b'{"event":"two"}',))
    kept = (await fleet.ledger.states())["apexguru"]
    assert kept.state == planned
    assert await fleet.ledger.write(kept, planned, (b'{"event":"three"}',))
    assert not await fleet.ledger.write(kept, planned, (b'{"event":"four"}',))
    assert [one["event"] for one in await fleet.ledger.history("apexguru")] == ["one", "three"]
    assert await fleet.ledger.history("another") == []


async def test_records_of_a_writer_that_died_are_not_lost() -> None:
    """Between state and audit it was killed: readers find its records all the same, and the next change copies them."""
    fleet = Fleet()

    class Dies(Ledger):
        async def _copy(self, kept: object) -> None:
            """The process is gone before it comes here."""

    assert await Dies(fleet.store).write(None, State.planned(PLAN), (b'{"event":"one"}',))
    assert await fleet.store.items("audit/apexguru") == {}
    assert [one["event"] for one in await fleet.ledger.history("apexguru")] == ["one"]
    kept = (await fleet.ledger.states())["apexguru"]
    assert await fleet.ledger.write(kept, State.planned(PLAN), (b'{"event":"two"}',))
    assert [one["event"] for one in await fleet.ledger.history("apexguru")] == ["one", "two"]
    assert len(await fleet.store.items("audit/apexguru")) == 2


async def test_evidence_adds_up_over_workers() -> None:
    """Each worker's last word counts once; other windows and routes are apart."""
    fleet = Fleet()
    for worker, requests in (("a", 5), ("a", 7), ("b", 100)):
        await fleet.ledger.saw("apexguru", "1.2", worker, {"apexguru": Evidence(Side(requests))})
    await fleet.ledger.saw("apexguru", "1.1", "a", {"apexguru": Evidence(Side(1000))})
    await fleet.ledger.saw("apexguru", "1.2", "a", {"with/component": Evidence(Side(3))})
    found = await fleet.ledger.evidence("apexguru", "1.2")
    assert {route: seen.old.requests for route, seen in found.items()} == {"apexguru": 107, "with/component": 3}
    assert await fleet.ledger.evidence("apexguru", "2.1") == {}


async def test_only_older_windows_are_forgotten() -> None:
    """A controller that sleeps behind the others does not drop what they rest on."""
    fleet = Fleet()
    for window in ("1.2", "1.10", "2.1"):
        await fleet.ledger.saw("apexguru", window, "a", {"apexguru": Evidence(Side(1))})
    await fleet.ledger.forget("apexguru", "1.10")
    assert await fleet.ledger.evidence("apexguru", "1.2") == {}
    assert len(await fleet.ledger.evidence("apexguru", "1.10")) == 1
    assert len(await fleet.ledger.evidence("apexguru", "2.1")) == 1


@pytest.mark.parametrize("text", [b"", b"{}", b'{"state":"{}","records":[]}', b'{"state":3,"records":[]}', b"[]"])
async def test_state_that_can_not_be_read(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is moved on a guess, a command for it is an error that names it, and other migrations are not held up."""
    fleet = Fleet()
    await fleet.store.put("migrations", "broken", text)
    await fleet.ledger.write(None, State.planned(PLAN), ())
    for _ in range(2):
        assert list(await fleet.ledger.states()) == ["apexguru"]
    assert caplog.text.count("migration broken can't be read") == 1
    with pytest.raises(StoreError, match="migration broken can't be read"):
        await fleet.ledger.state("broken")
    assert await fleet.ledger.state("another") is None


async def test_evidence_that_can_not_be_read() -> None:
    """Neither is decided from half of the evidence."""
    fleet = Fleet()
    await fleet.store.put("evidence/apexguru", "1.1 a apexguru", b"{}")
    with pytest.raises(StoreError, match="evidence of migration apexguru can't be read"):
        await fleet.ledger.evidence("apexguru", "1.1")


async def test_another_bound_begins_the_comparisons_anew() -> None:
    """Counts stay; of comparisons under two bounds those of the newer one are left."""
    before = Evidence(Side(5), agreement=Agreement(0.9), at=1.0)
    after = Evidence(Side(7), agreement=Agreement(0.97), at=2.0)
    for one, other in ((before, after), (after, before)):
        found = together(one, other)
        assert found.old.requests == 12
        assert found.agreement == Agreement(0.97)


async def test_store_that_is_cut_off() -> None:
    """Every operation says so."""
    fleet = Fleet()
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    assert (await fleet.ledger.states())["apexguru"].state.phase is Phase.RUNNING
    fleet.cut = True
    with pytest.raises(StoreError):
        await fleet.ledger.states()
    with pytest.raises(StoreError):
        await fleet.ledger.history("apexguru")
    with pytest.raises(StoreError):
        await fleet.ledger.saw("apexguru", "1.1", "a", {"apexguru": Evidence()})


async def test_copy_of_the_plans_that_can_not_be_read() -> None:
    """It is said, as of everything else that a newer version may have written."""
    fleet = Fleet()
    await fleet.store.write("plans", b"[]", 1)
    with pytest.raises(StoreError, match="newer version"):
        await fleet.ledger.plans()
