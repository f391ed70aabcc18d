"""One hosted model, alive: its container, its copies, its faults, its account and the gates of its streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import exp
from statistics import NormalDist
from typing import Any

from .answers import Outlet, Part
from .clock import Clock
from .config import EmulatorConfig, load_faults
from .container import Container, Reply
from .faults import Effects, Fault, applies, draw, effects
from .ledger import Ledger
from .roster import Copy, Roster


class AckGate:
    """The acknowledgements of one open stream."""

    def __init__(self) -> None:
        self._acknowledged = 0
        self._changed = asyncio.Event()

    def acknowledge(self, part: int) -> None:
        """Everything up to `part` (from 1) has arrived."""
        self._acknowledged = max(self._acknowledged, part)
        self._changed.set()

    async def passed(self, part: int) -> None:
        """Return when `part` is acknowledged."""
        while self._acknowledged < part:
            self._changed.clear()
            await self._changed.wait()


class Hosted:
    """A model's live state; faces and the control API work on it, on one event loop."""

    def __init__(self, config: EmulatorConfig, name: str, clock: Clock) -> None:
        self.name = name
        self.config = config.models[name]
        self.container = Container(config, name)
        self.clock = clock
        self.roster = Roster(self.config, clock)
        self.ledger = Ledger(config.prices, self.config.units, windows=self.config.kind == "import")
        self._seed = config.seed
        self._faults: tuple[Fault, ...] = self.config.faults
        self._counts = [0] * len(self._faults)
        self._gates: set[AckGate] = set()
        self._answers = 0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults in force."""
        return self._faults

    def slowness(self, copy: Copy) -> float:
        """By what the times of the next answer on `copy` are multiplied: chance, and who else is there."""
        latency = self.config.latency
        crowd = 1.0 + latency.crowding * (copy.in_flight - 1)
        if not latency.spread:
            return crowd
        self._answers += 1
        even = draw(f"{self._seed}/{self.name}/pace/{self._answers}")
        normal = NormalDist().inv_cdf(min(max(even, 1e-12), 1 - 1e-12))
        return crowd * exp(latency.spread * normal - latency.spread**2 / 2)

    def set_faults(self, faults: object) -> tuple[Fault, ...]:
        """Replace the faults, forget their counts, return the old. Errors: EmulatorConfigError, and nothing changed."""
        new = load_faults(faults, self.config.service)
        old, self._faults = self._faults, new
        self._counts = [0] * len(new)
        return old

    def effects(self, stream: bool) -> Effects:
        """What goes wrong with the call that has just come."""
        counts: list[int] = []
        for index, fault in enumerate(self._faults):
            counted = applies(fault, stream)
            self._counts[index] += counted
            counts.append(self._counts[index] if counted else 0)
        return effects(self._faults, counts, self.config.service, self._seed, self.name)

    @contextmanager
    def gate(self, wanted: bool) -> Iterator[AckGate | None]:
        """A gate for one stream, when faults or configuration ask for it."""
        if not (wanted or self.config.acknowledged):
            yield None
            return
        gate = AckGate()
        self._gates.add(gate)
        try:
            yield gate
        finally:
            self._gates.discard(gate)

    def acknowledge(self, part: int) -> int:
        """Tell all open streams that `part` has arrived; returns how many there are."""
        for gate in self._gates:
            gate.acknowledge(part)
        return len(self._gates)

    @contextmanager
    def seated(self, copy: Copy, reply: Reply) -> Iterator[None]:
        """Hold a place until the answer is out: booked as a success when the block ends well and the reply is a 2xx."""
        try:
            yield
            ok = reply.status < 300
        except BaseException:
            ok = False
            raise
        finally:
            self.roster.leave(copy)
            if ok:
                self.ledger.succeeded(copy.name, reply.prompt_tokens, reply.completion_tokens, self.clock.now())
            else:
                self.ledger.failed(copy.name)

    def state(self) -> Mapping[str, Any]:
        """What `GET /_emulator/models` says."""
        copies = self.roster.copies()
        now = self.clock.now()
        return {
            "kind": self.config.kind,
            "dialect": self.config.dialect,
            "state": self.roster.state(),
            "copies": [
                {
                    "name": copy.name,
                    "in_flight": copy.in_flight,
                    "ready": copy.ready_at <= now,
                    "ready_in": max(0.0, copy.ready_at - now),
                }
                for copy in copies
            ],
            "in_flight": sum(copy.in_flight for copy in copies),
            "waiting": self.roster.waiting,
            "faults": [fault.name for fault in self._faults],
        }


async def connection_fault(fault: Fault, outlet: Outlet, clock: Clock) -> None:
    """Do what a fault of stage `connection` says; a `hang` without `seconds` ends when the client goes."""
    if fault.name == "hang":
        if fault.seconds is None:
            await asyncio.Event().wait()
        await clock.rest(fault.seconds or 0.0)
    outlet.cut("reset" if fault.name == "reset" else "close")


def timed(chunks: Sequence[bytes], first_byte: float, per_part: float) -> tuple[Part, ...]:
    """Parts with their waits: `first_byte` seconds before the first, `per_part` before each other."""
    return tuple(Part(data, first_byte if index == 0 else per_part) for index, data in enumerate(chunks))
