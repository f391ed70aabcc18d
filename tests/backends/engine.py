"""An engine on a free port that a test scripts, for the kind `vllm`, and calls to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from backends.base import Call, Invocation
from policies.table import Target, VllmSpec

from .upstream import Handler, Step, in_chunks, served

BODY = b'{"model": "ignored", "stream": true,  "x": "\xc3\xa9"}'


class Engine:
    """A loopback server: `answer` is what it does with a request."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.answer: Handler = self._nothing
        self.gone = asyncio.Event()
        """Set when a handler was ended because its client went away."""

    async def _nothing(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"{}", content_type="application/json")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        try:
            return await self.answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise

    def says(self, status: int = 200, body: bytes = b"{}", **headers: str) -> None:
        """Answer everything alike; header names with `_` for `-`."""

        async def answer(_: web.BaseRequest) -> web.StreamResponse:
            return web.Response(
                status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )

        self.answer = answer

    def streams(self, *pieces: Step, content_type: str = "text/event-stream; charset=utf-8", cut: bool = False) -> None:
        """Answer everything in these pieces, as `in_chunks` says."""
        self.answer = in_chunks(*pieces, headers={"Content-Type": content_type}, cut=cut)


@asynccontextmanager
async def running_engine() -> AsyncIterator[Engine]:
    """An engine, listening."""
    engine = Engine()
    async with served(engine.handle) as engine.url:
        yield engine


def target(*urls: str, speaks: str = "openai-chat", adapter: str | None = None) -> Target:
    """A target of this kind."""
    return Target("code", "vllm", VllmSpec(urls, "base", adapter), speaks=speaks)


def call(*, streaming: bool = False, content_type: str | None = None, accept: str | None = None) -> Call:
    """A call as the pipeline makes it."""
    invocation = Invocation(
        "inline", None, streaming, BODY, "id-1", content_type, accept, "secret=1", session_id="s", headers=()
    )
    return Call(invocation, BODY, content_type, accept, "secret=1")
