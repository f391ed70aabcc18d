"""What a parser is to the fuzzer, and how one is fuzzed."""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from .cases import broken, twisted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parser:
    """What is fed, with what it may refuse."""

    name: str
    feed: Callable[[bytes], object]
    examples: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = ()
    json: bool = False
    """Half of the cases stay JSON, with other values."""


class _Loop:
    """All of a loop that readers need who never wait."""

    def time(self) -> float:
        return 0.0

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.Future(loop=cast("asyncio.AbstractEventLoop", self))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nobody awaits what fails here."""


LOOP = cast("asyncio.AbstractEventLoop", _Loop())


def text_of(data: bytes) -> str:
    """Bytes as a header's text."""
    return data.decode("utf-8", "surrogateescape")


def pick(options: Sequence[T], data: bytes) -> T:
    """One of several ways to read `data`, the same for the same bytes."""
    return options[zlib.crc32(data) % len(options)]


def pieces_of(data: bytes, size: int) -> list[bytes]:
    """`data` as it may arrive."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def fuzzed(parser: Parser, cases: int, seed: int, seconds: float = float("inf")) -> Counter[str]:
    """How often `parser` read, refused or (a finding, with the case) raised something else; at most for `seconds`."""
    draw, found, end = random.Random(seed), Counter[str](), time.monotonic() + seconds
    for number in range(cases):
        if number % 256 == 0 and time.monotonic() > end:
            break
        case = (twisted if parser.json and number % 2 else broken)(draw, parser.examples)
        try:
            parser.feed(case)
        except parser.refuses:
            found["refused"] += 1
        except Exception as error:
            found[f"{type(error).__name__} ({error}): {case.hex()}"] += 1
        else:
            found["read"] += 1
    return found


def findings(found: Counter[str]) -> list[str]:
    """What should not have happened."""
    return [each for each in found if ": " in each]
