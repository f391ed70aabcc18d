"""The compiled table: boundaries, lookups, and what a Route computes of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.limits import Bounds
from policies.table import Boundary, Isolation, LimitRule, Miss, Route, RouteTable, Weighted

from .written import engine, split, target

TABLE = RouteTable(
    "123456789012",
    {
        ("plain", None): Route("plain", None, split(a=1)),
        ("packed", "one"): Route("packed", "one", split(a=1)),
        ("packed", "two"): Route("packed", "two", split(a=1)),
    },
    {"a": target("a")},
    "0" * 12,
)


@pytest.mark.parametrize(
    ("endpoint", "component", "expected"),
    [
        ("plain", None, "plain"),
        ("packed", "two", "packed/two"),
        ("Plain", None, Miss.UNKNOWN_ENDPOINT),
        ("nope", "one", Miss.UNKNOWN_ENDPOINT),
        ("packed", None, Miss.COMPONENT_REQUIRED),
        ("packed", "three", Miss.UNKNOWN_COMPONENT),
        ("plain", "one", Miss.COMPONENT_NOT_ALLOWED),
    ],
)
def test_lookup_finds_the_route_or_says_why_not(endpoint: str, component: str | None, expected: object) -> None:
    """Each way to miss is told apart, since clients match each one's text."""
    found = TABLE.lookup(endpoint, component)
    assert (found.key if isinstance(found, Route) else found) == expected


def test_table_cannot_be_changed() -> None:
    """A request keeps the table it took; nobody can alter it under its feet."""
    with pytest.raises(TypeError):
        TABLE.routes["x", None] = TABLE.routes["plain", None]  # type: ignore[index]  # the point of the test
    assert TABLE.endpoints == {"plain", "packed"}


@pytest.mark.parametrize(
    ("boundary", "changes", "word"),
    [
        (Boundary(isolation=Isolation.INSTANCE), {"isolation": Isolation.CONTAINER}, "isolation is container"),
        (Boundary(regions=frozenset({"eu-west-1"})), {}, "region is us-east-1"),
        (Boundary(regions=frozenset({"eu-west-1"})), {"region": None}, "not declared"),
        (Boundary(data_class="secret"), {"data_classes": frozenset({"public"})}, "classes of data are public"),
    ],
)
def test_target_outside_the_boundary_is_refused_in_words(
    boundary: Boundary, changes: dict[str, object], word: str
) -> None:
    """Isolation, region and class of data each bind, and the reason names both sides."""
    assert word in str(boundary.refusal(target("a", **changes)))


def test_everything_that_puts_a_target_outside_is_told_at_once() -> None:
    """Whoever mends one reason is not sent back for the next."""
    boundary = Boundary("secret", Isolation.INSTANCE, frozenset({"eu-west-1"}))
    outside = target("a", isolation=Isolation.SHARED, data_classes=frozenset({"public"}))
    assert boundary.refusal(outside) == (
        "isolation is shared, the route demands instance; its region is us-east-1, the route allows eu-west-1; "
        "its classes of data are public, the route carries secret"
    )


@pytest.mark.parametrize(
    ("boundary", "changes"),
    [
        (Boundary(), {"isolation": Isolation.SHARED, "region": None}),
        (Boundary(isolation=Isolation.CONTAINER), {"isolation": Isolation.INSTANCE}),
        (Boundary(regions=frozenset({"us-east-1", "eu-west-1"})), {}),
        (Boundary(data_class="secret"), {}),
        (Boundary(data_class="secret"), {"data_classes": frozenset({"public", "secret"})}),
    ],
)
def test_target_inside_the_boundary_is_admitted(boundary: Boundary, changes: dict[str, object]) -> None:
    """Stronger isolation satisfies a weaker demand, and a target without classes takes any."""
    assert boundary.refusal(target("a", **changes)) is None


def test_route_admits_only_what_lies_inside_and_takes_traffic() -> None:
    """However a Route is made, what plans are built from is inside its boundary."""
    weak = target("weak", isolation=Isolation.SHARED)
    route = Route(
        "x",
        None,
        (*split(a=1, idle=0), Weighted(weak, 5)),
        (weak, target("b"), target("b")),
        boundary=Boundary(isolation=Isolation.INSTANCE),
    )
    assert [weighted.target.name for weighted in route.admitted] == ["a"]
    assert [spare.name for spare in route.reserves] == ["b"]
    opened = replace(route, boundary=Boundary())
    assert [weighted.target.name for weighted in opened.admitted] == ["a", "weak"]


def test_targets_of_a_route_are_listed_once() -> None:
    """First choices come before fallbacks, and one that is both counts once."""
    route = Route("x", None, split(a=1, b=1), (target("b"), target("c")))
    assert [each.name for each in route.targets] == ["a", "b", "c"]


def test_replicas_are_those_this_process_chooses_between() -> None:
    """Only an engine with several urls has replicas; SageMaker and Bedrock balance on their side."""
    assert engine("e", 3).replicas == 3
    assert target("a").replicas == 1


def test_line_in_the_file_does_not_make_another_target() -> None:
    """A comment added above a target does not look like a new target after a reload."""
    assert target("a", source_line=3) == target("a", source_line=4)


@pytest.mark.parametrize(
    ("workers", "part"),
    [
        (1, LimitRule(Bounds(4, 1000), 256, 64, 10.0)),
        (3, LimitRule(Bounds(1, 333), 85, 21, 10.0)),
        (64, LimitRule(Bounds(1, 15), 4, 1, 10.0)),
    ],
)
def test_processes_divide_a_limit(workers: int, part: LimitRule) -> None:
    """Together no more than the policy says, but each may send one; how long one may wait is not divided."""
    assert LimitRule(Bounds(4, 1000), 256, 64, 10.0).part(workers) == part
    assert LimitRule(Bounds(1, 1), 0, 0).part(workers).queue == 0
    assert LimitRule(Bounds(1, 1), 1, 0).part(workers) == LimitRule(Bounds(1, 1), 1, 0)
