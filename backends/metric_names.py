"""Every metric this process exports, as one table: name, type, labels, meaning, and CloudWatch's name for the same.

The table is what `Meters.render` walks, what docs/observability.md reproduces and what its test compares. CloudWatch's
names and meanings are those of the AWS developer guide, "Metrics for monitoring Amazon SageMaker AI with Amazon
CloudWatch". CloudWatch reports latencies in microseconds; Prometheus wants base units, so every duration here is in
seconds, and a CloudWatch threshold is divided by 1,000,000 when it moves over.
"""

from __future__ import annotations

from dataclasses import dataclass

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

REQUEST_LABELS = ("endpoint", "component", "target", "kind")
"""EndpointName, InferenceComponentName, and in VariantName's place the target tried last with its kind of hosting."""

UNKNOWN = "_unknown"
"""Stands for a name that a client sent and the policy does not have: clients must not be able to create labels."""
OTHER = "_other"
"""Stands for every label set beyond the cap."""

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 240.0, 480.0)
"""Seconds. 60 and 480 are SageMaker's deadlines for an answer and for a stream."""
_OVERHEAD_US = (50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 7500, 10_000, 20_000, 50_000, 100_000)
OVERHEAD_BOUNDS = tuple(microseconds / 1_000_000 for microseconds in _OVERHEAD_US)
"""Seconds, 50 us to 100 ms: a hop through this process costs some hundred microseconds, and that must be visible."""

