"""How the adaptive limit does where it must let in and where it must hold back: `python -m benchmarks.limits --help`.

A simulation of the pure rule (`policies.limits`), in simulated time: one target with so many places and a queue without
end before them, and one or several processes, each with a limit of its own, that share what comes. Who finds no room is
refused. What the target takes differs from answer to answer as that of models does (log-normal), and a place may be
held by a stream long after its answer began. Nothing here is measured: a scene with the same seed plays the same again.

Goodput is what was finished of what could have been: of what came, or of what the target can do, whichever is less.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from backends.usual import Usual
from policies.kinds import Alike, alike
from policies.limits import START, Bounds, Limit, after_answer, after_silence

BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Phase:
    """So many `seconds` in which requests come at `rate` to a target that is like this."""

    seconds: float
    rate: float
    places: int
    answer: float
    """Mean of the seconds until it answers."""
    lasting: float = 0.0
    """Mean of the seconds that a stream holds its place after that."""
    others: tuple[float, float] = (0.0, 0.0)
    """Of requests of another route that come as well: how many a second, and the mean of the seconds they take."""
    length: float = 1.0
    """Mean length of answers: one that is longer takes `answer` longer, and a target that is slower writes no more."""
    lengths: float = 0.0
    """Standard deviation of the logarithms of lengths."""
    batched: float = 1.0
    """Times as long that an answer takes with all places taken: an engine works on all of them in each step."""
    patience: float = math.inf
    """Seconds after which a client leaves who has no answer; the target does not begin with it any more."""

    @property
    def could(self) -> float:
        """Requests a second that can be finished."""
        rate, answer = self.others
        work = self.rate * (self.answer + self.lasting) + rate * answer
        return (self.rate + rate) * min(1.0, self.places / work / self.batched)


@dataclass(slots=True)
class _Process:
    """One that sends requests, with what it knows."""

    bounds: Bounds
    limit: Limit
    active: int = 0
    streaming: int = 0
    usual: Usual = field(default_factory=Usual)

    def learns(self, took: float, sent: _Sent, now: float, *, came: bool = True) -> None:
        """As a gate does."""
        usual = self.usual.of(sent.like, took, self.limit.pace, came=came)
        self.limit = after_answer(self.limit, took, sent.active, now, self.bounds, sent.streaming, 0.0, usual, came)

    def enters(self, now: float) -> bool:
        self.limit = after_silence(self.limit, now, self.bounds)
        return self.active < max(self.bounds.least, self.limit.value)


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    process: _Process
    at: float
    active: int
    streaming: int
    seconds: float
    """That it takes in the mean, for its length."""
    like: Alike


@dataclass(slots=True)
class Told:
    """What a second of the simulation came to."""

    finished: int = 0
    refused: int = 0
    answers: list[float] = field(default_factory=list)


class Simulation:
    """One target, and those who send requests there."""

    def __init__(self, phases: Sequence[Phase], processes: int = 1, spread: float = 0.3, seed: int = 1) -> None:
        bounds = Bounds(max(1, BOUNDS.least // processes), BOUNDS.most // processes)
        self.processes = [_Process(bounds, Limit(START / processes)) for _ in range(processes)]
        self._phases, self._spread, self._draw = phases, spread, random.Random(seed)
        self._events: list[tuple[float, int, str, _Sent | None]] = []
        self._queue: deque[_Sent] = deque()
        self._left: set[_Sent] = set()
        self._unanswered: set[_Sent] = set()
        self._busy = self._serial = 0

    def play(self) -> list[Told]:
        """What every second came to."""
        told = [Told() for _ in range(math.ceil(sum(phase.seconds for phase in self._phases)))]
        begin = 0.0
        for phase in self._phases:
            end = begin + phase.seconds
            self._next("comes", begin + self._draw.expovariate(phase.rate + phase.others[0]))
            while self._events and self._events[0][0] < end:
                now, _, what, sent = heapq.heappop(self._events)
                self._happens(what, sent, phase, now, told[min(int(now), len(told) - 1)])
            self._events = [event for event in self._events if event[2] != "comes"]
            heapq.heapify(self._events)
            begin = end
        return told

    def _next(self, what: str, at: float, sent: _Sent | None = None) -> None:
        self._serial += 1
        heapq.heappush(self._events, (at, self._serial, what, sent))

    def _happens(self, what: str, sent: _Sent | None, phase: Phase, now: float, told: Told) -> None:
        if sent is None:
            self._next("comes", now + self._draw.expovariate(phase.rate + phase.others[0]))
            process = self._draw.choice(self.processes)
            if process.enters(now):
                process.active += 1
                self._queue.append(sent := self._sent(process, phase, now))
                self._unanswered.add(sent)
                if phase.patience < math.inf:
                    self._next("leaves", now + phase.patience, sent)
            else:
                told.refused += 1
        elif what == "leaves":
            self._leaves(sent, now)
        elif sent in self._left:
            self._left.remove(sent)
            self._busy -= 1
        elif what == "answers":
            self._unanswered.remove(sent)
            process, took = sent.process, now - sent.at
            process.learns(took, sent, now)
            told.answers.append(took)
            process.streaming += 1
            self._next("ends", now + (self._took(phase.lasting) if phase.lasting else 0.0), sent)
        else:
            sent.process.active -= 1
            sent.process.streaming -= 1
            self._busy -= 1
            told.finished += 1
        while self._queue and self._busy < phase.places:
            sent = self._queue.popleft()
            if sent in self._left:
                self._left.remove(sent)
                continue
            self._busy += 1
            slower = 1.0 + (phase.batched - 1.0) * self._busy / phase.places
            self._next("answers", now + self._took(sent.seconds) * slower, sent)

    def _leaves(self, sent: _Sent, now: float) -> None:
        if sent in self._unanswered:
            self._unanswered.remove(sent)
            self._left.add(sent)
            sent.process.active -= 1
            sent.process.learns(now - sent.at, sent, now, came=False)

    def _sent(self, process: _Process, phase: Phase, now: float) -> _Sent:
        rate, seconds = phase.others
        other = rate > 0.0 and self._draw.random() * (phase.rate + rate) > phase.rate
        length = _about(self._draw, phase.lengths) if phase.lengths else 1.0
        like = alike("another" if other else "one", 1000, round(1000 * phase.length * length))
        seconds = (seconds if other else phase.answer) * length
        return _Sent(process, now, process.active, process.streaming, seconds, like)

    def _took(self, mean: float) -> float:
        return mean * _about(self._draw, self._spread)


def _about(draw: random.Random, spread: float) -> float:
    """One in the mean."""
    return draw.lognormvariate(-(spread**2) / 2.0, spread)


@dataclass(frozen=True, slots=True)
class Result:
    """Of a scene's last phase: shares of what could be finished, and the wait for an answer."""

    goodput: float
    late_goodput: float
    """Of its last quarter."""
    wait: float
    """Median wait in its last quarter, in times what the target takes in the mean."""
    refused: float
    """Share of what came."""
    limits: tuple[float, ...]


