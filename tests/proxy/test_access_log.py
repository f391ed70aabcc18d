"""The request log: a stream that fails or blocks."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.outcome import Outcome
from proxy.access_log import QUEUE_LINES, AccessLog, batches
from proxy.log_lines import line
from tests.outcomes import outcome


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


def test_of_a_batch_what_the_disk_took_whole_is_not_lost() -> None:
    """Lines are written many at a time: a disk that fills between two of them has lost those behind alone."""
    disk = Filling(room=2 * len(line(outcome())) + 10)
    log = logged(*[outcome()] * 20, into=disk)  # type: ignore[arg-type]  # as below
    assert disk.taken.count(b"\n") == 2
    assert log.lost == 18


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


def test_a_torn_line_is_not_ended_in_the_next_file() -> None:
    """A log that was moved away from a full disk begins with a line, and not with the end of one."""
    full, fresh = Filling(room=10), Filling(room=10_000)
    now = [full]
    log = AccessLog(full, lambda: now[0])  # type: ignore[arg-type, return-value]  # as above
    log.write(outcome(bytes_in=1))
    while not log.lost:
        os.sched_yield()
    now[0] = fresh
    log.write(outcome(bytes_in=2))
    log.close()
    assert fresh.taken == line(outcome(bytes_in=2))


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


@given(st.lists(st.binary(min_size=1, max_size=12), max_size=20), st.integers(2, 20))
@settings(max_examples=100)
def test_batches_are_as_large_as_one_write_may_be(lines: list[bytes], most: int) -> None:
    """All lines in their order, each batch less than the most unless it is one line, and none that could be larger."""
    found = list(batches(lines, most))
    assert [line for batch in found for line in batch] == lines
    sizes = [sum(map(len, batch)) for batch in found]
    assert all(size < most or len(batch) == 1 for size, batch in zip(sizes, found, strict=True))
    assert all(size + len(after[0]) >= most for size, after in zip(sizes, found[1:], strict=False))
