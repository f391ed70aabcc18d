"""Migrations over the routes: a key changes sides once while a share grows, everywhere at the same share."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.choose import explain, first_plan
from policies.facts import TargetView
from policies.migrating import Member, Place, Shift, Step
from policies.migration import step
from policies.migration_state import Phase, Seen, State, Verb
from policies.overlay import laid, overlay
from policies.sessions import Home, home, marked
from policies.table import Boundary, Isolation, Route, RouteTable, Target, Weighted

from .moves import NOW, command, plan, reached
from .written import PATIENT, load, policy, target

OLD, NEW, SPARE = target("old"), target("new"), target("spare")


def table(**changes: object) -> RouteTable:
    route = Route("x", None, (Weighted(OLD, 1.0),), rule="endpoints.x.serve_from", **changes)  # type: ignore[arg-type]  # fields by name
    other = Route("y", None, (Weighted(OLD, 1.0),))
    return RouteTable("0" * 12, {("x", None): route, ("y", None): other}, {"old": OLD, "new": NEW}, "d")


def moved(share: float, **changes: object) -> Route:
    """The route `x` at that share."""
    return laid(table(**changes), {"x": Shift("x", "1.1", "old", "new", share)}).routes["x", None]


def side(route: Route, key: str) -> str:
    return first_plan(route, {}, key, lambda: 0.5).attempts[0].target.name


KEYS = [f"key-{number}" for number in range(400)]


@PATIENT
@given(st.text(min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=2, max_size=8).map(sorted))
def test_key_changes_sides_once(key: str, shares: list[float]) -> None:
    """While a share grows, in whatever steps, a key goes over and never comes back."""
    sides = [side(moved(share), key) for share in shares]
    assert sides == sorted(sides, reverse=True)


def test_share_is_what_it_says() -> None:
    """Of many keys the share goes to the new target: none at 0, all at 100 %."""
    for share in (0.0, 0.01, 0.05, 0.25, 0.5, 1.0):
        route = moved(share)
        keys = [f"{share}-{number}" for number in range(4000)]
        assert sum(side(route, key) == "new" for key in keys) / 4000 == pytest.approx(share, abs=0.02)


def test_every_process_agrees() -> None:
    """Another process, with another hash seed, sends the same keys to the same sides."""
    code = "from tests.policies.test_overlay import KEYS, moved, side\nprint(*(side(moved(0.3), key) for key in KEYS))"
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], env={"PYTHONHASHSEED": "77", "PYTHONPATH": "."},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert there.stdout.split() == [side(moved(0.3), key) for key in KEYS]


def test_rollback_brings_back_the_same_keys() -> None:
    """The way back is the way there: at each share the same keys are on the new side."""
    there = {share: {key for key in KEYS if side(moved(share), key) == "new"} for share in (0.05, 0.25, 0.5)}
    assert there[0.05] < there[0.25] < there[0.5]
    assert there[0.25] == {key for key in KEYS if side(moved(0.25), key) == "new"}


def test_old_target_catches_what_fails_on_the_new_one() -> None:
    """It is the first fallback, and within reach of the attempts; a place that the policy gives it is kept."""
    route = moved(0.5)
    assert [one.name for one in route.fallback] == ["old"]
    assert route.retry.attempts == 2
    key = next(key for key in KEYS if side(route, key) == "new")
    assert [one.target.name for one in first_plan(route, {}, key, lambda: 0.5).attempts] == ["new", "old"]
    written = moved(0.5, fallback=(SPARE, OLD))
    assert [one.name for one in written.fallback] == ["spare", "old"]


@pytest.mark.parametrize(("share", "budget"), [(0.0, 0.1), (0.25, 0.35), (0.95, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("fallback", [(), (OLD,)])
def test_everything_that_the_new_target_fails_at_can_be_repeated(
    fallback: tuple[Target, ...], share: float, budget: float
) -> None:
    """A candidate that turns bad as a whole must not use up the repeats that save its callers; others keep theirs."""
    assert moved(share, fallback=fallback).retry.budget == pytest.approx(budget)


def test_new_target_is_no_fallback() -> None:
    """What fails on the old target does not make the candidate's share larger."""
    route = moved(0.5)
    key = next(key for key in KEYS if side(route, key) == "old")
    assert {one.target.name for one in first_plan(route, {}, key, lambda: 0.5).attempts} == {"old"}


