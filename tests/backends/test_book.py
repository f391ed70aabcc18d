"""The book: what is in flight and what was cold, per replica."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.book import MOST_COPIES, Book, named_place
from policies.breaker import State
from policies.facts import FailureFacts, Fault, TargetView
from policies.hedging import enough
from policies.table import AssumedRole, BedrockSpec, HedgeRule, RetryRule, Route, Target, VllmSpec

COLD = FailureFacts(Fault.PLATFORM, retry_safe=True, cold=True)
IMPORT = Target("import", "bedrock", BedrockSpec("arn"))
PAIR = Target("pair", "vllm", VllmSpec(("http://a", "http://b"), "m"))


def test_a_place_has_its_own_name() -> None:
    """The same in every process, and another one as soon as the target is somewhere else; its limits are no place."""
    assert named_place(PAIR) == named_place(
        Target("pair", "vllm", VllmSpec(("http://a", "http://b"), "m"), idle_limit=9.0)
    )
    specs = (PAIR.spec, VllmSpec(("http://a",), "m"), VllmSpec(("http://a", "http://b"), "n"), BedrockSpec("arn"))
    assert len({named_place(replace(PAIR, spec=spec)) for spec in specs}) == 4
    assert named_place(IMPORT) != named_place(replace(IMPORT, name="other"))


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


@pytest.mark.parametrize(
    "refusal",
    [
        FailureFacts(Fault.PLATFORM, retry_safe=True, throttled=True),
        FailureFacts(Fault.MODEL, retry_safe=False),
        FailureFacts(Fault.CALLER, retry_safe=False),
    ],
)
def test_a_replica_that_turns_everybody_away_is_known_until_it_answers(refusal: FailureFacts) -> None:
    """After five in a row, whatever else was given up meanwhile; no breaker opens for it. As long as another one takes
    requests what it says is no word of the target."""
    book = Book()

    def asked(replica: int, failure: FailureFacts | None, times: int = 1) -> None:
        for _ in range(times):
            book.begin(PAIR, replica)
            book.end(PAIR, replica, failure, 1.0)

    asked(0, refusal, 4)
    asked(0, None)
    assert not book.shunned(PAIR, 0)
    asked(0, refusal)
    assert book.views([PAIR], 1.0)["pair"] == (TargetView(refuses=True), TargetView())
    assert [book.shunned(PAIR, replica) for replica in (0, 1, 2)] == [True, False, False]
    assert [state for _, _, state in book.breakers(1.0)] == [State.CLOSED] * 2
    asked(1, refusal, 5)
    assert [book.shunned(PAIR, replica) for replica in (0, 1)] == [False, False]
    for replica in (0, 1):
        book.begin(PAIR, replica)
        book.answered(PAIR, replica, 2.0)
    assert book.views([PAIR], 2.0)["pair"] == (TargetView(1), TargetView(1))


def test_a_replica_that_moves_has_refused_nobody() -> None:
    """What the one before it turned away says nothing of it."""
    book = Book()
    book.keep([PAIR])
    for _ in range(5):
        book.begin(PAIR, 0)
        book.end(PAIR, 0, FailureFacts(Fault.MODEL, retry_safe=False), 1.0)
    assert book.shunned(PAIR, 0)
    book.keep([replace(PAIR, spec=VllmSpec(("http://c", "http://b"), "m"))])
    assert not book.shunned(PAIR, 0)


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


DOWN = FailureFacts(Fault.NETWORK, retry_safe=True)
THROTTLED = FailureFacts(Fault.PLATFORM, retry_safe=True, throttled=True)


def failing(book: Book, facts: FailureFacts, times: int, now: float) -> None:
    for _ in range(times):
        book.begin(PAIR, 0)
        book.end(PAIR, 0, facts, now)


def states(book: Book, now: float) -> list[State]:
    return [state for _, _, state in book.breakers(now)]


def test_a_replica_that_fails_is_ejected_and_its_sibling_is_not() -> None:
    """Breakers are one a replica; throttling and cold copies open none."""
    book = Book()
    failing(book, THROTTLED, 50, 100.0)
    failing(book, COLD, 50, 100.0)
    assert states(book, 100.0) == [State.CLOSED, State.CLOSED]
    failing(book, DOWN, 5, 100.0)
    assert states(book, 100.0) == [State.OPEN, State.CLOSED]
    assert [view.health for view in book.views([PAIR], 100.0)["pair"]] == [0.0, 1.0]
    assert book.views([PAIR], 100.0)["pair"][0].back_at == 105.0


def test_one_probe_at_a_time_and_slow_start() -> None:
    """Half open, the second request is kept away until the first has answered; after recovery traffic comes slowly."""
    book = Book()
    failing(book, DOWN, 5, 100.0)
    assert book.views([PAIR], 106.0)["pair"][0].health == 1.0
    book.begin(PAIR, 0)
    assert book.views([PAIR], 106.0)["pair"][0].health == 0.0
    book.answered(PAIR, 0, 106.0)
    assert book.views([PAIR], 106.0)["pair"][0].health == 1.0
    book.answered(PAIR, 0, 106.0)
    assert book.views([PAIR], 107.0)["pair"][0].health == pytest.approx(0.1)
    assert book.views([PAIR], 120.0)["pair"][0].health == 1.0


def test_a_probe_that_is_given_up_does_not_block_the_next() -> None:
    """A client that goes away says nothing of the target."""
    book = Book()
    failing(book, DOWN, 5, 100.0)
    book.begin(PAIR, 0)
    book.end(PAIR, 0, None, 106.0)
    assert states(book, 106.0) == [State.HALF_OPEN, State.CLOSED]
    assert book.views([PAIR], 106.0)["pair"][0].health == 1.0


def test_a_breaker_can_be_reset() -> None:
    """An operator who knows better closes it at once; what nobody knows cannot be reset."""
    book = Book()
    failing(book, DOWN, 5, 100.0)
    assert book.reset("pair")
    assert states(book, 100.0) == [State.CLOSED, State.CLOSED]
    assert not book.reset("nobody")


def test_last_use_is_that_of_the_replica_that_has_waited_longest() -> None:
    """A target was used when all of its replicas were; a failure is no use."""
    book = Book()
    assert book.last_used(PAIR) is None
    for replica, moment in ((0, 10.0), (1, 20.0), (0, 30.0)):
        book.begin(PAIR, replica)
        assert book.last_used(PAIR) == {10.0: None, 20.0: None, 30.0: 10.0}[moment]
        book.answered(PAIR, replica, moment)
        book.end(PAIR, replica, None, moment)
    assert book.last_used(PAIR) == 20.0
    book.begin(PAIR, 1)
    book.end(PAIR, 1, DOWN, 40.0)
    assert book.last_used(PAIR) == 20.0


def test_use_of_several_copies_is_several_requests_at_a_time() -> None:
    """Copies can't be addressed: one request is no proof of two, and more than are told apart prove the most."""
    book, one = Book(), replace(PAIR, spec=VllmSpec(("http://a",), "m"))
    for together, moment in ((1, 10.0), (MOST_COPIES + 4, 20.0), (2, 30.0)):
        for _ in range(together):
            book.begin(one, 0)
        book.answered(one, 0, moment)
        for _ in range(together):
            book.end(one, 0, None, moment)
    assert [book.last_used(one, count) for count in (1, 2, 3, MOST_COPIES)] == [30.0, 30.0, 20.0, 20.0]


