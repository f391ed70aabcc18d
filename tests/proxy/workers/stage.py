"""Two workers that keep what is promised: at first, after a reload, and after one of them was killed with `kill -9`."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from .crowd import CLIENTS, Crowd
from .engines import Engines
from .serving import Serving

TIMES = ("at first", "after a reload", "after a kill -9")


@dataclass
class Stage:
    """Two workers and what is behind them."""

    running: Serving
    engines: Engines
    sessions: set[str] = field(default_factory=set)
    """Those that were opened before."""
    homes: dict[bytes, set[bytes]] = field(default_factory=dict)
    """Which replica had the prompts that begin so."""
    hedged: list[int] = field(default_factory=list)
    """How many requests were hedged, each time."""
    served: list[int] = field(default_factory=list)
    """How many requests of the owner with a quota were answered, each time."""

    def crowd(self, stack: ExitStack, others: int = 0) -> Crowd:
        """Clients of both workers, beside `others` that are connected."""
        while True:  # the test's own limit bounds it
            crowd = Crowd(self.running.port)
            # A first answer each: the connections are accepted, and by whom is known.
            assert {answer.status for answer in crowd.answers("cool")} == {200}
            while sum(shares := self.connections()) != CLIENTS + others:
                time.sleep(0.02)  # some that a test before closed are still there
            if min(shares) >= 2:
                stack.callback(crowd.close)
                return crowd
            crowd.close()

    def connections(self) -> list[float]:
        """Those of each worker."""
        return [self.running.value(f'pointsman_worker_connections{{worker="{number}"}}') for number in (0, 1)]

    def counted(self, metric: str, **labels: str) -> float:
        """A counter, added up over the workers."""
        told = [f'{name}="{value}"' for name, value in labels.items()]
        page = [line for line in self.running.read("/metrics").splitlines() if line.startswith(f"{metric}{{")]
        return sum(float(line.split()[-1]) for line in page if all(label in line for label in told))


def come_to(stage: Stage, when: str) -> Stage:
    """The same processes with another policy in force, or with another worker."""
    running = stage.running
    if when == "after a reload":
        running.policy.write_text(running.policy.read_text() + "  more: {serve_from: quick}\n")
        running.process.send_signal(signal.SIGHUP)
        while {worker["policy"].split("/")[1] for worker in running.ready()["workers"]} != {"2"}:
            time.sleep(0.02)
    if when == "after a kill -9":
        victim = running.pids()[0]
        os.kill(victim, signal.SIGKILL)
        while victim in (now := running.pids()) or len(now) < 2 or running.value("pointsman_worker_up") < 2:
            time.sleep(0.02)
    return stage
