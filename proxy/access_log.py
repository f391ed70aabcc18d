"""The request log, written aside from the request's own path.

`AccessLog` hands lines (log_forms.py) to one thread, so that a slow disk or a full pipe never holds up the event loop.
Its queue is bounded: what does not fit, and what the stream refuses (disk full), is counted in `lost` and dropped.
"""

from __future__ import annotations

import os
import stat
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate
from typing import BinaryIO, Final, Protocol

from backends.outcome import Note, Outcome

from .log_forms import Lines

QUEUE_LINES: Final = 10_000
"""Lines waiting for the stream, about 6 MB: several seconds at the highest rate one process serves."""
BATCH: Final = 32
"""Outcomes of which lines are made at once where requests come fast: one made right after each request finds its code
and data gone from the processor's caches, and took 16 us on the path of which this takes 5."""
_PIPE_BUF: Final = 4096
"""Linux writes up to this many bytes to a pipe in one piece (pipe(7)): workers sharing one stderr don't mix lines."""
_FILE_BUF: Final = 64 * 1024
"""The same of a file that is appended to, which takes any number at once. Each write lets go of the interpreter's lock
and waits for it again, so fewer and longer ones keep out of the requests' way."""
_LINGER: Final = 0.05
"""Seconds the writer waits for more lines before it writes again: one wake-up for many requests."""


class RequestLog(Protocol):
    """What is told of every request, once."""

    @property
    def lost(self) -> int:
        """Lines that could not be written since the start."""
        ...

    def write(self, outcome: Outcome | Note) -> None:
        """A request is over. Never waits and never raises."""
        ...

    def close(self, timeout: float = 2.0) -> None:
        """No more will come."""
        ...


class AccessLog:
    """Lines on their way to a stream. Whoever made it closes it; lines of the last moments are written then."""

    def __init__(self, stream: BinaryIO, renewed: Callable[[], BinaryIO] | None = None) -> None:
        """`renewed`: asked, by the log's own thread, where the next lines go."""
        self._stream = stream
        self._renewed = renewed
        self._most = _FILE_BUF if _is_file(stream) else _PIPE_BUF
        self._fresh: deque[Outcome | Note] = deque()
        self._waiting: deque[list[bytes]] = deque()
        self._lines = Lines()
        self._formatting = threading.Lock()
        self._called = False
        """The writer was woken for what is fresh."""
        self._over = False
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._made = 0  # lines, by whoever formats
        self._done = 0  # of these, by the writer
        self._late = 0  # counted by the caller's thread
        self._refused = 0  # counted by whoever formats
        self._failed = 0  # counted by the writer's
        self._torn = False
        self._thread = threading.Thread(target=self._run, name="pointsman-request-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that could not be written since the start."""
        return self._late + self._refused + self._failed

    def write(self, outcome: Outcome | Note) -> None:
        """Put one line into the queue. Never waits and never raises for the stream's sake."""
        if self._over:
            self._late += 1
            return
        fresh = self._fresh
        fresh.append(outcome)
        if len(fresh) >= BATCH:
            self._format(wait=False)
        if not self._called:
            self._called = True
            self._wake.set()

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most `timeout` seconds, and stop. The stream stays open: it is the caller's."""
        self._over = True
        self._closed.set()
        self._wake.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._called = False  # after the event: what comes from here on calls again, what came before is drained
            closing = self._closed.is_set()
            self._drain()
            if closing:
                return
            self._closed.wait(_LINGER)

    def _format(self, *, wait: bool) -> None:
        """Make lines of what is there. Both threads do, one at a time so that lines keep their order; the caller's does
        not `wait` for the writer's, which takes what is left."""
        if not self._formatting.acquire(blocking=wait):
            return
        try:
            fresh: list[Outcome | Note] = []
            with suppress(IndexError):
                while True:
                    fresh.append(self._fresh.popleft())
            if self._made - self._done >= QUEUE_LINES:
                self._refused += len(fresh)
            else:
                self._waiting.append(self._lines.of(fresh))
                self._made += len(fresh)
        finally:
            self._formatting.release()

    def _drain(self) -> None:
        self._format(wait=True)
        if self._renewed is not None:
            before, self._stream = self._stream, self._renewed()
            self._torn = self._torn and before is self._stream  # in another file no line is to be ended
        lines: list[bytes] = []
        while self._waiting:
            lines += self._waiting.popleft()
        for batch in batches(lines, self._most):
            self._failed += self._put(batch)
            self._done += len(batch)

    def _put(self, batch: list[bytes]) -> int:
        """How many of the lines are lost: those that the stream did not take whole."""
        # After a failure part of a line may stand there: end it, so that the next line is whole again.
        ended = b"\n" * self._torn
        left = memoryview(ended + b"".join(batch))
        size = len(left)
        try:
            while left:
                written = self._stream.write(left)
                if not written:  # a raw non-blocking stream that takes nothing now
                    raise BlockingIOError
                left = left[written:]
            self._stream.flush()
        except (OSError, ValueError):  # disk full, reader gone; ValueError: the stream was closed
            self._torn = True
            taken = size - len(left) - len(ended) if left else 0  # what a buffer could not pass on is gone
            return sum(end > taken for end in accumulate(map(len, batch)))
        self._torn = False
        return 0


def batches(lines: list[bytes], most: int) -> Iterator[list[bytes]]:
    """`lines` in turn, as many together as are less than `most` bytes, and a longer one by itself."""
    before = list(accumulate(map(len, lines), initial=0))
    begin = 0
    while begin < len(lines):
        end = max(begin + 1, bisect_left(before, before[begin] + most) - 1)
        yield lines[begin:end]
        begin = end


def _is_file(stream: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # no descriptor, or not any more
        return False
