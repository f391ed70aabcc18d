"""What clients call the host that they ask: nothing goes by it, and only what two might read differently is refused."""

from __future__ import annotations

import pytest

from .test_edge import OPEN, POST, echo, listening, talk


@pytest.mark.parametrize(
    "host",
    [
        b"h",
        b"",
        b" h:8080 ",
        b"a-b.c_d.example.:1",
        b"127.0.0.1:9",
        b"[::1]:80",
        b"[fe80::1%25eth0]",
        b"h:",
        b"%41",
        b"outbound|8080||svc",
        b"a/b",
        b"\xc3\xa4",
        b"::1",
    ],
)
async def test_whatever_a_host_can_be_called_is_answered(host: bytes) -> None:
    """By name, by address, with or without a port; over one connection another time as another one."""
    async with listening(echo) as (port, _):
        request = OPEN.replace(b"Host: h", b"Host: " + host) + b"Content-Length: 0\r\n\r\n"
        answer = await talk(port, request * 2 + POST + b"Content-Length: 0\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_a_host_is_looked_at_with_each_request() -> None:
    """A good one before it on the same connection vouches for nothing."""
    async with listening(echo) as (port, _):
        bad = OPEN.replace(b"Host: h", b"Host: h h") + b"Content-Length: 0\r\n\r\n"
        answer = await talk(port, OPEN + b"Content-Length: 0\r\n\r\n" + bad)
    assert [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")] == [b"200", b"400"]
