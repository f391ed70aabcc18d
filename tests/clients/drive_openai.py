"""Drives the openai package: one JSON line a call on standard input, its news and its end on standard output.

A call names a base URL, a key, how often the client may try again, the method (`chat.completions.create`) and its
arguments. `part` is a chunk of a stream, the moment the client hands it out; `done` has the parsed answer or the error.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

import openai  # type: ignore[import-not-found, unused-ignore]  # in its own environment only

from tests.clients.answers import say


@cache
def client(base_url: str, key: str, retries: int) -> Any:
    """One client for each setting, as a program would have."""
    return openai.OpenAI(base_url=base_url, api_key=key, max_retries=retries, timeout=120)


def told(error: Exception) -> dict[str, Any]:
    """What a program that catches the error can read from it."""
    names = ("status_code", "code", "type", "param", "message", "body", "request_id")
    return {"kind": type(error).__name__} | {name: getattr(error, name, None) for name in names}


def call(ask: dict[str, Any]) -> dict[str, Any]:
    """Make one call, saying what happens while it happens."""
    method: Any = client(ask["base_url"], ask["key"], ask["retries"])
    for name in ask["method"].split("."):
        method = getattr(method, name)
    try:
        answer = method(**ask["arguments"])
        if isinstance(answer, openai.Stream):
            for chunk in answer:
                say(part=chunk.model_dump())
            return {"answer": None, "error": None}
        return {"answer": answer.model_dump(), "request_id": getattr(answer, "_request_id", None), "error": None}
    except Exception as error:
        return {"answer": None, "error": told(error)}


if __name__ == "__main__":
    for line in sys.stdin:
        say(done=call(json.loads(line)))
