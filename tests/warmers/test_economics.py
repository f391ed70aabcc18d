"""What a hosting costs, and which is the cheapest that is warm enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.written import PATIENT
from warmers.economics import (
    Action,
    Choice,
    Demand,
    Outcome,
    decide,
    dollars,
    instances_usd,
    storage_usd,
    windows_a_day,
    windows_usd,
)

RATE = 0.05718
"""USD per custom model unit and minute, v1.0 in us-east-1, 2026-07."""
LIMIT = 900.0
ONE_PERCENT = Demand(0.01)


@pytest.mark.parametrize(
    ("minutes", "windows", "two_units", "eight_units"),
    [(5, 288, 4940, 19761), (14, 102.9, 1764, 7058), (30, 48, 823, 3294), (60, 24, 412, 1647), (1, 288, 4940, 19761)],
)
def test_published_table_of_intervals(minutes: float, windows: float, two_units: int, eight_units: int) -> None:
    """Windows a day and 30 days' cost of one idle copy at each interval, as reckoned from AWS's prices."""
    daily = windows_a_day(minutes * 60)
    assert round(daily, 1) == windows
    assert [round(windows_usd(units, RATE, daily * 30)) for units in (2, 8)] == [two_units, eight_units]


def test_the_case_of_a_small_model() -> None:
    """1 unit pinged every 14 minutes ($882) and two proxies ($298) against the GPU ($1,902) it stands on today."""
    pinged = windows_usd(1, RATE, windows_a_day(840) * 30)
    proxies = instances_usd(0.204, 730, count=2)
    gpu = instances_usd(2.6054, 730)
    assert [round(usd) for usd in (pinged, proxies, gpu)] == [882, 298, 1902]
    assert round(gpu - pinged - proxies) == 722


def test_published_example_of_an_8b_model() -> None:
    """Two units at 2025's price: $0.1570 a minute for the copy, $3.90 a month to keep it."""
    assert windows_usd(2, 0.0785, 1) == pytest.approx(5 * 0.1570)
    assert storage_usd(2, 1.95) == pytest.approx(3.90)


def test_the_guide_understates() -> None:
    """Dividing by 60 where 5 minutes are meant makes a bill of a 300th."""
    assert windows_usd(2, RATE, 100, copies=3) == pytest.approx(300 * (3 * 2 * RATE * 100 / 60))


def test_a_share_of_instances() -> None:
    """A component pays for its part of them."""
    assert instances_usd(10.0, 730, count=2, share=0.25) == 3650.0


@PATIENT
@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_rarer_pings_never_cost_more(one: float, two: float) -> None:
    """Windows a day fall with the interval, and 288 is the most."""
    often, rarely = sorted((one, two))
    assert windows_a_day(rarely) <= windows_a_day(often) <= 288


def choice(target: str, usd: float, cold_share: float = 0.0, how: str = "way", sunk: float = 0.0) -> Choice:
    return Choice(target, how, {LIMIT: Outcome(usd, cold_share * 1000, cold_share)}, sunk)


def test_moves_to_the_cheapest_that_is_warm_enough() -> None:
    """A cheaper one that is too cold does not count."""
    today, warm, cold = choice("gpu", 1902), choice("import", 884, 0.01), choice("import", 170, 0.02, "cold")
    verdict = decide([today, warm, cold], today, LIMIT, ONE_PERCENT)
    assert (verdict.action, verdict.best, verdict.saving) == (Action.MOVE, warm, 1018)
    assert verdict.reason == "cheapest that keeps cold requests within 1%"


def test_stays_where_the_rest_is_dearer() -> None:
    """The reason names the next best and the difference."""
    today, other = choice("gpu", 1000), choice("import", 1764)
    verdict = decide([today, other], today, LIMIT, ONE_PERCENT)
    assert (verdict.action, verdict.best, verdict.saving) == (Action.STAY, today, 0.0)
    assert "import (way), the next that is warm enough, costs $764 a month more than staying" in verdict.reason
    assert "committed" not in verdict.reason


def test_stays_where_it_is_paid_anyway() -> None:
    """A commitment is spent either way: leaving saves nothing of it."""
    today, other = choice("gpu", 1902, sunk=1902), choice("import", 884)
    verdict = decide([today, other], today, LIMIT, ONE_PERCENT)
    assert verdict.action is Action.STAY
    assert "; $1,902 a month are committed" in verdict.reason


def test_moving_onto_what_is_paid_anyway() -> None:
    """An instance that is committed costs nothing more when it is used."""
    today, reserved = choice("gpu", 500), choice("reserved", 1902, sunk=1902)
    verdict = decide([today, reserved], today, LIMIT, ONE_PERCENT)
    assert (verdict.action, verdict.saving) == (Action.MOVE, 500)


