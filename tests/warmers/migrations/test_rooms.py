"""How much the old target is shown able to take: what is there against what was there when it carried everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from backends.state import Item
from policies.migrating import Keep
from policies.migration_state import Phase, State
from policies.table import Target
from warmers.migrations.rooms import AT_REST, ROLLING, Rooms

from .fleet import PLAN, Fleet, table

TRUSTING = replace(PLAN, members=(replace(PLAN.members[0], keep=Keep(0.8, trust=True)),))
STARTED = replace(State.planned(PLAN, run=1), phase=Phase.RUNNING, step=0)


class Units:
    """What a target has, as the test says."""

    def __init__(self, *found: float | None) -> None:
        self._found = list(found)
        self.ages: list[float] = []

    async def __call__(self, target: Target, age: float) -> float | None:
        assert target.name == "gpu"
        self.ages.append(age)
        return self._found.pop(0)


async def shown(fleet: Fleet, units: float | None, share: float) -> Mapping[str, float]:
    state = replace(STARTED, share=share)
    return await Rooms(fleet.store, Units(units)).shown(PLAN, state, table())


async def test_scaled_in_is_shown_to_take_less() -> None:
    """Four instances carried everything; one can take a quarter, by whichever controller it is asked."""
    fleet = Fleet()
    found = [await shown(fleet, units, share) for units, share in ((2, 0.0), (4, 0.05), (4, 0.5), (1, 0.9), (0, 1.0))]
    assert found == [{"apexguru": part} for part in (1.0, 1.0, 1.0, 0.25, 0.0)]


async def test_what_came_after_most_had_left_sets_no_measure() -> None:
    """Instances added while half of the traffic was elsewhere have not carried it; they make room all the same."""
    fleet = Fleet()
    assert await shown(fleet, 4, 0.0) == {"apexguru": 1.0}
    assert await shown(fleet, 8, 0.5) == {"apexguru": 1.0}
    assert await shown(fleet, 4, 0.5) == {"apexguru": 1.0}


async def test_a_new_run_is_measured_anew() -> None:
    """Last year's fleet of eight says nothing about today's two."""
    fleet = Fleet()
    assert await shown(fleet, 8, 0.0) == {"apexguru": 1.0}
    again = replace(STARTED, run=2)
    assert await Rooms(fleet.store, Units(2)).shown(PLAN, again, table()) == {"apexguru": 1.0}


@pytest.mark.parametrize("units", [None, 0])
async def test_nothing_there_is_nothing_shown(units: float | None) -> None:
    """Unknown is left out; gone is 0, also when it was never there."""
    assert await shown(Fleet(), units, 0.0) == ({} if units is None else {"apexguru": 0.0})


@pytest.mark.parametrize("strained", [False, True])
async def test_target_that_is_full_or_cold_shows_nothing(strained: bool) -> None:
    """However many instances it has: all of them are busy, or none is loaded. Nor is it trusted then."""
    for plan in (PLAN, TRUSTING):
        rooms = Rooms(Fleet().store, Units(4), lambda target: strained)
        assert await rooms.shown(plan, STARTED, table(plan)) == ({} if strained else {"apexguru": 1.0})


async def test_what_nobody_can_say_counts_as_the_policy_says() -> None:
    """It is left out, or it counts as able to take what it has to; what can be said is not overruled."""
    assert await Rooms(Fleet().store, Units(None)).shown(TRUSTING, STARTED, table(TRUSTING)) == {"apexguru": 0.8}
    assert await Rooms(Fleet().store, Units(0)).shown(TRUSTING, STARTED, table(TRUSTING)) == {"apexguru": 0.0}


async def test_a_rollback_looks_again() -> None:
    """What was found out seconds ago is no word on where traffic goes next."""
    units = Units(2, 2)
    for phase in (Phase.RUNNING, Phase.ROLLING_BACK):
        await Rooms(Fleet().store, units).shown(PLAN, replace(STARTED, phase=phase), table())
    assert units.ages == [AT_REST, ROLLING]


async def test_target_that_the_policy_has_no_more() -> None:
    """A migration whose old target was deleted from the policy has nothing to go back to."""
    bare = replace(table(), targets={})
    assert await Rooms(Fleet().store, Units()).shown(PLAN, STARTED, bare) == {}


@pytest.mark.parametrize("damaged", [b"", b"four", b"nan", b"inf", b"-1", b"0"])
async def test_a_measure_that_is_no_number_shows_nothing_and_stops_nothing(
    damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, once, with what to do; other measures of the same store are as they were."""
    store = Fleet().store
    rooms = Rooms(store, Units(4, 4, 4, 4, 2))
    await rooms.shown(PLAN, replace(STARTED, run=2), table())
    await rooms.shown(PLAN, STARTED, table())
    key = next(name for name in store.groups["capacity"] if " 1 " in name)
    store.groups["capacity"][key] = Item(2, damaged)
    assert [await rooms.shown(PLAN, STARTED, table()) for _ in range(2)] == [{}, {}]
    assert await rooms.shown(PLAN, replace(STARTED, run=2), table()) == {"apexguru": 0.5}
    assert caplog.text.count("delete it") == 1
