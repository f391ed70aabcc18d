"""A handler in threads of the proxy: for code that blocks on something and is trusted not to compute.

A hook over its time limit is answered in time, but a thread can't be killed: its slot is lost until the hook ends by
itself. When as many are lost as the policy allows, requests fail at once. All threads share the interpreter's lock, so
that a hook that computes slows down every other request of the process, and a crash ends it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from policies.table import HandlerSpec

from .errors import OVER, HandlerError, LoadError, busy, failing, raised
from .guest import handler
from .guest.native import describe, run
from .guest.values import Call, Event, Invoke, Question, Reply, arrived
from .runs import Asked, Limit

T = TypeVar("T")

Job = tuple[Callable[[], Coroutine[Any, Any, Any]], Future[Any]]


class Threads:
    """A handler that is loaded here and runs in its own threads."""

    def __init__(self, spec: HandlerSpec, loaded: handler.Loaded) -> None:
        self.steps = loaded.program.steps
        self._spec = spec
        self._loaded = loaded
        self._slots: list[_Slot] = []
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._under_way: deque[asyncio.Future[None]] = deque()
        """Waiters as well, of requests whose model has answered: they go first."""
        self._lost = 0

    def open(self, asked: Asked) -> ThreadSession:
        if self._lost >= self._spec.fail_after:
            raise failing(self._lost)
        return ThreadSession(self, self._loaded, asked.call, asked.limit)

    async def stop(self) -> None:
        for slot in self._slots:
            slot.end()
        self._loaded.close()

    async def take(self, *, under_way: bool) -> _Slot:
        """A thread that is free; it is the caller's until `give`. Requests whose model has answered go first."""
        queue = self._under_way if under_way else self._waiters
        while True:
            free = next((slot for slot in self._slots if not slot.taken), None)
            if free is None and len(self._slots) < self._spec.workers:
                free = _Slot(f"handler {self._spec.path} {len(self._slots)}")
                self._slots.append(free)
            if free is not None:
                free.taken = True
                return free
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # the turn that came too late is another's
                raise

    def give(self, slot: _Slot) -> None:
        """The thread is free again."""
        slot.taken = False
        self._wake()

    def _wake(self) -> None:
        while queue := self._under_way or self._waiters:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def leave(self, slot: _Slot, done: Future[Any]) -> None:
        """Nobody waits for the thread's hook any longer; the thread is back once the hook ends."""
        _then(done, lambda: self.give(slot))

    def lose(self, done: Future[Any]) -> None:
        """The hook is late: its thread counts as lost until it ends."""
        if done.done():
            return

        def back() -> None:
            self._lost -= 1

        self._lost += 1
        _then(done, back)

    def lose_in(self, seconds: float, done: Future[Any]) -> None:
        """The same of a hook that has this long to end by itself."""
        asyncio.get_running_loop().call_later(seconds, self.lose, done)


async def load_threads(spec: HandlerSpec, file: Path, version: str) -> Threads:
    """Load `file` in a thread of this process. Raises LoadError."""
    slot = _Slot(f"handler {spec.path} loads")
    done = slot.run(lambda: handler.load(file, version))
    loads = asyncio.wrap_future(done)
    loads.add_done_callback(_seen)
    try:
        await asyncio.wait((loads,))  # the thread goes on, and finds the future as it left it
        loaded = loads.result()
    except asyncio.CancelledError:
        done.add_done_callback(_unwanted)
        raise
    except handler.Unusable as error:
        message = f"{file}: {error}"
        raise LoadError(message) from error
    finally:
        slot.end()
    return Threads(spec, loaded)


