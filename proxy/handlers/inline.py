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
from .runs import AT_ONCE, Limit

T = TypeVar("T")

_WHATEVER = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
"""What a hook may raise. One that calls `sys.exit` must end its request and not the proxy."""


class Inline:
    """A handler that is loaded here."""

    def __init__(self, loaded: handler.Loaded, now: Callable[[], float], held: Callable[[float], None]) -> None:
        self._loaded = loaded
        self._now = now
        self._held = held
        self.steps = loaded.program.steps

    def open(self, call: Call, limit: Limit) -> InlineSession:
        return InlineSession(self._loaded, call, limit, self._now, self._held)

    async def stop(self) -> None:
        self._loaded.close()


async def load_inline(file: Path, version: str, now: Callable[[], float], held: Callable[[float], None]) -> Inline:
    """Load `file` here. `held` is told the seconds for which a hook held the loop. Raises LoadError."""
    try:
        return Inline(await handler.load(file, version, blocking=False), now, held)
    except handler.Unusable as error:
        message = f"{file}: {error}"
        raise LoadError(message) from error


class InlineSession:
    """One request."""

    __slots__ = ("_call", "_held", "_limit", "_loaded", "_now")

    def __init__(
        self,
        loaded: handler.Loaded,
        call: Call,
        limit: Limit,
        now: Callable[[], float],
        held: Callable[[float], None],
    ) -> None:
        self._loaded = loaded
        self._call = call
        self._limit = limit
        self._now = now
        self._held = held

    def before(self) -> Call | Reply | Coroutine[Any, Any, Call | Reply]:
        began = self._now()
        try:
            given = self._loaded.program.before(self._call)
        except _WHATEVER as error:
            raise raised(describe(error, self._loaded.folder)) from error
        if isinstance(given, Call):  # what `before` made of the call is what later hooks are shown
            self._call = given
        return given if isinstance(given, AT_ONCE) else self._run(given, began)

    async def during(self, events: list[bytes], first: int) -> list[bytes]:
        numbered = enumerate(events, first)
        return [
            await self._run(self._loaded.program.during(Event(data, number, self._call)), self._now())
            for number, data in numbered
        ]

    def after(self, reply: Reply) -> Reply | Coroutine[Any, Any, Reply]:
        began = self._now()
        try:
            given = self._loaded.program.after(reply)
        except _WHATEVER as error:
            raise raised(describe(error, self._loaded.folder)) from error
        return given if isinstance(given, AT_ONCE) else self._run(given, began)

    def close(self) -> None:
        """Nothing is held."""

    async def _run(self, hook: Coroutine[Any, Any, T], began: float) -> T:
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
            if isinstance(given, Call):
                self._call = given
            return given
        except _WHATEVER as error:
            self._held(longest)
            raise raised(describe(error, self._loaded.folder)) from error
        async with self._limit.running():
            try:
                rest: T = await _Measured(hook, waited, longest, self._now, self._held)
            except _WHATEVER as error:
                if isinstance(error, asyncio.CancelledError) and _given_up():
                    raise
                raise raised(describe(error, self._loaded.folder)) from error
        if isinstance(rest, Call):
            self._call = rest
        return rest


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
