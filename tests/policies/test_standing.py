"""Who may be asked: ejected targets, last resorts, and replicas that are out or coming back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.choose import Plan, first_plan
from policies.facts import TargetView
from policies.migrating import Shift
from policies.standing import ejected, place, replica
from policies.table import Boundary, RetryRule, Route, Sticky, Weighted

from .written import PATIENT, engine, split, target


def half() -> float:
    return 0.5


def drawing(*numbers: float) -> Callable[[], float]:
    return iter(numbers).__next__


def names(plan: Plan) -> list[str]:
    return [attempt.target.name for attempt in plan.attempts]


def out(back_at: float = 10.0) -> tuple[TargetView, ...]:
    return (TargetView(health=0.0, back_at=back_at),)


ROUTE = Route("x", None, split(a=1), (target("b"), target("c")), retry=RetryRule(3), rule="endpoints.x")


def test_an_ejected_target_is_passed_over() -> None:
    """Requests go to the fallback at once, and not first to what is known to fail."""
    assert names(first_plan(ROUTE, {"a": out()}, None, half)) == ["b", "c"]
    assert names(first_plan(ROUTE, {"b": out()}, None, half)) == ["a", "c"]


def test_ejecting_one_side_of_a_split_moves_its_callers_only() -> None:
    """Who was on the other side stays there."""
    route = Route("x", None, split(a=1, b=1, c=1))
    for number in range(50):
        key = f"key {number}"
        before, after = (names(first_plan(route, views, key, half))[0] for views in ({}, {"a": out()}))
        assert after != "a"
        assert before in ("a", after)


def test_at_most_half_of_the_targets_are_ejected() -> None:
    """Of three at most one is out: the one that will be back last. The other is asked after the one that is well."""
    plan = first_plan(ROUTE, {"a": out(30.0), "b": out(10.0)}, None, half)
    assert (names(plan), plan.why) == (["c", "b"], "endpoints.x: c, a fallback, as no first choice is left")
    plan = first_plan(ROUTE, {"a": out(10.0), "b": out(30.0)}, None, half)
    assert (names(plan), plan.why) == (["c", "a"], "endpoints.x: c, a fallback, as the breaker of a is open")


def test_when_all_are_out_the_least_bad_is_tried() -> None:
    """A route is never failed by breakers alone."""
    plan = first_plan(ROUTE, {"a": out(30.0), "b": out(20.0), "c": out(40.0)}, None, half)
    assert names(plan) == ["b", "a", "c"]
    assert plan.why == "endpoints.x: b, the least bad, as all are ejected"
    lone = Route("x", None, split(a=1))
    assert names(first_plan(lone, {"a": out()}, None, half)) == ["a", "a"]


def test_when_all_are_out_the_declared_last_resort_comes_first() -> None:
    """It takes no traffic before that, and the others follow it."""
    route = Route("x", None, split(a=1), last_resort=target("z"), rule="endpoints.x")
    assert names(first_plan(route, {}, None, half)) == ["a", "a"]
    plan = first_plan(route, {"a": out()}, None, half)
    assert names(plan) == ["z", "a"]
    assert plan.why == "endpoints.x: z, the last resort, as all others are ejected"
    assert [each.name for each in route.targets] == ["a", "z"]


def test_a_last_resort_keeps_to_the_boundary_and_to_its_size() -> None:
    """Distress opens no door: outside the boundary it is not there, and a body it refuses does not go to it."""
    abroad = Route(
        "x",
        None,
        split(a=1),
        last_resort=target("z", region="eu-west-1"),
        boundary=Boundary(regions=frozenset({"us-east-1"})),
    )
    assert names(first_plan(abroad, {"a": out()}, None, half)) == ["a", "a"]
    small = Route("x", None, split(a=1), last_resort=target("z", body_limit=5))
    assert names(first_plan(small, {"a": out()}, None, half, 6)) == ["a", "a"]


@pytest.mark.parametrize(("drawn", "first"), [(0.0, "a"), (0.19, "a"), (0.2, "b"), (0.9, "b")])
def test_a_target_that_recovers_gets_its_share(drawn: float, first: str) -> None:
    """Slow start: a fifth of the requests while its health is a fifth."""
    assert names(first_plan(ROUTE, {"a": (TargetView(health=0.2),)}, None, drawing(drawn)))[0] == first


def back(health: float = 0.1) -> tuple[TargetView, ...]:
    return (TargetView(health=health),)


@pytest.mark.parametrize("drawn", [0.05, 0.9])
def test_all_that_come_back_together_share_the_traffic_as_ever(drawn: float) -> None:
    """After an outage of all, none is less bad than the others: callers keep their side, fallbacks stay such."""
    route = Route("x", None, split(a=1, b=1, c=1, d=1))
    views = {name: back() for name in "abcd"}
    for number in range(50):
        key = f"key {number}"
        assert names(first_plan(route, views, key, lambda: drawn))[0] == names(first_plan(route, {}, key, half))[0]
    backwards = Route("x", None, split(z=1), (target("a"),), rule="endpoints.x")
    plan = first_plan(backwards, {"a": back(), "z": back()}, None, lambda: drawn)
    assert names(plan) == ["z", "a"]


def test_who_comes_back_is_asked_before_those_that_are_out() -> None:
    """Alone among ejected ones it is the best there is; they follow it, whoever may be tried again soonest first."""
    plan = first_plan(ROUTE, {"a": out(30.0), "b": back(), "c": out(20.0)}, None, lambda: 0.9)
    assert (names(plan), plan.why) == (["b", "c", "a"], "endpoints.x: b, which is just back, as no other is well")


def test_a_migrations_sides_come_back_each_to_its_own() -> None:
    """What hit both speaks against neither: the candidate gets its requests, which would count as failed else."""
    old, new = target("a"), target("z")
    shift = Shift("x", "1", "a", "z", 0.5)
    route = Route("x", None, split(a=1, z=1), (old,), shift=shift, candidate=new)
    views = {"a": back(), "z": back()}
    for number in range(50):
        plan = first_plan(route, views, f"key {number}", lambda: 0.9)
        assert names(plan)[0] == plan.side


def test_callers_with_a_key_come_back_once() -> None:
    """While a target gets its traffic back bit by bit, who has gone over stays there, in every process."""
    route = Route("x", None, split(a=1, b=1), sticky=Sticky("session"))
    for number in range(100):
        key = f"key {number}"
        if names(first_plan(route, {}, key, half))[0] == "a":
            went = [
                names(first_plan(route, {"a": back(tenths / 10)}, key, drawing(*[drawn] * 4)))[0]
                for tenths in range(1, 11)
                for drawn in (0.0, 0.99)
            ]
            assert went == sorted(went, reverse=True)
            assert went[-1] == "a"


def test_who_shares_a_beginning_comes_back_bit_by_bit() -> None:
    """A key that is the body's beginning may be everybody's: each request is drawn, or all would come back at once."""
    route = Route("x", None, split(a=1), (target("b"),), sticky=Sticky("prefix", prefix=4))
    went = {names(first_plan(route, {"a": back(0.5)}, "same", drawing(*[drawn] * 4)))[0] for drawn in (0.0, 0.99)}
    assert went == {"a", "b"}


def test_a_migrations_old_target_that_is_just_back_has_its_callers() -> None:
    """They have no other place: that it is the candidate's fallback makes it none of their own."""
    old = target("a")
    shift = Shift("x", "1", "a", "z", 0.5)
    route = Route("x", None, split(a=1, z=1), (old,), rule="endpoints.x.migrate", shift=shift, candidate=target("z"))
    plans = [first_plan(route, {"a": back()}, f"key {number}", lambda: 0.9) for number in range(50)]
    assert not [plan.why for plan in plans if plan.side == "a" and "fallback" in plan.why]
    assert {tuple(names(plan)) for plan in plans if plan.side == "z"} == {("z", "a")}


