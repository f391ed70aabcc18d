"""Grafana's dashboard: it asks for metrics that there are, names its rows by labels they have, and fits together."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.checkout import ROOT

from .expressions import check, labels

BOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
ASKED = [(f"{panel['title']} {each['refId']}", each) for panel in PANELS for each in panel["targets"]]
VARIABLES = {each["name"] for each in BOARD["templating"]["list"]} | {"__rate_interval"}


@pytest.mark.parametrize("asked", [each for _, each in ASKED], ids=[name for name, _ in ASKED])
def test_panels_ask_for_what_there_is(asked: dict[str, Any]) -> None:
    """Metrics and labels are ours, variables the dashboard's, and a row is named by labels that it has."""
    check(asked["expr"])
    assert set(re.findall(r"\$(\w+)", asked["expr"])) <= VARIABLES
    assert set(re.findall(r"{{(\w+)}}", asked["legendFormat"])) <= labels(asked["expr"]) - {"le"}


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_panels_say_what_they_show(panel: dict[str, Any]) -> None:
    """In a sentence, from the data source that is chosen; pages that are named are there."""
    assert panel["description"].endswith(".")
    assert all(each["datasource"]["uid"] == "${datasource}" for each in (panel, *panel["targets"]))
    assert all((ROOT / page).exists() for page in re.findall(r"docs/[\w.-]+\.md", panel["description"]))


def test_panels_have_a_place_each() -> None:
    """Grafana moves those that overlap, and takes two of one number for one."""
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) == 23
