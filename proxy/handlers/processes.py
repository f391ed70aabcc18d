"""A handler in processes of its own: what it burns, leaks or breaks is its own.

One worker is started at load, which proves that the file can be used; others when all are busy, up to the policy's
number. A worker runs one hook at a time; while a hook waits for `call.invoke`, it may run another. A hook that is over
its limit is killed with its worker, and another worker is started at once; who waits since there is no other has the
request's deadline for that, not the hook's limit. When workers die in a row without an answer in between, requests fail
at once for some seconds, so that a handler which always crashes costs next to nothing.

Where more come than the workers can do, those whose model has answered go first: what has been paid for is not thrown
away for what has not begun. A worker that is replaced stays for the sessions that left state in it; as many may stay so
as there are workers, so that there are never more than twice as many processes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import nullcontext

from backends.tasks import start
from policies.table import HandlerSpec

from .child import Child
from .errors import HandlerError, LoadError, busy, failing, state_lost
from .guest import frames
from .guest.values import Call, Reply
from .runs import Asked, Limit

log = logging.getLogger("pointsman.handlers")

REST = 5.0
"""Seconds without a worker after deaths in a row."""
MEMORY_PERIOD = 1.0
"""Seconds between two looks at the memory of workers in their hooks; with its answer a worker tells its own."""

StartChild = Callable[[Callable[[Child], None], Callable[[Child], None]], Awaitable[Child]]
"""(told when it is free, told when it died) -> a worker that is ready. Raises LoadError."""


class Processes:
    """The workers of one handler."""

    def __init__(self, spec: HandlerSpec, start_child: StartChild) -> None:
        self.steps: frozenset[str] = frozenset()
        self._spec = spec
        self._start_child = start_child
        self._children: list[Child] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._under_way: deque[asyncio.Future[None]] = deque()
        """Waiters as well, of requests whose model has answered: they go first."""
        self._deaths = 0
        self._resting_until = 0.0
        self._stopping = False
        self._numbers = itertools.count()
        self._memory: asyncio.Task[None] | None = None

    async def load(self) -> Processes:
        """Start the first worker. Raises LoadError."""
        await self._add()
        self.steps = self._children[0].steps
        self._memory = start(self._watch_memory(), name=f"handler-memory {self._spec.path}")
        return self

    def open(self, asked: Asked) -> ProcessSession:
        loop = asyncio.get_running_loop()
        if self._deaths >= self._spec.fail_after:
            if loop.time() < self._resting_until:
                raise failing(self._deaths)
            self._resting_until = loop.time() + REST
            self._grow()
        return ProcessSession(self, next(self._numbers), asked.call, asked.limit)

    async def stop(self) -> None:
        self._stopping = True
        tasks = [*self._starting, *([self._memory] if self._memory else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        children = list(self._children)
        for child in children:
            child.kill()
        if children:  # `wait`, which leaves them alone when it is cancelled: each has its process to wait for
            await asyncio.wait([child.end for child in children])

    async def take(self, number: int, own: Child | None, limit: Limit, *, under_way: bool) -> Child:
        """A worker for one hook of a session: the one it left state in, or any that is free. Raises HandlerError."""
        queue = self._under_way if under_way else self._waiters
        while True:
            if own is not None and number in own.kept:
                if own.gone:
                    raise state_lost()
                if own.free:
                    return own
                await self._wait(own.waiters)
                continue
            free = next((child for child in self._children if child.free and child.stays), None)
            if free is not None:
                return free
            if any(child.stays for child in self._children):
                self._grow()
                await self._wait(queue)
                continue
            if not self._starting and self._deaths >= self._spec.fail_after:
                raise failing(self._deaths)
            self._grow()
            full = not self._starting and all(child.leaving for child in self._children)
            with nullcontext() if full else limit.paused():  # full: no other starts before one has left
                await self._wait(queue)

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                _ = _wake(queue) or self._wake_next()  # the turn that came too late is another's
            raise
        finally:
            if turn in queue:
                queue.remove(turn)

    def _freed(self, child: Child) -> None:
        if child.answered:
            self._deaths = 0
        if child.resident > self._spec.memory:
            self._replace(child, child.resident)
        if child.leaving and child.idle:
            child.kill()
        elif not _wake(child.waiters):
            self._wake_next()

    def _died(self, child: Child) -> None:
        self._children.remove(child)
        while _wake(child.waiters):
            pass
        if self._stopping:
            return
        if child.leaving or child.given_up:
            if child.given_up or self._under_way or self._waiters:  # they may have waited for its place
                self._grow()
            return
        self._deaths += 1
        log.warning("a worker of %s died (%d in a row)", self._spec.path, self._deaths)
        if self._deaths >= self._spec.fail_after:
            self._rest()
        else:
            self._grow()

    def _rest(self) -> None:
        self._resting_until = asyncio.get_running_loop().time() + REST
        self._wake_all()
        log.error(
            "%s: %d workers died in a row; its requests fail at once for %.0f s", self._spec.path, self._deaths, REST
        )

    def _grow(self) -> None:
        staying = sum(not child.leaving for child in self._children)
        starting, most = len(self._starting), self._spec.workers
        if self._stopping or staying + starting >= most or len(self._children) + starting >= 2 * most:
            return
        task = start(self._try_add(), name=f"handler-starts {self._spec.path}")
        self._starting.add(task)
        task.add_done_callback(self._started)

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        self._wake_all()

    async def _try_add(self) -> None:
        try:
            await self._add()
        except LoadError as error:
            self._deaths += 1
            log.error("no new worker of %s: %s", self._spec.path, error)  # noqa: TRY400 - the message is all there is
            if self._deaths >= self._spec.fail_after:
                self._rest()

    def _wake_next(self) -> bool:
        return _wake(self._under_way) or _wake(self._waiters)

    def _wake_all(self) -> None:
        while self._wake_next():
            pass

    async def _add(self) -> None:
        child = await self._start_child(self._freed, self._died)
        self._children.append(child)

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_PERIOD)
            for child in list(self._children):
                size = child.memory()
                if size > self._spec.memory:
                    self._replace(child, size)
                if child.leaving and (child.idle or size > 2 * self._spec.memory):
                    child.kill()

    def _replace(self, child: Child, size: int) -> None:
        if child.leaving:
            return
        log.warning("a worker of %s has %d MiB, and is replaced", self._spec.path, size >> 20)
        child.leaving = True
        self._grow()


def _wake(queue: deque[asyncio.Future[None]]) -> bool:
    while queue:
        turn = queue.popleft()
        if not turn.done():
            turn.set_result(None)
            return True
    return False


class ProcessSession:
    """One request."""

    def __init__(self, pool: Processes, number: int, call: Call, limit: Limit) -> None:
        self._pool = pool
        self._number = number
        self._call = call
        self._limit = limit
        self._child: Child | None = None

    async def before(self, _asked: Asked, _began: float) -> Call | Reply:
        head, body = await self._run({"do": "before"})
        if "reply" in head:
            return frames.to_reply(head["reply"], body, self._call)
        self._call = frames.to_call(head["call"], body, self._call._invoke)
        return self._call

    async def during(self, _asked: Asked, events: list[bytes], first: int) -> list[bytes]:
        sizes = [len(event) for event in events]
        head, body = await self._run({"do": "during", "first": first, "sizes": sizes}, *events)
        return frames.split(body, head["sizes"])

    async def after(self, _asked: Asked, reply: Reply, _began: float) -> Reply:
        head, body = await self._run({"do": "after", "reply": frames.reply_head(reply)}, reply.body)
        return frames.to_reply(head["reply"], body, self._call)

    def close(self) -> None:
        if self._child is not None:
            self._child.close(self._number)

    async def _run(self, head: frames.Head, *bodies: bytes) -> tuple[frames.Head, bytes]:
        child: Child | None = None
        try:
            async with self._limit.running():
                under_way = head["do"] != "before"
                child = await self._pool.take(self._number, self._child, self._limit, under_way=under_way)
                self._limit.begins()
                return await child.run(self._number, *self._with_call(child, head, bodies), self._call._invoke)
        except HandlerError as error:
            if not error.timed_out:
                raise
            if child is None:
                raise busy(self._limit.seconds) from error
            # One that asked a model and has no time left since the model had none is not late itself.
            if self._limit.past_deadline() and child.release(self._number):
                self._let_end(child)
            else:
                _kill_if_busy(child, self._number)  # it may have answered just now, and run another's hook
            raise
        except asyncio.CancelledError:
            if child is not None:  # the client left
                child.release(self._number)
                self._let_end(child)
            raise

    def _let_end(self, child: Child) -> None:
        """The hook may end by itself, for as long as it would have been waited for: others may wait in its worker."""
        asyncio.get_running_loop().call_later(self._limit.seconds, _kill_if_busy, child, self._number)

    def _with_call(
        self, child: Child, head: frames.Head, bodies: tuple[bytes, ...]
    ) -> tuple[frames.Head, tuple[bytes, ...]]:
        """The message, with the call when this worker does not have it."""
        if self._number in child.sessions:
            return head, bodies
        if self._child is not None:
            self._child.close(self._number)
        self._child = child
        child.sessions.add(self._number)
        call = self._call
        return {**head, "call": {**frames.call_head(call), "size": len(call.body)}}, (call.body, *bodies)


def _kill_if_busy(child: Child, number: int) -> None:
    if child.busy_with(number):
        child.give_up()
