"""Ids of requests: in UUID form, as AWS's are, and cheap.

One process's ids begin with 72 random bits and count from a random number, so that they differ among processes and
restarts without a system call, or the objects of `uuid`, for each request.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

PREFIX_BITS, FIRST_BITS = 72, 47
"""Random bits that the ids of one process begin with, and of the number that it counts from."""


_LAST = tuple(f"{number:02x}" for number in range(256))


def request_ids(prefix: int, first: int) -> Callable[[], str]:
    """What makes ids, from two random numbers of that many bits."""
    return _ids(prefix, first).__next__


def _ids(prefix: int, first: int) -> Iterator[str]:
    """Of 256 at a time all but the end is alike: to make one is then to put two pieces of text together."""
    digits = f"{prefix:018x}"
    begin = f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-"
    rest = _LAST[first % 256 :]
    for number in itertools.count(first // 256):
        alike = f"{begin}{number:010x}"
        for last in rest:
            yield alike + last
        rest = _LAST
