"""Outcomes to test with: one that answered, changed where a test needs it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from backends.base import Usage
from backends.outcome import AttemptOutcome, Course, Note, Outcome
from policies.migrating import Place

ANSWERED = Outcome(
    request_id="3f1e0c52-6a53-4d27-9ad1-0f0a6b1f5f11",
    endpoint="apexguru",
    component=None,
    operation="InvokeEndpoint",
    status=200,
    error_type=None,
    ended="done",
    started=1_790_000_000.25,
    seconds=0.5,
    backend_seconds=0.4998,
    first_chunk_seconds=None,
    first_chunk_backend_seconds=None,
    attempts=(AttemptOutcome("apexguru-gpu", "endpoint", 0, 0.4998),),
    bytes_in=954,
    bytes_out=590,
    parts_out=0,
    policy="0123456789ab/3",
    why="endpoints.apexguru.serve_from",
)


def outcome(**changes: Any) -> Outcome:
    """An answered request with some fields changed."""
    return replace(ANSWERED, **changes)


def attempt(target: str = "apexguru-gpu", kind: str = "endpoint", **changes: Any) -> AttemptOutcome:
    """An attempt of 0.1 s that answered, with some fields changed."""
    return replace(AttemptOutcome(target, kind, 0, 0.1), **changes)


_seconds = st.floats(0, 1000)
_text = st.text(max_size=12)
_names = st.sampled_from(["a", "b", "c"])
_attempts = st.builds(
    AttemptOutcome,
    target=_names,
    kind=st.sampled_from(["endpoint", "bedrock", "vllm"]),
    replica=st.integers(0, 3),
    seconds=_seconds,
    failure=st.none() | _text,
    cold=st.booleans(),
    throttled=st.booleans(),
    timed_out=st.booleans(),
    status=st.none() | st.integers(400, 599),
    given_up=st.booleans(),
    upstream_request_id=st.none() | _text,
)
outcomes = st.builds(
    Outcome,
    request_id=_text,
    endpoint=st.sampled_from(["", "apexguru", "inline"]),
    component=st.none() | _names,
    operation=st.sampled_from(["InvokeEndpoint", "InvokeEndpointWithResponseStream"]),
    status=st.sampled_from([200, 400, 413, 424, 429, 499, 500, 503]),
    error_type=st.none() | st.sampled_from(["ModelError", "ValidationError", "ServiceUnavailable"]),
    ended=st.sampled_from(["done", "refused", "failed", "client_gone", "upstream_broken", "deadline"]),
    started=st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000),
    seconds=_seconds,
    backend_seconds=_seconds,
    first_chunk_seconds=st.none() | _seconds,
    first_chunk_backend_seconds=st.none() | _seconds,
    attempts=st.lists(_attempts, max_size=3).map(tuple),
    bytes_in=st.integers(0, 2**40),
    bytes_out=st.integers(0, 2**40),
    parts_out=st.integers(0, 2**20),
    policy=_text,
    why=_text,
    owner=st.none() | _text,
    usage=st.none() | st.builds(Usage, prompt_tokens=st.integers(0, 2**20), completion_tokens=st.integers(0, 2**20)),
    sdk_invocation_id=st.none() | _text,
    sdk_attempt=st.integers(1, 9),
    trace_id=st.none() | _text,
    handler_status=st.none() | st.integers(400, 599),
    principal=st.none() | _text,
    cold=st.none() | st.sampled_from(["spill", "hold", "fail"]),
    side=st.none() | _names,
    migration=st.none()
    | st.builds(
        Place,
        name=_text,
        step=st.integers(0, 9),
        to=_text,
        share=st.floats(0, 1),
        shadow=st.floats(0, 1),
        bypassed=st.booleans(),
    ),
    queue_seconds=st.just(0.0) | _seconds,
    inner=st.booleans(),
)
"""Any outcome, sensible or not."""

COURSE = Course("apexguru", None, "InvokeEndpoint", "0123456789ab/3", "as ever", None, "apexguru-gpu", "endpoint", 0)
_courses = st.builds(
    Course,
    endpoint=_names,
    component=st.none() | _names,
    operation=st.just("InvokeEndpoint"),
    policy=_text,
    why=_text,
    owner=st.none() | _text,
    target=_names,
    kind=st.sampled_from(["endpoint", "bedrock", "vllm"]),
    replica=st.integers(0, 3),
)
_ids = st.none() | _text | st.just("%b \0 \udc80") | st.just("x" * 5000)


def notes(course: st.SearchStrategy[Course] = _courses) -> st.SearchStrategy[Note]:
    """Any note, of one of the courses."""
    odd = st.sampled_from([math.inf, math.nan, 1e300, 5e-7])
    return st.tuples(
        course,
        _text,
        st.floats(-1e9, 4e9),
        _seconds | odd,
        st.floats(-1, 1000),
        _seconds | odd,
        st.none() | st.tuples(_seconds | odd, _seconds | odd),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
        st.integers(0, 2**20),
        st.none() | st.builds(Usage, st.integers(0, 2**20), st.integers(0, 2**20)),
        _ids,
        _ids,
        _ids,
        _ids,
    )