def result(phases: Sequence[Phase], processes: int = 1, spread: float = 0.3, seed: int = 1) -> Result:
    """What the last of these phases came to."""
    simulation, last = Simulation(phases, processes, spread, seed), phases[-1]
    told = simulation.play()[-math.ceil(last.seconds) :]
    quarter = told[-len(told) // 4 :]
    whole, late = (sum(each.finished for each in some) / len(some) / last.could for some in (told, quarter))
    waits = [wait for each in quarter for wait in each.answers]
    median = statistics.median(waits) / last.answer if waits else math.inf
    refused = sum(each.refused for each in told) / ((last.rate + last.others[0]) * len(told))
    return Result(whole, late, median, refused, tuple(round(each.limit.value, 1) for each in simulation.processes))


SCENES = {
    "a healthy target, 30 % used": [Phase(300, 60, 200, 1.0)],
    "a healthy target, 80 % used": [Phase(300, 150, 200, 1.0)],
    "healthy, streams of 20 s": [Phase(300, 5, 200, 0.3, 20.0)],
    "three times too much": [Phase(20, 50, 32, 0.3), Phase(600, 320, 32, 0.3)],
    "three times too much, eight places": [Phase(20, 5, 8, 1.0), Phase(600, 24, 8, 1.0)],
    "three times too much, streams": [Phase(60, 1, 60, 0.3, 20.0), Phase(400, 9, 60, 0.3, 20.0)],
    "a quarter of the places left": [Phase(60, 600, 200, 0.2), Phase(300, 600, 50, 0.2)],
    "four times slower for good": [Phase(60, 300, 200, 0.2), Phase(400, 200, 200, 0.8)],
    "ten times slower for good": [Phase(60, 300, 200, 0.2), Phase(400, 80, 200, 2.0)],
    "thirty times slower for good": [Phase(60, 300, 200, 0.05), Phase(400, 100, 200, 1.5)],
    "streams, four times slower for good": [Phase(60, 3, 200, 0.3, 20.0), Phase(900, 3, 200, 1.2, 20.0)],
    "streams, ten times slower for good": [Phase(60, 3, 200, 0.3, 20.0), Phase(900, 3, 200, 3.0, 20.0)],
    "a second kind comes": [Phase(120, 10, 200, 0.1), Phase(600, 10, 200, 0.1, 0.0, (10.0, 5.0))],
    "a second kind comes and goes": [*([Phase(120, 10, 200, 0.1), Phase(120, 10, 200, 0.1, 0.0, (10.0, 5.0))] * 4)],
    "three times too much, two kinds": [
        Phase(120, 20, 32, 0.1, 0.0, (2.0, 5.0)),
        Phase(600, 160, 32, 0.1, 0.0, (16.0, 5.0)),
    ],
    "a second kind is too much": [Phase(120, 10, 32, 0.1), Phase(600, 10, 32, 0.1, 0.0, (20.0, 5.0))],
    "answers of all lengths, 80 % used": [Phase(300, 150, 200, 1.0, lengths=1.0)],
    "answers become ten times longer": [
        Phase(120, 30, 200, 0.3, lengths=1.0),
        Phase(600, 30, 200, 3.0, length=10.0, lengths=1.0),
    ],
    "answers of all lengths, three times too much": [
        Phase(20, 50, 32, 0.3, lengths=1.0),
        Phase(600, 320, 32, 0.3, lengths=1.0),
    ],
    "answers of all lengths, ten times slower for good": [
        Phase(60, 300, 200, 0.2, lengths=1.0),
        Phase(400, 80, 200, 2.0, lengths=1.0),
    ],
    "three times too much, impatient clients": [
        Phase(30, 20, 32, 1.0, patience=4.0),
        Phase(600, 96, 32, 1.0, patience=4.0),
    ],
    "three times too much, clients in a hurry": [
        Phase(30, 20, 32, 1.0, patience=3.0),
        Phase(600, 96, 32, 1.0, patience=3.0),
    ],
    "answers of all lengths, impatient clients": [Phase(900, 60, 200, 1.0, lengths=1.0, patience=4.0)],
    "an engine that batches, 80 % used": [Phase(300, 20.5, 256, 2.0, lengths=0.7, batched=5.0)],
    "an engine that batches, 90 % used": [Phase(300, 23.0, 256, 2.0, lengths=0.7, batched=5.0)],
    "an engine that batches, three times too much": [
        Phase(60, 10.0, 256, 2.0, lengths=0.7, batched=5.0),
        Phase(600, 77.0, 256, 2.0, lengths=0.7, batched=5.0),
    ],
    "too much, and then not": [Phase(20, 50, 32, 0.3), Phase(300, 320, 32, 0.3), Phase(300, 60, 32, 0.3)],
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__, allow_abbrev=False)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 3], help="that send requests (%(default)s)")
    parser.add_argument(
        "--spread", type=float, nargs="+", default=[0.3, 0.8], help="standard deviations of logarithms (%(default)s)"
    )
    parser.add_argument("--scene", default="", help="only those whose name has this in it")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (%(default)s)")
    for line in table(parser.parse_args()):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def table(asked: argparse.Namespace) -> Iterator[str]:
    """Its lines, as they come."""
    yield "| scene | processes | spread | goodput | of the last quarter | refused | wait | limits at the end |"
    yield "|---|---:|---:|---:|---:|---:|---:|---|"
    for name, phases in SCENES.items():
        if asked.scene in name:
            for processes in asked.processes:
                for spread in asked.spread:
                    came = result(phases, processes, spread, asked.seed)
                    shares = f"{came.goodput:.2f} | {came.late_goodput:.2f} | {came.refused:.1%} | {came.wait:.2f} x"
                    limits = " ".join(f"{limit:.0f}" for limit in came.limits)
                    yield f"| {name} | {processes} | {spread} | {shares} | {limits} |"


if __name__ == "__main__":
    main()