def test_a_fallback_that_is_just_back_is_asked_where_nobody_else_answers() -> None:
    """It is spared its part of the traffic, and not kept from a request that would fail: others come before it."""
    assert names(first_plan(ROUTE, {"b": back()}, None, lambda: 0.9)) == ["a", "c", "b"]
    alone = Route("x", None, split(a=1), (target("b"),))
    assert names(first_plan(alone, {"b": back()}, None, lambda: 0.9)) == ["a", "b"]


def test_a_target_is_as_well_as_its_best_replica() -> None:
    """One replica that works keeps the target in."""
    views = {"e": (TargetView(health=0.0), TargetView())}
    assert ejected([engine("e", 2), target("b")], views, half) == ()


@pytest.mark.parametrize(
    ("views", "draws", "expected"),
    [
        ((TargetView(health=0.0), TargetView(9), TargetView(health=0.0)), (), 1),
        ((TargetView(health=0.0), TargetView(health=0.0), TargetView(health=0.0)), (0.0, 0.0), 0),
        ((TargetView(health=0.0), TargetView(5), TargetView(1)), (0.0, 0.0), 2),
        ((TargetView(2, health=0.25), TargetView(9), TargetView(99)), (0.0, 0.0), 1),
        ((TargetView(2, health=0.5), TargetView(9), TargetView(99)), (0.0, 0.0), 0),
    ],
)
def test_replica_that_is_out_is_passed_over(
    views: tuple[TargetView, ...], draws: tuple[float, ...], expected: int
) -> None:
    """Only the well ones are compared, unless there are none; one that is coming back counts as busier."""
    assert replica(engine("e", 3), {"e": views}, None, drawing(*draws)) == expected


