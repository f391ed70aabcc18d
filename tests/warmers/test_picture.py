"""A plan as a picture."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from warmers.picture import MOST, WIDTH, draw_plan
from warmers.plan import Plan, make_plan

from .fleet import QUIET, fleet, gpu, imported, model, terms

SVG = "{http://www.w3.org/2000/svg}"


def drawn(plan: Plan) -> ElementTree.Element:
    return ElementTree.fromstring(draw_plan(plan, terms().prices, 0.01))


def texts(picture: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in picture.iter(f"{SVG}text")]


def test_every_model_and_way_is_there() -> None:
    """Title with the sums, a group a model with its verdict, a bar a way with its amount and its cold share."""
    picture = drawn(make_plan(fleet(), terms(), 297.84))
    said = texts(picture)
    assert said[0].startswith("Hosting a month: today $3,804, as planned $3,")
    assert said[0].endswith("of which proxies $298")
    assert {"mover", "keeper", "mystery", "stay", "cannot be told"} <= set(said)
    assert "idle limit 15m, each model to its own scale, prices of 2026-07-20" in said
    assert "targets.mystery-gpu serves it and has no `cost`; add one" in said
    assert any(each.startswith("move, saves $9") for each in said)
    assert {"mover-import (every 14m)", "keeper-gpu (1 x ml.g6e.xlarge)"} <= set(said)
    assert any(each.endswith(", 100.0% cold") for each in said)


def test_bars_are_to_scale_and_coloured() -> None:
    """The dearest way fills the width; today's, the plan's, warm and cold ones have the legend's colours."""
    plan = make_plan(fleet()[:1], terms(), 0.0)
    bars = [each for each in drawn(plan).iter(f"{SVG}rect") if each.get("height") == "16"]
    choices = plan.comparisons[0].choices
    lengths = [float(bar.get("width", "0")) for bar in bars]
    assert max(lengths) == lengths[1]
    costs = [each.outcomes[900.0].usd for each in choices]
    assert lengths[0] / lengths[1] == pytest.approx(costs[0] / costs[1], abs=0.01)
    today, best, warm, cold = (bars[number].get("fill") for number in (0, 2, 1, 5))
    assert len({today, best, warm, cold}) == 4
    assert bars[3].get("fill") == cold


def test_names_cannot_break_the_picture() -> None:
    """Letters that mean something to XML are text; long names are cut."""
    plan = make_plan([(model("m", gpu("g"), imported("i")), QUIET)], terms(), 0.0)
    comparison = plan.comparisons[0]
    odd = replace(comparison.choices[1], target="<script>&\"'" + "x" * 80)
    changed = replace(comparison, key="</svg>&", choices=(comparison.choices[0], odd))
    said = texts(drawn(replace(plan, comparisons=(changed,))))
    assert "</svg>&" in said
    (label,) = [each for each in said if each.startswith("<script>")]
    assert len(label) == 54
    assert label.endswith("…")


def test_a_large_fleet_is_cut_where_little_moves() -> None:
    """The picture keeps the models that move most money and says how many it leaves out."""
    some = make_plan(fleet(), terms(), 0.0)
    mover, _, mystery = some.comparisons
    many = replace(some, comparisons=(*[mystery] * MOST, mover))
    picture = drawn(many)
    said = texts(picture)
    assert "and 1 more, where less money is at stake" in said
    assert said.index("mover") < said.index("mystery")
    assert picture.get("width") == str(WIDTH)


def test_a_large_fleet_shows_both_kinds() -> None:
    """However many should move, half of the picture is left for those that should not, the dearest first."""
    mover, keeper, _ = (plan := make_plan(fleet(), terms(), 0.0)).comparisons
    movers = [replace(mover, key=f"mover {number}") for number in range(MOST)]
    keepers = [replace(keeper, key=f"keeper {number}") for number in range(MOST)]
    said = texts(drawn(replace(plan, comparisons=(*movers, *keepers))))
    kinds = [each.split()[0] for each in said if each.split()[0] in {"mover", "keeper"}]
    assert kinds == ["mover"] * (MOST // 2) + ["keeper"] * (MOST // 2)
    few = texts(drawn(replace(plan, comparisons=(*movers, *keepers[:3]))))
    assert sum(each.startswith("keeper ") for each in few) == 3
    assert sum(each.startswith("mover ") for each in few) == MOST - 3


def test_nothing_to_move() -> None:
    """Without a move there are no proxies in the title."""
    plan = make_plan(fleet()[1:], terms(), 297.84)
    assert texts(drawn(plan))[0] == "Hosting a month: today $1,902, as planned $1,902"
