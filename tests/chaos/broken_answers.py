"""Faults of answers in one piece: connections that end, heads and bodies that are no HTTP, and errors of all sorts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from .faults import WHOLE, Fault, Refused, Served
from .upstream import Script, Wire, content_length, silence

LOST = Refused(424, "ModelError", 502)
LATE = Refused(424, "ModelError", 0)
FAILED = Refused(500, "InternalFailure")
AWAY = Refused(503, "ServiceUnavailable")
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)
HALF = GOOD[:-20]
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
HINTS = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"


def saying(*pieces: bytes, pause: float = 0.0, end: str = "keep") -> Script:
    """Read a request, send `pieces`, and end: `keep` serving, `close` or `reset`."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(*pieces, pause=pause)
            if end != "keep":
                break
        if end == "close":
            wire.close()
        else:
            wire.reset()

    return script


def bytewise(data: bytes) -> list[bytes]:
    """Each byte by itself."""
    return [data[index : index + 1] for index in range(len(data))]


def endless(first: bytes, piece: bytes) -> Script:
    """Send `first` and then `piece` for ever, as fast as it is taken."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(first)
        for _ in itertools.repeat(None):
            await wire.send(piece)

    return script


def saying_at_once(data: bytes) -> Script:
    """Send something to whatever comes, and close."""

    async def script(wire: Wire) -> None:
        await wire.read(1)
        await wire.send(data)
        wire.close()

    return script


async def reset_in_the_request(wire: Wire) -> None:
    await wire.head()
    await wire.read(1000)
    wire.reset()


async def stop_reading(wire: Wire) -> None:
    await wire.head()
    wire.pause()
    await wire.send(b"")
    await wire.hang()


async def answer_early(wire: Wire) -> None:
    while True:
        head = await wire.head()
        await wire.send(GOOD, pause=0.05)  # and only then read on
        await wire.read(content_length(head))


async def answer_early_and_reset(wire: Wire) -> None:
    await wire.head()
    await wire.send(GOOD)
    wire.reset()


async def refuse_early(wire: Wire) -> None:
    await wire.head()
    await wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    wire.close()


def fields(count: int) -> bytes:
    """Header fields."""
    return b"".join(b"X-Field-%d: v\r\n" % number for number in range(count))


def error(status: int, kind: str, more: bytes = b"", body: bytes = b'{"message": "no"}') -> bytes:
    """An error answer of AWS's."""
    head = b"HTTP/1.1 %d X\r\nx-amzn-ErrorType: %s\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, kind.encode(), len(body), more) + body


LONG = b'{"messages": [], "pad": "' + b"x" * 8_000_000 + b'"}'
"""A request that does not fit into the buffers between."""

HEALTHY = Fault("nothing wrong", Served(), saying(GOOD), target={"limit": {"min": 500}})
"""No fault, but where others go to when theirs is one."""
CONNECTIONS = (
    Fault("refused connection", AWAY, silence, asked=0, place="refuses"),
    Fault(
        "connection that is never made",
        AWAY,
        silence,
        asked=0,
        place="full",
        target={"connect_timeout": "300ms"},
    ),
    Fault("reset in the request", LOST, reset_in_the_request, body=LONG),
    Fault("closed before the answer", LOST, saying(end="close")),
    Fault("reset before the answer", LOST, saying(end="reset")),
    Fault("reset in the status line", LOST, saying(b"HTTP/1.1 20", end="reset")),
    Fault("reset in the head", LOST, saying(JSON, end="reset")),
    Fault("reset after the head", LOST, saying(JSON + b"Content-Length: 9\r\n\r\n", end="reset")),
    Fault("reset in the body", LOST, saying(HALF, end="reset")),
    Fault("half-open: accepts and never answers", LATE, saying(), brief=True),
    Fault("head that trickles", LATE, saying(*bytewise(GOOD), pause=0.02), brief=True),
    Fault("body that trickles", LATE, saying(CHUNKED, *[b"1\r\nx\r\n"] * 100, pause=0.05), brief=True),
    Fault("silence in the body", LATE, saying(HALF), target={"between_chunks": "300ms"}),
    Fault("stops reading the request", LATE, stop_reading, brief=True, body=LONG),
    Fault("answers before it has read the request", Served(), answer_early, body=LONG),
    Fault("refuses before it has read the request", Refused(413, "413"), refuse_early, body=LONG),
)

