"""The request log: its lines, and a stream that fails or blocks."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings

from backends.base import Usage
from backends.outcome import AttemptOutcome, Outcome
from policies.migrating import Place
from proxy.access_log import ATTEMPT_KEYS, KEYS, LONGEST_TEXT, MIGRATION_KEYS, QUEUE_LINES, AccessLog, line, read
from tests.outcomes import ANSWERED, attempt, outcome, outcomes

DOCUMENT = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()


class Filling(io.RawIOBase):
    """A disk that takes `room` bytes, then is full until someone makes room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)[: self.room]  # type: ignore[call-overload]  # any buffer
        if not piece:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.taken += piece
        self.room -= len(piece)
        return len(piece)


def logged(*requests: Outcome, into: BinaryIO) -> AccessLog:
    """A closed log that was given `requests`."""
    log = AccessLog(into)
    for request in requests:
        log.write(request)
    log.close()
    return log


def test_a_line_has_the_documented_keys_in_order() -> None:
    """Whoever parses the log may rely on every key being there, whatever happened."""
    entry = json.loads(line(outcome(attempts=(attempt(),))))
    assert list(entry) == list(KEYS)
    assert list(entry["attempts"][0]) == list(ATTEMPT_KEYS)
    assert list(json.loads(line(outcome(attempts=(), component=None)))) == list(KEYS)


def test_every_fact_of_an_outcome_is_in_the_log() -> None:
    """A field added to the outcome and forgotten here would be lost for `pointsman why`."""
    fields = {field.name for field in dataclasses.fields(Outcome)} - {"started", "usage"}
    assert fields <= set(KEYS)
    assert {field.name for field in dataclasses.fields(AttemptOutcome)} == set(ATTEMPT_KEYS)
    assert [field.name for field in dataclasses.fields(Place)] == list(MIGRATION_KEYS)


def test_line_of_an_older_version_is_read() -> None:
    """It lacks the keys that came later; nothing is known of them."""
    entry = json.loads(line(ANSWERED))
    for key in ("migration", "side", "cold"):
        del entry[key]
    del entry["attempts"][0]["given_up"], entry["attempts"][0]["upstream_request_id"]
    assert read(json.dumps(entry).encode()) == read(line(ANSWERED))
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
    ],
)
def test_a_line_of_other_types_is_none_of_ours(key: str, value: object) -> None:
    """Anybody may write into a log what looks like a request's line: `pointsman why` passes over it."""
    assert read(json.dumps({**json.loads(line(ANSWERED)), key: value}).encode()) is None


def test_where_a_migration_stood_is_an_object() -> None:
    """With the documented keys, in their order."""
    place = Place("apexguru", 2, "import", 0.05, 0.1, bypassed=False)
    found = json.loads(line(outcome(migration=place)))["migration"]
    assert list(found) == list(MIGRATION_KEYS)
    assert found == {"name": "apexguru", "step": 2, "to": "import", "share": 0.05, "shadow": 0.1, "bypassed": False}


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
        b'"endpoint":"apexguru","component":null,"operation":"InvokeEndpoint","status":200,"error_type":null,'
        b'"ended":"done","seconds":0.5,"backend_seconds":0.4998,"overhead_seconds":0.0002,"first_chunk_seconds":null,'
        b'"first_chunk_backend_seconds":null,"attempts":[{"target":"apexguru-gpu","kind":"endpoint","replica":0,'
        b'"seconds":0.4998,"failure":null,"cold":false,"throttled":false,"timed_out":false,"status":null,'
        b'"given_up":false,"upstream_request_id":null}],'
        b'"bytes_in":954,"bytes_out":590,"parts_out":0,"policy":"0123456789ab/3",'
        b'"why":"endpoints.apexguru.serve_from","owner":null,"prompt_tokens":3,"completion_tokens":4,'
        b'"sdk_invocation_id":null,"sdk_attempt":1,"trace_id":null,"handler_status":null,"principal":null,"cold":null,"side":null,'
        b'"migration":null}\n'
    )


@given(outcomes)
@settings(max_examples=100)
def test_reading_a_line_gives_the_outcome_back(request: Outcome) -> None:
    """Nothing is lost but what lies below a microsecond."""
    back = read(line(request))
    assert back is not None
    assert back.seconds == pytest.approx(request.seconds, abs=1e-6)
    assert back.started == pytest.approx(request.started, abs=1e-5)
    rough = {"seconds", "backend_seconds", "started", "first_chunk_seconds", "first_chunk_backend_seconds", "attempts"}
    for field in dataclasses.fields(Outcome):
        if field.name not in rough:
            assert getattr(back, field.name) == getattr(request, field.name)
    assert [dataclasses.replace(one, seconds=0) for one in back.attempts] == [
        dataclasses.replace(one, seconds=0) for one in request.attempts
    ]


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


