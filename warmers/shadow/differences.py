"""Differences that a policy wants kept: two lines for each, in SageMaker's form of captured data, redacted and capped.

One line has what the client was answered, the other what the candidate answered; both have the same request and
`inferenceId`. They are written by one thread of our own, so that a slow disk holds up nobody, into a file of this
process; what the thread has no time for, and what would go beyond the policy's limit, is counted and dropped. Nothing
is written that did not go through the policy's redaction, and custom attributes never are.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backends.wire.capture import Capture, Payload, read_capture, write_capture

from .shadows import Difference

log = logging.getLogger("pointsman.shadow")

PENDING = 16
"""Differences that may wait for the disk."""
LONGEST_LINE = 16 * 1024**2
"""Bytes of a line that is read back."""
_SAFE = re.compile(r"[^A-Za-z0-9._-]")

Side = Literal["old", "new"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A difference, read back."""

    old: Capture
    new: Capture

    @property
    def told(self) -> dict[str, Any]:
        """What was said of it: migration, route, targets, scores and parts."""
        return dict(self.new.own)


class Differences:
    """The differences that one process keeps, made inside its loop."""

    def __init__(self, worker: str, new_id: Callable[[], str], count: Callable[[str, str], None]) -> None:
        """`worker` is a name that no other process has.

        `count` hears of each, on the loop: the route's key, and `kept`, `full`, `late` or `failed`.
        """
        self._worker = _SAFE.sub("-", worker)
        self._new_id = new_id
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pointsman-differences")
        self._places = threading.BoundedSemaphore(PENDING)

    def keep(self, difference: Difference) -> None:
        """Have it written. Never waits, and never raises for the disk's sake."""
        if not self._places.acquire(blocking=False):
            self._count(difference.route.key, "late")
            return
        self._thread.submit(self._write, difference, (self._new_id(), self._new_id()))

    def close(self) -> None:
        """Write what waits, and stop."""
        self._thread.shutdown(wait=True)

    def _write(self, difference: Difference, ids: tuple[str, str]) -> None:
        try:
            result = self._written(difference, ids)
        except OSError as error:
            log.warning("a difference of %s can't be kept: %s", difference.plan.migration, error.strerror)
            result = "failed"
        except Exception:
            log.exception("a difference of %s can't be kept", difference.plan.migration)
            result = "failed"
        self._places.release()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody counts any more
            self._loop.call_soon_threadsafe(self._count, difference.route.key, result)

    def _written(self, difference: Difference, ids: tuple[str, str]) -> str:
        keep = difference.plan.keep
        assert keep is not None  # noqa: S101 - nothing comes here otherwise
        lines = b"".join(write_capture(one) for one in captures(difference, ids))
        folder = Path(keep.folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stem = stem_of(difference.plan.migration)
        if sum(file.stat().st_size for file in folder.glob(f"{stem}.*.jsonl")) + len(lines) > keep.most:
            return "full"
        path = folder / f"{stem}.{self._worker}.jsonl"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(lines)
        return "kept"


def captures(difference: Difference, ids: tuple[str, str]) -> tuple[Capture, Capture]:
    """The client's line and the candidate's, with these event ids."""
    return _capture(difference, "old", ids[0]), _capture(difference, "new", ids[1])


def _capture(difference: Difference, side: Side, event_id: str) -> Capture:
    plan, call, comparison = difference.plan, difference.call, difference.comparison
    assert plan.keep is not None  # noqa: S101 - nothing comes here otherwise
    heard, target = (difference.old, plan.old) if side == "old" else (difference.new, plan.new)
    body = plan.keep.redaction.body
    own = {
        "migration": plan.migration,
        "route": difference.route.key,
        "side": side,
        "target": target.name,
        "speaks": call.speaks,
        "status": heard.status,
        "error": heard.error,
        "broken": heard.broken,
        "score": round(comparison.score, 4),
        "floor": round(difference.floor.score, 4),
        "parts": {name: round(value, 4) for name, value in comparison.parts.items()},
    }
    return Capture(
        event_id,
        call.invocation.request_id,
        difference.at,
        Payload(call.content_type, body(call.body)),
        Payload(heard.content_type, body(heard.body)),
        own,
    )


def stem_of(migration: str) -> str:
    """The beginning of a migration's file names: readable, and no other migration's."""
    return f"{_SAFE.sub('-', migration)}-{hashlib.sha256(migration.encode()).hexdigest()[:6]}"


def read_differences(folder: Path, migration: str) -> Iterator[Kept]:
    """The differences of a migration in a folder, a file after the other, each in its order. Raises OSError."""
    for path in sorted(folder.glob(f"{stem_of(migration)}.*.jsonl")):
        waiting: dict[str, Capture] = {}
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                capture = read_capture(line)
                if capture is None or capture.own.get("migration") != migration:
                    continue
                old = waiting.pop(capture.inference_id, None)
                if old is not None and capture.own.get("side") == "new":
                    yield Kept(old, capture)
                elif capture.own.get("side") == "old":
                    waiting = {capture.inference_id: capture}
