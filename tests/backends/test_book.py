"""The book: what is in flight and what was cold, per replica."""

from __future__ import annotations

from backends.book import Book
from policies.facts import FailureFacts, Fault, TargetView
from policies.table import BedrockSpec, RetryRule, Route, Target, VllmSpec

COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)
IMPORT = Target("import", "bedrock", BedrockSpec("arn"))
PAIR = Target("pair", "vllm", VllmSpec(("http://a", "http://b"), "m"))


def test_requests_in_flight_are_counted_for_each_replica() -> None:
    """begin adds one, end takes it away, and replicas don't mix."""
    book = Book()
    book.begin(PAIR, 0)
    book.begin(PAIR, 1)
    book.begin(PAIR, 1)
    book.end(PAIR, 0, None)
    assert book.views([PAIR, IMPORT]) == {"pair": (TargetView(0), TargetView(2)), "import": (TargetView(0),)}


def test_a_cold_answer_marks_the_target_until_one_succeeds() -> None:
    """Cold is what the last attempt found."""
    book = Book()
    book.begin(IMPORT, 0)
    book.end(IMPORT, 0, COLD)
    assert book.views([IMPORT])["import"] == (TargetView(0, cold=True),)
    book.begin(IMPORT, 0)
    book.end(IMPORT, 0, None)
    assert book.views([IMPORT])["import"] == (TargetView(0, cold=False),)


def test_replicas_follow_the_policy() -> None:
    """A reload that adds or takes a replica changes the views, and what is in flight stays counted."""
    book = Book()
    book.begin(PAIR, 1)
    three = Target("pair", "vllm", VllmSpec(("http://a", "http://b", "http://c"), "m"))
    one = Target("pair", "vllm", VllmSpec(("http://a",), "m"))
    assert len(book.views([three])["pair"]) == 3
    assert len(book.views([one])["pair"]) == 1
    book.end(PAIR, 1, None)
    assert book.views([PAIR])["pair"] == (TargetView(0), TargetView(0))


def test_targets_that_left_the_policy_are_forgotten_once_idle() -> None:
    """Memory follows the policy, but never loses count of a request in flight."""
    book = Book()
    book.begin(IMPORT, 0)
    book.begin(PAIR, 0)
    book.end(PAIR, 0, COLD)
    book.keep(())
    assert book.views([PAIR])["pair"][0] == TargetView(0, cold=False)
    assert book.views([IMPORT])["import"] == (TargetView(1),)
    book.end(IMPORT, 0, None)
    book.keep(())
    assert book.views([IMPORT])["import"] == (TargetView(0),)


def test_repeats_are_paid_for_by_each_route_alone() -> None:
    """One route's failures do not use up what another has saved, and a route that is gone is forgotten."""
    book = Book()
    bad, good = Route("bad", None, (), retry=RetryRule(2, 0.0)), Route("good", None, (), retry=RetryRule(2, 0.0))
    afforded = 0
    while book.afford(bad, 1.0):
        afforded += 1
    assert afforded == 10
    assert book.afford(good, 1.0)
    generous = Route("bad", None, (), retry=RetryRule(2, 1.0))
    book.arrived(generous, 1.0)
    assert book.afford(generous, 1.0)
    assert not book.afford(bad, 1.0)
    book.keep((), ["good"])
    assert book.afford(bad, 1.0)
