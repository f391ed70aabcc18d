"""What the clients of a rehearsal ask: a question in the dialect of each route, by one of many callers.

A trace says when requests came and not what they held, so their bodies are made up. Callers matter where a split is
sticky: each request is one of `CALLERS`, told apart by what the route is sticky by.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random  # noqa: TID251 - seeded: the same seed gives the same rehearsal
from urllib.parse import quote

from backends.base import Headers
from policies.table import Route

CALLERS = 1000
"""Different callers of each route."""
_TEXT = "What does a pointsman do, and why does it matter on a busy line?"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to SageMaker's Runtime API."""

    path: str
    headers: Headers
    body: bytes


class Questions:
    """Makes requests; the same seed makes the same."""

    def __init__(self, seed: int, streams: float, body: bytes | None = None) -> None:
        """`streams` is the share of requests that ask for a stream. `body`: what all of them hold, if not made up."""
        self._body = body
        self._chance = Random(seed)  # noqa: S311 - dice of a rehearsal
        self._streams = streams

    def next(self, route: Route) -> Asked:
        """The next request to a route."""
        caller = self._chance.randrange(CALLERS)
        stream = self._chance.random() < self._streams
        operation = "invocations-response-stream" if stream else "invocations"
        headers = [("Content-Type", "application/json")]
        if route.component is not None:
            headers.append(("X-Amzn-SageMaker-Inference-Component", route.component))
        match route.sticky.by:
            case "session":
                headers.append(("X-Amzn-SageMaker-Session-Id", f"caller-{caller}"))
            case "inference-id":
                headers.append(("X-Amzn-SageMaker-Inference-Id", f"caller-{caller}"))
            case "header" if route.sticky.header is not None:
                headers.append((route.sticky.header, f"caller-{caller}"))
        text = f"{caller:04d}: {_TEXT}" if route.sticky.by == "prefix" else _TEXT
        body = self._body
        if body is None:
            body = json.dumps(_body(route.clients_speak, text, stream), separators=(",", ":")).encode()
        return Asked(
            f"/endpoints/{quote(route.endpoint)}/{operation}",
            tuple(headers),
            body,
        )


def _body(dialect: str, text: str, stream: bool) -> dict[str, object]:
    asks_stream: dict[str, object] = {"stream": True} if stream else {}
    match dialect:
        case "openai-chat":
            return {"messages": [{"role": "user", "content": text}], "max_tokens": 64} | asks_stream
        case "openai-completions":
            return {"prompt": text, "max_tokens": 64} | asks_stream
        case "bedrock-completion":
            return {"prompt": text, "max_gen_len": 64}
        case "tgi" | "lmi":
            return {"inputs": text, "parameters": {"max_new_tokens": 64}} | asks_stream
        case _:
            return {"text": text}
