"""W3C trace context in and out of the two places where a SageMaker client can carry it.

HTTP headers come first. SageMaker passes none but its own between client and container, so a trace can also travel as
one item of CustomAttributes: `traceparent=00-<trace id>-<span id>-<flags>`, the items being separated by `,`, `;` or
white space. `tracestate` cannot travel there, as its own syntax uses the same separators.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..base import Trace

LONGEST_ATTRIBUTES = 1024
"""Characters in CustomAttributes (botocore model)."""
_LONGEST_STATE = 512
"""Characters of tracestate that the W3C recommendation asks every hop to propagate; a longer one is dropped."""

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[\x21-\x7e]{0,128})?")
_ITEM = re.compile(r"(?:^|[,;\s])traceparent=([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(?=$|[,;\s])")


def read_trace(parents: Iterable[str], states: Iterable[str], custom_attributes: str | None) -> Trace | None:
    """The caller's trace context; None when there is none, or when it is malformed and so to be ignored.

    `parents` and `states` are the values of the `traceparent` and `tracestate` header fields.
    """
    given = list(parents)
    if len(given) == 1 and _is_parent(given[0].strip()):
        state = ",".join(value.strip() for value in states if value.strip())
        keeps = state.isascii() and state.isprintable() and 0 < len(state) <= _LONGEST_STATE
        return Trace(given[0].strip(), state if keeps else None)
    if custom_attributes is not None and "traceparent=" in custom_attributes:
        for found in _ITEM.finditer(custom_attributes):
            if _is_parent(found[1]):
                return Trace(found[1])
    return None


def add_trace(custom_attributes: str | None, trace: Trace) -> str | None:
    """`custom_attributes` with the trace as one more item, an older one replaced; unchanged when it would not fit."""
    rest, replaced = _ITEM.subn("", custom_attributes or "")
    if replaced:
        rest = rest.lstrip(",; \t")
    item = f"traceparent={trace.traceparent}"
    joined = f"{rest},{item}" if rest else item
    return joined if len(joined) <= LONGEST_ATTRIBUTES else custom_attributes


def _is_parent(value: str) -> bool:
    found = _PARENT.fullmatch(value)
    if found is None:
        return False
    version, trace_id, span_id, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return False
    return trace_id.strip("0") != "" and span_id.strip("0") != ""