def _then(done: Future[Any], tell: Callable[[], None]) -> None:
    """Call `tell` in this loop once a hook has ended in its thread."""
    loop = asyncio.get_running_loop()

    def ended(_: Future[Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell)

    done.add_done_callback(ended)


def _unwanted(done: Future[handler.Loaded]) -> None:
    """In the thread: nobody waits for this file any longer."""
    if done.exception() is None:
        done.result().close()


class ThreadSession:
    """One request."""

    def __init__(self, threads: Threads, loaded: handler.Loaded, call: Call, limit: Limit) -> None:
        self._threads = threads
        self._loaded = loaded
        self._bridge = _Bridge(call, asyncio.get_running_loop())
        self._call = _bridged(call, self._bridge)
        self._limit = limit

    async def before(self, _asked: Asked, _began: float) -> Call | Reply:
        given: Call | Reply = await self._run(lambda: run(self._loaded.program.before, self._call), under_way=False)
        if isinstance(given, Call):
            self._call = given
        return given

    async def during(self, _asked: Asked, events: list[bytes], first: int) -> list[bytes]:
        async def each() -> list[bytes]:
            return [
                await self._loaded.program.during(Event(data, number, self._call))
                for number, data in enumerate(events, first)
            ]

        return await self._run(each)

    async def after(self, _asked: Asked, reply: Reply, _began: float) -> Reply:
        return await self._run(lambda: run(self._loaded.program.after, reply))

    def close(self) -> None:
        """Nothing is held."""

    async def _run(self, hook: Callable[[], Coroutine[Any, Any, T]], *, under_way: bool = True) -> T:
        slot: _Slot | None = None
        done: Future[T] | None = None
        try:
            async with self._limit.running():
                slot = await self._threads.take(under_way=under_way)
                self._limit.begins()
                done = slot.run(lambda: self._described(hook))
                waiting = asyncio.wrap_future(done)
                waiting.add_done_callback(_seen)
                try:
                    await asyncio.wait((waiting,))
                except asyncio.CancelledError:
                    self._threads.leave(slot, done)
                    slot = None
                    raise
                return waiting.result()
        except HandlerError as error:
            if not error.timed_out:
                raise
            if done is None:
                raise busy(self._limit.seconds) from error
            # One that asked a model and has no time left since the model had none is not late itself.
            if self._limit.past_deadline() and self._bridge.release():
                self._threads.lose_in(self._limit.seconds, done)
            else:
                self._threads.lose(done)
            raise
        except asyncio.CancelledError:
            if done is not None:  # the client left
                self._bridge.release()
                self._threads.lose_in(self._limit.seconds, done)
            raise
        finally:
            if slot is not None:
                self._threads.give(slot)

    async def _described(self, hook: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """In the thread. What comes out of it is a HandlerError: `sys.exit` must not get as far as the proxy's loop."""
        try:
            return await hook()
        except BaseException as error:
            raise raised(describe(error, self._loaded.folder)) from error


class _Slot:
    """One thread with a loop of its own, for one hook at a time."""

    def __init__(self, name: str) -> None:
        self.taken = False
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # A daemon: a hook that never ends must not keep the process from ending.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, hook: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a hook; the future is done when it ends."""
        done: Future[T] = Future()
        self._jobs.put((hook, done))
        return done

    def end(self) -> None:
        """Let the thread end after what it does now."""
        self._jobs.put(None)

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while (job := self._jobs.get()) is not None:
                hook, done = job
                try:
                    done.set_result(runner.run(hook()))
                except BaseException as error:  # noqa: BLE001 - it is raised where the hook is waited for
                    done.set_exception(error)
                del job, hook, done  # an idle thread holds nothing of the last request


def _seen(waiting: asyncio.Future[Any]) -> None:
    """Nobody may be there any more to be told of a failure."""
    if not waiting.cancelled():
        waiting.exception()


def _bridged(call: Call, bridge: _Bridge) -> Call:
    """`call` for a thread: what it invokes is asked in the proxy's loop."""
    return arrived(
        call.body,
        call.content_type,
        call.accept,
        call.custom_attributes,
        call.endpoint,
        call.component,
        call.streaming,
        call.request_id,
        call.speaks,
        bridge,
    )


class _Bridge:
    """The `Origin` of a call in a thread."""

    __slots__ = ("_asked", "_call", "_has_asked", "_home", "_over")

    def __init__(self, call: Call, home: asyncio.AbstractEventLoop) -> None:
        self._call = call
        self._home = home
        self._asked: set[Future[Reply]] = set()
        self._has_asked = False
        self._over = threading.Event()

    def release(self) -> bool:
        """Nobody waits for the hook any longer: what it has asked is given up. Whether it has asked anything."""
        self._over.set()
        for asked in tuple(self._asked):
            asked.cancel()
        return self._has_asked

    async def __call__(self, question: Question) -> Reply:
        ask = self._call._invoke
        assert ask is not None  # noqa: S101 - the pipeline gave it
        if self._over.is_set():
            raise RuntimeError(OVER)
        asked = asyncio.run_coroutine_threadsafe(_awaited(ask, question), self._home)
        self._has_asked = True
        self._asked.add(asked)
        if self._over.is_set():  # the loop, which goes on meanwhile, did not find it there
            asked.cancel()
        try:
            return await asyncio.wrap_future(asked)
        except asyncio.CancelledError:
            if asked.cancelled():
                raise RuntimeError(OVER) from None
            raise
        finally:
            self._asked.discard(asked)

    def headers(self) -> Mapping[str, str]:
        return self._call.headers


async def _awaited(ask: Invoke, question: Question) -> Reply:
    return await ask(question)
