"""A copy's life and bill, counted tick by tick and written apart from `warmers.residency`, to hold that against.

Slow and plain on purpose: each tick asks whether the copy is there, and the bill is worked out afterwards from the list
of successful calls. Everything is in ticks of `TICK` seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from warmers.residency import Tally

TICK = 5
"""Seconds: the grain of arrivals."""
WINDOW = 300 // TICK


def played(
    requests: Sequence[int],
    span: int,
    begin: int,
    *,
    limit: int,
    restore: int,
    interval: int | None,
    on_duty: Callable[[int], bool],
) -> Tally:
    """A trace of `span` ticks that repeats itself, from the tick `begin` (below 0) on; counted is what lies in it.

    `requests` has the ticks of its requests, one each; `on_duty` says of a tick in the trace whether pings are sent.
    """
    wanted = set(requests)
    used: int | None = None
    awake: int | None = None
    calls: list[tuple[int, bool]] = []  # successful ones, and whether the copy had just been loaded for them
    cold = pings = cold_pings = 0
    for now in range(begin, span):
        if awake == now:
            calls.append((now, True))
            used, awake = now, None
        asked = [False] if now % span in wanted else []
        for is_ping in (*asked, True):
            if is_ping and (interval is None or not on_duty(now % span) or awake is not None):
                continue
            if is_ping and used is not None and now - used < interval:  # type: ignore[operator] # None was left above
                continue
            there = awake is None and used is not None and now - used < limit
            if there:
                calls.append((now, False))
                used = now
            elif awake is None:
                awake = now + restore
                if not restore:
                    calls.append((now, True))
                    used, awake = now, None
            if now >= 0:
                pings += is_ping
                cold += not there and not is_ping
                cold_pings += not there and is_ping
    opened = [moment for moment in billed(calls) if 0 <= moment < span]
    return Tally(len(opened), len(requests), cold, pings, cold_pings)


def billed(calls: Sequence[tuple[int, bool]]) -> list[int]:
    """The calls that open a window of their own.

    Windows of one stay in memory lie side by side, the first from its first call on. A copy that was lost and loaded
    again within a window that is paid goes on with that window, and those beside it.
    """
    found: list[int] = []
    first, window = 0, -1
    for moment, loaded in calls:
        if not found or (loaded and moment >= first + (window + 1) * WINDOW):
            first, window = moment, 0
        elif (number := (moment - first) // WINDOW) > window:
            window = number
        else:
            continue
        found.append(moment)
    return found