healths = st.sampled_from([0.0, 0.3, 1.0])


@PATIENT
@given(st.lists(healths, min_size=1, max_size=7), st.floats(0, 1, exclude_max=True), st.data())
def test_never_more_than_half_and_never_nothing(shares: list[float], drawn: float, data: st.DataObject) -> None:
    """Whatever the breakers say, at least half of the targets are left, or all are known to be out."""
    targets = [target(f"t{index}") for index in range(len(shares))]
    views = {
        f"t{index}": (TargetView(health=share, back_at=data.draw(st.floats(0, 100))),)
        for index, share in enumerate(shares)
    }
    left_out = ejected(targets, views, lambda: drawn)
    assert len(left_out) <= len(targets) // 2 or len(left_out) == len(targets)
    assert all(views[each.name][0].health < 1.0 for each in left_out)
    route = Route("x", None, tuple(Weighted(each, 1.0) for each in targets), retry=RetryRule(9))
    assert first_plan(route, views, "key", lambda: drawn).attempts


@pytest.mark.parametrize("shy", [TargetView(0, cold=True), TargetView(0, refuses=True)])
def test_a_replica_that_refuses_is_asked_now_and_then(shy: TargetView) -> None:
    """It refuses at once and would else be the least busy; without any request nobody would see it come back."""
    three = engine("engine", 3)
    views = {"engine": (shy, TargetView(5), TargetView(5))}
    draws = [number / 1000 for number in range(1000)]
    asked = [replica(three, views, None, drawing(draw, 0.1, 0.6)) for draw in draws]
    assert (asked.count(0), set(asked[50:])) == (50, {1})
    assert replica(three, views, None, drawing(0.9, 0.6, 0.1)) == 2
    for key in map(str, range(50)):
        assert replica(three, views, key, half) in (1, 2)


def test_of_replicas_that_all_refuse_any_is_asked() -> None:
    """Nothing is drawn for it: all of them, or those that are not ejected, are alike."""
    two = engine("engine", 2)
    assert replica(two, {"engine": (TargetView(1, cold=True), TargetView(0, cold=True))}, None, drawing(0.1, 0.6)) == 1
    both = (TargetView(1, refuses=True), TargetView(0, cold=True))
    assert replica(two, {"engine": both}, None, drawing(0.1, 0.6)) == 1
    mixed = {"engine": (TargetView(0, cold=True), TargetView(health=0.0, back_at=9.0))}
    assert replica(two, mixed, None, drawing()) == 0


def test_callers_come_back_in_an_order_of_their_own() -> None:
    """The same key has the same place everywhere, another target another; who has no key is drawn each time."""
    assert (
        place(target("cold"), "a", half) == place(target("cold"), "a", lambda: 0.9) != place(target("warm"), "a", half)
    )
    assert place(target("cold"), "\udc80", half) == place(target("cold"), "\udc80", half)
    assert [place(target("cold"), None, iter([draw]).__next__) for draw in (0.1, 0.7)] == [0.1, 0.7]


def test_their_places_are_even_and_not_those_of_the_split() -> None:
    """A tenth of the callers stands in the first tenth, and so does a tenth of those on one side of a split."""
    keys = [f"key-{number}" for number in range(4000)]
    early = {key for key in keys if place(target("new"), key, half) < 0.1}
    assert 320 < len(early) < 480
    sides = Route("x", None, (Weighted(target("old"), 0.5), Weighted(target("new"), 0.5)))
    over = {key for key in keys if first_plan(sides, {}, key, half).attempts[0].target.name == "new"}
    assert 140 < len(early & over) < 260


@PATIENT
@given(st.text())
def test_a_place_is_within_the_row(key: str) -> None:
    """Whatever the key: a share of 1 lets everybody back."""
    assert 0.0 <= place(target("cold"), key, half) < 1.0
