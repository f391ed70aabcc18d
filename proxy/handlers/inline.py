"""A handler in the proxy's own event loop: the fastest, and for code that never blocks.

A hook that computes or blocks holds up every request of the process, and its time limit comes too late. How long a
hook held the loop at a stretch is measured and reported, so that it shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, TypeVar

from .errors import LoadError, raised
from .guest import handler
from .guest.native import describe
from .guest.values import Call, Event, Reply
from .runs import AT_ONCE, Asked

T = TypeVar("T")

_WHATEVER = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
"""What a hook may raise. One that calls `sys.exit` must end its request and not the proxy."""


class Inline:
    """A handler that is loaded here. It keeps nothing of a request, so that it is the session of each."""

    def __init__(self, loaded: handler.Loaded, now: Callable[[], float], held: Callable[[float], None]) -> None:
        self._loaded = loaded
        self._program = loaded.program
        self._now = now
        self._held = held
        self.steps = loaded.program.steps

    def open(self, _asked: Asked) -> Inline:
        return self

    async def stop(self) -> None:
        self._loaded.close()

    def before(self, asked: Asked, began: float) -> Call | Reply | Coroutine[Any, Any, Call | Reply]:
        call = asked.call
        try:
            given = self._program.before(call)
        except _WHATEVER as error:
            raise raised(describe(error, self._loaded.folder)) from error
        return given if given is call or isinstance(given, AT_ONCE) else self._run(asked, given, began)

    async def during(self, asked: Asked, events: list[bytes], first: int) -> list[bytes]:
        call, now = asked.call, self._now
        numbered = enumerate(events, first)
        return [
            await self._run(asked, self._program.during(Event(data, number, call)), now()) for number, data in numbered
        ]

    def after(self, asked: Asked, reply: Reply, began: float) -> Reply | Coroutine[Any, Any, Reply]:
        try:
            given = self._program.after(reply)
        except _WHATEVER as error:
            raise raised(describe(error, self._loaded.folder)) from error
        return given if given is reply or isinstance(given, AT_ONCE) else self._run(asked, given, began)

    def close(self) -> None:
        """Nothing is held."""

    async def _run(self, asked: Asked, hook: Coroutine[Any, Any, T], began: float) -> T:
        # Many wait for nothing all the same: they are done with the first step, and no timer could have ended them
        # earlier.
        longest = 0.0
        try:
            try:
                waited = hook.send(None)
            finally:
                longest = self._now() - began
        except StopIteration as end:
            self._held(longest)
            given: T = end.value
            return given
        except _WHATEVER as error:
            self._held(longest)
            raise raised(describe(error, self._loaded.folder)) from error
        async with asked.limit.running():
            try:
                rest: T = await _Measured(hook, waited, longest, self._now, self._held)
            except _WHATEVER as error:
                if isinstance(error, asyncio.CancelledError) and _given_up():
                    raise
                raise raised(describe(error, self._loaded.folder)) from error
        return rest


async def load_inline(file: Path, version: str, now: Callable[[], float], held: Callable[[float], None]) -> Inline:
    """Load `file` here. `held` is told the seconds for which a hook held the loop. Raises LoadError."""
    try:
        return Inline(await handler.load(file, version, blocking=False), now, held)
    except handler.Unusable as error:
        message = f"{file}: {error}"
        raise LoadError(message) from error


def _given_up() -> bool:
    """Somebody has cancelled this request. Else a cancellation is the hook's own: it awaited what it had cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class _Measured:
    """Awaits a coroutine that has begun to wait, and tells the longest stretch for which it held the loop."""

    __slots__ = ("_held", "_hook", "_longest", "_now", "_waited")

    def __init__(
        self,
        hook: Coroutine[Any, Any, Any],
        waited: Any,
        longest: float,
        now: Callable[[], float],
        held: Callable[[float], None],
    ) -> None:
        """`waited` is what the coroutine's first step waits for; it took `longest` seconds."""
        self._hook = hook
        self._waited = waited
        self._longest = longest
        self._now = now
        self._held = held

    def __await__(self) -> Generator[Any, Any, Any]:
        hook, longest, waited = self._hook, self._longest, self._waited
        try:
            while True:
                given: Any = None
                failure: BaseException | None = None
                try:
                    given = yield waited
                except BaseException as error:  # noqa: BLE001 - handed on to the hook, which sees what it awaits fail
                    failure = error
                began = self._now()
                try:
                    waited = hook.send(given) if failure is None else hook.throw(failure)
                except StopIteration as end:
                    return end.value
                finally:
                    longest = max(longest, self._now() - began)
        finally:
            self._held(longest)