def test_route_says_that_it_migrates() -> None:
    """For logs and `explain`; other routes are left as they are, and a table that nothing moves is the same one."""
    before = table()
    after = laid(before, {"x": Shift("x", "1.1", "old", "new", 0.5), "gone": Shift("g", "1.1", "old", "new", 0.5)})
    route = after.routes["x", None]
    assert (route.rule, route.shift and route.shift.window) == ("endpoints.x.migrate", "1.1")
    assert after.routes["y", None] is before.routes["y", None]
    assert (after.digest, after.migrations) == (before.digest, before.migrations)
    assert laid(before, {}) is before


def test_target_that_the_policy_no_longer_has_moves_nothing() -> None:
    """Between a reload and the next look the state may name what is gone."""
    before = table()
    assert laid(before, {"x": Shift("x", "1.1", "old", "lost", 0.5)}) is before


def test_boundary_binds_the_new_target() -> None:
    """A candidate outside it gets no request, whatever a state says."""
    shared = replace(NEW, isolation=Isolation.SHARED)
    before = replace(table(boundary=Boundary(isolation=Isolation.INSTANCE)), targets={"old": OLD, "new": shared})
    route = laid(before, {"x": Shift("x", "1.1", "old", "new", 1.0)}).routes["x", None]
    assert {side(route, key) for key in KEYS} == {"old"}


def test_overlay_says_what_is_in_force() -> None:
    """For every member of a running, returning or finished migration; nothing for one that is not on its way."""
    members = (Member("x", "old", "new"), Member("y/one", "a", "b"))
    whole = plan(
        Step(shadow=0.05, hold=1, budget=40.0), Step(share=0.2, shadow=0.1, hold=1), Step(share=1.0), members=members
    )
    state = reached(whole, 0)
    assert overlay([whole], {"x": state}) == {
        "x": Shift("x", "1.1", "old", "new", 0.0, 0.05, 40.0, 0),
        "y/one": Shift("x", "1.1", "a", "b", 0.0, 0.05, 40.0, 0),
    }
    assert overlay([whole], {"x": reached(whole, 1)})["x"] == Shift("x", "1.2", "old", "new", 0.2, 0.1, step=1)
    bypassed = overlay([whole], {"x": replace(state, bypass=NOW)})["x"]
    assert bypassed.place == Place("x", 1, "new", 0.0, 0.0, bypassed=True)
    assert overlay([whole], {"x": reached(whole, 3)})["x"].share == 1.0
    for nothing in ({}, {"z": state}, {"x": State.planned(whole)}, {"x": replace(state, phase=Phase.ROLLED_BACK)}):
        assert overlay([whole], nothing) == {}


def test_state_of_another_release_moves_nothing() -> None:
    """A new ARN in the policy is not routed to by what was decided about the one before."""
    whole = plan(members=(Member("x", "old", "new", release="r2"),))
    assert overlay([whole], {"x": reached(plan(), 2)}) == {}


def test_state_whose_steps_are_gone_has_no_budget() -> None:
    """Until the controller has seen the policy's new steps, an index may point beyond them."""
    short = plan(Step(share=1.0))
    assert overlay([short], {"x": replace(reached(plan(), 2), identity=short.identity)})["x"].budget is None


def test_policy_to_plan_through_all_of_it() -> None:
    """As written: started, the route of the policy's own table shadows, serves a share, and comes home."""
    text = policy("x: {serve_from: a, migrate: {to: b, steps: [{share: 25%, hold: 1h}, {share: 100%}]}}")
    read = load(text)
    whole = read.migrations["x"]
    state = step(State.planned(whole), whole, Seen(), [command(Verb.START)], NOW).state
    route = laid(read, overlay(read.migrations.values(), {"x": state})).routes["x", None]
    assert [(one.target.name, one.weight) for one in route.serve] == [("a", 0.75), ("b", 0.25)]
    gone = step(state, whole, Seen(rooms={"x": 1.0}), [command(Verb.ROLLBACK)], NOW).state
    assert laid(read, overlay(read.migrations.values(), {"x": gone})) is read


