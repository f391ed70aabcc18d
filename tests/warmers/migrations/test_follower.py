"""What one process knows of the fleet's migrations: how it hears of them, and what holds when it hears nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from backends.migration_counts import MigrationCounts
from backends.state import StoreError
from policies.evidence import Evidence, Side
from policies.migrating import Shift
from policies.migration_state import Phase, State, Verb
from policies.table import Route, RouteTable
from warmers.migrations.copy import KEPT, Copy
from warmers.migrations.follower import PROMISED, Follower
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import order

from .fleet import PLAN, SHIFT, Fleet, attempt, outcome, table


class Told:
    """Counts how often the table in force has to be made anew."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def follower(fleet: Fleet, told: Told | None = None, worker: str = "w") -> Follower:
    return Follower(fleet.ledger, worker, fleet.clock, told or Told())


def shift(one: Follower) -> Shift | None:
    found: RouteTable = one.dress(table())
    route = found.lookup("apexguru", None)
    assert isinstance(route, Route)
    return route.shift


async def test_command_is_in_force_after_one_look() -> None:
    """And the table is made anew once, not at every look."""
    fleet, told = Fleet(), Told()
    one = follower(fleet, told)
    await one.look(table())
    assert shift(one) is None
    assert told.times == 0
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    await one.look(table())
    found = shift(one)
    assert found is not None
    assert (found.share, found.old, found.new) == (0.1, "gpu", "import")
    await one.look(table())
    assert told.times == 1
    await order(fleet.ledger, PLAN, fleet.command(Verb.BYPASS, fleet.clock() + 60.0), fleet.clock())
    await one.look(table())
    found = shift(one)
    assert found is not None
    assert found.share == 0.0


async def test_what_a_command_did_is_in_the_log_of_every_proxy(caplog: pytest.LogCaptureFixture) -> None:
    """Once in each, with who and why; what the controller decides by itself is told by the controller."""
    caplog.set_level(logging.INFO, "pointsman.migrate")
    fleet = Fleet()
    several = [follower(fleet, worker=name) for name in ("w1", "w2")]
    for one in several:
        await one.look(table())
    for _ in range(2):  # the second one is refused, and leads to nothing that a proxy goes by
        await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
        for one in several * 2:
            await one.look(table())
    said = "migration apexguru now at 10%: started, grew (ann@laptop: because)"
    assert [record.getMessage() for record in caplog.records] == [said] * 2
    late = follower(fleet, worker="w3")
    await late.look(table())
    kept = await fleet.ledger.state("apexguru")
    assert kept is not None
    for own in (b'{"event":"grew","command":null,"who":"controller","why":"fine"}', b"no record"):
        grown = replace(kept.state, share=kept.state.share + 0.1, version=kept.state.version + 1)
        assert await fleet.ledger.write(kept, grown, (own,))
        for one in several:
            await one.look(table())
        kept = await fleet.ledger.state("apexguru")
        assert kept is not None
    assert len(caplog.records) == 2


async def test_where_it_stands_is_counted() -> None:
    """Every migration of the policy, also one that nobody has started, and how long the store has been away."""
    fleet, counts = Fleet(), MigrationCounts(10)
    one = Follower(fleet.ledger, "w", fleet.clock, Told(), counts=counts)
    await one.look(table())
    assert 'pointsman_migration_step{migration="apexguru"} 0\n' in "".join(counts.render())
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    await one.look(table())
    fleet.cut = True
    for _ in range(2):
        fleet.clock.now += 5.0
        await one.look(table())
    told = "".join(counts.render())
    for line in (
        'pointsman_migration_share_ratio{migration="apexguru"} 0.1',
        'pointsman_migration_step{migration="apexguru"} 1',
        "pointsman_shared_state_lost_seconds 5.0",
    ):
        assert f"\n{line}\n" in told


async def test_steps_hold_while_the_store_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """For a day and beyond, told once when it begins, once after a day, and once when it is over."""
    fleet, told = Fleet(), Told()
    one = follower(fleet, told)
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    await one.look(table())
    fleet.cut = True
    for _ in range(3):
        fleet.clock.now += PROMISED / 2
        await one.look(table())
        found = shift(one)
        assert found is not None
        assert found.share == 0.1
    assert one.lost == PROMISED
    fleet.clock.now += 1.0
    await one.look(table())
    await one.look(table())
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    fleet.cut = False
    await one.look(table())
    assert one.lost == 0.0
    assert "can be reached again" in caplog.text
    assert told.times == 1


