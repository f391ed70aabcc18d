"""The types that a policy's blocks are made of."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from policies.scalars import Duration, Region, Share, Size, TargetName, Url, Word


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration, "1h30m", 5400.0),
        (Size, "25MiB", 25 * 1024**2),
        (Share, "0.5%", 0.005),
        (Word, "customer code", "customer code"),
        (TargetName, "apexguru-gpu.2", "apexguru-gpu.2"),
        (Region, "us-east-1", "us-east-1"),
        (Url, "http://127.0.0.1:9080", "http://127.0.0.1:9080"),
    ],
)
def test_what_is_written_is_read(kind: Any, text: str, value: object) -> None:
    """Each type gives its value in the unit that its name promises."""
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (Duration, 60, "must be a duration with its unit, such as 60s"),
        (Duration, "0s", "greater than 0"),
        (Duration, "60", "60"),
        (Share, "10", "10"),
        (Word, " x", "pattern"),
        (Word, "ü", "pattern"),
        (TargetName, "-x", "pattern"),
        (Url, "ftp://a", "http"),
    ],
)
def test_what_is_not_meant_is_refused(kind: Any, text: object, said: str) -> None:
    """Nothing is guessed: a number without its unit, a name that could not be a label."""
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(kind).validate_python(text)
