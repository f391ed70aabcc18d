"""The outlet of one aiohttp request: answers and streams written, timed, gated, or cut."""

from __future__ import annotations

import socket
import struct
from typing import Literal

from aiohttp import web

from .answers import Answer, Flow
from .clock import Clock
from .journal import Seen


class Connection:
    """The outlet of one aiohttp request."""

    def __init__(self, request: web.Request, request_id: str, clock: Clock) -> None:
        self._request = request
        self._request_id = request_id
        self._clock = clock
        self.seen: Seen | None = None
        self.response: web.StreamResponse = web.Response(status=500)
        self.was_cut = False

    async def answer(self, answer: Answer) -> None:
        response = web.StreamResponse(status=answer.status)
        self._begin(response, answer.headers, answer.status)
        response.content_length = len(answer.body) + answer.missing
        await response.prepare(self._request)
        if answer.body:
            await response.write(answer.body)
        if answer.missing:
            self.cut("close")
            return
        await response.write_eof()

    async def flow(self, flow: Flow) -> None:
        response = web.StreamResponse(status=200)
        self._begin(response, flow.headers, 200)
        response.enable_chunked_encoding()
        first = flow.parts[0].wait if flow.parts else 0.0
        await self._clock.rest(first)
        await response.prepare(self._request)
        for number, part in enumerate(flow.parts, start=1):
            if number > 1:
                await self._clock.rest(part.wait)
                if flow.gate is not None:
                    await flow.gate.passed(number - 1)
            await response.write(part.data)
            if self.seen is not None:
                self.seen.parts = number
        if flow.ending == "clean":
            await response.write_eof()
        else:
            self.cut(flow.ending)

    async def begin(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Begin a streamed answer whose parts are not known yet."""
        response = web.StreamResponse(status=200)
        self._begin(response, headers, 200)
        response.enable_chunked_encoding()
        await response.prepare(self._request)

    async def put(self, data: bytes) -> None:
        """One part of it."""
        await self.response.write(data)
        if self.seen is not None:
            self.seen.parts += 1

    async def end(self) -> None:
        """Its end."""
        await self.response.write_eof()

    def cut(self, how: Literal["close", "reset"]) -> None:
        self.was_cut = True
        transport = self._request.transport
        if transport is None:
            return
        if how == "reset":
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()

    def _begin(self, response: web.StreamResponse, pairs: tuple[tuple[str, str], ...], status: int) -> None:
        self.response = response
        if self.seen is not None:
            self.seen.status = status
        for name, value in (("x-amzn-RequestId", self._request_id), *pairs):
            response.headers[name] = value
