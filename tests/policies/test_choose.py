"""Which target a request goes to, and which one next."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.choose import Attempt, Plan, after_failure, explain, first_plan, sticky_key
from policies.facts import FailureFacts, Fault, TargetView
from policies.table import Boundary, Isolation, RetryRule, Route, Sticky, Target, Weighted

from .written import PATIENT, engine, split, target

NOT_SENT = FailureFacts(Fault.NETWORK, retry_safe=True)
UNKNOWN = FailureFacts(Fault.NETWORK, retry_safe=None)
COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)


def half() -> float:
    return 0.5


def drawing(*numbers: float) -> Callable[[], float]:
    return iter(numbers).__next__


def names(plan: Plan | None) -> list[str]:
    return [] if plan is None else [attempt.target.name for attempt in plan.attempts]


def first_of(route: Route, key: str) -> str:
    return names(first_plan(route, {}, key, half))[0]


# --- the first plan ---------------------------------------------------------------------------------------------------


def test_fallbacks_follow_the_first_choice_in_their_order() -> None:
    """The order of the policy is the order of the attempts, and a target stands in it once."""
    route = Route("x", None, split(a=1), (target("c"), target("a"), target("b")), retry=RetryRule(5))
    assert names(first_plan(route, {}, None, half)) == ["a", "c", "b"]


def test_plan_is_cut_to_the_budget() -> None:
    """A fallback beyond the budget of attempts is not in the plan."""
    route = Route("x", None, split(a=1), (target("b"), target("c")), retry=RetryRule(2))
    assert names(first_plan(route, {}, None, half)) == ["a", "b"]


def test_lone_target_is_tried_again() -> None:
    """With nowhere else to go, the same target gets the attempts there are."""
    assert names(first_plan(Route("x", None, split(a=1), retry=RetryRule(3)), {}, None, half)) == ["a", "a", "a"]


def test_lone_target_is_not_tried_again_beside_a_fallback() -> None:
    """A plan with two targets tries each once, whatever the budget."""
    route = Route("x", None, split(a=1), (target("b"),), retry=RetryRule(9))
    assert names(first_plan(route, {}, None, half)) == ["a", "b"]


def test_second_try_of_a_lone_engine_is_at_another_replica() -> None:
    """What failed on one replica is tried on the next before it is tried there again."""
    route = Route("x", None, (Weighted(engine("e", 3), 1),), retry=RetryRule(4))
    replicas = [attempt.replica for attempt in first_plan(route, {}, None, drawing(0.4, 0.0)).attempts]
    assert replicas == [1, 2, 0, 1]


def test_choices_of_known_keys_never_change() -> None:
    """Every process, version and machine sends a key to the same target: these were computed once and for all."""
    route = Route("x", None, split(a=90, b=10, c=50))
    assert [first_of(route, f"session-{number}") for number in range(12)] == list("caaaabccacab")


def test_shares_follow_the_weights() -> None:
    """Over many keys each target gets its weight over the sum, within four standard deviations."""
    route = Route("x", None, split(a=90, b=9, c=1))
    chosen = [first_of(route, f"key {number}") for number in range(10_000)]
    assert abs(chosen.count("a") - 9000) < 120
    assert abs(chosen.count("b") - 900) < 115
    assert abs(chosen.count("c") - 100) < 40


def test_split_without_a_key_is_drawn() -> None:
    """Requests without a key spread over the split by the draw, and one draw is one target."""
    route = Route("x", None, split(a=1, b=1))
    drawn = [names(first_plan(route, {}, None, drawing(number / 64)))[0] for number in range(64)]
    assert set(drawn) == {"a", "b"}
    assert drawn == [names(first_plan(route, {}, None, drawing(number / 64)))[0] for number in range(64)]


def test_key_that_is_not_ascii_is_a_key() -> None:
    """A header may hold any bytes; they are hashed as they came."""
    route = Route("x", None, split(a=1, b=1))
    assert first_of(route, "schlüssel\udcff") in {"a", "b"}


def test_weight_of_zero_takes_nothing_and_may_be_a_fallback() -> None:
    """A drained target gets no first attempt, but stays where the fallback names it."""
    route = Route("x", None, split(a=1, b=0), (target("b"),))
    assert {first_of(route, str(number)) for number in range(50)} == {"a"}
    assert names(first_plan(route, {}, None, half)) == ["a", "b"]


def test_fallback_serves_when_no_first_choice_may() -> None:
    """A first choice outside the boundary is passed over, and the reason for the next is said."""
    weak = target("weak", isolation=Isolation.SHARED)
    route = Route("x", None, (Weighted(weak, 1),), (target("b"),), boundary=Boundary(isolation=Isolation.INSTANCE))
    plan = first_plan(route, {}, None, half)
    assert names(plan) == ["b", "b"]
    assert "fallback" in plan.why


def test_plan_is_empty_when_nothing_may_serve() -> None:
    """Rather no answer than one from outside the boundary; the reason names each target."""
    boundary = Boundary(regions=frozenset({"eu-west-1"}))
    plan = first_plan(Route("x", None, split(a=1, b=0), boundary=boundary, rule="endpoints.x.split"), {}, "k", half)
    assert plan.attempts == ()
    assert plan.why.startswith("endpoints.x.split: no target may serve it (a: region is us-east-1")
    assert after_failure(plan, NOT_SENT) is None
    assert "has none" in first_plan(Route("x", None, ()), {}, "k", half).why


def test_target_too_small_for_the_body_is_left_out() -> None:
    """A body that one target refuses goes to one that takes it, be that a fallback."""
    small = target("small", body_limit=10)
    route = Route("x", None, (Weighted(small, 1),), (target("big"),))
    assert names(first_plan(route, {}, None, half, 10)) == ["small", "big"]
    assert names(first_plan(route, {}, None, half, 11)) == ["big", "big"]


def test_target_too_small_stays_when_all_are() -> None:
    """The refusal of a body that nobody takes is the target's to give, with its own text."""
    route = Route("x", None, (Weighted(target("small", body_limit=10), 1),), (target("tiny", body_limit=5),))
    assert names(first_plan(route, {}, None, half, 11)) == ["small", "tiny"]