async def test_a_start_without_the_store_goes_by_this_machines_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A restart sends nobody back to targets that were scaled in; a copy that is too old is not believed."""
    fleet = Fleet()

    def started() -> Follower:
        return Follower(fleet.ledger, "w", fleet.clock, Told(), copy=Copy(tmp_path / "state", "valkey://x", "w"))

    one = started()
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    await one.look(table())
    fleet.cut = True
    fleet.clock.now += KEPT - 1.0
    another = started()
    await another.look(table())
    found = shift(another)
    assert found is not None
    assert found.share == 0.1
    assert "heard to be 86399 s ago" in caplog.text
    fleet.clock.now += 2.0
    late = started()
    await late.look(table())
    assert shift(late) is None
    assert "nothing is known of where migrations stand" in caplog.text
    fleet.cut = False
    await late.look(table())
    assert shift(late) is not None


async def test_a_folder_that_can_not_be_written_costs_the_copy_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once."""
    fleet = Fleet()
    (tmp_path / "state").write_text("a file where a folder should be")
    one = Follower(fleet.ledger, "w", fleet.clock, Told(), copy=Copy(tmp_path / "state", "valkey://x", "w"))
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    for _ in range(2):
        await one.look(table())
    assert shift(one) is not None
    assert caplog.text.count("no copy of where migrations stand") == 1


