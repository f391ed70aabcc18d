"""What a check is, and how it says what it found.

A check is a function that asks the server and returns when the contract holds. Everything else is said by raising:
`Violation` (it does not hold), `Unverifiable` (what came is allowed, but shows nothing) or `Skipped` (there was
nothing to ask, or another check has failed and says why).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .probe import Probe
from .wire import Exchange


class Result(enum.Enum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNVERIFIABLE = "unverifiable"


class Violation(Exception):
    """The server does not keep the contract; the message says in which way."""


class Unverifiable(Exception):
    """The answer is allowed, but does not show what the check is about."""


class Skipped(Exception):
    """There is nothing to check; the message says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One sentence of the contract, and how to see whether it holds."""

    name: str
    says: str
    """The sentence."""
    source: str
    """Where it is written, or how it was measured."""
    run: Callable[[Probe], Awaitable[None]]
    advice: bool = False
    """Not promised by AWS, but widely used clients lose something without it: a failure does not fail the run."""


def expect(holds: object, otherwise: str) -> None:
    """Raises Violation with `otherwise` unless `holds`."""
    if not holds:
        raise Violation(otherwise)


def error_type(exchange: Exchange) -> str | None:
    """The error's name: the header's up to a colon, else what the body says in one of the ways SDKs know."""
    named = exchange.header("x-amzn-errortype")
    if named:
        return named.split(":")[0]
    document = json_object(exchange)
    for key in ("__type", "code"):
        if isinstance(value := document.get(key), str):
            return value.rpartition("#")[2]
    return None


def error_text(exchange: Exchange) -> str:
    """The message of an error, capital or not."""
    document = json_object(exchange)
    text = document.get("Message", document.get("message"))
    return text if isinstance(text, str) else ""


def json_object(exchange: Exchange) -> dict[str, object]:
    """The body as a JSON object; empty when it is none."""
    try:
        document = json.loads(exchange.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def shown(exchange: Exchange) -> str:
    """An answer in a few words, without its body."""
    return f"{exchange.status} {error_type(exchange) or ''}".rstrip()


def expect_refusal(exchange: Exchange, status: int = 400, kind: str = "ValidationError") -> None:
    """Raises Violation unless the answer is that error; Unverifiable where the caller may not ask at all."""
    if exchange.status in (401, 403):
        message = f"the caller is not allowed to ask ({shown(exchange)})"
        raise Unverifiable(message)
    expect(
        exchange.status == status and error_type(exchange) == kind,
        f"{status} {kind} is due, and {shown(exchange)} came",
    )


def expect_answer(exchange: Exchange) -> None:
    """Raises Violation unless the answer is a whole 200."""
    expect(exchange.status == 200, f"200 is due, and {shown(exchange)} came")
    expect(exchange.whole, "the body broke off before its end")


async def happy(probe: Probe) -> Exchange:
    """A plain answer on the blocking URL, asked for once a run. Raises Skipped when there is none."""
    return _usable(await probe.once("unary"), "unary-answers")


async def happy_stream(probe: Probe) -> Exchange:
    """A streamed answer on the streaming URL, asked for once a run. Raises Skipped when there is none."""
    return _usable(await probe.once("stream", stream=True, body=probe.subject.sample.to_stream), "stream-answers")


def _usable(exchange: Exchange, elsewhere: str) -> Exchange:
    if exchange.status != 200:
        message = f"there is no answer to look at; see {elsewhere}"
        raise Skipped(message)
    return exchange