def test_cold_target_keeps_its_place() -> None:
    """A cold copy says so at once and is woken by being asked."""
    route = Route("x", None, split(a=1), (target("b"),))
    assert names(first_plan(route, {"a": (TargetView(cold=True),)}, None, half)) == ["a", "b"]


# --- replicas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("busy", "expected"), [((5, 0), 1), ((0, 5), 0), ((3, 3), 0)])
def test_less_busy_of_two_replicas(busy: tuple[int, int], expected: int) -> None:
    """With two replicas the less busy one is taken; between equals the first drawn."""
    views = {"e": tuple(TargetView(in_flight=count) for count in busy)}
    route = Route("x", None, (Weighted(engine("e", 2), 1),))
    assert first_plan(route, views, None, drawing(0.0, 0.0)).attempts[0].replica == expected


def test_replica_without_a_view_is_idle() -> None:
    """A replica that nobody called yet is the less busy one."""
    route = Route("x", None, (Weighted(engine("e", 2), 1),))
    assert first_plan(route, {"e": (TargetView(in_flight=1),)}, None, drawing(0.0, 0.0)).attempts[0].replica == 1


@PATIENT
@given(st.integers(2, 9), st.floats(0, 1), st.floats(0, 1))
def test_two_different_replicas_are_compared(count: int, one: float, other: float) -> None:
    """Whatever is drawn, a busy replica loses to some other one, and an index never runs over."""
    route = Route("x", None, (Weighted(engine("e", count), 1),), retry=RetryRule(1))
    free = first_plan(route, {}, None, drawing(one, other)).attempts[0].replica
    views = {"e": tuple(TargetView(in_flight=9 if index == free else 0) for index in range(count))}
    chosen = first_plan(route, views, None, drawing(one, other)).attempts[0].replica
    assert 0 <= chosen < count
    assert chosen != free


# --- after a failure --------------------------------------------------------------------------------------------------

TWO = Plan((Attempt(target("a")), Attempt(target("b"))), 0, "", RetryRule(2), idempotent=False)
AGAIN = Plan((Attempt(target("a")), Attempt(target("a"))), 0, "", RetryRule(2), idempotent=False)


@pytest.mark.parametrize(
    ("fault", "retry_safe", "idempotent"), list(product(Fault, (True, False, None), (True, False))), ids=str
)
def test_whether_there_is_a_next_attempt(fault: Fault, retry_safe: bool | None, idempotent: bool) -> None:
    """Not for the caller's fault or what would fail again; for what may have run only on an idempotent route."""
    plan = Plan(TWO.attempts, 0, "", TWO.rule, idempotent)
    following = after_failure(plan, FailureFacts(fault, retry_safe))
    expected = fault is not Fault.CALLER and (retry_safe is True or (retry_safe is None and idempotent))
    assert names(following) == (["b"] if expected else [])