def test_purse_of_hedges_is_each_routes_own_and_starts_empty() -> None:
    """Two requests of a route that may hedge half of them pay for one, and a route that is gone is forgotten."""
    book, rule = Book(), HedgeRule(0.5, 0.5)
    route, other = (Route(name, None, ()) for name in ("x", "y"))
    book.hedgeable(route, rule)
    assert not book.afford_hedge(route)
    book.hedgeable(route, rule)
    assert [book.afford_hedge(each) for each in (other, route, route)] == [False, True, False]
    book.unspent_hedge(route)
    assert [book.afford_hedge(each) for each in (other, route, route)] == [False, True, False]
    for _ in range(2):
        book.hedgeable(route, rule)
    book.keep([], [])
    assert not book.afford_hedge(route)


def test_failures_with_answers_between_them_are_not_in_a_row() -> None:
    """However close together they all come: the breaker hears of each answer that follows a failure."""
    book = Book()
    for _ in range(8):
        for failure in (DOWN, None, None, None):
            book.begin(PAIR, 0)
            if failure is None:
                book.answered(PAIR, 0, 1.0)
            book.end(PAIR, 0, failure, 1.0)
    assert states(book, 1.0)[0] is State.CLOSED


def test_pace_of_a_target_that_moved_is_learnt_anew() -> None:
    """How long the old place took says nothing of the new one; of a target that stays it is known as before."""
    book, rule, route = Book(), HedgeRule(9.0, 0.5, percentile=50), Route("x", None, ())
    book.keep([PAIR, IMPORT], ["x"])
    for target in (PAIR, IMPORT):
        for _ in range(enough(50)):
            book.took(route, 50, target, 2.0, 1.0)
    assert [book.patience(route, rule, target, 1.0) for target in (PAIR, IMPORT)] == [2.0, 2.0]
    moved = replace(PAIR, spec=VllmSpec(("http://elsewhere", "http://b"), "m"))
    book.keep([moved, IMPORT], ["x"])
    assert [book.patience(route, rule, target, 1.0) for target in (moved, IMPORT)] == [9.0, 2.0]


