"""What counts as what in the counts of one label set."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Usage
from backends.metric_names import OVERHEAD_BOUNDS, REQUEST_COUNTERS
from backends.outcome import Note, Outcome, outcome_of
from backends.series import Histogram, Series, model_status
from tests.outcomes import COURSE, attempt, notes, outcome, outcomes

FAILED = attempt(failure="connection reset")
COLD = attempt("apexguru-import", "bedrock", failure="not ready", cold=True, seconds=0.25)


def errors(request: Outcome) -> dict[str, int]:
    """The error counters that one request moves."""
    series = Series()
    series.record(request)
    names = ("errors_4xx", "errors_5xx", "model_errors", "mid_stream", "no_capacity")
    return {name: count for name in names if (count := getattr(series, name))}


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, set()),
        ({"status": 400, "error_type": "ValidationError", "ended": "refused", "attempts": ()}, {"errors_4xx"}),
        ({"status": 413, "ended": "refused", "attempts": ()}, {"errors_4xx"}),
        ({"status": 503, "error_type": "ServiceUnavailable", "ended": "failed"}, {"errors_5xx"}),
        ({"status": 500, "error_type": "InternalFailure", "ended": "failed", "attempts": ()}, {"errors_5xx"}),
        (
            {"status": 503, "ended": "failed", "attempts": (FAILED,)},
            {"errors_5xx", "model_errors"},
        ),
        (
            {
                "status": 424,
                "error_type": "ModelError",
                "ended": "failed",
                "attempts": (attempt(failure="x", status=400),),
            },
            {"errors_4xx", "model_errors"},
        ),
        (
            {
                "status": 424,
                "error_type": "ModelError",
                "ended": "failed",
                "attempts": (attempt(failure="x", status=502),),
            },
            {"errors_5xx", "model_errors"},
        ),
        (
            {"status": 424, "error_type": "ModelError", "ended": "deadline", "attempts": (attempt(failure="late"),)},
            {"errors_5xx", "model_errors"},
        ),
        (
            {"status": 429, "error_type": "ModelNotReadyException", "ended": "failed", "attempts": (COLD,)},
            {"errors_4xx", "model_errors", "no_capacity"},
        ),
        (
            {
                "status": 424,
                "error_type": "ModelError",
                "ended": "failed",
                "attempts": (attempt(failure="given up: the proxy ended", given_up=True),),
            },
            {"errors_5xx"},
        ),
        ({"status": 499, "ended": "client_gone"}, set()),
        ({"status": 499, "ended": "client_gone", "attempts": (attempt(failure="given up"),)}, set()),
        ({"status": 200, "ended": "client_gone"}, set()),
        ({"status": 200, "ended": "upstream_broken", "error_type": "ModelStreamError"}, {"mid_stream"}),
        ({"status": 200, "ended": "deadline"}, {"mid_stream"}),
        ({"status": 200, "ended": "failed"}, {"mid_stream"}),
    ],
)
def test_each_end_moves_exactly_its_error_counters(changes: dict[str, Any], counted: set[str]) -> None:
    """A broken stream is no 5xx, a client that left is no error, a model's own status decides behind a 424."""
    assert errors(outcome(**changes)) == dict.fromkeys(counted, 1)


def test_a_model_error_without_any_attempt_counts_as_what_the_client_was_told() -> None:
    """Without an attempt there is no model that could have said something else."""
    assert model_status(outcome(status=424, error_type="ModelError", attempts=())) == 424


def test_latencies_split_a_request_between_targets_and_this_hop() -> None:
    """ModelLatency takes the time spent waiting, OverheadLatency the rest."""
    series = Series()
    series.record(outcome(seconds=1.0, backend_seconds=0.75))
    assert series.model_latency.sum == 0.75
    assert series.overhead.sum == 0.25


def test_a_stream_has_first_chunk_latencies_and_an_answer_in_one_piece_has_none() -> None:
    """The first piece's time is split like the whole, and only for streams."""
    series = Series()
    series.record(outcome())
    series.record(outcome(first_chunk_seconds=0.5, first_chunk_backend_seconds=0.375))
    series.record(outcome(first_chunk_seconds=0.25, first_chunk_backend_seconds=None))
    assert sum(series.first_chunk.counts) == 2
    assert (series.first_chunk.sum, series.first_chunk_model.sum, series.first_chunk_overhead.sum) == (
        0.75,
        0.375,
        0.375,
    )