def test_lines_come_out_in_order_and_at_once() -> None:
    """The first line is there without waiting for others or for the end."""
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb") as sink:
        log = AccessLog(sink)
        log.write(outcome(bytes_in=1))
        assert source.readline() == line(outcome(bytes_in=1))
        for number in range(2, 50):
            log.write(outcome(bytes_in=number))
        assert [json.loads(source.readline())["bytes_in"] for _ in range(2, 50)] == list(range(2, 50))
        log.close()


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    """The last requests before the end are in the log, and later ones are counted as lost."""
    with (tmp_path / "log").open("wb") as sink:
        log = logged(*[outcome()] * 100, into=sink)
        log.write(outcome())
    assert (tmp_path / "log").read_bytes() == line(outcome()) * 100
    assert log.lost == 1


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    """ENOSPC is counted; no request hears of it."""
    with open("/dev/full", "wb", buffering=0) as full:
        assert logged(outcome(), outcome(), into=full).lost == 2


def test_a_closed_stream_loses_lines_and_nothing_else() -> None:
    """The same for a stream that someone closed."""
    stream = io.BytesIO()
    stream.close()
    assert logged(outcome(), into=stream).lost == 1


def test_after_a_torn_line_the_next_one_stands_alone() -> None:
    """A disk that fills in the middle of a line, then has room again, costs that line only."""
    disk = Filling(room=10)
    log = AccessLog(disk)  # type: ignore[arg-type]  # RawIOBase is a binary stream, typeshed has it otherwise
    log.write(outcome())
    while not log.lost:
        os.sched_yield()
    disk.room = 10_000
    log.write(outcome(bytes_in=7))
    log.close()
    assert disk.taken == line(outcome())[:10] + b"\n" + line(outcome(bytes_in=7))
    assert log.lost == 1


def test_a_reader_that_stands_still_never_holds_up_a_request() -> None:
    """With the pipe full, writing returns at once; what exceeds the queue is counted; closing gives up in time."""
    reading, writing = os.pipe()
    sink = open(writing, "wb", buffering=0)  # noqa: SIM115 - closed below, once the writer has been let go
    log = AccessLog(sink)
    for _ in range(QUEUE_LINES + 1000):
        log.write(outcome())
    assert log.lost > 0
    log.close(timeout=0.05)
    os.close(reading)  # the writer gets EPIPE for what is left, and ends
    log.close()
    sink.close()
    assert log.lost > QUEUE_LINES / 2


def test_workers_that_share_a_pipe_do_not_mix_their_lines() -> None:
    """Each write stays within what Linux puts into a pipe in one piece."""
    sizes = []

    class Sizes(io.BytesIO):
        def write(self, data: object) -> int:
            sizes.append(len(bytes(data)))  # type: ignore[call-overload]  # any buffer
            return sizes[-1]

    logged(*[outcome()] * 50, into=Sizes())
    assert sum(sizes) == 50 * len(line(outcome()))
    assert max(sizes) <= 4096
    assert len(sizes) < 50


def test_a_file_takes_many_lines_at_once(tmp_path: Path) -> None:
    """A file has no such limit, and each write costs the requests' own thread a turn."""
    sizes = []

    class Sizes(io.FileIO):
        def write(self, data: Any) -> int:
            sizes.append(len(data))
            return super().write(data)

    with Sizes(tmp_path / "log", "w") as sink:
        assert logged(*[outcome()] * 2000, into=sink).lost == 0
    assert (tmp_path / "log").read_bytes() == line(outcome()) * 2000
    assert 4096 < max(sizes) < 64 * 1024


@pytest.mark.parametrize(("operation", "word"), [("Warm", b"warm"), ("Shadow", b"shadow")])
def test_what_no_client_asked_for_has_a_line_of_its_own_kind(operation: str, word: bytes) -> None:
    """Who counts requests by their lines does not count it, and `pointsman why` finds it all the same."""
    own = outcome(operation=operation)
    assert b'"log":"%b"' % word in line(own)
    assert read(line(own)) == own
    assert b'"log":"request"' in line(outcome())
