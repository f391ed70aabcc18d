"""Ids of requests: in UUID form, as AWS's are, and cheap.

One process's ids begin with 72 random bits and count from a random number, so that they differ among processes and
restarts without a system call, or the objects of `uuid`, for each request.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

PREFIX_BITS, FIRST_BITS = 72, 47
"""Random bits that the ids of one process begin with, and of the number that it counts from."""


def request_ids(prefix: int, first: int) -> Callable[[], str]:
    """What makes ids, from two random numbers of that many bits."""
    digits = f"{prefix:018x}"
    begin = f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-"
    numbers = itertools.count(first)
    return lambda: f"{begin}{next(numbers):012x}"