@pytest.mark.parametrize(("fallback", "goes_to"), [((), "old"), ((SPARE,), "spare")])
def test_share_holds_while_the_old_target_is_ejected(fallback: tuple[Target, ...], goes_to: str) -> None:
    """What the old target can't serve goes to the fallbacks or is tried all the same: the candidate gets no more."""
    route = moved(0.1, fallback=fallback)
    views = {"old": [TargetView(health=0.0, back_at=9.0)]}
    plans = {key: first_plan(route, views, key, lambda: 0.5) for key in KEYS}
    sides = {key: side(route, key) for key in KEYS}
    assert {plan.attempts[0].target.name for key, plan in plans.items() if sides[key] == "old"} == {goes_to}
    assert {plan.attempts[0].target.name for key, plan in plans.items() if sides[key] == "new"} == {"new"}
    assert {key: plan.side for key, plan in plans.items()} == sides


@pytest.mark.parametrize(("old_back", "new_back"), [(9.0, 5.0), (5.0, 9.0)])
@pytest.mark.parametrize("fallback", [(), (SPARE,)])
def test_share_holds_while_everything_is_ejected(
    old_back: float, new_back: float, fallback: tuple[Target, ...]
) -> None:
    """Each side is asked by its own callers, whichever is back sooner, so that what hit both counts against both; and
    who was meant for the old target does not meet the candidate, first or later."""
    route = moved(0.1, fallback=fallback)
    backs = {"old": old_back, "new": new_back, "spare": 7.0}
    views = {name: [TargetView(health=0.0, back_at=back)] for name, back in backs.items()}
    sides = {key: side(route, key) for key in KEYS}
    for key, meant in sides.items():
        plan = first_plan(route, views, key, lambda: 0.5)
        assert plan.side == meant
        asked = [one.target.name for one in plan.attempts]
        assert meant == "new" or "new" not in asked
        assert asked == [meant, *sorted(asked[1:], key=backs.__getitem__)]


def test_ejected_candidate_is_replaced_by_the_old_target() -> None:
    """Its callers go home for the time, and the plan says whom they were meant for."""
    route = moved(0.5)
    key = next(key for key in KEYS if side(route, key) == "new")
    plan = first_plan(route, {"new": [TargetView(health=0.0, back_at=9.0)]}, key, lambda: 0.5)
    assert ([one.target.name for one in plan.attempts], plan.side) == (["old"] * 2, "new")


def test_cold_candidate_spills_to_the_old_target() -> None:
    """Unless the policy says otherwise: while a route migrates there is a fallback, though its policy names none."""
    block = "serve_from: a, migrate: {to: b, steps: [{share: 25%, hold: 1h}, {share: 100%}]}"
    for written, meant in (("", "spill"), (", when_cold: spill", "spill"), (", when_cold: fail", "fail")):
        read = load(policy(f"x: {{{block}{written}}}"))
        route = laid(read, {"x": Shift("x", "1.1", "a", "b", 0.25)}).routes["x", None]
        assert (route.when_cold, [one.name for one in route.reserves]) == (meant, ["a"])


def test_sessions_keep_their_home() -> None:
    """One opened on either side is led back there at every share, and after a rollback too."""
    read = load(policy("x: {serve_from: a, migrate: {to: b, steps: [{share: 25%, hold: 1h}, {share: 100%}]}}"))
    routes = [read.routes["x", None]]
    routes += [laid(read, {"x": Shift("x", "1.1", "a", "b", share)}).routes["x", None] for share in (0.0, 0.25, 1.0)]
    for name in ("a", "b"):
        minted = marked(routes[1], read.targets[name], 0, "s1; Expires=never")
        assert [home(route, minted.partition(";")[0]) for route in routes] == [Home(read.targets[name], 0, "s1")] * 4
    assert [one.target.name for one in explain(routes[0], {}, None, float).ruled_out] == ["b"]
    assert routes[0].sole is read.targets["a"]
