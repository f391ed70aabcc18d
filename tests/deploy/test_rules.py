"""Prometheus' rules: they ask for metrics that there are, by labels that these have, and say where to read on."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from backends.metric_names import HISTOGRAM
from tests.checkout import ROOT

from .expressions import OURS, check, labels, named

(GROUP,) = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = GROUP["rules"]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_rules_ask_for_what_there_is(rule: dict[str, Any]) -> None:
    """Metrics and labels are ours, and what an alert says is of labels that it has."""
    check(rule["expr"])
    assert all(OURS[name].type != HISTOGRAM for name in named(rule["expr"]))
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels(rule["expr"])


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_rules_say_where_to_read_on(rule: dict[str, Any]) -> None:
    """A section of ours, and whether it can wait."""
    page, _, section = rule["annotations"]["runbook"].partition("#")
    heads = re.findall(r"^##+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert section in {head.lower().replace(" ", "-") for head in heads}
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_no_two_rules_have_one_name() -> None:
    """Prometheus would take them for one."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
