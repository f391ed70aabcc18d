"""The request log's lines: made of outcomes, in forms where many are alike, and read again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from backends.base import Usage
from backends.outcome import AttemptOutcome, Outcome
from policies.migrating import Place
from proxy.log_lines import ATTEMPT_KEYS, KEYS, LONGEST_TEXT, MIGRATION_KEYS, line, read
from tests.outcomes import ANSWERED, attempt, outcome, outcomes

PLACE = Place("apexguru", 2, "import", 0.05, 0.1, bypassed=True)
DOCUMENT = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()


FULL = outcome(
    component="inline",
    error_type="ModelError",
    first_chunk_seconds=0.2,
    first_chunk_backend_seconds=0.1,
    attempts=(
        attempt(
            failure="late",
            cold=True,
            throttled=True,
            timed_out=True,
            status=500,
            given_up=True,
            upstream_request_id="theirs",
        ),
    ),
    owner="us",
    usage=Usage(3, 4),
    sdk_invocation_id="call",
    trace_id="t" * 32,
    handler_status=500,
    principal="me",
    cold="spill",
    side="gpu",
    migration=PLACE,
    queue_seconds=0.000125,
    inner=True,
)


def test_a_line_has_the_documented_keys_in_order() -> None:
    """Whoever reads the log by eye finds each at its place."""
    entry = json.loads(line(FULL))
    assert list(entry) == list(KEYS)
    assert list(entry["attempts"][0]) == list(ATTEMPT_KEYS)
    assert list(entry["migration"]) == list(MIGRATION_KEYS)


def test_a_line_leaves_out_what_says_nothing() -> None:
    """Null and false do; zeros and empty texts are said, and whoever parses the log may rely on their keys."""
    bare = json.loads(line(outcome(endpoint="", why="", bytes_in=0, migration=replace(PLACE, bypassed=False))))
    assert list(bare) == [
        "log", "time", "request_id", "endpoint", "operation", "status", "ended", "seconds", "backend_seconds",
        "overhead_seconds", "attempts", "bytes_in", "bytes_out", "parts_out", "policy", "why", "sdk_attempt",
        "migration",
    ]  # fmt: skip
    assert list(bare["attempts"][0]) == ["target", "kind", "replica", "seconds"]
    assert list(bare["migration"]) == list(MIGRATION_KEYS)[:-1]


def test_every_fact_of_an_outcome_is_in_the_log() -> None:
    """A field added to the outcome and forgotten here would be lost for `pointsman why`."""
    fields = {field.name for field in dataclasses.fields(Outcome)} - {"started", "usage"}
    assert fields <= set(KEYS)
    assert {field.name for field in dataclasses.fields(AttemptOutcome)} == set(ATTEMPT_KEYS)
    assert [field.name for field in dataclasses.fields(Place)] == list(MIGRATION_KEYS)


def test_line_of_an_older_version_is_read() -> None:
    """It says null and false in full, and lacks the keys that came later, of which nothing is known."""
    entry = dict.fromkeys(KEYS) | json.loads(line(ANSWERED))
    for key in ("migration", "side", "cold", "queue_seconds", "inner"):
        del entry[key]
    flags = ("cold", "throttled", "timed_out", "given_up")
    entry["attempts"] = [dict.fromkeys(ATTEMPT_KEYS) | dict.fromkeys(flags, False) | entry["attempts"][0]]
    del entry["attempts"][0]["given_up"], entry["attempts"][0]["upstream_request_id"]
    assert read(json.dumps(entry).encode()) == read(line(ANSWERED)) == ANSWERED
    del entry["attempts"][0]["target"]
    assert read(json.dumps(entry).encode()) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seconds", "1"),
        ("backend_seconds", None),
        ("first_chunk_seconds", {}),
        ("sdk_invocation_id", 5),
        ("attempts", [5]),
        ("attempts", [{"target": "t", "kind": "vllm", "replica": 0, "seconds": 0.1, "failure": {}, "status": 500}]),
    ],
)
def test_a_line_of_other_types_is_none_of_ours(key: str, value: object) -> None:
    """Anybody may write into a log what looks like a request's line: `pointsman why` passes over it."""
    assert read(json.dumps({**json.loads(line(ANSWERED)), key: value}).encode()) is None


def test_the_document_explains_each_key() -> None:
    """docs/observability.md repeats the tables word for word."""
    rows = [
        f"| `{key}` | {meaning} |" for table in (KEYS, ATTEMPT_KEYS, MIGRATION_KEYS) for key, meaning in table.items()
    ]
    section = DOCUMENT.partition("## The request log")[2].partition("\n## ")[0]
    assert [row for row in section.splitlines() if row.startswith("| `")] == rows


def test_a_line_in_full() -> None:
    """The very bytes, so that a change of the format is a decision and not an accident."""
    assert line(outcome(usage=Usage(3, 4))) == (
        b'{"log":"request","time":"2026-09-21T14:13:20.250000Z","request_id":"3f1e0c52-6a53-4d27-9ad1-0f0a6b1f5f11",'
        b'"endpoint":"apexguru","operation":"InvokeEndpoint","status":200,"ended":"done","seconds":0.500000,'
        b'"backend_seconds":0.499800,"overhead_seconds":0.000200,"attempts":[{"target":"apexguru-gpu",'
        b'"kind":"endpoint","replica":0,"seconds":0.499800}],"bytes_in":954,"bytes_out":590,"parts_out":0,'
        b'"policy":"0123456789ab/3","why":"endpoints.apexguru.serve_from","prompt_tokens":3,"completion_tokens":4,'
        b'"sdk_attempt":1}\n'
    )


