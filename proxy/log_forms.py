"""The request log's lines as requests come.

Most requests are answered at the first attempt and to the end, and come as a `Note`. Their lines are the same but for
numbers and ids, so a course keeps its line as a form, which is filled in for a third of what `line` takes. A form is
made by `line`'s own means with holes in the place of values, and says the same byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import orjson

from backends.base import Usage
from backends.outcome import Course, Note, Outcome, outcome_of

from .log_lines import entry, line, text_in_line, until_second, written

_LONG: Final = 1e12
"""Seconds that no duration comes to; what is longer, or no number, is written by `line`."""
_FIRST_CHUNK: Final = b',"first_chunk_seconds":%.6f,"first_chunk_backend_seconds":%.6f'
_TOKENS: Final = b',"prompt_tokens":%d,"completion_tokens":%d'
_dumps: Final = orjson.dumps


class Lines:
    """Makes the lines of requests as they come. One thread uses one."""

    def __init__(self) -> None:
        self._second = -1
        self._until_second = b""

    def of(self, outcomes: Iterable[Outcome | Note]) -> list[bytes]:
        """The lines of `outcomes`, in their order."""
        return [
            self._noted(each) or line(outcome_of(each)) if isinstance(each, tuple) else line(each) for each in outcomes
        ]

    def _noted(self, note: Note) -> bytes | None:
        """The line of a note; None where a value does not fit into its course's form."""
        course, its_id, started, seconds, backend, attempt, chunk, read, wrote, parts, usage, named, sdk, trace, who = (
            note
        )
        overhead = seconds - backend
        numbers = overhead + attempt if chunk is None else overhead + attempt + chunk[0] + chunk[1]
        if not (its_id.isascii() and its_id.isprintable() and -_LONG < numbers < _LONG):
            return None
        second, micros = divmod(round(started * 1e6), 1_000_000)
        if second != self._second:
            self._second, self._until_second = second, until_second(second)
        form = course.form
        if not form:
            form = course.form = form_of(course)
        return form % (
            self._until_second,
            micros,
            _dumps(its_id),
            seconds,
            backend,
            overhead if overhead > 0.0 else 0.0,
            b"" if chunk is None else _FIRST_CHUNK % chunk,
            attempt,
            b"" if named is None else b',"upstream_request_id":' + text_in_line(named),
            read,
            wrote,
            parts,
            b"" if usage is None else _TOKENS % (usage.prompt_tokens, usage.completion_tokens),
            b"" if sdk is None else b',"sdk_invocation_id":' + text_in_line(sdk),
            b"" if trace is None else b',"trace_id":' + text_in_line(trace),
            b"" if who is None else b',"principal":' + text_in_line(who),
        )


def form_of(course: Course) -> bytes:
    """The line of a request on `course`, with holes for what differs, as `bytes % values` has them. What not every line
    has is a hole with its key and comma."""
    said = entry(outcome_of((course, "", 0.0, 0.0, 0.0, 0.0, (0.0, 0.0), 0, 0, 0, Usage(0, 0), "", "", "", "")))
    attempt: dict[str, Any] = said["attempts"][0]
    attempt |= {"seconds": _hole(b".6f"), "upstream_request_id": _MAYBE}
    del said["completion_tokens"], said["first_chunk_backend_seconds"]  # come with those before them
    said |= {
        "time": orjson.Fragment(b'"\0b.\x0006dZ"'),
        "request_id": _hole(b"b"),
        **dict.fromkeys(("seconds", "backend_seconds", "overhead_seconds"), _hole(b".6f")),
        **dict.fromkeys(("bytes_in", "bytes_out", "parts_out"), _hole(b"d")),
        **dict.fromkeys(("first_chunk_seconds", "prompt_tokens", "sdk_invocation_id", "trace_id", "principal"), _MAYBE),
    }
    form = re.sub(rb',"[a-z_]+":\0\?', b"\0b", written(said))
    return form.replace(b"%", b"%%").replace(b"\0", b"%")  # JSON text has no byte 0 in it


def _hole(kind: bytes) -> orjson.Fragment:
    return orjson.Fragment(b"\0" + kind)


_MAYBE: Final = _hole(b"?")
"""A value that not every line has."""
