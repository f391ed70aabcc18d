"""An engine on a free port that a test scripts, for the kind `vllm`, and calls to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from backends.base import Call, Invocation
from policies.table import Target, VllmSpec

BODY = b'{"model": "ignored", "stream": true,  "x": "\xc3\xa9"}'
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


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

    def streams(
        self,
        *pieces: bytes | asyncio.Event,
        content_type: str = "text/event-stream; charset=utf-8",
        cut: bool = False,
    ) -> None:
        """Answer with these pieces, waiting where there is an event; `cut`: drop the connection at the end."""

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": content_type})
            response.enable_chunked_encoding()
            await response.prepare(request)
            for piece in pieces:
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                else:
                    await response.write(piece)
            if cut and request.transport is not None:
                request.transport.abort()
            return response

        self.answer = answer


@asynccontextmanager
async def running_engine() -> AsyncIterator[Engine]:
    """An engine, listening; it stops at once when the block is left."""
    engine = Engine()
    runner = web.ServerRunner(web.Server(engine.handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    engine.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield engine
    finally:
        await runner.cleanup()


def target(*urls: str, speaks: str = "openai-chat", adapter: str | None = None) -> Target:
    """A target of this kind."""
    return Target("code", "vllm", VllmSpec(urls, "base", adapter), speaks=speaks)


def call(*, streaming: bool = False, content_type: str | None = None, accept: str | None = None) -> Call:
    """A call as the pipeline makes it."""
    invocation = Invocation(
        "inline", None, streaming, BODY, "id-1", content_type, accept, "secret=1", session_id="s", headers=()
    )
    return Call(invocation, BODY, content_type, accept, "secret=1")