def test_a_small_saving_is_not_worth_it() -> None:
    """Below the least saving nothing moves; at it, it does."""
    today = choice("gpu", 1000)
    verdict = decide([today, choice("import", 901)], today, LIMIT, ONE_PERCENT)
    assert verdict.action is Action.STAY
    assert verdict.reason == "import (way) saves only $99 a month, less than 10%"
    assert decide([today, choice("import", 900)], today, LIMIT, ONE_PERCENT).action is Action.MOVE


def test_equal_costs_stay() -> None:
    """Between equals nothing changes, whichever is written first."""
    today, other = choice("gpu", 100), choice("import", 100)
    assert decide([other, today], today, LIMIT, Demand(0.01, 0.0)).best is today


def test_of_equal_ways_the_one_with_fewer_pings() -> None:
    """Where traffic keeps it warm, no warmer is needed."""
    today, pinged = choice("gpu", 500), Choice("import", "every 14m", {LIMIT: Outcome(100, pings=5.0)})
    alone = Choice("import", "no warmer", {LIMIT: Outcome(100)})
    assert decide([today, pinged, alone], today, LIMIT, ONE_PERCENT).best is alone


def test_nothing_is_warm_enough() -> None:
    """Then it stays, and the reason says what was asked."""
    today = choice("import", 100, 0.3)
    verdict = decide([today], today, LIMIT, Demand(0.0001))
    assert (verdict.action, verdict.reason) == (Action.STAY, "no hosting of it keeps cold requests within 0.01%")


def test_nothing_else_is_warm_enough() -> None:
    """A cheap import that is cold too often is no alternative."""
    today = choice("gpu", 1000)
    verdict = decide([today, choice("import", 1, 0.5)], today, LIMIT, ONE_PERCENT)
    assert (verdict.action, verdict.reason) == (Action.STAY, "nothing else keeps cold requests within 1%")


def test_no_other_hosting() -> None:
    """A model with one target stays there."""
    today = choice("gpu", 1000)
    assert "names no other hosting" in decide([today], today, LIMIT, ONE_PERCENT).reason


def test_today_is_too_cold() -> None:
    """An import without a warmer is warmed, though that costs more; or leaves for what is warm."""
    today, warmed, gpu = choice("import", 100, 0.3), choice("import", 900, how="every 14m"), choice("gpu", 800)
    verdict = decide([today, warmed], today, LIMIT, ONE_PERCENT)
    assert (verdict.action, verdict.best, verdict.saving) == (Action.REWARM, warmed, -800)
    assert verdict.reason == "today 30.0% of requests meet it cold; this keeps within 1%"
    assert decide([today, warmed, gpu], today, LIMIT, ONE_PERCENT).action is Action.MOVE


def test_warmed_more_than_needed() -> None:
    """The same hosting with rarer pings is no move."""
    today, rarer = choice("import", 2000, how="always on"), choice("import", 900, how="every 14m")
    assert decide([today, rarer], today, LIMIT, ONE_PERCENT).action is Action.REWARM


CHOICES = st.lists(
    st.builds(choice, st.sampled_from(["a", "b", "c"]), st.floats(0, 1e5), st.floats(0, 0.03)), min_size=1, max_size=8
)


@PATIENT
@given(CHOICES, st.data(), st.floats(0, 0.03), st.floats(0, 1))
def test_a_move_is_always_warm_enough(choices: list[Choice], data: st.DataObject, share: float, least: float) -> None:
    """What is moved to meets the demand, and saves enough unless today does not meet it; staying changes nothing."""
    today = data.draw(st.sampled_from(choices))
    verdict = decide(choices, today, LIMIT, Demand(share, least))
    assert verdict.best is not None
    if verdict.action is Action.STAY:
        assert (verdict.best, verdict.saving) == (today, 0.0)
        return
    assert verdict.best.outcomes[LIMIT].cold_share <= share
    assert (verdict.action is Action.MOVE) == (verdict.best.target != today.target)
    if today.outcomes[LIMIT].cold_share <= share:
        assert verdict.saving >= least * today.outcomes[LIMIT].usd


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0, "$0"), (1902.4, "$1,902"), (-882.2, "-$882"), (1.95, "$1.95"), (-3.9, "-$3.90"), (9.996, "$10")],
)
def test_amounts(usd: float, text: str) -> None:
    """Whole dollars with separators, cents below ten."""
    assert dollars(usd) == text