def test_next_plan_counts_and_says_why() -> None:
    """The failure is counted, and the log can tell what made the next target the next one."""
    following = after_failure(TWO, FailureFacts(Fault.PLATFORM, True, cold=True, throttled=True))
    assert following is not None
    assert following.made == 1
    assert following.why == "a failed (platform, cold, throttled): b"


def test_budget_counts_attempts_that_are_over() -> None:
    """The last attempt of the budget has no successor, even if the plan holds one."""
    assert after_failure(Plan(TWO.attempts, 1, "", RetryRule(2), idempotent=True), NOT_SENT) is None


def test_plan_that_is_spent_ends() -> None:
    """When the list is at its end, the failure is the answer."""
    assert after_failure(Plan(TWO.attempts[:1], 0, "", RetryRule(5), idempotent=True), NOT_SENT) is None


def test_cold_replica_is_followed_by_another_at_once() -> None:
    """Nothing ran and another host is asked, so that neither is there a wait nor is anything taken from the budget."""
    plan = first_plan(Route("x", None, (Weighted(engine("e", 2), 1.0),), retry=RetryRule(3)), {}, None, half)
    assert [one.replica for one in plan.attempts] == [1, 0, 1]
    following = after_failure(plan, COLD)
    assert following is not None
    assert ([one.replica for one in following.attempts], following.wait, following.charged) == ([0], 0.0, False)
    assert after_failure(following, COLD) is None
    shed = FailureFacts(Fault.PLATFORM, True, throttled=True, shed=True)
    assert after_failure(plan, shed) is None


def test_cold_target_is_not_asked_again_at_once() -> None:
    """A cold copy is minutes away: the same target is tried again after other failures only."""
    assert after_failure(AGAIN, COLD) is None
    assert names(after_failure(AGAIN, NOT_SENT)) == ["a"]
    assert names(after_failure(TWO, COLD)) == ["b"]


def test_unknown_failure_of_idempotent_route_is_retried() -> None:
    """`idempotent: true` is the policy's word that running twice does no harm."""
    assert after_failure(AGAIN, UNKNOWN) is None
    assert names(after_failure(Plan(AGAIN.attempts, 0, "", RetryRule(2), idempotent=True), UNKNOWN)) == ["a"]


# --- sticky keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sticky", "expected"),
    [
        (Sticky("session"), "s"),
        (Sticky("inference-id"), "i"),
        (Sticky("header", "x-user"), "u"),
        (Sticky("header", "x-other"), None),
        (Sticky("header"), None),
        (Sticky(), None),
    ],
)
def test_sticky_key(sticky: Sticky, expected: str | None) -> None:
    """The key is what the policy names, and nothing when the request lacks it."""
    assert sticky_key(sticky, "s", "i", {"x-user": "u"}.get) == expected


def test_opening_a_session_is_no_key() -> None:
    """All callers that open a session send the same word; it must not send them all to one target."""
    assert sticky_key(Sticky("session"), "NEW_SESSION", None, lambda name: name) is None


# --- explanations -----------------------------------------------------------------------------------------------------


def test_explanation_is_the_plan_laid_open() -> None:
    """Shares are of what is left, and everything that is not left has its reason."""
    route = Route(
        "x",
        None,
        (*split(a=3, b=1, idle=0), Weighted(target("small", body_limit=5), 9)),
        (target("far", region="eu-west-1"), target("b")),
        boundary=Boundary(regions=frozenset({"us-east-1"})),
        retry=RetryRule(3),
        rule="endpoints.x.split",
    )
    told = explain(route, {}, "key", half, 6)
    assert told.plan == first_plan(route, {}, "key", half, 6)
    assert [(each.name, share) for each, share in told.shares] == [("a", 0.75), ("b", 0.25)]
    assert {one.target.name: one.reason for one in told.ruled_out} == {
        "idle": "has weight 0",
        "small": "takes bodies of up to 5 bytes, this one has 6",
        "far": "region is eu-west-1, the route allows us-east-1",
    }
    assert not told.drawn


