"""Session ids with the tag of the copy that minted them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.choose import first_plan, plan_for, sticky_key
from policies.facts import TargetView
from policies.sessions import LONGEST, home, marked
from policies.table import Boundary, RetryRule, Route, Sticky, VllmSpec, Weighted

from .written import PATIENT, engine, split, target

PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")  # botocore 1.44.5, sagemaker-runtime model
ENGINE = engine("e", 3)
ROUTE = Route("x", None, (Weighted(ENGINE, 1.0),), (target("b"),), retry=RetryRule(2), rule="endpoints.x")
EXPIRES = "; Expires=2026-11-21T12:00:00Z"
ids = st.from_regex(PATTERN, fullmatch=True).filter(lambda text: len(text) <= 200)


@PATIENT
@given(ids, st.sampled_from([0, 1, 2]), st.booleans())
def test_a_session_finds_its_way_home(minted: str, replica: int, expires: bool) -> None:
    """Whatever id a copy mints: the client's fits SageMaker's pattern, leads back to the copy, and is its own there."""
    given_out = marked(ROUTE, ENGINE, replica, minted + (EXPIRES if expires else ""))
    known, _, rest = given_out.partition(";")
    assert rest == (EXPIRES[1:] if expires else "")
    assert PATTERN.fullmatch(known)
    assert len(known) <= LONGEST
    found = home(ROUTE, known)
    assert found is not None
    assert (found.target, found.replica, found.session_id) == (ENGINE, replica, minted)


def test_what_has_no_tag_of_ours_is_left_alone() -> None:
    """A fresh session, an id of elsewhere, and one whose replica has left the policy lead nowhere in particular."""
    known = marked(ROUTE, ENGINE, 1, "abc")
    smaller = replace(ENGINE, spec=VllmSpec(("http://e-0:8000",), "model"))
    gone = Route("x", None, (Weighted(smaller, 1.0),), (target("b"),))
    assert [home(ROUTE, each) for each in (None, "NEW_SESSION", "abc", "abc-pm000000000000", "-pm000000000000")] == [
        None
    ] * 5
    assert home(gone, known) is None


def test_a_tag_opens_no_door() -> None:
    """A boundary that was narrowed binds sessions that are already open."""
    known = marked(ROUTE, ENGINE, 1, "abc")
    assert home(replace(ROUTE, boundary=Boundary(regions=frozenset({"eu-west-1"}))), known) is None


def test_no_tag_where_there_is_one_place_or_no_room() -> None:
    """A route with a single place passes ids byte for byte; an id that would become too long does as well."""
    assert marked(Route("x", None, split(a=1)), target("a"), 0, "abc") == "abc"
    long = "a" * (LONGEST - 14)
    assert marked(ROUTE, ENGINE, 0, long + EXPIRES) == long + EXPIRES
    assert len(marked(ROUTE, ENGINE, 0, long[1:])) == LONGEST


def test_a_session_goes_nowhere_else() -> None:
    """Its state is in one copy: no fallback, and a repeat goes to the same one."""
    found = home(ROUTE, marked(ROUTE, ENGINE, 2, "abc"))
    assert found is not None
    plan = plan_for(ROUTE, found)
    assert [(attempt.target.name, attempt.replica) for attempt in plan.attempts] == [("e", 2), ("e", 2)]
    assert plan.why == "endpoints.x: e, where the session lives"
    assert len(plan_for(ROUTE, found, sdk_attempt=2).attempts) == 1


# --- callers with a key -----------------------------------------------------------------------------------------------


def replica_of(key: str, *busy: int) -> int:
    views = {"e": tuple(TargetView(count) for count in busy)}
    return first_plan(Route("x", None, (Weighted(ENGINE, 1.0),)), views, key, lambda: 0.5).attempts[0].replica


def test_a_callers_key_prefers_one_replica_and_keys_are_spread() -> None:
    """The same key goes to the same replica, and each replica is some keys' own."""
    chosen = {key: replica_of(key) for key in map(str, range(60))}
    assert chosen == {key: replica_of(key) for key in chosen}
    assert set(chosen.values()) == {0, 1, 2}


@PATIENT
@given(st.text(max_size=5), st.tuples(*[st.integers(0, 30)] * 3))
def test_no_replica_is_buried_under_one_key(key: str, busy: tuple[int, int, int]) -> None:
    """A replica with more than its part of the load takes no more, however popular the key."""
    taken = busy[replica_of(key, *busy)]
    assert taken <= 1.25 * (sum(busy) + 1) / 3 + 1


@pytest.mark.parametrize(
    ("one", "other", "same"), [(b"ab1", b"ab2", True), (b"ab1", b"xb1", False), (b"a", b"a", True)]
)
def test_a_prefix_of_the_body_is_a_key(one: bytes, other: bytes, same: bool) -> None:
    """Prompts that begin alike go where that beginning may be cached."""
    sticky = Sticky("prefix", prefix=2)
    first, second = (sticky_key(sticky, None, None, lambda name: None, body) for body in (one, other))
    assert first
    assert (first == second) is same