def test_a_wait_for_a_place_is_a_time_of_its_own() -> None:
    """It is in no overhead, neither of the whole nor of a stream's first piece; who met no queue is not in it."""
    series = Series()
    series.record(outcome())
    series.record(
        outcome(
            seconds=1.0,
            backend_seconds=0.25,
            queue_seconds=0.5,
            first_chunk_seconds=0.75,
            first_chunk_backend_seconds=0.125,
        )
    )
    assert (series.queue_wait.sum, sum(series.queue_wait.counts)) == (0.5, 1)
    assert series.overhead.sum == pytest.approx(0.25 + 0.0002)
    assert series.first_chunk_overhead.sum == 0.125


def test_waiting_for_a_cold_copy_is_measured_even_when_a_fallback_answers() -> None:
    """ModelLoadingWaitTime sums the attempts that found no ready copy; the request itself is no failure."""
    series = Series()
    series.record(outcome(attempts=(COLD, COLD, attempt())))
    series.record(outcome())
    assert (series.loading_wait.sum, sum(series.loading_wait.counts)) == (0.5, 1)
    assert series.no_capacity == 0


def test_a_request_that_reached_no_target_has_no_model_latency() -> None:
    """A refusal would otherwise drag the model's latency towards zero."""
    series = Series()
    series.record(outcome(attempts=(), status=400, ended="refused"))
    assert sum(series.model_latency.counts) == 0
    assert sum(series.overhead.counts) == 1


def test_volumes_are_added_up() -> None:
    """Bytes, parts, tokens and retries are sums over requests."""
    series = Series()
    series.record(outcome(parts_out=3, usage=Usage(7, 11), attempts=(FAILED, FAILED, attempt())))
    series.record(outcome())
    assert (series.invocations, series.retries, series.parts_out) == (2, 2, 3)
    assert (series.bytes_in, series.bytes_out) == (2 * 954, 2 * 590)
    assert (series.input_tokens, series.output_tokens) == (7, 11)


def test_a_bucket_holds_its_own_bound() -> None:
    """`le` means less than or equal: 50 us are in the first bucket, 51 us in the second, a second beyond all."""
    histogram = Histogram(OVERHEAD_BOUNDS)
    together = Histogram(OVERHEAD_BOUNDS)
    for seconds in (0.00005, 0.000051, 1.0):
        histogram.observe(seconds)
    together.observe_all((0.00005, 0.000051, 1.0))
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-1]) == (1, 1, 1)
    assert (together.counts, together.sum) == (histogram.counts, histogram.sum)


@given(st.lists(outcomes, max_size=8), st.integers(0, 8))
@settings(max_examples=50)
def test_counting_apart_and_merging_equals_counting_together(requests: list[Outcome], cut: int) -> None:
    """Workers count for themselves; the sum is what one process would have counted, after a trip through JSON too."""
    together, left, right = Series(), Series(), Series()
    for index, request in enumerate(requests):
        together.record(request)
        (left if index < cut else right).record(request)
    left.merge(Series.load(right.dump()))
    assert {name: getattr(left, name) for name in REQUEST_COUNTERS} == {
        name: getattr(together, name) for name in REQUEST_COUNTERS
    }
    assert left.overhead.counts == together.overhead.counts
    assert left.overhead.sum == pytest.approx(together.overhead.sum)


def test_other_buckets_are_refused() -> None:
    """A worker of another version must not be added bucket by shifted bucket."""
    dump = Series().dump()
    dump["overhead"][1].append(0)
    with pytest.raises(TypeError, match="overhead: 18 buckets, 17 expected"):
        Series.load(dump)


def test_a_histogram_that_an_older_release_had_not_is_empty() -> None:
    """Its other counts go on through an upgrade."""
    series = Series()
    series.record(outcome(queue_seconds=0.5))
    dump = series.dump()
    del dump["queue_wait"]
    found = Series.load(dump)
    assert (found.invocations, sum(found.overhead.counts), sum(found.queue_wait.counts)) == (1, 1, 0)


def test_requests_that_a_cold_target_failed_or_held() -> None:
    """Who failed without an attempt met no capacity all the same; who was held waited for the model to load."""
    series = Series()
    series.record(outcome(attempts=(), status=429, ended="failed", cold="fail"))
    assert series.no_capacity == 1
    asked = attempt(seconds=0.5)
    series.record(outcome(attempts=(asked,), backend_seconds=90.5, cold="hold"))
    assert series.loading_wait.sum == 90.0


@given(st.lists(notes(st.just(COURSE)), max_size=4))
@settings(max_examples=50)
def test_notes_count_as_what_they_stand_for(several: list[Note]) -> None:
    """Whatever the requests took and carried."""
    together, apart = Series(), Series()
    together.answered(several)
    for each in several:
        apart.record(outcome_of(each))
    assert str(together.dump()) == str(apart.dump())  # as text, since no number that is none equals itself
