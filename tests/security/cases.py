"""Hostile inputs from a seed: whole examples, broken in the ways in which bytes break."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

SPICE = (
    b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\xc3\x28", b" ", b"\t", b":", b"/", b"%", b"%00", b"%2f", b"..",
    b"?", b"#", b"=", b"&", b",", b";", b'"', b"\\", b"{", b"}", b"[", b"]", b"-1", b"0",
    b"99999999999999999999", b"1e999", b"NaN", b"null", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"chunked",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"0\r\n\r\n", b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"Host: x\r\n", b"\x00\x00\x00\x10", b"a" * 300, b"a" * 20_000,
)  # fmt: skip
"""What breaks parsers: separators, other encodings, numbers beyond numbers, framing, too much of everything."""


def broken(draw: random.Random, examples: Sequence[bytes]) -> bytes:
    """One of the examples with one to six changes; one in sixteen is noise instead."""
    if draw.random() < 1 / 16:
        return draw.randbytes(draw.randrange(200))
    text = bytearray(draw.choice(examples))
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(text) + 1)
        match draw.randrange(6):
            case 0:
                text[at : at + draw.randint(1, 8)] = b""
            case 1:
                text[at:at] = draw.choice(SPICE)
            case 2 if text:
                text[min(at, len(text) - 1)] ^= 1 << draw.randrange(8)
            case 3:
                text[at:at] = text[at : at + draw.randint(1, 40)]
            case 4:
                del text[at:]
            case _:
                other = draw.choice(examples)
                text[at:] = other[draw.randrange(len(other) + 1) :]
    return bytes(text)


VALUES = (
    "null", "true", "false", "0", "-1", "1e308", "1" + "0" * 18, "-1" + "0" * 30, "0.1", '""', '"x"', '"\\u0000"',
    '"\\ud800"', '"\ue000"', f'"{"a" * 300}"', '"1"', '"-5"', '"NaN"', "[]", "{}", "[[]]", "[null]", '[1, "x"]',
    '{"x": 1}', '{"": null}', '"2026-11-21T12:00:00Z"', '"9999-12-31T23:59:59Z"', '"0001-01-01T00:00:00+14:00"',
    "[[[[[[]]]]]]",     '{"message": {"content": "x"}}',
)  # fmt: skip
"""What may stand where something else is expected, as JSON."""


def twisted(draw: random.Random, examples: Sequence[bytes]) -> bytes:
    """One of the examples, of JSON, whose form stays while one to four of its values, or of their keys, change."""
    try:
        document = json.loads(draw.choice(examples))
    except ValueError:  # not all of the examples need to be JSON
        return broken(draw, examples)
    holder: list[Any] = [document]
    for _ in range(draw.randint(1, 4)):
        _twist(draw, holder)
    return json.dumps(holder[0], ensure_ascii=draw.random() < 0.75).encode("utf-8", "surrogatepass")


def _twist(draw: random.Random, holder: list[Any]) -> None:
    at: Any = holder
    where: Any = 0
    while (found := at[where]) and isinstance(found, dict | list) and draw.random() < 0.75:
        at, where = found, draw.choice(list(found) if isinstance(found, dict) else range(len(found)))
    new = json.loads(draw.choice(VALUES))
    match draw.randrange(4):
        case 0 if isinstance(at, dict):
            del at[where]
        case 1 if isinstance(at, dict):
            at[draw.choice(["", "x", "error", "usage", "index", "id", "type", "text"])] = new
        case 2 if at is not holder and isinstance(at, list):
            at.append(new)
        case _:
            at[where] = new
