"""Prometheus' rules: they ask for metrics that there are, by labels that these have, and say where to read on."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from backends.metric_names import HISTOGRAM, METRICS
from tests.checkout import ROOT

(GROUP,) = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = GROUP["rules"]
OURS = {metric.name: metric for metric in METRICS}
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


def named(rule: dict[str, Any]) -> set[str]:
    return set(re.findall(r"pointsman_\w+", rule["expr"]))


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_rules_ask_for_what_there_is(rule: dict[str, Any]) -> None:
    """Each metric is one of ours, counters are asked for their growth, and no label is made up."""
    metrics = [OURS[name] for name in named(rule)]
    assert metrics
    assert all(metric.type != HISTOGRAM for metric in metrics)
    for metric in metrics:
        grows = re.search(rf"(rate|increase)\({metric.name}[{{[]", rule["expr"]) is not None
        assert grows == metric.name.endswith("_total")
    by = {label for labels in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in labels.split(", ")}
    asked = set(re.findall(r"[{,]\s*(\w+)=", rule["expr"])) | by
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert all(asked <= {*metric.labels, *SCRAPED} for metric in metrics)
    assert shown <= (by or {*SCRAPED, *(label for metric in metrics for label in metric.labels)})


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
