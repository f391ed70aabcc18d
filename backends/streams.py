"""The body of a streamed reply whose first piece has already arrived.

A backend answers a streaming call once the first piece is decoded, since until then another target may be tried. So
the stream that it returns begins with a piece that is at hand and goes on with what the upstream sends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable


class PrimedStream:
    """`ByteStream`: first `first`, then `rest`, empty pieces left out; what `rest` raises is raised.

    After its end, a failure or `aclose` it yields nothing more. `close` is called once, by the first `aclose`, also
    when everything was read; later calls of `aclose` do nothing.
    """

    __slots__ = ("_close", "_closed", "_first", "_over", "_rest")

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], close: Callable[[], Awaitable[None]]) -> None:
        """`rest` may raise BackendError and nothing else; `close` frees the connection without reading on."""
        self._first = first
        self._rest = rest
        self._close = close
        self._over = False
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        if first := self._first:
            self._first = b""
            return first
        try:
            following = self._rest.__anext__
            while not (piece := await following()):
                pass
        except BaseException:
            self._over = True
            raise
        return piece

    async def aclose(self) -> None:
        self._over = True
        if not self._closed:
            self._closed = True
            await self._close()


async def end(pieces: AsyncIterator[bytes]) -> None:
    """End an iteration that is not carried to its end; left to the garbage collector it would linger."""
    if isinstance(pieces, AsyncGenerator):
        await pieces.aclose()
