"""The counts of one label set, and the histogram they are made of.

Buckets are fixed by metric_names.py, so two histograms of one metric add bucket by bucket and lose nothing. What counts
as which error is decided here and nowhere else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from .metric_names import REQUEST_COUNTERS, REQUEST_HISTOGRAMS
from .outcome import Note, Outcome

Labels = tuple[str, ...]
HookKey = tuple[str, str, str, bool]
"""Handler, step, result, and whether the hook held the loop all the time; without a step it did only that."""

CLIENT_GONE: Final = "client_gone"
_STREAM_BROKE: Final = frozenset({"failed", "upstream_broken", "deadline"})


class Histogram:
    """Counts per bucket (not cumulative; the last one is `+Inf`) and the sum of all values, in seconds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a bound includes itself, as Prometheus' `le` does."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def observe_all(self, times: Iterable[float]) -> None:
        """Count several."""
        bounds, counts, total = self.bounds, self.counts, self.sum
        for seconds in times:
            counts[bisect_left(bounds, seconds)] += 1
            total += seconds
        self.sum = total

    def merge(self, other: Histogram) -> None:
        """Add another histogram of the same metric."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class Flight:
    """How many requests of one route are on their way now. Who begins one counts it in, and out when it is over."""

    __slots__ = ("count",)

    def __init__(self, count: int = 0) -> None:
        self.count = count


class Series:
    """What is counted for one (endpoint, component, target, kind); the tables of metric_names.py name the fields."""

    __slots__ = (*REQUEST_COUNTERS, *REQUEST_HISTOGRAMS)

    invocations: int
    errors_4xx: int
    errors_5xx: int
    model_errors: int
    mid_stream: int
    no_capacity: int
    retries: int
    bytes_in: int
    bytes_out: int
    parts_out: int
    input_tokens: int
    output_tokens: int
    model_latency: Histogram
    overhead: Histogram
    first_chunk: Histogram
    first_chunk_model: Histogram
    first_chunk_overhead: Histogram
    loading_wait: Histogram
    queue_wait: Histogram

    def __init__(self) -> None:
        for field in REQUEST_COUNTERS:
            setattr(self, field, 0)
        for field, metric in REQUEST_HISTOGRAMS.items():
            setattr(self, field, Histogram(metric.bounds))

    def record(self, outcome: Outcome) -> None:
        """Add one request."""
        self.invocations += 1
        self.bytes_in += outcome.bytes_in
        self.bytes_out += outcome.bytes_out
        self.parts_out += outcome.parts_out
        if outcome.usage is not None:
            self.input_tokens += outcome.usage.prompt_tokens
            self.output_tokens += outcome.usage.completion_tokens
        if outcome.status != 200:
            self._error(outcome)
        elif outcome.ended in _STREAM_BROKE:
            self.mid_stream += 1
        self.overhead.observe(outcome.overhead_seconds)
        attempts = outcome.attempts
        if len(attempts) == 1 and outcome.cold is None and attempts[0].failure is None and not attempts[0].cold:
            self.model_latency.observe(outcome.backend_seconds)
        elif attempts:
            self._attempts(outcome)
        elif outcome.cold is not None:
            self.no_capacity += 1
        if outcome.first_chunk_seconds is not None:
            waited = outcome.first_chunk_backend_seconds or 0.0
            self._first_chunk(outcome.first_chunk_seconds, waited, outcome.queue_seconds)
        if outcome.queue_seconds:
            self.queue_wait.observe(outcome.queue_seconds)

    def answered(self, notes: Iterable[Note]) -> None:
        """Add several of which there is only a note; `record` says the same of what each stands for."""
        backend: list[float] = []
        overhead: list[float] = []
        bytes_in = bytes_out = parts_out = 0
        for _, _, _, seconds, waited, _, chunk, read, written, parts, usage, _, _, _, _ in notes:
            own = seconds - waited
            backend.append(waited)
            overhead.append(own if own > 0.0 else 0.0)
            bytes_in += read
            bytes_out += written
            parts_out += parts
            if usage is not None:
                self.input_tokens += usage.prompt_tokens
                self.output_tokens += usage.completion_tokens
            if chunk is not None:
                self._first_chunk(*chunk)
        self.invocations += len(backend)
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.parts_out += parts_out
        self.model_latency.observe_all(backend)
        self.overhead.observe_all(overhead)

    def _first_chunk(self, seconds: float, waited: float, queued: float = 0.0) -> None:
        self.first_chunk.observe(seconds)
        self.first_chunk_model.observe(waited)
        self.first_chunk_overhead.observe(max(0.0, seconds - waited - queued))

    def _error(self, outcome: Outcome) -> None:
        status = model_status(outcome)
        if 500 <= status < 600:
            self.errors_5xx += 1
        elif 400 <= status < 499:
            self.errors_4xx += 1

    def _attempts(self, outcome: Outcome) -> None:
        last = outcome.attempts[-1]
        self.retries += len(outcome.attempts) - 1
        self.model_latency.observe(outcome.backend_seconds)
        if last.failure is not None and outcome.ended != CLIENT_GONE and not last.given_up:
            self.model_errors += 1
            if last.cold:
                self.no_capacity += 1
        waits = [attempt.seconds for attempt in outcome.attempts if attempt.cold]
        if outcome.cold == "hold":
            asked = sum(attempt.seconds for attempt in outcome.attempts)
            waits.append(max(0.0, outcome.backend_seconds - asked))
        if waits:
            self.loading_wait.observe(sum(waits))

    def merge(self, other: Series) -> None:
        """Add another process's counts of the same label set."""
        for field in REQUEST_COUNTERS:
            setattr(self, field, getattr(self, field) + getattr(other, field))
        for field in REQUEST_HISTOGRAMS:
            getattr(self, field).merge(getattr(other, field))

    def dump(self) -> dict[str, Any]:
        """All counts as JSON values; `load` reads them back."""
        counts: dict[str, Any] = {field: getattr(self, field) for field in REQUEST_COUNTERS}
        for field in REQUEST_HISTOGRAMS:
            histogram: Histogram = getattr(self, field)
            counts[field] = [histogram.sum, histogram.counts]
        return counts

    @classmethod
    def load(cls, counts: dict[str, Any]) -> Series:
        """The series that `dump` described; KeyError, IndexError or TypeError when it did not."""
        series = cls()
        for field in REQUEST_COUNTERS:
            setattr(series, field, int(counts[field]))
        for field in REQUEST_HISTOGRAMS.keys() & counts.keys():  # a release before this one may have had fewer
            histogram: Histogram = getattr(series, field)
            histogram.sum, buckets = float(counts[field][0]), counts[field][1]
            if len(buckets) != len(histogram.counts):
                message = f"{field}: {len(buckets)} buckets, {len(histogram.counts)} expected"
                raise TypeError(message)
            histogram.counts = [int(count) for count in buckets]
        return series


def model_status(outcome: Outcome) -> int:
    """The status that decides between 4xx and 5xx.

    A ModelError reaches the client as a 424 whatever the model said, and CloudWatch counts what the model said. A model
    that said nothing (timeout, broken connection) counts as 5xx: it was not the caller's doing. What fails in the
    customer's code around the model counts as the model's.
    """
    if outcome.handler_status is not None:
        return outcome.handler_status
    if outcome.error_type != "ModelError" or not outcome.attempts:
        return outcome.status
    return outcome.attempts[-1].status or 500
