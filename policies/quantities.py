"""Durations and sizes as people write them, and the ranges of them.

A number without a unit is refused: `timeout: 60` is read as seconds by one person and as milliseconds by the next.
Each function raises ValueError with a message that shows the right way to write the value.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,6})?"
DURATION_PATTERN = rf"^({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s)?({_NUMBER}ms)?$"
HOLD_PATTERN = rf"^({_NUMBER}d)?({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s)?({_NUMBER}ms)?$"
KEPT_PATTERN = rf"^({_NUMBER}d)?({_NUMBER}h)? after 100%$"
BUDGET_PATTERN = r"^[0-9]{1,7}(\.[0-9]{1,2})? USD/day$"
IDLE_PATTERN = f"^measured$|{DURATION_PATTERN}"
SILENCE_PATTERN = f"^p[5-9][0-9]$|{DURATION_PATTERN}"
SIZE_PATTERN = r"^[0-9]{1,12}(B|KB|KiB|MB|MiB|GB|GiB)$"
RATE_PATTERN = r"^[1-9][0-9]{0,8}[kM]?/(s|min|h)$"
SHARE_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,4})?%$"
RANGE_PATTERN = r"^[0-9.hms]+\.\.[0-9.hms]+$"

_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|d|h|m|s)")
_SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {"B": 1, "KB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}


def seconds(text: str) -> float:
    """Seconds of a duration such as `60s`, `8m`, `1h30m` or `500ms`; larger units first, each at most once."""
    if not text or re.fullmatch(DURATION_PATTERN[1:-1], text) is None:
        msg = "is not a duration; write it like 60s, 8m, 1h30m or 500ms"
        raise ValueError(msg)
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def hold(text: str) -> float:
    """Seconds of a duration that may be days: `24h`, `3d` or `1d12h`; at most 90 days."""
    if not text or re.fullmatch(HOLD_PATTERN[1:-1], text) is None:
        msg = "is not a duration; write it like 4h, 3d or 1d12h"
        raise ValueError(msg)
    value = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if value > 90 * 86_400:
        msg = "is more than 90d"
        raise ValueError(msg)
    return value


def kept(text: str) -> float:
    """Seconds of `14d after 100%`."""
    if re.fullmatch(KEPT_PATTERN[1:-1], text) is None or text.startswith(" "):
        msg = "does not say how long; write it like 14d after 100%"
        raise ValueError(msg)
    return hold(text.removesuffix(" after 100%"))


def budget(text: str) -> float:
    """US dollars a day of `40 USD/day`."""
    if re.fullmatch(BUDGET_PATTERN[1:-1], text) is None:
        msg = "is not a budget; write it like 40 USD/day"
        raise ValueError(msg)
    return float(text.split()[0])


def idle_limit(text: str) -> float | None:
    """Seconds of a duration of at most a day, or None for `measured`."""
    if text == "measured":
        return None
    value = seconds(text)
    if not 0 < value <= 86_400:
        msg = "must be more than nothing and at most 24h, or the word measured"
        raise ValueError(msg)
    return value


def silence(text: str) -> tuple[float, int | None]:
    """How long is long for an answer: seconds of `500ms`, or 0 and the percentile of `p95`, which is from 50 to 99."""
    if re.fullmatch(r"p[5-9][0-9]", text):
        return 0.0, int(text[1:])
    written = text and re.fullmatch(DURATION_PATTERN[1:-1], text) is not None
    if not written or not 0 < (value := seconds(text)) <= 86_400:
        msg = "is neither a duration nor a percentile; write it like 500ms, at most 24h, or p95, from p50 to p99"
        raise ValueError(msg)
    return value, None


def size(text: str) -> int:
    """Bytes of a size such as `25MiB` (2^20) or `25MB` (10^6)."""
    if re.fullmatch(SIZE_PATTERN[1:-1], text) is None:
        msg = "is not a size; write it like 25MiB (1,048,576 bytes each) or 25MB (1,000,000 each)"
        raise ValueError(msg)
    digits = text.rstrip("BKMGi")
    return int(digits) * _BYTES[text[len(digits) :]]


def share(text: str) -> float:
    """A fraction of 1 from a percentage such as `10%` or `0.5%`, at most 100%."""
    if re.fullmatch(SHARE_PATTERN[1:-1], text) is None or float(text[:-1]) > 100:
        msg = "is not a share; write it like 10%, at most 100%"
        raise ValueError(msg)
    return float(text[:-1]) / 100


def rate(text: str) -> tuple[float, float]:
    """How many, and in how many seconds, of a rate such as `50/s`, `100k/min` or `2M/h`."""
    if re.fullmatch(RATE_PATTERN[1:-1], text) is None:
        msg = "is not a rate; write it like 50/s, 100k/min or 2M/h"
        raise ValueError(msg)
    count, _, period = text.partition("/")
    digits = count.rstrip("kM")
    return int(digits) * {"": 1.0, "k": 1e3, "M": 1e6}[count[len(digits) :]], {"s": 1.0, "min": 60.0, "h": 3600.0}[
        period
    ]


def duration_range(text: str) -> tuple[float, float]:
    """Shortest and longest of `60s..5m`, in seconds."""
    low, dots, high = text.partition("..")
    if not dots:
        msg = "is not a range of durations; write it like 60s..5m"
        raise ValueError(msg)
    shortest, longest = seconds(low), seconds(high)
    if shortest > longest:
        msg = f"runs backwards; write it as {high}..{low}"
        raise ValueError(msg)
    return shortest, longest


def show_seconds(value: float) -> str:
    """A duration in the shortest form that `seconds` reads back, for messages: 90.0 is `1m30s`."""
    milliseconds = round(value * 1000)
    text = ""
    for unit, length in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, length)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def show_moment(at: float) -> str:
    """A moment, in seconds since 1970, for messages: `2026-11-21 08:31:47 UTC`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def show_share(value: float) -> str:
    """A share in the shortest form that `share` reads back, for messages: 0.05 is `5%`."""
    return f"{round(value * 100, 4):.6g}%"
