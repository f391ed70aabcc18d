"""The traffic: good requests, and every fault of the chaos suite, drawn from one seeded source.

Each answer is held against its promise. Under a mix a fault may come to what its fallback gives, once the breaker of
its own target is open, and a cold model is warm after its first request; both count as promised.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from backends.http.transport import HttpTransport, Outgoing, TransportError
from tests.chaos.broken_answers import HEALTHY
from tests.chaos.broken_requests import LINE, REQUESTS
from tests.chaos.client import STREAM, UNARY, request
from tests.chaos.faults import WHOLE, Fault, Refused, Served
from tests.chaos.stage import Stage
from tests.chaos.table import PACED, STREAM_FLOWS, STREAM_WAITS, UPSTREAMS, WAITS
from tests.contract.raw import Exchange

EXAMPLES = 3
"""Broken promises of one kind of traffic that are told in full."""

HANDLERS = {
    "handler-well": "def before(call):\n    call.state['size'] = len(call.body)\ndef after(reply):\n    return None\n",
    "handler-raises": "def before(call):\n    raise ValueError('no')\n",
    "handler-dies": "import os\ndef before(call):\n    os._exit(3)\n",
}
BEHIND = {"path": "", "workers": 1, "fail_after": 64, "timeout": "2s"}


ROOMY = {"limit": {"min": 500}}
"""What adapts to a target finds a busy machine slow, and a target that never answers full: it would shed what is to be
counted here."""


def handled(name: str) -> Fault:
    """A healthy target behind a handler."""
    broken = Refused(424, "ModelError", 500)
    promise = Served() if name == "handler-well" else broken
    return Fault(name, promise, HEALTHY.script, target=ROOMY, route={"handler": {**BEHIND, "path": f"{name}.py"}})


HANDLED = tuple(map(handled, HANDLERS))
GOOD_STREAM = replace(PACED, target=ROOMY)
FAULTS = tuple(replace(fault, target={**ROOMY, **fault.target}) for fault in UPSTREAMS if fault.plays == 1)
"""Without those of idle connections: in a mix none is idle for long enough to be told from one in use."""
EVERYTHING = (*FAULTS, HEALTHY, WAITS, STREAM_WAITS, STREAM_FLOWS, GOOD_STREAM, *HANDLED)


@dataclass(slots=True)
class Mix:
    """Traffic towards one stage."""

    stage: Stage
    transport: HttpTransport
    draw: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, rate: float, seconds: float, policy: Path) -> None:
        """Requests at a steady rate, open loop, and a new policy every ten seconds; returns when all have ended."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(int(rate * seconds)):
            early = began + number / rate - loop.time()
            if early > 0:
                await asyncio.sleep(early)
            if number % int(rate * 10) == 0:
                self._reload(policy, number)
            task = loop.create_task(self._one())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        await asyncio.gather(*self._under_way)

    def _reload(self, policy: Path, number: int) -> None:
        text = policy.read_text()
        policy.write_text(text.partition("\n#")[0] + f"\n# {number}\n")
        self.stage.proxy.process.send_signal(signal.SIGHUP)

    async def _one(self) -> None:
        kinds: Mapping[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "good": (45, self._good),
            "good stream": (10, lambda: self._play("good stream", GOOD_STREAM)),
            "handler": (6, lambda: self._play("handler", self.draw.choice(HANDLED))),
            "fault of an upstream": (27, lambda: self._play("fault of an upstream", self.draw.choice(FAULTS))),
            "malformed request": (5, self._malformed),
            "client gone": (6, self._gone),
            "client that does not read": (1, self._lazy),
        }
        names = list(kinds)
        name = self.draw.choices(names, [kinds[each][0] for each in names])[0]
        self.counts[name] += 1
        try:
            await kinds[name][1]()
        except (AssertionError, OSError, TransportError, TimeoutError, ValueError) as error:
            self._broken(name, f"{type(error).__name__}: {error}")

    def _broken(self, name: str, why: str) -> None:
        self.wrong[name] += 1
        if self.wrong[name] <= EXAMPLES:
            self.examples.append(f"{name}: {why[:300]}")

    async def _good(self) -> None:
        """Over a connection that is kept."""
        loop = asyncio.get_running_loop()
        url = f"http://127.0.0.1:{self.stage.proxy.port}/endpoints/{HEALTHY.slug}/{UNARY}"
        outgoing = Outgoing("POST", url, (("Content-Type", "application/json"),), b"{}")
        answer = await self.transport.send(outgoing, deadline=loop.time() + 20.0, connect_timeout=5.0)
        try:
            body = await answer.read(10_000)
            assert (answer.status, body) == (200, WHOLE), (answer.status, body, answer.headers)
        finally:
            await answer.aclose()

    async def _play(self, name: str, fault: Fault) -> None:
        answer = await self.stage.play(fault)
        try:
            self._hold(fault, answer)
        except (AssertionError, ValueError, KeyError) as error:
            if self._slow(fault, answer):
                self.late[name] += 1
            else:
                self._broken(name, f"{fault.name}: {answer.status} {answer.body[-400:]!r} {error}")
        else:
            self.late[name] += answer.seconds > fault.within

    @staticmethod
    def _slow(fault: Fault, answer: Exchange) -> bool:
        """Whether a busy machine explains it: its half second was over, or a handler's new worker not there."""
        original = {b'"OriginalStatusCode":0', b'"OriginalStatusCode":503'}
        waited = fault.brief or "handler" in fault.route
        return waited and answer.status == 424 and any(each in answer.body for each in original)

    @staticmethod
    def _hold(fault: Fault, answer: Exchange) -> None:
        by_fallback = "fallback" in fault.route and answer.headers.get("x-pointsman-target") == HEALTHY.slug
        warm_by_now = fault.asked is None and answer.status == 200
        (Served() if by_fallback or warm_by_now else fault.promise).hold(answer)

    async def _malformed(self) -> None:
        malformed = self.draw.choice(REQUESTS)
        async with self.stage.client(malformed.sent) as client:
            answer = await client.answer()
        assert (answer.status, answer.whole, answer.rest) == (malformed.status, True, b""), (malformed.name, answer)

    async def _gone(self) -> None:
        """A client that leaves at one of four stages."""
        sent = self.draw.choice(
            [
                LINE,
                LINE + b"Content-Length: 1000000\r\n\r\n" + b"x" * 10_000,
                request(WAITS.slug),
                request(STREAM_WAITS.slug, STREAM_WAITS.body, STREAM),
            ]
        )
        async with self.stage.client(sent) as client:
            await asyncio.sleep(self.draw.random() * 0.2)
            client.reset()

    async def _lazy(self) -> None:
        """A client that reads a little of a stream, and then nothing until it is cut off."""
        async with self.stage.client(request(STREAM_FLOWS.slug, STREAM_FLOWS.body, STREAM)) as client:
            assert await client.reader.read(100), "no stream"
            client.pause()
            await asyncio.sleep(6.0)
