"""An event loop in virtual time, with a network of its own: a day of waiting passes in the time that its work takes.

Strategy: whenever nothing is ready, the clock jumps to the next timer instead of waiting for it. Connections between
parts in the loop are pairs of pipes (`network.py`) behind `create_server` and `create_connection`, so that what speaks
TCP elsewhere speaks it here, unchanged, and no socket is opened. What others do in threads is done at once, while time
stands still. So the order of everything follows from the program alone, and two runs are the same.

A loop in which nothing is ready and no timer is set would wait for ever: that is `Stuck`, and not a hang.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from .network import Network, Server

T = TypeVar("T")

START = 86_400.0
"""Where the clock starts, in seconds: not at 0, since a steady clock never is there."""


class Stuck(Exception):
    """Everything waits for something that can't happen in virtual time."""


class _Jumping(selectors.DefaultSelector):
    """A selector that never waits: it looks, and when there is nothing, time goes on instead."""

    def __init__(self, forward: Callable[[float], None]) -> None:
        super().__init__()
        self._forward = forward

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            msg = "everything waits, and nothing is due"
            raise Stuck(msg)
        if not found and timeout:
            self._forward(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. Made, used and closed as any loop (`asyncio.Runner(loop_factory=VirtualLoop)`)."""

    def __init__(self) -> None:
        self._virtual = START
        super().__init__(_Jumping(self._go_on))
        self._network = Network(self)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._virtual

    def _go_on(self, seconds: float) -> None:
        self._virtual += seconds

    def run_in_executor(  # type: ignore[override]  # typeshed: a coroutine; in CPython it is this, a function
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Do it now: in this thread, or waiting for the executor's, whose objects may be bound to its thread."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args) if executor is None else executor.submit(func, *args).result())
        except Exception as error:  # noqa: BLE001 - it is the caller's, who awaits it
            done.set_exception(error)
        return done

    async def create_server(  # type: ignore[override]  # of many forms the one that is used here
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str | None, port: int, **options: object
    ) -> Server:
        """Listen on a port of the loop's own network; 0 takes a free one. Raises OSError when it is taken."""
        return self._network.listen(protocol_factory, host or "127.0.0.1", port)

    async def create_connection(  # type: ignore[override]  # as above
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int, **options: object
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Connect to a port of the loop's own network, whatever the host. Raises ConnectionRefusedError."""
        return self._network.connect(protocol_factory, port)
