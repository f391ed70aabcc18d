"""What is taken out of bodies before they are kept: a declared rule, applied to JSON texts and to plain ones.

Values under the named keys go, whatever they are; in all other texts, what the patterns match goes; `mask` replaces
every letter and digit, so that length, spacing and punctuation of an answer can still be seen and nothing can be read.
A stream is redacted event by event, so that what a pattern has to see in one piece may be parted there: `mask` does not
have that gap, patterns do. Keys of objects are never changed: a body that keeps secrets in those wants `mask` as well.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

GONE = "[redacted]"
LONGEST_PATTERN = 500
"""Characters."""
_DEEPEST = 100
_SIGN = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Redaction:
    """A rule. Without keys, patterns or `mask` it keeps everything as it is."""

    keys: frozenset[str] = frozenset()
    """Names of keys, in lower case, at any depth."""
    patterns: tuple[str, ...] = ()
    """Regular expressions that `pattern_problem` accepts."""
    mask: bool = False
    _compiled: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", tuple(re.compile(pattern) for pattern in self.patterns))

    def text(self, text: str) -> str:
        """A text without what the rule takes out."""
        for pattern in self._compiled:
            text = pattern.sub(GONE, text)
        return _SIGN.sub("x", text) if self.mask else text

    def value(self, value: Any, depth: int = 0) -> Any:
        """A JSON value without it."""
        if depth > _DEEPEST:
            return GONE
        if isinstance(value, dict):
            return {
                key: GONE if key.lower() in self.keys else self.value(inner, depth + 1) for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self.value(inner, depth + 1) for inner in value]
        if isinstance(value, str):
            return self.text(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return GONE if number and (self.mask or self.text(str(value)) != str(value)) else value

    def body(self, body: bytes) -> str:
        """A body as redacted text: JSON, Server-Sent Events or JSON lines by their values, anything else as one text.

        Bytes that are no UTF-8 become replacement characters; the caller keeps such bodies in another way, or not.
        """
        text = body.decode("utf-8-sig", "replace")  # some clients' JSON begins with a mark that engines skip
        if not (self.keys or self._compiled or self.mask):
            return text
        whole = self._json(text)
        if whole is not None:
            return whole
        lines = text.splitlines(keepends=True)
        return "".join(map(self._line, lines))

    def _line(self, line: str) -> str:
        label, colon, rest = line.partition(":") if line.startswith("data:") else ("", "", line)
        document = self._json(rest)
        if document is None:
            return label + colon + (rest if rest.strip() == "[DONE]" else self.text(rest))
        space = " " if colon and rest.startswith(" ") else ""
        return label + colon + space + document + rest[len(rest.rstrip("\r\n")) :]

    def _json(self, text: str) -> str | None:
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            return None
        except (ValueError, RecursionError):  # JSON that Python does not read: numbers or levels by the thousand
            return GONE
        return json.dumps(self.value(value), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Keeping:
    """Which differences between an old target's answers and a new one's are kept, and how."""

    folder: str
    """On the disk of each process that serves."""
    redaction: Redaction
    most: int = 64 * 1024**2
    """Bytes of a migration's differences that one process keeps; what would go beyond is counted and not written."""
    below: float = 0.9
    """Agreement, 0 to 1, under which two answers are a difference."""


def pattern_problem(pattern: str) -> str | None:
    """Why a regular expression cannot be used, in words; None when it can."""
    if len(pattern) > LONGEST_PATTERN:
        return f"has {len(pattern)} characters; {LONGEST_PATTERN} are allowed"
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    return None
