"""What is seen of migrating routes: which side a request counts for, and how it is handed over."""

from __future__ import annotations

import pytest

from backends.outcome import Outcome
from policies.evidence import SLOT, SLOTS_KEPT, Evidence, Side, bucket_of
from policies.migrating import Shift
from warmers.migrations.witness import Witness

from .fleet import SHIFT, attempt, outcome

WINDOW = ("apexguru", "1.1")


def seen(*outcomes: Outcome) -> Evidence:
    witness = Witness()
    for one in outcomes:
        witness.saw("apexguru", SHIFT, one)
    return witness.changed(7.0).get(WINDOW, {}).get("apexguru", Evidence())


def test_a_request_counts_for_the_side_it_was_sent_to_first() -> None:
    """With its durations; a fallback that saved the client does not hide what the side did."""
    found = seen(outcome(attempt("gpu")), outcome(attempt("import", "refused"), attempt("gpu")))
    durations = {"latency": {bucket_of(0.25): 1}}
    assert found.old == Side(1, 0, 0, first_byte={bucket_of(0.2): 1}, **durations)
    assert found.new == Side(1, 1, 0, **durations)
    assert found.at == 7.0


@pytest.mark.parametrize(
    ("one", "errors"),
    [
        (outcome(attempt("import")), 0),
        (outcome(attempt("import", "HTTP 500")), 1),
        (outcome(attempt("import"), ended="upstream_broken"), 1),
        (outcome(attempt("import"), ended="deadline"), 1),
        (outcome(attempt("import"), ended="failed"), 1),
        (outcome(attempt("import", "given up: the client went away"), ended="client_gone"), 0),
        (outcome(attempt("import", "HTTP 500"), attempt("gpu"), ended="client_gone"), 1),
        (outcome(attempt("import", "HTTP 500"), attempt("gpu"), ended="upstream_broken"), 1),
    ],
)
def test_what_is_an_error(one: Outcome, errors: int) -> None:
    """No 2xx at the first attempt, or a stream that broke; a client that left is none of the target's doing."""
    assert seen(one).new.errors == errors


@pytest.mark.parametrize(
    ("one", "errors"),
    [
        (outcome(attempt("import", "not ready", cold=True), attempt("gpu")), 0),
        (outcome(attempt("import", "not ready", cold=True), status=429), 1),
        (outcome(attempt("gpu"), side="import", cold="spill"), 0),
        (outcome(attempt("import"), side="import", cold="hold"), 0),
        (outcome(side="import", cold="fail", status=429), 1),
        (outcome(attempt("gpu", "HTTP 500"), side="import", cold="spill", status=500), 1),
    ],
)
def test_cold_is_counted(one: Outcome, errors: int) -> None:
    """Apart from errors, of which it is one where the client was not saved; also where the side was not even asked."""
    found = seen(one)
    assert (found.new.requests, found.new.cold, found.new.errors, found.old.requests) == (1, 1, errors, 0)


def test_ejected_side_has_failed() -> None:
    """While a breaker keeps requests from the side that they are meant for, its counts must not look better for it."""
    found = seen(outcome(attempt("gpu"), side="import"))
    assert (found.new.requests, found.new.errors, found.new.cold, found.old.requests) == (1, 1, 0, 0)
    assert dict(found.new.first_byte) == {}


def test_first_byte_is_that_of_the_answer() -> None:
    """Of a stream its first piece; of what gave none, or was left, nothing."""
    found = seen(outcome(attempt("gpu"), chunk=0.05), outcome(attempt("gpu"), ended="client_gone"))
    assert found.old.first_byte == {bucket_of(0.05): 1}
    assert sum(found.old.latency.values()) == 2


def test_what_was_sent_to_neither_side_counts_for_none() -> None:
    """Turned away before anyone was asked, or sent to a fallback since both sides were left out."""
    assert seen(outcome(), outcome(attempt("elsewhere"))).old.requests == 0


def test_only_what_has_changed_is_handed_over() -> None:
    """Each time the whole count of the window, so that the last word is all that is needed."""
    witness = Witness()
    witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    assert witness.changed(1.0)[WINDOW]["apexguru"].old.requests == 1
    assert witness.changed(2.0) == {}
    witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    assert witness.changed(3.0)[WINDOW]["apexguru"].old.requests == 2
    witness.unsaid(WINDOW)
    witness.unsaid(("another", "1.1"))
    assert witness.changed(4.0)[WINDOW]["apexguru"].old.requests == 2


def test_past_windows_are_forgotten_once_they_are_handed_over() -> None:
    """A request that began before a step and ends after it is still said."""
    witness = Witness()
    witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    witness.keep(frozenset())
    assert list(witness.changed(1.0)) == [WINDOW]
    witness.keep(frozenset({WINDOW}))
    witness.unsaid(WINDOW)
    assert list(witness.changed(2.0)) == [WINDOW]
    witness.keep(frozenset())
    witness.unsaid(WINDOW)
    assert witness.changed(3.0) == {}


def test_windows_and_routes_are_apart() -> None:
    """A group's routes, and steps that follow one another, are counted each by itself."""
    witness = Witness()
    witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    witness.saw("other", SHIFT, outcome(attempt("import")))
    witness.saw("apexguru", Shift("apexguru", "1.2", "gpu", "import", 0.5), outcome(attempt("import")))
    found = witness.changed(1.0)
    assert {key: set(routes) for key, routes in found.items()} == {
        WINDOW: {"apexguru", "other"},
        ("apexguru", "1.2"): {"apexguru"},
    }


def test_what_was_seen_beside_requests_is_added() -> None:
    """Copies and costs come with the requests of their window."""
    witness = Witness()
    witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    witness.add("apexguru", *WINDOW, Evidence(new=Side(3, 1), cost=(1.0, 0.5, 0.6)))
    found = witness.changed(1.0)[WINDOW]["apexguru"]
    assert (found.old.requests, found.new.requests, found.new.errors, found.cost) == (1, 3, 1, (1.0, 0.5, 0.6))


def test_it_is_remembered_over_windows_when_a_route_was_asked_for() -> None:
    """By slots of five minutes: the cost at full share follows from a day of them, and a step may be shorter."""
    witness = Witness()
    witness.saw("apexguru", SHIFT, outcome(attempt("gpu")))
    witness.changed(SLOT * 1000 + 1)
    later = Shift("apexguru", "1.2", "gpu", "import", 0.5)
    witness.keep(frozenset({("apexguru", "1.2")}))
    witness.saw("apexguru", later, outcome(attempt("import")))
    seen = witness.changed(SLOT * 1003)["apexguru", "1.2"]["apexguru"]
    assert seen.busy == {1000, 1003}
    witness.saw("apexguru", later, outcome(attempt("import")))
    past = SLOT * (1000 + SLOTS_KEPT)
    assert witness.changed(past)["apexguru", "1.2"]["apexguru"].busy == {1003, 1000 + SLOTS_KEPT}


def test_copies_and_requests_for_neither_side_make_no_slot_busy() -> None:
    """Copies follow requests, and what went to neither side would not be the new target's."""
    witness = Witness()
    witness.add("apexguru", "apexguru", "1.1", Evidence(at=1.0))
    witness.saw("apexguru", SHIFT, outcome(attempt("elsewhere")))
    assert witness.changed(SLOT * 1000)["apexguru", "1.1"]["apexguru"].busy == frozenset()
