"""A small share of `make fuzz` for every run of the tests: the same cases each time, since the seed is fixed."""

from __future__ import annotations

import random

import pytest

from .cases import broken
from .parser import Parser, findings, fuzzed
from .parsers import PARSERS
from .sockets import storm


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_parser_reads_or_refuses(parser: Parser) -> None:
    """Whatever the bytes: no other exception, so no 500 and no dead task."""
    assert findings(fuzzed(parser, 200, seed=7)) == []


def test_a_finding_would_be_seen() -> None:
    """A parser that raises anything else is reported with the case that does it."""

    def fragile(data: bytes) -> None:
        data.decode("ascii")

    found = findings(fuzzed(Parser("fragile", fragile, (b"hello",)), 400, seed=7))
    assert found
    assert found[0].startswith("UnicodeDecodeError (")


async def test_hostile_bytes_get_a_4xx_or_a_closed_connection() -> None:
    """Never a 5xx, never a hang; some are whole requests and get their answer."""
    found = await storm(300, seed=7)
    assert findings(found) == []
    assert found["400"] > 0
    assert found["200"] > 0


def test_the_same_seed_gives_the_same_cases() -> None:
    """A finding can be looked at again."""
    one, two = (broken(random.Random(5), (b"abc", b"def")) for _ in range(2))
    assert one == two