def test_what_was_learnt_of_another_place_is_forgotten() -> None:
    """A replica whose address a new policy changes is well until it shows otherwise; the other one is what it was."""
    book, moved = Book(), replace(PAIR, spec=VllmSpec(("http://elsewhere", "http://b"), "m"))
    book.keep([PAIR])
    for index in (0, 1):
        for _ in range(5):
            book.begin(PAIR, index)
            book.end(PAIR, index, DOWN, 100.0)
    book.begin(PAIR, 0)
    book.keep([PAIR])
    assert states(book, 101.0) == [State.OPEN, State.OPEN]
    book.keep([moved])
    assert states(book, 101.0) == [State.CLOSED, State.OPEN]
    assert book.views([moved], 101.0)["pair"][0] == TargetView(1)
    for _ in range(9):  # under way since before: where they were sent has nothing to do with it
        book.begin(moved, 0)
        book.end(PAIR, 0, DOWN, 102.0)
    assert states(book, 103.0) == [State.CLOSED, State.OPEN]
    for _ in range(5):
        book.begin(moved, 0)
        book.end(moved, 0, DOWN, 104.0)
    assert states(book, 105.0)[0] is State.OPEN


@pytest.mark.parametrize(
    "other",
    [replace(IMPORT, region="eu-west-1"), replace(IMPORT, spec=BedrockSpec("arn", role=AssumedRole("arn:role", "r")))],
)
def test_another_region_or_identity_is_another_place(other: Target) -> None:
    """It may be the remedy for what had failed."""
    book = Book()
    book.keep([IMPORT])
    for _ in range(5):
        book.begin(IMPORT, 0)
        book.end(IMPORT, 0, DOWN, 100.0)
    assert states(book, 101.0) == [State.OPEN]
    book.keep([replace(IMPORT, connect_timeout=9.0)])
    assert states(book, 101.0) == [State.OPEN]
    book.keep([other])
    assert states(book, 101.0) == [State.CLOSED]


def test_a_failure_of_what_was_sent_before_it_opened_is_no_probes() -> None:
    """A target that has recovered is not ejected by requests that were lost with those that opened its breaker."""
    book = Book()
    for began in map(float, range(8)):
        book.begin(PAIR, 0)
        if began < 5:
            book.end(PAIR, 0, DOWN, 100.0, began)
    assert states(book, 106.0)[0] is State.HALF_OPEN
    book.begin(PAIR, 0)  # a probe
    for began in (5.0, 6.0):
        book.end(PAIR, 0, DOWN, 106.0, began)
        assert book.views([PAIR], 106.0)["pair"][0].health == 0.0  # it is still out
    book.answered(PAIR, 0, 107.0)
    book.end(PAIR, 0, None, 107.0)
    book.begin(PAIR, 0)
    book.answered(PAIR, 0, 108.0)
    assert states(book, 108.0)[0] is State.CLOSED
    book.end(PAIR, 0, DOWN, 109.0, 7.0)
    assert states(book, 109.0)[0] is State.CLOSED
