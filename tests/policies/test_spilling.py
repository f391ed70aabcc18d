"""Where a request goes while its target is cold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policies.choose import first_plan
from policies.facts import TargetView
from policies.spilling import spilled
from policies.standing import Views
from policies.table import Boundary, Isolation, RetryRule, Route, Weighted
from tests.policies.written import PATIENT, engine, target


def route(*fallback: str, **changes: object) -> Route:
    """A route to `cold` with these fallbacks."""
    spare = tuple(target(name) for name in fallback)
    fields: dict[str, object] = {"rule": "endpoints.x.serve_from", "retry": RetryRule(2)} | changes
    return Route("x", None, (Weighted(target("cold"), 1.0),), fallback=spare, **fields)  # type: ignore[arg-type]  # of Route's fields


def half() -> float:
    return 0.5


def names(route: Route, out: set[str], views: Views | None = None) -> list[str] | None:
    plan = first_plan(route, {}, None, half)
    found = spilled(route, plan, out, views or {}, half, 0, "cold is warming")
    return [attempt.target.name for attempt in found.attempts] if found else None


def test_the_fallback_takes_over_and_says_why() -> None:
    """It is not a repeat: nothing has run, nothing is charged."""
    chat = route("warm")
    plan = first_plan(chat, {}, None, half)
    found = spilled(chat, plan, {"cold"}, {}, half, 0, "cold is warming")
    assert found is not None
    assert found.why == "endpoints.x.serve_from: warm, cold-spill: cold is warming"
    assert (found.made, found.charged, found.wait, found.repeats) == (0, False, 0.0, 0)


def test_no_other_place_is_none() -> None:
    """Neither without a fallback nor with one that is cold as well."""
    assert names(route(), {"cold"}) is None
    assert names(route("warm"), {"cold", "warm"}) is None


def test_a_lone_fallback_is_tried_again() -> None:
    """As a lone target ever is, unless the client repeats by itself."""
    assert names(route("warm", retry=RetryRule(3)), {"cold"}) == ["warm", "warm", "warm"]
    chat = route("warm")
    again = spilled(chat, first_plan(chat, {}, None, half, 0, 2), {"cold"}, {}, half, 0, "")
    assert again is not None
    assert len(again.attempts) == 1


def test_a_single_attempt_still_spills() -> None:
    """The rule of repeats does not count what was never sent."""
    assert names(route("warm", retry=RetryRule(1)), {"cold"}) == ["warm"]


def test_an_ejected_fallback_comes_last() -> None:
    """A breaker's word counts, but a bad place is better than none."""
    views = {"bad": (TargetView(health=0.0),)}
    assert names(route("bad", "good"), {"cold"}, views) == ["good", "bad"]
    assert names(route("bad"), {"cold"}, views) == ["bad", "bad"]


def test_a_place_too_small_for_the_body_is_none() -> None:
    """Its refusal would help nobody."""
    chat = Route("x", None, (Weighted(target("cold"), 1.0),), fallback=(target("small", body_limit=10),))
    plan = first_plan(chat, {}, None, half)
    assert spilled(chat, plan, {"cold"}, {}, half, 11, "") is None


def test_a_replica_of_the_fallback_is_drawn() -> None:
    """As for any other request."""
    chat = Route("x", None, (Weighted(target("cold"), 1.0),), fallback=(engine("engine", 3),))
    busy = {"engine": (TargetView(in_flight=0), TargetView(in_flight=9), TargetView(in_flight=9))}
    found = spilled(chat, first_plan(chat, {}, None, half), {"cold"}, busy, half, 0, "")
    assert found is not None
    assert found.attempts[0].replica == 0


@PATIENT
@given(
    st.lists(st.sampled_from(["a", "b", "c", "far"]), unique=True),
    st.sets(st.sampled_from(["cold", "a", "b", "c", "far"])),
    st.integers(1, 5),
)
def test_never_outside_the_boundary_and_never_to_what_is_out(spare: list[str], out: set[str], attempts: int) -> None:
    """Whatever is cold, a spilled plan holds only places inside the route's boundary, each once, within its rule."""
    inside = Boundary(isolation=Isolation.CONTAINER)
    places = tuple(target(name, isolation=Isolation.SHARED if name == "far" else Isolation.INSTANCE) for name in spare)
    serve = (Weighted(target("cold"), 1.0),)
    chat = Route("x", None, serve, fallback=places, boundary=inside, retry=RetryRule(attempts))
    found = names(chat, out | {"cold"})
    allowed = set(spare) - {"far"} - out
    assert (found is None) == (not allowed)
    assert set(found or ()) <= allowed
    assert len(found or ()) <= attempts
    assert len(set(found or ())) in {0, 1, len(found or ())}