async def test_store_that_was_emptied_sends_nobody_home(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever knows where a migration stood writes it down again, once; what nobody knows is as if it never was."""
    fleet = Fleet()
    ones = follower(fleet), follower(fleet)
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    for one in ones:
        await one.look(table())
    before = (await fleet.ledger.states())["apexguru"].state
    fleet.store.groups.clear()
    for one in ones:
        await one.look(table())
        found = shift(one)
        assert found is not None
        assert found.share == 0.1
    assert (await fleet.ledger.states())["apexguru"].state == before
    assert caplog.text.count("written down again") == 1
    await order(fleet.ledger, PLAN, fleet.command(Verb.PAUSE), fleet.clock())
    fleet.store.groups.clear()
    asked = fleet.store.asked
    fleet.store.cut = lambda: fleet.store.asked > asked + 1
    await ones[0].look(table())
    assert "can't be written" in caplog.text
    assert shift(ones[0]) is not None
    bare = replace(table(), migrations={})
    await ones[0].look(bare)


async def test_store_that_went_back_undoes_no_rollback(caplog: pytest.LogCaptureFixture) -> None:
    """A server that lost its last writes, or a backup: who has heard of what came after writes it down again, once."""
    fleet = Fleet()
    ones = follower(fleet), follower(fleet)
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    backup = dict(fleet.store.groups["migrations"])
    fleet.clock.now += 60.0
    await order(fleet.ledger, PLAN, fleet.command(Verb.ROLLBACK), fleet.clock())
    for one in ones:
        await one.look(table())
    before = (await fleet.ledger.states())["apexguru"].state
    assert before.phase is Phase.ROLLED_BACK
    fleet.store.groups["migrations"] = backup
    late = follower(fleet)
    await late.look(table())  # it knows no better
    for one in (*ones, late):
        await one.look(table())
        found = shift(one)
        assert found is None or found.share == 0.0
    assert (await fleet.ledger.states())["apexguru"].state == before
    assert caplog.text.count("knew an older place of migration apexguru") == 1


async def test_migration_that_was_begun_anew_in_a_lost_state_is_no_step_back() -> None:
    """A process that was cut off meanwhile knows a greater version, and goes by the new beginning all the same."""
    fleet = Fleet()
    one = follower(fleet)
    for verb in (Verb.START, Verb.PAUSE, Verb.RESUME, Verb.BYPASS):
        await order(fleet.ledger, PLAN, fleet.command(verb, fleet.clock() + 60.0), fleet.clock())
    await one.look(table())
    fleet.store.groups.clear()
    fleet.clock.now += 600.0
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    begun = (await fleet.ledger.states())["apexguru"]
    await one.look(table())
    assert (await fleet.ledger.states())["apexguru"] == begun
    found = shift(one)
    assert found is not None
    assert found.share == 0.1


async def test_what_was_heard_before_migrations_left_the_policy_is_forgotten() -> None:
    """Put back into the policy they are where the shared state has them, not where they were when they were deleted."""
    fleet = Fleet()
    one, bare = follower(fleet), replace(table(), migrations={})
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    await one.look(table())
    assert shift(one) is not None
    await one.look(bare)
    await order(fleet.ledger, PLAN, fleet.command(Verb.ROLLBACK), fleet.clock())
    assert shift(one) is None  # before the first look
    await one.look(table())
    found = shift(one)
    assert found is None or found.share == 0.0


async def test_what_was_seen_is_handed_over() -> None:
    """Requests and what was gathered beside them, under this worker's name; what did not get through is said again."""
    fleet = Fleet()
    gathered = [{("apexguru", "1.1"): {"apexguru": Evidence(cost=(1.0, 0.5, 0.6))}}, {}, {}]
    one = Follower(fleet.ledger, "w", fleet.clock, Told(), lambda: gathered.pop(0))
    one.witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    fleet.cut = True
    await one.look(table())
    assert len(gathered) == 3
    fleet.cut = False
    await one.look(table())
    found = (await fleet.ledger.evidence("apexguru", "1.1"))["apexguru"]
    assert (found.old.requests, found.cost, found.at) == (1, (1.0, 0.5, 0.6), fleet.clock())


async def test_nothing_is_handed_over_when_it_is_done() -> None:
    """The old target may be kept for weeks: that costs no writes."""
    fleet = Fleet()
    one = follower(fleet)
    done = replace(State.planned(PLAN), phase=Phase.DONE, step=2, share=1.0, run=1, window=3)
    await fleet.ledger.write(None, done, ())
    await one.look(table())
    one.witness.saw("apexguru", replace(SHIFT, window="1.3", share=1.0), outcome(attempt("import")))
    await one.look(table())
    assert await fleet.store.items("evidence/apexguru") == {}


async def test_a_state_that_can_only_be_read_still_brings_commands(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is full takes no evidence; a rollback that was written before is heard all the same."""
    fleet = Fleet()

    class Full(Ledger):
        async def saw(self, name: str, window: str, worker: str, evidence: Mapping[str, Evidence]) -> None:
            raise StoreError("full")

    one = Follower(Full(fleet.store), "w", fleet.clock, Told())
    one.witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    await one.look(table())
    assert shift(one) is not None
    assert "full" in caplog.text


async def test_every_window_that_did_not_get_through_is_said_again() -> None:
    """Not only the one that the store broke at."""
    fleet = Fleet()
    one = follower(fleet)
    for window in ("1.1", "1.2", "1.3"):
        one.witness.saw("apexguru", replace(SHIFT, window=window), outcome(attempt("gpu")))
    fleet.store.cut = lambda: fleet.store.asked > 2  # the states and the first window get through
    await one.look(table())
    fleet.store.cut = lambda: False
    await one.look(table())
    assert len(await fleet.store.items("evidence/apexguru")) == 3


async def test_evidence_survives_a_store_that_breaks_between() -> None:
    """It could be read and not be written to: nothing is lost."""
    fleet = Fleet()
    one = follower(fleet)
    one.witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    fleet.store.cut = lambda: fleet.store.asked > 1
    await one.look(table())
    fleet.store.cut = lambda: False
    await one.look(table())
    assert (await fleet.ledger.evidence("apexguru", "1.1"))["apexguru"].old == Side(
        1, 0, 0, *(getattr(_one(), name) for name in ("latency", "first_byte"))
    )


def _one() -> Side:
    fleet = Fleet()
    one = follower(fleet)
    one.witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    return one.witness.changed(0.0)["apexguru", "1.1"]["apexguru"].old


async def test_policy_without_migrations_asks_nobody() -> None:
    """And its table is the very same."""
    fleet = Fleet()
    one, plain = follower(fleet), replace(table(), migrations={})
    await one.look(plain)
    assert fleet.store.asked == 0
    assert one.dress(plain) is plain


async def test_a_look_that_breaks_does_not_end_the_looking(caplog: pytest.LogCaptureFixture) -> None:
    """A defect of ours costs one look; the next command is heard."""
    fleet = Fleet()
    broken, heard = [True, False], asyncio.Event()

    def changed() -> None:
        if broken.pop(0):
            message = "a defect"
            raise KeyError(message)
        heard.set()

    async def pause(seconds: float) -> None:
        if heard.is_set():
            await asyncio.Event().wait()
        one._states = {}  # as if it had heard nothing yet

    one = Follower(fleet.ledger, "w", fleet.clock, changed)
    await order(fleet.ledger, PLAN, fleet.command(Verb.START), fleet.clock())
    running = asyncio.ensure_future(one.run(table, pause))
    await heard.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "a look at the shared state broke" in caplog.text


async def test_last_words_are_said_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A process that ends in good order loses no evidence, and ends also when it can't be said."""
    for cut in (False, True):
        fleet = Fleet()
        one = follower(fleet)
        looking = asyncio.Event()

        async def pause(seconds: float, looking: asyncio.Event = looking) -> None:
            looking.set()
            await asyncio.Event().wait()

        running = asyncio.ensure_future(one.run(table, pause))
        await looking.wait()
        one.witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
        fleet.cut = cut
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        fleet.cut = False
        assert len(await fleet.ledger.evidence("apexguru", "1.1")) == (not cut)
    assert "is lost" in caplog.text