HOOK_BOUNDS = (*OVERHEAD_BOUNDS, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds. A customer's code takes microseconds or seconds, and with `call.invoke` as long as another model.
A percentile beyond the last bound is shown as that."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family of the exposition."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str
    cloudwatch: str | None = None
    """SageMaker's CloudWatch metric of the same meaning."""
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets in seconds, `+Inf` left out."""


def _request(name: str, text: str, cloudwatch: str | None = None) -> Metric:
    return Metric(name, COUNTER, REQUEST_LABELS, text, cloudwatch)


def _duration(name: str, text: str, cloudwatch: str | None, bounds: tuple[float, ...] = LATENCY_BOUNDS) -> Metric:
    return Metric(name, HISTOGRAM, REQUEST_LABELS, text, cloudwatch, bounds)


REQUEST_COUNTERS = {
    "invocations": _request("pointsman_invocations_total", "Requests, however they ended.", "Invocations"),
    "errors_4xx": _request(
        "pointsman_invocation_4xx_errors_total",
        "Requests that the model, or this process, answered with a 4xx status; a client that left (499) is not one.",
        "Invocation4XXErrors",
    ),
    "errors_5xx": _request(
        "pointsman_invocation_5xx_errors_total",
        "Requests that the model, its platform or this process answered with a 5xx status, or the model not in time.",
        "Invocation5XXErrors",
    ),
    "model_errors": _request(
        "pointsman_invocation_model_errors_total",
        "Requests whose last attempt got no 2xx answer: error status, socket error, malformed answer, timeout.",
        "InvocationModelErrors",
    ),
    "mid_stream": _request(
        "pointsman_mid_stream_errors_total",
        "Streams that broke after their first byte; their status was 200, so they are in no other error metric.",
        "MidStreamErrors",
    ),
    "no_capacity": _request(
        "pointsman_no_capacity_invocation_failures_total",
        "Requests that failed because the last target tried had no ready copy.",
        "NoCapacityInvocationFailures",
    ),
    "retries": _request("pointsman_retries_total", "Attempts beyond the first of a request."),
    "bytes_in": _request("pointsman_request_bytes_total", "Bytes of request bodies."),
    "bytes_out": _request("pointsman_response_bytes_total", "Bytes of answers' bodies."),
    "parts_out": _request("pointsman_response_parts_total", "PayloadPart frames sent to clients."),
    "input_tokens": _request(
        "pointsman_input_tokens_total",
        "Prompt tokens, where the target reports usage: of whole answers up to 64 KiB, of streams that tell it.",
    ),
    "output_tokens": _request(
        "pointsman_output_tokens_total",
        "Generated tokens, where the target reports usage: of whole answers up to 64 KiB, of streams that tell it.",
    ),
}
"""Field of a series -> counter."""

REQUEST_HISTOGRAMS = {
    "model_latency": _duration(
        "pointsman_model_latency_seconds",
        "Time spent waiting for targets, all attempts and a stream's body included.",
        "ModelLatency",
    ),
    "overhead": _duration(
        "pointsman_overhead_latency_seconds",
        "Time this hop added: from the request's head to the last byte, less the time spent waiting for targets, and "
        "for a place at one that was full.",
        "OverheadLatency",
        OVERHEAD_BOUNDS,
    ),
    "first_chunk": _duration(
        "pointsman_first_chunk_latency_seconds",
        "Streams: from the request's head to the first piece of the answer.",
        "FirstChunkLatency",
    ),
    "first_chunk_model": _duration(
        "pointsman_first_chunk_model_latency_seconds",
        "Streams: the targets' share of the time to the first piece.",
        "FirstChunkModelLatency",
    ),
    "first_chunk_overhead": _duration(
        "pointsman_first_chunk_overhead_latency_seconds",
        "Streams: this hop's share of the time to the first piece.",
        "FirstChunkOverheadLatency",
        OVERHEAD_BOUNDS,
    ),
    "loading_wait": _duration(
        "pointsman_model_loading_wait_time_seconds",
        "Requests that met a copy which was not ready: the time spent on such attempts.",
        "ModelLoadingWaitTime",
    ),
    "queue_wait": _duration(
        "pointsman_queue_wait_seconds",
        "Requests that met a target that was full: how long they waited for a place there, whether they got one or "
        "not.",
        None,
    ),
}
"""Field of a series -> histogram."""

RESPONSES = Metric(
    "pointsman_responses_total",
    COUNTER,
    ("endpoint", "component", "status", "error_type", "ended"),
    "Requests by what the client was told: HTTP status, AWS error type, and how the request ended.",
)
ATTEMPTS = Metric(
    "pointsman_attempts_total",
    COUNTER,
    ("target", "kind", "result"),
    "Attempts at targets: answered, cold (no ready copy), throttled, timed_out, failed, or given_up (the client left, "
    "the proxy ended, or a hedge's other attempt answered first).",
)
CONCURRENT = Metric(
    "pointsman_concurrent_requests_per_model",
    GAUGE,
    ("model",),
    "Requests in flight now, by endpoint or endpoint/component.",
    "ConcurrentRequestsPerModel",
)
RELOADS = Metric(
    "pointsman_policy_reloads_total", COUNTER, ("result",), "Policies read since the start: ok, or refused as bad."
)
POLICY = Metric(
    "pointsman_policy_info", GAUGE, ("digest", "generation"), "Always 1: digest and generation of the policy in force."
)
HOOKS = Metric(
    "pointsman_handler_hooks_total",
    COUNTER,
    ("handler", "step", "result"),
    "Hooks of customers' handlers: ok, raised, timed_out, crashed, busy (no worker free in time), refused (it keeps "
    "failing) or given_up (the client left).",
)
HOOK_TIME = Metric(
    "pointsman_handler_hook_seconds",
    HISTOGRAM,
    ("handler", "step"),
    "How long hooks took, waiting for a worker and `call.invoke` included.",
    bounds=HOOK_BOUNDS,
)
LOOP_HELD = Metric(
    "pointsman_handler_loop_held_seconds",
    HISTOGRAM,
    ("handler",),
    "Handlers that run inline: the longest stretch for which each hook held up every other request.",
    bounds=HOOK_BOUNDS,
)
BUILD = Metric("pointsman_build_info", GAUGE, ("version",), "Always 1: version of the running code.")

BREAKER = Metric(
    "pointsman_breaker_state",
    GAUGE,
    ("target", "replica"),
    "Breaker of a replica of a target: 0 closed, 1 half open (one request at a time), 2 open (ejected).",
)

SHED = Metric(
    "pointsman_shed_total",
    COUNTER,
    ("model", "reason"),
    "Requests turned away, or on to a fallback, by ourselves: target (its queue is full), owner (over its quota).",
)

HEDGES = Metric(
    "pointsman_hedges_total",
    COUNTER,
    ("model", "result"),
    "Requests whose first target was slow: a second one won, lost, failed as well or was given_up (the client left); "
    "or none was asked: nowhere (none is well, warm and has room), budget, quota (of the owner).",
)

TARGET_LIMIT = Metric(
    "pointsman_target_limit",
    GAUGE,
    ("target",),
    "Requests at a time that a target is found to bear: the limits of all workers that have asked it.",
)
TARGET_LEAST_LIMIT = Metric(
    "pointsman_target_least_limit",
    GAUGE,
    ("target",),
    "The least of these limits: that of the worker which sends it the fewest requests at a time.",
)
TARGET_IN_FLIGHT = Metric(
    "pointsman_target_in_flight", GAUGE, ("target",), "Requests that have a place at a target now, streams included."
)
TARGET_WAITING = Metric(
    "pointsman_target_waiting", GAUGE, ("target",), "Requests that wait for a place at a target now."
)
TARGET_REFUSED = Metric(
    "pointsman_target_refused_total",
    COUNTER,
    ("target",),
    "Requests that found no place at a target, whether a fallback took them or not.",
)

WARM_PINGS = Metric(
    "pointsman_warm_pings_total",
    COUNTER,
    ("target", "met"),
    "Warm-ups: met warm, met cold, or failed. They are in no metric of requests.",
)
WARM_LIMIT = Metric(
    "pointsman_warm_idle_limit_seconds",
    GAUGE,
    ("target", "bound"),
    "How long a target stays loaded without use, as warm-ups have shown: at_least (longest gap that ended warm), "
    "at_most (shortest that ended cold).",
)

TEMPERATURE = Metric(
    "pointsman_target_temperature",
    GAUGE,
    ("target",),
    "Targets that may be cold: 0 unknown, 1 ready, 2 cooling (unused for its idle limit), 3 warming, 4 cold.",
)
RESTORES = Metric(
    "pointsman_restores_total",
    COUNTER,
    ("target", "result"),
    "Restores of cold targets: ready, given_up (not back in the longest restore), or failed for another reason.",
)
RESTORE_TIME = Metric(
    "pointsman_restore_seconds",
    HISTOGRAM,
    ("target",),
    "From the moment a target was found cold until it took a call again.",
    bounds=LATENCY_BOUNDS,
)
COLD_REQUESTS = Metric(
    "pointsman_cold_requests_total",
    COUNTER,
    ("model", "became"),
    "Requests that met a cold target: spill (a warm one took over), hold (they waited and were answered), fail.",
)
WARM_COST = Metric(
    "pointsman_warm_usd_per_month",
    GAUGE,
    ("target", "interval"),
    "What warm-ups of an import cost a month: at the policy's interval, and at the one advised (or the same again).",
)

SHADOW_REQUESTS = Metric(
    "pointsman_shadow_requests_total",
    COUNTER,
    ("model", "result"),
    "Requests sampled for a migration's new target: compared, or why not. Copies are in no metric of requests.",
)
SHADOW_SCORE = Metric(
    "pointsman_shadow_likeness_ratio",
    HISTOGRAM,
    ("model", "against"),
    "How alike a client's answer and one more are, 0 to 1: the new target's (candidate), the old one's again (floor).",
    bounds=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99),
)
SHADOW_DOLLARS = Metric(
    "pointsman_shadow_usd_total", COUNTER, ("model",), "What copies have added to the bill, in US dollars."
)
SHADOW_DIFFERENCES = Metric(
    "pointsman_shadow_differences_total",
    COUNTER,
    ("model", "result"),
    "Differences that were to be kept: kept, full (the policy's limit), late (the disk is slow), failed.",
)

MIGRATION_SHARE = Metric(
    "pointsman_migration_share_ratio", GAUGE, ("migration",), "Part of the traffic that goes to the new target, 0 to 1."
)
MIGRATION_STEP = Metric(
    "pointsman_migration_step", GAUGE, ("migration",), "The step that a migration is at, from 1; 0 before the first."
)
MIGRATION_DECISIONS = Metric(
    "pointsman_migration_decisions_total",
    COUNTER,
    ("migration", "event"),
    "What was decided: started, grew, paused, breached, rollback, refused, done and so on, by itself or by a command;"
    " counted once, by the process on duty.",
)
STATE_LOST = Metric(
    "pointsman_shared_state_lost_seconds",
    GAUGE,
    (),
    "How long the shared state has been out of reach; 0 while it is there. Only where a policy has migrations.",
)

WORKERS = {
    "up": Metric("pointsman_worker_up", GAUGE, ("worker",), "1 while the worker serves. With --workers 2 and more."),
    "restarts": Metric(
        "pointsman_worker_restarts_total", COUNTER, ("worker",), "How often the worker ended and was started again."
    ),
    "hung": Metric(
        "pointsman_worker_hung_total", COUNTER, ("worker",), "How often the worker was killed since it said nothing."
    ),
    "connections": Metric("pointsman_worker_connections", GAUGE, ("worker",), "Connections of clients."),
    "resident": Metric("pointsman_worker_resident_memory_bytes", GAUGE, ("worker",), "Memory of the process."),
    "descriptors": Metric("pointsman_worker_open_fds", GAUGE, ("worker",), "Open descriptors of the process."),
}
"""What the supervisor knows of each worker; a single process exports none of it."""

EXTRAS = (
    Metric("pointsman_policy_generation", GAUGE, (), "How many policies have been put in force since the start."),
    Metric(
        "pointsman_policy_stale", GAUGE, (), "1 while a newer policy is refused or unreadable, so an older one rules."
    ),
    Metric(
        "pointsman_handler_stale",
        GAUGE,
        (),
        "1 while the newest version of some customer's handler can't be loaded, so the one before it goes on.",
    ),
    Metric("pointsman_event_loop_lag_seconds", GAUGE, (), "How late the event loop was for its last timer."),
    Metric("pointsman_log_lines_lost_total", COUNTER, (), "Request log lines lost: disk full, or a reader too slow."),
    Metric("pointsman_spans_lost_total", COUNTER, (), "Spans that the OpenTelemetry exporter could not deliver."),
)
"""What the caller of `render` may know and the meters do not. An unknown name is exported without help."""

METRICS: tuple[Metric, ...] = (
    *REQUEST_COUNTERS.values(),
    *REQUEST_HISTOGRAMS.values(),
    *(RESPONSES, ATTEMPTS, CONCURRENT, RELOADS, POLICY, HOOKS, HOOK_TIME, LOOP_HELD, BREAKER, SHED, HEDGES),
    *(TARGET_LIMIT, TARGET_LEAST_LIMIT, TARGET_IN_FLIGHT, TARGET_WAITING, TARGET_REFUSED),
    *(WARM_PINGS, WARM_LIMIT),
    *(TEMPERATURE, RESTORES, RESTORE_TIME, COLD_REQUESTS, WARM_COST),
    *(SHADOW_REQUESTS, SHADOW_SCORE, SHADOW_DOLLARS, SHADOW_DIFFERENCES),
    *(MIGRATION_SHARE, MIGRATION_STEP, MIGRATION_DECISIONS, STATE_LOST),
    *WORKERS.values(),
    BUILD,
    *EXTRAS,
)
