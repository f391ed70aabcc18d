"""The table of metrics, and the document that repeats it."""

from __future__ import annotations

import re
from pathlib import Path

from backends.metric_names import COUNTER, HISTOGRAM, HOOK_BOUNDS, METRICS, OVERHEAD_BOUNDS

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "observability.md").read_text()
RUNBOOKS = (DOCS / "runbooks.md").read_text()

# What SageMaker publishes for an endpoint's invocations and that a proxy can know (AWS developer guide).
SAGEMAKER = {
    "Invocations",
    "Invocation4XXErrors",
    "Invocation5XXErrors",
    "InvocationModelErrors",
    "ModelLatency",
    "OverheadLatency",
    "FirstChunkLatency",
    "FirstChunkModelLatency",
    "FirstChunkOverheadLatency",
    "MidStreamErrors",
    "ConcurrentRequestsPerModel",
    "NoCapacityInvocationFailures",
    "ModelLoadingWaitTime",
}


def test_every_invocation_metric_of_sagemaker_has_exactly_one_counterpart() -> None:
    """A dashboard moves over name by name."""
    names = [metric.cloudwatch for metric in METRICS if metric.cloudwatch]
    assert sorted(names) == sorted(SAGEMAKER)


def test_a_name_is_cloudwatchs_name_in_prometheus_spelling() -> None:
    """FirstChunkLatency is pointsman_first_chunk_latency_seconds: whoever knows one finds the other."""
    for metric in METRICS:
        if metric.cloudwatch:
            words = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=XX)(?=[A-Z])", "_", metric.cloudwatch).lower()
            assert metric.name in {f"pointsman_{words}{suffix}" for suffix in ("", "_total", "_seconds")}


def test_names_are_unique_and_end_as_their_type_and_unit_demand() -> None:
    """Counters end in _total, histograms are in seconds."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.type == COUNTER)
        assert (metric.type == HISTOGRAM) == bool(metric.bounds)
        if metric.type == HISTOGRAM:
            assert metric.name.endswith(("_seconds", "_ratio"))


def test_buckets_rise_and_the_overheads_are_fine() -> None:
    """Own overhead is told apart from 50 us to 100 ms."""
    for metric in METRICS:
        assert list(metric.bounds) == sorted(set(metric.bounds))
    assert (OVERHEAD_BOUNDS[0], OVERHEAD_BOUNDS[-1]) == (0.00005, 0.1)
    assert (HOOK_BOUNDS[0], HOOK_BOUNDS[-1]) == (0.00005, 60.0)  # a hook may ask another model


def test_the_document_has_a_row_for_each_metric_with_type_labels_and_cloudwatch_name() -> None:
    """docs/observability.md reproduces the table, in its order and without rows of its own."""
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(f'`{label}`' for label in metric.labels)} "
        f"| {metric.cloudwatch or ''} | {metric.help} |"
        for metric in METRICS
    ]
    assert [line for line in DOCUMENT.splitlines() if line.startswith("| `pointsman_")] == rows


def test_the_document_states_the_units() -> None:
    """A threshold moves from microseconds to seconds; the document says so, and lists the buckets."""
    assert "microseconds" in DOCUMENT
    assert ", ".join(f"{bound:g}" for bound in OVERHEAD_BOUNDS) in DOCUMENT
    assert ", ".join(f"{bound:g}" for bound in HOOK_BOUNDS[len(OVERHEAD_BOUNDS) :]) in DOCUMENT


def test_the_runbooks_speak_of_metrics_that_exist_and_of_sections_they_have() -> None:
    """At 3 a.m. a metric that was renamed, or a link to nowhere, costs most."""
    names = {metric.name for metric in METRICS}
    assert set(re.findall(r"pointsman_[a-z0-9_]+", RUNBOOKS)) <= names
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", RUNBOOKS, re.M)}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", RUNBOOKS)) == headings
