"""Prometheus' text format."""

from __future__ import annotations

import math

import pytest

from backends.exposition import extras, histograms, scalars
from backends.metric_names import COUNTER, GAUGE, HISTOGRAM, Metric
from backends.series import Histogram

HITS = Metric("hits_total", COUNTER, ("path",), "Hits.")
LAG = Metric("lag_seconds", GAUGE, (), "Lag.")


def test_help_and_type_come_before_the_samples() -> None:
    """One family, its header first, one sample a line."""
    assert scalars(HITS, [(("/a",), 1), (("/b",), 2)]) == (
        '# HELP hits_total Hits.\n# TYPE hits_total counter\nhits_total{path="/a"} 1\nhits_total{path="/b"} 2\n'
    )


def test_label_values_are_escaped() -> None:
    """Backslash, quote and line feed would otherwise end the value or the line."""
    assert 'hits_total{path="a\\\\b\\"c\\nd"} 1\n' in scalars(HITS, [(('a\\b"c\nd',), 1)])


def test_help_text_is_escaped() -> None:
    """A line feed in a help text must not begin a line of its own."""
    assert scalars(Metric("x", GAUGE, (), "a\\b\nc"), []).startswith("# HELP x a\\\\b\\nc\n")


def test_a_metric_without_labels_has_no_braces() -> None:
    """`name value`, as the format has it."""
    assert scalars(LAG, [((), 0.5)]).endswith("\nlag_seconds 0.5\n")


def test_values_that_are_no_numbers_have_their_own_spelling() -> None:
    """Prometheus reads +Inf, -Inf and NaN, not Python's inf and nan."""
    text = scalars(LAG, [((), math.inf), ((), -math.inf), ((), math.nan)])
    assert [line.split()[1] for line in text.splitlines()[2:]] == ["+Inf", "-Inf", "NaN"]


def test_histogram_buckets_are_cumulative_and_end_at_infinity() -> None:
    """Each bucket counts everything up to its bound, `+Inf` and `_count` everything."""
    metric = Metric("t_seconds", HISTOGRAM, ("e",), "T.", None, (0.1, 1.0))
    histogram = Histogram(metric.bounds)
    for seconds in (0.1, 0.5, 0.5, 3.0):
        histogram.observe(seconds)
    assert histograms(metric, [(("x",), histogram)]).splitlines()[2:] == [
        't_seconds_bucket{e="x",le="0.1"} 1',
        't_seconds_bucket{e="x",le="1.0"} 3',
        't_seconds_bucket{e="x",le="+Inf"} 4',
        't_seconds_sum{e="x"} 4.1',
        't_seconds_count{e="x"} 4',
    ]


def test_an_empty_histogram_is_left_out() -> None:
    """An endpoint that never streamed has no first-chunk buckets."""
    metric = Metric("t_seconds", HISTOGRAM, (), "T.", None, (0.1,))
    assert histograms(metric, [((), Histogram(metric.bounds))]).splitlines()[2:] == []


def test_known_extras_bring_their_help_and_unknown_ones_their_type() -> None:
    """`_total` says counter, everything else is a gauge."""
    text = extras((LAG,), {"lag_seconds": 1.0, "odd": 2.0, "seen_total": 3.0}, frozenset())
    assert "# HELP lag_seconds Lag.\n# TYPE lag_seconds gauge\nlag_seconds 1.0\n" in text
    assert "# TYPE odd gauge\nodd 2.0\n" in text
    assert "# TYPE seen_total counter\nseen_total 3.0\n" in text
    assert "HELP odd" not in text


@pytest.mark.parametrize("name", ["", "with space", 'x{a="b"}', "9lives", "taken", "line\nfeed"])
def test_an_extra_with_an_impossible_name_is_refused(name: str) -> None:
    """A bad name would make the whole page unreadable for Prometheus, a taken one ambiguous."""
    with pytest.raises(ValueError, match="can't be exported"):
        extras((), {name: 1.0}, frozenset({"taken"}))
