"""What Prometheus is asked for in deploy/, held against the metrics that there are."""

from __future__ import annotations

import re

from backends.metric_names import HISTOGRAM, METRICS

OURS = {metric.name: metric for metric in METRICS}
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


def named(expression: str) -> set[str]:
    """Its metrics; of a histogram's buckets the histogram."""
    return {name.removesuffix("_bucket") for name in re.findall(r"pointsman_\w+", expression)}


def grouped(expression: str) -> set[str]:
    """Labels that its rows have, where it says so."""
    return {label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(", ")}


def labels(expression: str) -> set[str]:
    """Labels that its rows may have."""
    return grouped(expression) or {*SCRAPED, *(label for name in named(expression) for label in OURS[name].labels)}


def check(expression: str) -> None:
    """Each metric is one of ours, counters are asked for growth, histograms for shares, no label is made up."""
    metrics = [OURS[name] for name in named(expression)]
    assert metrics
    for metric in metrics:
        histogram = metric.type == HISTOGRAM
        asked_as = f"{metric.name}_bucket" if histogram else metric.name
        grows = re.search(rf"(rate|increase)\({asked_as}[{{[]", expression) is not None
        assert grows == (histogram or metric.name.endswith("_total"))
        assert ("histogram_quantile(" in expression) == ("le" in grouped(expression)) == histogram
        asked = set(re.findall(r"[{,]\s*(\w+)!?=", expression)) | grouped(expression)
        assert asked <= {*metric.labels, *SCRAPED, *(("le",) if histogram else ())}
