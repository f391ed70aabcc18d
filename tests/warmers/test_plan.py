"""The plan of a fleet."""

from __future__ import annotations

import pytest

from policies.calendar import read_calendar
from policies.table import ImportCost, Route, Warmup
from tests.policies.written import target
from warmers.arrivals import Arrivals, gather, in_runs
from warmers.economics import Action, Choice
from warmers.plan import Comparison, Plan, choices_of, compare, make_plan

from .fleet import MONDAY, QUIET, SPARSE, WEEK, fleet, gpu, imported, model, terms


def planned(*models: tuple[Route, Arrivals], proxies: float = 0.0) -> Plan:
    return make_plan(models, terms(), proxies)


def by_way(comparison: Comparison, target_name: str) -> dict[str, Choice]:
    """The ways of one target of a model."""
    return {each.how: each for each in comparison.choices if each.target == target_name}


def test_the_case_of_a_small_model() -> None:
    """A quiet 1-unit import pinged every 14 minutes, with two proxies, saves $720 against its ml.g6e.xlarge."""
    plan = planned((model("apexguru", gpu("gpu"), imported("import")), QUIET), proxies=297.84)
    (comparison,) = plan.moves
    verdict = plan.verdict(comparison)
    pinged = by_way(comparison, "import")["every 14m"].outcomes[900.0]
    assert pinged.windows_a_day == pytest.approx(102.9, abs=0.2)
    assert pinged.usd - 1.95 == pytest.approx(882, abs=2)
    assert plan.today == pytest.approx(1902, abs=0.5)
    assert plan.today - plan.planned - plan.proxies == pytest.approx(720, abs=3)
    assert (verdict.action, plan.stays, plan.unknown) == (Action.MOVE, (), ())


def test_ways_of_an_import() -> None:
    """Always on is the dearest and never cold, no warmer the cheapest and coldest; hours lie between."""
    comparison = compare(model("m", gpu("gpu"), imported("import")), SPARSE, terms())
    ways = by_way(comparison, "import")
    assert list(ways) == ["always on", "every 14m", "every 59m", "every 14m, Mon-Fri 06:00-20:00 UTC", "no warmer"]
    costs = {how: round(each.outcomes[900.0].usd) for how, each in ways.items()}
    cold = {
        how: [round(each.outcomes[limit].cold_share, 2) for limit in (300, 900, 3600)] for how, each in ways.items()
    }
    assert costs["no warmer"] < costs["every 14m, Mon-Fri 06:00-20:00 UTC"] < costs["every 14m"] < costs["always on"]
    assert costs["always on"] == pytest.approx(2472, abs=1)
    assert cold["always on"] == [0, 0, 0]
    assert cold["every 14m"] == [1, 0, 0]
    assert cold["no warmer"] == [1, 1, 0]
    assert cold["every 14m, Mon-Fri 06:00-20:00 UTC"][1] == pytest.approx(98 / 168, abs=0.02)


def test_another_idle_limit_another_verdict() -> None:
    """What is right at 15 minutes need not be at 5 or 60; each is there."""
    comparison = compare(model("m", gpu("gpu"), imported("import")), SPARSE, terms())
    best = {limit: verdict.best.name for limit, verdict in comparison.verdicts.items() if verdict.best}
    assert best == {300: "gpu (1 x ml.g6e.xlarge)", 900: "import (every 14m)", 3600: "import (no warmer)"}


def test_measured_limit_is_one_more() -> None:
    """A limit of one's own is compared beside the published ones, and always on holds below it."""
    measured = terms(idle_limit=200.0)
    comparison = compare(model("m", imported("import")), SPARSE, measured)
    assert measured.limits == (200.0, 300.0, 900.0, 3600.0)
    assert by_way(comparison, "import")["always on"].outcomes[200.0].cold == 0


def test_policy_of_today_is_one_of_the_ways() -> None:
    """An import that the policy warms is compared as it is warmed, jitter and hours included."""
    target_of = imported("import")
    assert (
        compare(model("m", target_of), SPARSE, terms()).today
        == choices_of(target_of, in_runs(SPARSE, 0.0), terms())[-1]
    )
    hours = read_calendar("Mon 00:00-24:00 UTC")
    plain, jittered = Warmup(target_of, 1800.0, 0.0), Warmup(target_of, 1800.0, 0.2)
    mondays = Warmup(target_of, 1800.0, 0.0, 1, hours)
    for warmup, windows in ((plain, 48.0), (jittered, 53.3), (mondays, 48 / 7)):
        comparison = compare(model("m", target_of, warm=(warmup,)), QUIET, terms())
        assert comparison.today is not None
        assert comparison.today.how == "every 30m, as the policy says"
        assert comparison.today.outcomes[3600.0].windows_a_day == pytest.approx(windows, abs=0.5)


def test_units_copies_and_storage() -> None:
    """Twice the units or copies is twice the windows' cost; storage is the units' alone."""
    plain, twice, copies = (
        choices_of(imported("i", cost=cost), in_runs(SPARSE, 0.0), terms())[0]
        for cost in (ImportCost(2), ImportCost(4), ImportCost(2, copies=2))
    )
    assert (plain.fixed, twice.fixed, copies.fixed) == (3.9, 7.8, 3.9)
    usd = [each.outcomes[900.0].usd - each.fixed for each in (plain, twice, copies)]
    assert usd[1] == pytest.approx(2 * usd[0]) == pytest.approx(usd[2])
    assert copies.outcomes[900.0].pings == pytest.approx(2 * plain.outcomes[900.0].pings)


