"""The candidate's table: what is known stands in it, and beside it what a reader has to know."""

from __future__ import annotations

import pytest

from proxy.rehearsal.candidate_table import NO_ANSWER, Hourly, Row, Sided, as_json, compared, notes, per_thousand, table

OLD = Sided("old", [Row(1, 10.0, 6, {}, None, {"old": 60}), Row(5, 12.0, 20, {}, 1, {"old": 200})], Hourly(3.6))
NEW = Sided(
    "new",
    [Row(1, 7.92, 11, {"503": 1, NO_ANSWER: 2}, 2, {"new": 110}), Row(5, None, 0, {}, 1)],
    Hourly(6.6, 1),
)


def test_a_table_has_what_is_known() -> None:
    """Cost where there is a price, published figures beside the candidate's rows only, and a dash for the rest."""
    priceless = Sided("old", OLD.rows[:1], None)
    _, old, new, nothing = table([priceless, NEW], published=True)
    assert old == ("old", "1", "10.00s", "6", "-", "0", "-", "-", "-", "-", "-")
    assert new == ("new", "1", "7.92s", "11", "2", "3", "20.00", "7.20s", "11", "+10%", "+0%")
    assert nothing == ("new", "5", "-", "0", "1", "0", "-", "-", "-", "-", "-")
    assert {len(row) for row in table([OLD, NEW], published=False)} == {7}


def test_what_a_thousand_requests_cost() -> None:
    """Instances by the hour whatever their copies; an import by the copies seen, else by those of the policy."""
    row = Row(1, 1.0, 60, {}, 3)
    assert per_thousand(row, Hourly(3.6)) == 1.0
    assert per_thousand(row, Hourly(3.6, 1)) == pytest.approx(3.0)
    assert per_thousand(Row(1, 1.0, 60, {}, None), Hourly(3.6, 2)) == 2.0
    assert per_thousand(Row(1, None, 0, {}, 1), Hourly(3.6)) is None
    assert per_thousand(row, None) is None


def test_sides_are_compared_where_both_have_a_row() -> None:
    """In P95 and in cost, each where it is known; with one side alone there is nothing to compare."""
    assert list(compared([OLD, NEW])) == [
        "at concurrency 1 the P95 of new is 21% below that of old, and a request costs 100% more"
    ]
    assert list(compared([OLD])) == []
    cheap = Sided("new", [Row(5, 15.0, 40, {}, 1)], Hourly(3.6))
    assert list(compared([OLD, cheap])) == [
        "at concurrency 5 the P95 of new is 25% above that of old, and a request costs 50% less"
    ]


def test_notes_say_what_the_numbers_do_not() -> None:
    """Copies that nobody counted, a row that was stopped, few answers, and answers that others gave."""
    row = Row(4, 1.0, 60, {}, None, {"new": 9, "old": 3}, 12.4, whole=False)
    said = list(notes([OLD, Sided("new", [row], Hourly(6.6, 2))]))
    assert said == [
        "new: its cost is that of 2 copies, as the policy has it; nobody tells how many there were",
        "new at 4: its P95 is of 12 answers only; give it more time",
        "new at 4: stopped when 12 s had been counted",
        "new at 4: 25% of the answers are another target's",
    ]


def test_json_has_the_same_for_a_program() -> None:
    """Rows with their cost, published figures where they were asked for, and the pairs."""
    told = as_json("chat", "stand-ins", [OLD, NEW], published=True)
    assert (told["route"], told["measured"], len(told["rows"])) == ("chat", "stand-ins", 4)
    assert told["rows"][2]["usd_per_1000_requests"] == 20.0
    assert told["rows"][2]["published"]["p95_off"] == 0.1
    assert "published" not in told["rows"][0]
    assert told["compared"] == [
        {"concurrency": 1, "p95_change": -0.208, "cost_saved": -1.0},
        {"concurrency": 5, "p95_change": None, "cost_saved": None},
    ]
    assert "published" not in as_json("chat", "stand-ins", [OLD, NEW], published=False)["rows"][2]
    assert as_json("chat", "stand-ins", [OLD], published=False)["compared"] == []