def test_a_line_with_all_there_is_in_full() -> None:
    """The same of what most lines leave out."""
    assert line(FULL) == (
        b'{"log":"request","time":"2026-09-21T14:13:20.250000Z","request_id":"3f1e0c52-6a53-4d27-9ad1-0f0a6b1f5f11",'
        b'"endpoint":"apexguru","component":"inline","operation":"InvokeEndpoint","status":200,'
        b'"error_type":"ModelError","ended":"done","seconds":0.500000,"backend_seconds":0.499800,'
        b'"queue_seconds":0.000125,"overhead_seconds":0.000075,"first_chunk_seconds":0.200000,"first_chunk_backend_seconds":0.100000,'
        b'"attempts":[{"target":"apexguru-gpu","kind":"endpoint","replica":0,"seconds":0.100000,"failure":"late",'
        b'"cold":true,"throttled":true,"timed_out":true,"status":500,"given_up":true,'
        b'"upstream_request_id":"theirs"}],"bytes_in":954,"bytes_out":590,"parts_out":0,"policy":"0123456789ab/3",'
        b'"why":"endpoints.apexguru.serve_from","owner":"us","prompt_tokens":3,"completion_tokens":4,'
        b'"sdk_invocation_id":"call","sdk_attempt":1,"trace_id":"tttttttttttttttttttttttttttttttt",'
        b'"handler_status":500,"principal":"me","cold":"spill","side":"gpu","migration":{"name":"apexguru","step":2,'
        b'"to":"import","share":0.05,"shadow":0.1,"bypassed":true},"inner":true}\n'
    )


@given(outcomes)
@settings(max_examples=100)
def test_reading_a_line_gives_the_outcome_back(request: Outcome) -> None:
    """Nothing is lost but what lies below a microsecond."""
    back = read(line(request))
    assert back is not None
    assert back.seconds == pytest.approx(request.seconds, abs=1e-6)
    assert back.started == pytest.approx(request.started, abs=1e-5)
    assert back.queue_seconds == pytest.approx(request.queue_seconds, abs=1e-6)
    rough = {"seconds", "backend_seconds", "started", "first_chunk_seconds", "first_chunk_backend_seconds", "attempts"}
    rough.add("queue_seconds")
    for field in dataclasses.fields(Outcome):
        if field.name not in rough:
            assert getattr(back, field.name) == getattr(request, field.name)
    assert [replace(one, seconds=0) for one in back.attempts] == [replace(one, seconds=0) for one in request.attempts]


@given(outcomes)
@settings(max_examples=100)
def test_no_line_says_null_or_false(request: Outcome) -> None:
    """Whatever became of the request."""
    entry = json.loads(line(request))
    values = [*entry.values(), *entry.get("migration", {}).values()]
    values += [value for attempt in entry["attempts"] for value in attempt.values()]
    assert not [value for value in values if value is None or value is False]


@given(outcomes)
@settings(max_examples=100)
def test_a_line_is_one_line_and_drives_no_terminal(request: Outcome) -> None:
    """No control character gets through, neither ASCII's nor the C1 set, nor Unicode's line separators."""
    text = line(request).decode()
    assert text.endswith("\n")
    assert not [
        letter for letter in text[:-1] if letter < " " or "\x7f" <= letter <= "\x9f" or letter in "\u2028\u2029"
    ]


@pytest.mark.parametrize("text", ["\n", "\x1b[2J", "\x9b2J", "\x7f", "\u2028", "ünï 漢字"])
def test_odd_text_is_escaped_and_read_back(text: str) -> None:
    """What a client put into amz-sdk-invocation-id stays one value of one line."""
    written = line(outcome(sdk_invocation_id=text))
    assert written.count(b"\n") == 1
    assert b"\x7f" not in written
    back = read(written)
    assert back is not None
    assert back.sdk_invocation_id == text


def test_bytes_that_are_not_utf8_make_a_line_all_the_same() -> None:
    """Header text with lone surrogates has no JSON form; it is shown with question marks, also inside attempts."""
    back = read(line(outcome(sdk_invocation_id="a\udcffb", attempts=(attempt(failure="x\udc80"),))))
    assert back is not None
    assert (back.sdk_invocation_id, back.attempts[0].failure) == ("a?b", "x?")


def test_long_text_is_cut() -> None:
    """One request can't write a line of megabytes."""
    written = line(
        outcome(sdk_invocation_id="x" * 100_000, why="y" * 100_000, attempts=(attempt(failure="z" * 100_000),))
    )
    assert len(written) < 3 * LONGEST_TEXT + 1000


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"not json\n",
        b"[]\n",
        b"1\n",
        b"{}\n",
        b'{"log":"other"}\n',
        b'{"log":"request"}\n',
        line(outcome())[:-40],
    ],
)
def test_other_lines_are_not_read(text: bytes) -> None:
    """The log shares its stream with other output, and its last line may be torn."""
    assert read(text) is None


def test_a_line_with_values_of_other_kinds_is_not_read() -> None:
    """A stranger's line with our keys is no reason to fail."""
    entry = json.loads(line(outcome()))
    assert read(json.dumps({**entry, "time": "yesterday"}).encode()) is None
    assert read(json.dumps({**entry, "attempts": 7}).encode()) is None


@pytest.mark.parametrize(("operation", "word"), [("Warm", b"warm"), ("Shadow", b"shadow")])
def test_what_no_client_asked_for_has_a_line_of_its_own_kind(operation: str, word: bytes) -> None:
    """Who counts requests by their lines does not count it, and `pointsman why` finds it all the same."""
    own = outcome(operation=operation)
    assert b'"log":"%b"' % word in line(own)
    assert read(line(own)) == own
    assert b'"log":"request"' in line(outcome())