def test_explanation_names_fallbacks_that_no_attempt_is_left_for() -> None:
    """A fallback that stands in the policy and is in no plan is not passed over in silence."""
    route = Route("x", None, split(a=1), (target("b"), target("c")), retry=RetryRule(2))
    told = explain(route, {}, None, half)
    assert [(one.target.name, one.reason) for one in told.ruled_out] == [
        ("c", "comes after the 2 attempts that a request has")
    ]


def test_explanation_says_when_it_is_one_draw_of_many() -> None:
    """Without a key a split is drawn; a single target is not."""
    assert explain(Route("x", None, split(a=1, b=1)), {}, None, half).drawn
    assert not explain(Route("x", None, split(a=1)), {}, None, half).drawn


@pytest.mark.parametrize(
    ("key", "weights", "expected"),
    [
        ("k", {"a": 1, "b": 1}, "by the caller's key"),
        (None, {"a": 1, "b": 1}, "drawn by weight"),
        ("k", {"a": 1}, "r: a"),
    ],
)
def test_reason_never_holds_the_key(key: str | None, weights: dict[str, float], expected: str) -> None:
    """A session id is the caller's secret; the reason says only that there was one."""
    why = first_plan(Route("x", None, split(**weights), rule="r"), {}, key, half).why
    assert why.endswith(expected)


# --- what holds for every route ---------------------------------------------------------------------------------------

targets = st.builds(
    target,
    st.sampled_from("abcdef"),
    isolation=st.sampled_from(Isolation),
    region=st.sampled_from(["us-east-1", "eu-west-1", None]),
    data_classes=st.sampled_from([frozenset[str](), frozenset({"secret"}), frozenset({"public"})]),
    body_limit=st.sampled_from([10, 1000]),
)
boundaries = st.builds(
    Boundary,
    st.sampled_from([None, "secret", "public"]),
    st.sampled_from(Isolation),
    st.sampled_from([frozenset[str](), frozenset({"us-east-1"}), frozenset({"eu-west-1", "us-east-1"})]),
)
routes = st.builds(
    Route,
    st.just("x"),
    st.none(),
    st.lists(st.builds(Weighted, targets, st.sampled_from([0, 0.5, 1, 90])), max_size=4).map(tuple),
    st.lists(targets, max_size=4).map(tuple),
    boundary=boundaries,
    retry=st.builds(RetryRule, st.integers(1, 5)),
    idempotent=st.booleans(),
)
failures = st.builds(FailureFacts, st.sampled_from(Fault), st.sampled_from([True, None, False]), cold=st.booleans())


@PATIENT
@given(
    routes,
    st.none() | st.text(max_size=5),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([0, 500, 5000]),
    st.data(),
)
def test_no_plan_ever_leaves_the_boundary_or_the_budget(
    route: Route, key: str | None, drawn: float, body_size: int, data: st.DataObject
) -> None:
    """Whatever route and failures: only targets inside, none twice but a lone one, never more than the budget."""
    plan: Plan | None = first_plan(route, {}, key, lambda: drawn, body_size)
    assert plan is not None
    tried: list[Target] = []
    if len(set(names(plan))) > 1:
        assert len(set(names(plan))) == len(plan.attempts)
    while plan is not None and plan.attempts:
        assert plan.made == len(tried)
        assert all(route.boundary.refusal(attempt.target) is None for attempt in plan.attempts)
        tried.append(plan.attempts[0].target)
        plan = after_failure(plan, data.draw(failures))
    assert len(tried) <= route.retry.attempts


weights = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 1000), min_size=2)


@PATIENT
@given(weights, st.data(), st.floats(1.01, 100))
def test_raising_a_weight_moves_keys_only_to_that_target(
    before: dict[str, float], data: st.DataObject, factor: float
) -> None:
    """A caller is moved by a change of weights only if it moves to the target that got more."""
    raised = data.draw(st.sampled_from(sorted(before)))
    old, new = Route("x", None, split(**before)), Route("x", None, split(**before | {raised: before[raised] * factor}))
    for number in range(20):
        was, now = first_of(old, f"key {number}"), first_of(new, f"key {number}")
        assert now in (was, raised)


@PATIENT
@given(weights, st.data())
def test_order_of_the_split_does_not_matter(written: dict[str, float], data: st.DataObject) -> None:
    """Sorting a policy's keys moves nobody."""
    shuffled = dict(data.draw(st.permutations(sorted(written.items()))))
    for number in range(10):
        key = f"key {number}"
        assert first_of(Route("x", None, split(**written)), key) == first_of(Route("x", None, split(**shuffled)), key)
