"""Hostile inputs from a seed: whole examples, broken in the ways in which bytes break."""

from __future__ import annotations

import random
from collections.abc import Sequence

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
