"""Checks of the connection: kept, closed, pipelined, and what clients do with it before they send a body."""

from __future__ import annotations

from .checks import Check, Skipped, Unverifiable, Violation, expect, expect_answer, happy
from .probe import Probe
from .wire import NoAnswer, connected

HTTP = "RFC 9112"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""How an HTTP/2 client with prior knowledge begins: the preface and empty SETTINGS (RFC 9113, section 3.4)."""
CLOSE_SECONDS = 5.0
PIECES = 7


def _plain(probe: Probe, *more: tuple[str, str]) -> bytes:
    subject = probe.subject
    return probe.request(subject.sample.plain, subject.path(), probe.usual(False, more))


async def _keep_alive(probe: Probe) -> None:
    await happy(probe)
    async with connected(probe.subject.origin, probe.subject.seconds) as connection:
        for number in (1, 2):
            await connection.send(_plain(probe))
            exchange = probe.note(await connection.read())
            expect_answer(exchange)
            if number == 1 and (exchange.header("connection") or "").lower() == "close":
                message = "the server said that it closes"
                raise Unverifiable(message)


async def _after_error(probe: Probe) -> None:
    await happy(probe)
    subject = probe.subject
    async with connected(subject.origin, subject.seconds) as connection:
        await connection.send(
            probe.request(subject.sample.plain, subject.path(endpoint="-conformance-"), probe.usual(False))
        )
        refused = probe.note(await connection.read())
        if (refused.header("connection") or "").lower() == "close":
            message = "the server said that it closes"
            raise Unverifiable(message)
        await connection.send(_plain(probe))
        expect_answer(probe.note(await connection.read()))


async def _close(probe: Probe) -> None:
    await happy(probe)
    async with connected(probe.subject.origin, probe.subject.seconds) as connection:
        await connection.send(_plain(probe, ("Connection", "close")))
        expect_answer(probe.note(await connection.read()))
        expect(await connection.rest() == b"", "something came behind the answer")


async def _pipelined(probe: Probe) -> None:
    await happy(probe)
    async with connected(probe.subject.origin, probe.subject.seconds) as connection:
        await connection.send(_plain(probe) * 2)
        for _ in (1, 2):
            expect_answer(probe.note(await connection.read()))


async def _pieces(probe: Probe) -> None:
    await happy(probe)
    data = _plain(probe)
    size = max(1, len(data) // PIECES)
    async with connected(probe.subject.origin, probe.subject.seconds) as connection:
        for at in range(0, len(data), size):
            await connection.send(data[at : at + size])
        expect_answer(probe.note(await connection.read()))


async def _expect_continue(probe: Probe) -> None:
    await happy(probe)
    data = _plain(probe, ("Expect", "100-continue"))
    head, end, body = data.partition(b"\r\n\r\n")
    async with connected(probe.subject.origin, probe.subject.seconds) as connection:
        await connection.send(head + end)
        try:
            status = await connection.read_interim()
        except NoAnswer as error:
            message = f"the server did not say whether the body may come: {error}"
            raise Violation(message) from error
        expect(status == 100, f"100 is due, and {status} came")
        await connection.send(body)
        expect_answer(probe.note(await connection.read()))


async def _chunked(probe: Probe) -> None:
    await happy(probe)
    subject, body = probe.subject, probe.subject.sample.plain
    head = probe.request(body, subject.path(), probe.usual(False), framing=("Transfer-Encoding", "chunked"))
    middle = len(body) // 2
    chunks = b"".join(f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in (body[:middle], body[middle:]) if each)
    async with connected(subject.origin, subject.seconds) as connection:
        await connection.send(head + chunks + b"0\r\n\r\n")
        expect_answer(probe.note(await connection.read()))


async def _http2(probe: Probe) -> None:
    if probe.subject.origin.encrypted:
        message = "only over http://, for TLS agrees on the version before"
        raise Skipped(message)
    try:
        async with connected(probe.subject.origin, CLOSE_SECONDS) as connection:
            await connection.send(PREFACE)
            await connection.rest()
    except NoAnswer as error:
        message = f"no clean close: {error}"
        raise Violation(message) from error


CONNECTIONS = (
    Check("keep-alive", "A connection carries one request after the other.", f"{HTTP}, section 9.3", _keep_alive),
    Check("keep-alive-after-error", "A refusal leaves the connection usable.", f"{HTTP}, section 9.3", _after_error),
    Check("connection-close", "Connection: close is obeyed, after the whole answer.", f"{HTTP}, section 9.6", _close),
    Check("pipelined", "Requests sent ahead are answered in order.", f"{HTTP}, section 9.3.2", _pipelined, advice=True),
    Check("pieces", "A request may arrive in any pieces.", f"{HTTP}, section 2.2", _pieces),
    Check(
        "expect-continue",
        "Expect: 100-continue gets its 100 before the body is sent.",
        "RFC 9110, section 10.1.1",
        _expect_continue,
    ),
    Check("chunked-body", "A body may come in chunks.", f"{HTTP}, section 7.1", _chunked, advice=True),
    Check(
        "http2-preface",
        f"A client that begins with HTTP/2 over http:// is closed cleanly within {CLOSE_SECONDS:g} s.",
        "RFC 9113, section 3.4; the JavaScript SDK's Bedrock client begins so, measured",
        _http2,
    ),
)
"""In the order of the report."""
