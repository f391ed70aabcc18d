"""What clients of a rehearsal do with an error: nothing, or what botocore does by itself.

The figures are those of botocore 1.44.5 (`botocore/retries/standard.py`) and, for `legacy`, of its `_retry.json`: 500,
502, 503, 504, a broken connection and 60 seconds without a byte are tried again in both modes; 429 in legacy mode, and
in standard mode only with an error code that means throttling. Its quota of retries is left out: it belongs to one
client object, and a trace does not say how many there were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from backends.http.transport import Incoming, Outgoing, Transport, TransportError

LARGEST = 64 * 1024 * 1024
"""Bytes of an answer that are read at most."""
PATIENCE = 3600.0
"""Seconds that a client waits who never tries again: longer than any route."""
OK = 200
READ = 60.0
"""Seconds that botocore waits for a byte."""
LONGEST = 20.0
"""Seconds between two attempts at most, in standard mode."""
TOLD = 5.0
"""Seconds by which `x-amz-retry-after` makes a wait longer at most."""
_TRANSIENT = frozenset({500, 502, 503, 504})
_THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottledException",
        "RequestThrottled",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "SlowDown",
        "PriorRequestNotComplete",
        "EC2ThrottledException",
    }
)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after how long: a random part of `base` times two to the number of attempts but one."""

    attempts: int
    base: float
    """Seconds."""
    throttled: float
    """The same after throttling."""
    longest: float
    every_429: bool
    """Whether 429 is tried again whatever its code."""


MODES = {
    "none": Retries(1, 0.0, 0.0, 0.0, every_429=False),
    "standard": Retries(3, 0.05, 1.0, LONGEST, every_429=False),
    "legacy": Retries(5, 1.0, 1.0, float("inf"), every_429=True),
}


@dataclass(slots=True)
class Calls:
    """What callers saw, as against what the proxy served."""

    calls: int = 0
    again: int = 0
    """Attempts beyond the first."""
    saved: int = 0
    """Calls that were answered with 200 after an error."""
    failed: int = 0
    """Calls that were not answered with 200 in the end."""
    unanswered: int = 0
    """Of these, calls whose last attempt got no answer at all."""


async def call(transport: Transport, asked: Outgoing, retries: Retries, draw: Callable[[], float], seen: Calls) -> None:
    """One call with its attempts; `draw` gives a fresh random number in [0, 1)."""
    seen.calls += 1
    attempt = 1
    while True:
        status, code, told = await _attempt(transport, asked, READ if retries.attempts > 1 else PATIENCE)
        wait = _wait(retries, attempt, status, code, draw)
        if wait is None:
            break
        if told is not None:
            wait = max(wait, min(told, wait + TOLD))
        attempt += 1
        seen.again += 1
        await asyncio.sleep(wait)
    seen.saved += status == OK and attempt > 1
    seen.failed += status != OK
    seen.unanswered += status is None


def _wait(retries: Retries, attempt: int, status: int | None, code: str, draw: Callable[[], float]) -> float | None:
    """Seconds before the next attempt; None: there is none."""
    throttled = code in _THROTTLED or (status == 429 and retries.every_429)
    if attempt >= retries.attempts or not (status is None or status in _TRANSIENT or throttled):
        return None
    base = retries.throttled if throttled else retries.base
    return draw() * min(base * 2.0 ** (attempt - 1), retries.longest)


async def _attempt(transport: Transport, asked: Outgoing, patience: float) -> tuple[int | None, str, float | None]:
    """The status of a whole answer, None for none; its error code; the seconds after which it says to come back."""
    answer = await answered(transport, asked, patience)
    if answer is None:
        return None, "", None
    told = answer.header("x-amz-retry-after")
    code = (answer.header("x-amzn-errortype") or "").partition(":")[0]
    return answer.status, code, int(told) / 1000 if told is not None and told.isdecimal() else None


async def answered(transport: Transport, asked: Outgoing, patience: float = PATIENCE) -> Incoming | None:
    """The head of an answer that came whole within `patience` seconds; None for none."""
    deadline = asyncio.get_running_loop().time() + patience
    try:
        answer = await transport.send(asked, deadline=deadline, connect_timeout=5.0)
        try:
            await answer.read(LARGEST)
        finally:
            await answer.aclose()
    except TransportError:
        return None
    return answer
