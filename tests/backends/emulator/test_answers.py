"""Requests as values."""

from __future__ import annotations

from backends.emulator.answers import Received


def received(target: str) -> Received:
    return Received(1, "r", "POST", target, (("X-A", "1"), ("x-a", "2")), b"", 0)


def test_path_is_raw_and_without_the_query() -> None:
    """Routing must see the path as it was sent and signed, never a decoded one."""
    assert received("/endpoints/a%2Fb/invocations?x=%20").path == "/endpoints/a%2Fb/invocations"


def test_header_is_found_in_any_case_and_the_first_wins() -> None:
    """Clients send header names in any case."""
    assert received("/").header("x-A") == "1"
    assert received("/").header("X-B") is None