FRAMING = (
    Fault("Content-Length too long", LOST, saying(GOOD.replace(b": %d" % len(WHOLE), b": 999"), end="close")),
    Fault("Content-Length too short", Served(), saying(GOOD + b" and more"), plays=2),
    Fault("two Content-Lengths", LOST, saying(JSON + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
    Fault("Content-Length that is no number", LOST, saying(JSON + b"Content-Length: -1\r\n\r\n")),
    Fault(
        "both Content-Length and chunks",
        LOST,
        saying(JSON + b"Content-Length: 3\r\n" + CHUNKED[len(JSON) :] + b"0\r\n\r\n"),
    ),
    Fault("chunk size that is no number", LOST, saying(CHUNKED + b"zz\r\nab\r\n0\r\n\r\n")),
    Fault("chunk longer than its size", LOST, saying(CHUNKED + b"1\r\nabc\r\n0\r\n\r\n")),
    Fault("chunks without an end", LOST, saying(CHUNKED + b"3\r\nabc\r\n", end="close")),
    Fault("status line of garbage", LOST, saying(b"\x16\x03\x01 what is this\r\n\r\n")),
    Fault("HTTP/2 in answer to HTTP/1.1", LOST, saying(b"\0\0\x12\x04\0\0\0\0\0" + b"\0" * 18)),
    Fault("HTTP/0.9: a body without a head", LOST, saying(WHOLE, end="close")),
    Fault("HTTP/1.0 without a length", Served(), saying(b"HTTP/1.0 200 OK\r\n\r\n" + WHOLE, end="close")),
    Fault("interim answers first", Served(), saying(HINTS, GOOD), kept=1),
    Fault("interim answers without end", LOST, endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 50)),
    Fault("switches protocols", LOST, saying(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
    Fault("header field without end", LOST, endless(JSON + b"X-Long: ", b"x" * 10_000)),
    Fault("header fields without end", LOST, endless(JSON, fields(100))),
    Fault("trailer without end", LOST, endless(CHUNKED + b"2\r\nok\r\n0\r\nX-Long: ", b"x" * 10_000)),
    Fault("words about a chunk without end", LOST, endless(CHUNKED + b"2;x=", b"x" * 10_000)),
    Fault("too many header fields", LOST, saying(JSON + fields(300) + b"Content-Length: 2\r\n\r\n{}")),
    Fault("body without end", LOST, endless(CHUNKED, CHUNK)),
)

ERRORS = (
    Fault("burst of 500", FAILED, saying(error(500, "InternalFailure")), kept=1),
    Fault(
        "burst of 503",
        AWAY,
        saying(error(503, "ServiceUnavailable")),
        route={"retry": {"attempts": 3}},
        asked=3,
        kept=1,
    ),
    Fault(
        "error page of a load balancer",
        FAILED,
        saying(b"HTTP/1.1 502 X\r\nContent-Length: 6\r\n\r\n<html>"),
        kept=1,
    ),
    Fault(
        "model's own error",
        Refused(424, "ModelError", 500),
        saying(b"HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\noops"),
        kind="vllm",
        kept=1,
    ),
    Fault(
        "storm of 429 with Retry-After",
        Refused(429, "ThrottlingException", retry_after="30"),
        saying(error(429, "ThrottlingException", b"Retry-After: 30\r\n")),
        kept=1,
    ),
    Fault("error whose body is cut", FAILED, saying(error(500, "InternalFailure")[:-5], end="reset")),
    Fault(
        "error whose body never ends", FAILED, endless(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK)
    ),
    Fault(
        "error with a body of garbage",
        Refused(400, "ValidationError"),
        saying(error(400, "ValidationError", body=b"\xff\xfe{")),
        kept=1,
    ),
    Fault(
        "redirect",
        LOST,
        saying(b"HTTP/1.1 307 X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"),
        kept=1,
    ),
    Fault("expired credentials", FAILED, saying(error(403, "ExpiredTokenException")), asked=2, kept=1),
    Fault(
        "cold model",
        Refused(429, "ModelNotReadyException", in_time=True),
        saying(error(429, "ModelNotReadyException")),
        target={"speaks": "opaque"},
        kept=1,
    ),
)

TLS = (
    Fault("TLS: certificate expired", AWAY, saying(GOOD), certificate="expired", asked=0),
    Fault("TLS: certificate of another host", AWAY, saying(GOOD), certificate="other-host", asked=0),
    Fault("TLS: certificate that nobody vouches for", AWAY, saying(GOOD), certificate="self-signed", asked=0),
    Fault("TLS: cut in the body", LOST, saying(HALF, end="reset"), certificate="right"),
    Fault("TLS towards a plain port", AWAY, saying_at_once(b"HTTP/1.1 400 Bad\r\n\r\n"), scheme="https", asked=0),
    Fault(
        "TLS: a handshake that never ends", AWAY, silence, asked=0, target={"connect_timeout": "300ms"}, scheme="https"
    ),
    Fault("plain towards a TLS port", LOST, saying(GOOD), certificate="right", scheme="http", asked=0),
    Fault("name that does not resolve", AWAY, silence, asked=0, host="nowhere.invalid"),
)


async def talk_while_idle(wire: Wire) -> None:
    while True:
        await wire.request()
        await wire.send(GOOD, GOOD.replace(b"one", b"bad"), pause=0.02)


async def close_when_idle(wire: Wire) -> None:
    await wire.request()
    await wire.send(GOOD)
    wire.close()


ELSEWHERE = {"fallback": [HEALTHY.slug]}
POOL = (
    Fault("two answers to one request", Served(), saying(GOOD + GOOD.replace(b"one", b"bad")), plays=3),
    Fault("talks while its connection is idle", Served(), talk_while_idle, plays=3),
    Fault("closes an idle connection", Served(), close_when_idle, plays=3),
)
TARGETS = (
    Fault("down, with a fallback", Served(), silence, asked=0, place="refuses", route=ELSEWHERE),
    Fault("all targets down", AWAY, silence, asked=0, place="refuses", route={"fallback": [CONNECTIONS[0].slug]}),
    Fault("burst of 503, with a fallback", Served(), saying(error(503, "ServiceUnavailable")), route=ELSEWHERE, kept=1),
    Fault(
        "storm of 429, with a fallback",
        Served(),
        saying(error(429, "ThrottlingException")),
        route=ELSEWHERE,
        kept=1,
    ),
    Fault("lost answer, with a fallback", LOST, saying(end="reset"), route=ELSEWHERE),
    Fault(
        "lost answer, with a fallback, idempotent",
        Served(),
        saying(end="reset"),
        route={**ELSEWHERE, "idempotent": True},
    ),
    Fault(
        "never answers, with a fallback, idempotent",
        Served(),
        saying(),
        brief=True,
        route={**ELSEWHERE, "idempotent": True},
    ),
    Fault(
        "cold model, with a fallback",
        Served(),
        saying(error(429, "ModelNotReadyException")),
        route=ELSEWHERE,
        target={"speaks": "opaque"},
        kept=1,
    ),
)


def all_of_them() -> Iterator[Fault]:
    """Every fault of this file."""
    yield from itertools.chain(CONNECTIONS, FRAMING, ERRORS, TLS, POOL, TARGETS)
