"""Whether a customer's functions can be called as they will be: asked once at load, not told by every request."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

TAKES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "before": (("call",),),
    "during": (("event",),),
    "after": (("reply",),),
    "model_fn": (("model_dir",), ("model_dir", "context")),
    "input_fn": (("body", "content_type"), ("body", "content_type", "context")),
    "output_fn": (("prediction", "accept"), ("prediction", "accept", "context")),
    "handle": (("inputs",),),
    "djl_python @output_formatter": (("output",),),
    "@input_formatter": (("request",),),
    "@output_formatter": (("response",),),
}
"""Name in `conventions` -> the arguments that it may be given, in order, each way."""


def misfits(hooks: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with these functions, a sentence each: name, fault and remedy."""
    for name, hook in hooks.items():
        if inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
            yield f"{name} yields, and would never run; return its one result (of a stream `during` sees each event)"
        ways = TAKES.get(name)
        if ways is not None and not any(_takes(hook, len(way)) for way in ways):
            yield f"{name} can't be called with {' or '.join(map(_list, ways))}; let it take that"


def _list(arguments: tuple[str, ...]) -> str:
    return f"({', '.join(arguments)})"


def _takes(hook: Any, arguments: int) -> bool:
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):  # nothing is known of it, as of some functions written in C
        return True
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True
