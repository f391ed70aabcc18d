"""When a worker that ended is started again. Pure.

Exponential, with jitter over the upper half: workers that fell together do not come back in one instant, and one that
falls at each start costs the machine a start every half minute at most. A worker that had served for a while comes back
at once.
"""

from __future__ import annotations

from collections.abc import Callable

STEADY = 10.0
"""Seconds after which a worker counts as having served: what ends it then is no failure to start."""
FIRST = 0.2
"""Seconds before the second start in a row; doubled for each further one."""
LONGEST = 30.0
"""Seconds; no wait is longer."""


def falls_in_a_row(before: int, served: float) -> int:
    """How often a worker has now ended without having served for a while; 0 for one that had."""
    return 0 if served >= STEADY else before + 1


def wait_before_start(falls: int, draw: Callable[[], float]) -> float:
    """Seconds before the next start after so many falls in a row."""
    if falls == 0:
        return 0.0
    step = min(LONGEST, FIRST * 2.0 ** min(falls - 1, 30))
    return step * (0.5 + 0.5 * draw())