def test_units_of_another_version_have_another_price() -> None:
    """Models of the OpenAI family pay v2.0."""
    costs = [
        choices_of(imported("i", cost=ImportCost(1, version)), in_runs(SPARSE, 0.0), terms())[0].outcomes[900.0].usd
        - 1.95
        for version in ("v1.0", "v2.0")
    ]
    assert costs[1] / costs[0] == pytest.approx(0.1433 / 0.05718)


def test_instances() -> None:
    """Hours times price times count, a component's share of it, and what of it is committed."""
    (choice,) = choices_of(gpu("g", "ml.c5.xlarge", count=4, share=0.25, committed=2), in_runs(SPARSE, 0.0), terms())
    assert (choice.how, round(choice.outcomes[900.0].usd, 2)) == ("4 x ml.c5.xlarge, 25% of it", 148.92)
    assert choice.sunk == pytest.approx(choice.fixed / 2)


def test_models_that_share_instances_leave_together() -> None:
    """One of two that would leave is held back by the other, whose part would still be paid."""
    shared = gpu("shared")
    movers = [(model(name, shared, imported(f"{name}-import")), QUIET) for name in ("a", "b")]
    both = make_plan(movers, terms(intervals=(3540.0,), demand=terms().demand, idle_limit=3600.0), 0.0)
    assert [each.key for each in both.moves] == ["a", "b"]
    assert [each.shared_with for each in both.comparisons] == [("b",), ("a",)]
    assert both.today == pytest.approx(1902, abs=0.5)
    stuck = [movers[0], (model("b", shared), QUIET)]
    held = make_plan(stuck, terms(intervals=(3540.0,), idle_limit=3600.0), 0.0)
    assert held.moves == ()
    assert "also serves b, which stays" in held.verdict(held.comparisons[0]).reason


def test_moves_must_pay_for_the_proxies() -> None:
    """Where all of them together save less than the proxies cost, nothing moves and the reason says so."""
    apexguru = (model("m", gpu("gpu"), imported("import")), QUIET)
    assert planned(apexguru, proxies=1000.0).moves
    plan = planned(apexguru, (model("n", gpu("n-gpu")), QUIET), proxies=1100.0)
    assert plan.moves == ()
    assert "save $1,018 a month, and the proxies cost $1,100" in plan.verdict(plan.comparisons[0]).reason
    assert plan.planned == plan.today


def test_fleet() -> None:
    """Each model is in one list, and the sums are of those that can be told."""
    plan = make_plan(fleet(), terms(), 297.84)
    lists = [[each.key for each in part] for part in (plan.moves, plan.stays, plan.unknown)]
    assert lists == [["mover"], ["keeper"], ["mystery"]]
    assert plan.comparisons[2].missing == ("mystery-gpu",)
    assert "targets.mystery-gpu serves it and has no `cost`" in plan.verdict(plan.comparisons[2]).reason
    assert plan.today == pytest.approx(2 * 1902, abs=1)
    assert plan.planned == pytest.approx(plan.today - plan.verdict(plan.comparisons[0]).saving)


def test_notes() -> None:
    """Short traces, prices that are not published for the region, and more imports than the quota are told."""
    day = gather([(60.0, 1)], 86_400.0, MONDAY)
    models = [(model(f"m{n}", gpu(f"g{n}"), imported(f"i{n}")), day) for n in range(4)]
    notes = make_plan(models, terms(), 0.0).notes
    assert "the trace covers 1.0 days and is taken to repeat" in notes[0]
    assert sum("the price of ml.g6e.xlarge for g0 and 3 more is borrowed" in note for note in notes) == 1
    assert notes[-1] == "4 imported models in us-east-1: more than the default quota of 3 (L-45B04988)"
    hour = gather([(60.0, 1)], 3600.0)
    assert "covers 1.0 hours" in planned((model("m", gpu("g", "ml.c5.4xlarge")), hour)).notes[0]
    (note,) = planned((model("m", gpu("g", "ml.c5.large"), imported("i")), QUIET)).notes
    assert note.endswith("for g is borrowed: AWS Price List, us-west-2, SageMaker Studio, in force from 2026-09-01")


def test_notes_of_what_may_be_wrong() -> None:
    """A model without a request may go by another name; a copy that is to do more than any was seen to is doubted."""
    busy = gather([(minute * 60.0, 78) for minute in range(0, 7 * 1440, 40)], WEEK)
    moving = (model("busy", gpu("g"), imported("i")), busy)
    notes = planned(moving, (model("silent", gpu("h")), gather((), WEEK))).notes
    assert "the trace has no request of silent; if its series has another name, say so with --map" in notes
    assert notes[-1].startswith("busy: more requests in the busiest minute than its copies may answer (Salesforce")
    two = (model("busy", gpu("g"), imported("i", cost=ImportCost(1, copies=2))), busy)
    assert not [note for note in planned(two).notes if "busy" in note or "silent" in note]
    staying = (model("busy", gpu("g", committed=1), imported("i")), busy)
    assert not [note for note in planned(staying).notes if "busy" in note]


def test_a_price_that_is_missing() -> None:
    """It ends the plan, with the place to add it."""
    with pytest.raises(ValueError, match=r"no price of ml\.z9\.large in us-east-1; add it as instances\.us-east-1\.ml"):
        planned((model("m", gpu("g", "ml.z9.large")), QUIET))
    with pytest.raises(ValueError, match="give the target a `region`"):
        planned((model("m", target("g", region=None, cost=gpu("g").cost)), QUIET))
