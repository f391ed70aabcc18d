"""Who gets in when a target, or an owner, has enough: limits, short queues, and quick refusals.

One gate for each target: so many requests at a time as `policies.limits` finds right, and a queue behind it that is
bounded in requests, in bytes and in time. A queue that empties again has caught a burst, as comes after each moment in
which a machine stood still; one that stands only makes everyone late. So one that was empty a moment ago holds a moment
of work, and any other as much as an answer takes. Each target has its own, so that a hot one keeps nobody else waiting.
A full queue gives up its newest request of the lowest rank for one of a higher rank; otherwise the newcomer is refused
at once. Refusals are `Refused`, with the seconds after which to come again.

Book-keeping is synchronous; only `queue` waits. Whoever got in calls `leave` exactly once.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from policies.kinds import Alike
from policies.limits import START, Limit, after_answer, after_pushback, after_silence, queue_holds
from policies.quotas import Quota
from policies.table import LimitRule, Target

from .book import places
from .owners import Owners
from .patience import Alarm
from .turns import Bell, Waiting
from .usual import Usual

RANKS: Mapping[str, int] = MappingProxyType({"last": 0, "normal": 1, "first": 2})
"""By a route's `shed`: who is let in before whom."""
SOONEST, LATEST = 1.0, 30.0
"""Seconds between which a refusal asks to come again."""
SPACE = 0.0005
"""Seconds between two answers of which a limit learns: two thousand in a second say no less than all."""
LOOK = 0.05
"""Seconds between two looks at who still waits in vain, where answers come later and the limit has not fallen."""
HELD = 0.1
"""Weight of one stream in how long streams of a target last."""


class Refused(Exception):
    """No room; `retry_after` is in seconds."""

    def __init__(self, why: str, retry_after: float) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class Gate:
    """One target's: who is inside, who waits, and how many there may be."""

    __slots__ = (
        "_begins", "_bell", "_clock", "_fell", "_limit", "_looks_from", "_unheard", "_usual", "active", "began",
        "bytes", "held", "listens_from", "queues", "rule", "spare", "streaming", "waiting", "written",
    )  # fmt: skip

    def __init__(self, workers: int = 1, clock: float = 0.0) -> None:
        """`workers` processes begin with a part of the places each; `clock` is what the clock that all who send
        requests to the target have in common is ahead of the loop's."""
        self.written: LimitRule | None = None
        self.rule = LimitRule()
        self._clock = clock
        self._begins = Limit(START / workers)
        self._limit = self._begins
        self._usual = Usual()
        self._unheard: list[tuple[float, int, int, float, Alike, bool]] = []
        self._fell = False
        self._looks_from = -math.inf
        self._bell = Bell(self.admit)
        self.listens_from = -math.inf
        """When the next answer counts, on the loop's clock; `answered` need not be told of those before."""
        self.active = 0
        self.spare = 0
        self.streaming = 0
        """Places whose answer has begun and goes on."""
        self.held: float | None = None
        """Seconds that a stream holds its place, of late."""
        self.bytes = 0
        self.waiting = 0
        self.began = 0.0
        """When the queue was empty last, on the loop's clock."""
        self.queues: tuple[OrderedDict[int, Waiting], ...] = tuple(OrderedDict() for _ in RANKS)

    @property
    def limit(self) -> Limit:
        """What all answers so far have shown of the target."""
        if self._unheard:
            self._hear()
        return self._limit

    def enter(self) -> bool:
        """Take a place if one is free and nobody waits for it."""
        active, least = self.active, self.rule.bounds.least
        if self.waiting or (active >= least and not self.has_room()):
            return False
        self.active = active + 1
        return True

    def answered(
        self, seconds: float, inside: int, streaming: int, now: float, like: Alike, *, came: bool = True
    ) -> bool:
        """The target answered, or began to, after `seconds`; `inside` and `streaming` are what `active` and `streaming`
        were when it was asked. True where `learn` is to follow, soon: what an answer shows of the limit is for later
        requests, and its own need not wait until it is understood. Not `came`: it was waited for so long, in vain."""
        if now < self.listens_from:
            return False
        self.listens_from = now + SPACE
        unheard = self._unheard
        unheard.append((seconds, inside, streaming, now, like, came))
        return len(unheard) == 1

    def learn(self) -> None:
        """Learn of the answers that came since. Whoever asks for the limit first gets it with them all the same."""
        self._hear()
        fell, self._fell = self._fell, False
        if self.waiting:
            now = asyncio.get_running_loop().time()
            if fell or now >= self._looks_from:
                self.give_up(now)
            self.admit()

    def _hear(self) -> None:
        limit, bounds = self._limit, self.rule.bounds
        for seconds, inside, streaming, now, like, came in self._unheard:
            usual = self._usual.of(like, seconds, limit.pace, came=came)
            limit = after_answer(limit, seconds, inside, now, bounds, streaming, self._clock, usual, came)
        self._unheard.clear()
        if limit.value < self._limit.value:
            self._fell = True
        self._limit = limit

    def give_up(self, now: float) -> None:
        """Who waits and can't have its turn in time any more is told so now, and not at the end of that time: elsewhere
        there may be a place for it."""
        ahead, self._looks_from = 0, now + LOOK
        for rank, queue in enumerate(self.queues):
            for key, each in list(queue.items()):
                if self.turn_of(ahead) <= each.until - now:
                    ahead += 1
                    continue
                self.drop(rank, key)
                if not each.admitted.done():
                    each.admitted.set_exception(self.refusal("a turn would come too late"))

    def pushed_back(self, now: float) -> None:
        """The target said that it has too much to do."""
        self._limit = after_pushback(self.limit, now, self.rule.bounds)
        if self.waiting:
            self.give_up(now)

    def streams(self) -> None:
        """The answer is a stream: its place is held for as long as it lasts."""
        self.streaming += 1

    def streamed(self, seconds: float) -> None:
        """It is over, and held its place for so long. `leave` comes as well."""
        self.streaming -= 1
        self.held = seconds if self.held is None else self.held + (seconds - self.held) * HELD

    def moved(self) -> None:
        """The target is another one: what it bears is not known. Who is inside or waits is so all the same."""
        self._unheard.clear()
        self._limit, self._usual, self.held = self._begins, Usual(), None

    def leave(self) -> None:
        """Give the place back, to whoever waits for it."""
        self.active -= 1
        if self.waiting:
            self.admit()

    def has_room(self) -> bool:
        limit, bounds = self.limit, self.rule.bounds
        if self.active < bounds.least or (self.active < limit.value and self.active < bounds.most):
            return True
        if limit.hold is None:
            return False
        self._limit = limit = after_silence(limit, asyncio.get_running_loop().time(), bounds)
        return self.active < min(limit.value, bounds.most)

    def places(self) -> float:
        """Requests that may be inside at a time: what is known of the target, inside the policy's bounds."""
        bounds = self.rule.bounds
        return min(max(self.limit.value, bounds.least), bounds.most)

    def drop(self, rank: int, key: int) -> Waiting | None:
        waiting = self.queues[rank].pop(key, None)
        if waiting is not None:
            self.bytes -= waiting.size
            self.waiting -= 1
        return waiting

    def too_late(self, ahead: int, seconds: float, now: float) -> bool:
        """Whether a turn behind so many others would come too late: after `seconds`, or than a queue may hold."""
        return self.turn_of(ahead) > min(seconds, queue_holds(self.limit, now - self.began))

    def is_full(self, size: int) -> bool:
        """Whether the policy's bounds of the queue leave no room for one more of `size` bytes."""
        return self.waiting >= self.rule.queue or self.bytes + size > self.rule.queue_bytes

    def turn_of(self, ahead: int) -> float:
        """Seconds until so many have had their turn. Where the limit fell below those who are inside, as many of them
        have to leave first as are too many; where it is held, until it is let go at most."""
        limit, recent = self.limit, self.limit.seconds
        if not recent:
            return 0.0
        over = max(self.active - self.places(), 0.0)
        turn = self._leave(over, self.active, recent) + self._leave(ahead, limit.value, recent)
        if limit.hold is None:
            return turn
        rest = max(limit.hold.until - asyncio.get_running_loop().time(), 0.0)
        return min(turn, rest + self._leave(ahead, limit.hold.back, recent))

    def _leave(self, many: float, inside: float, recent: float) -> float:
        """Seconds in which so many leave while so many are inside: after an answer, or after a whole stream."""
        held = self.held if self.held is not None and self.held > recent else recent
        inside = max(inside, 1.0)
        lasting = min(self.streaming, inside)
        return many / ((inside - lasting) / recent + lasting / held)

    def make_room(self, rank: int, size: int, seconds: float, now: float) -> bool:
        """Whether one more may wait; those of a lower rank, the newest first, give way for it, and nobody in vain."""
        rule = self.rule
        if not self.waiting:
            self.began = now
        waiting, held = self.waiting, self.bytes
        lower = ((other, key) for other in (2, 1) if other > rank for key in reversed(self.queues[other]))
        giving_way: list[tuple[int, int]] = []
        while waiting >= rule.queue or held + size > rule.queue_bytes or self.too_late(waiting, seconds, now):
            found = next(lower, None)
            if found is None:
                return False
            giving_way.append(found)
            waiting, held = waiting - 1, held - self.queues[found[0]][found[1]].size
        for other, key in giving_way:
            evicted = self.drop(other, key)
            if evicted is not None and not evicted.admitted.done():
                evicted.admitted.set_exception(self.refusal("made room for one of a higher rank"))
        return True

    def refusal(self, why: str) -> Refused:
        return Refused(why, min(LATEST, max(SOONEST, self.turn_of(self.waiting))))

    def admit(self) -> None:
        """Let in who waits, as far as there is room; while the target is held, again when it is let go at last."""
        for queue in self.queues:
            while queue and self.has_room():
                waiting = self.drop(self.queues.index(queue), next(iter(queue)))
                if waiting is not None and not waiting.admitted.done():
                    self.active += 1
                    waiting.admitted.set_result(None)
        if self.waiting and self._limit.hold is not None:
            self._bell.at(self._limit.hold.until)


class Gates:
    """All gates of one process, made inside its loop."""

    def __init__(self, workers: int = 1, clock: float = 0.0, owners: Owners | None = None) -> None:
        """`workers` processes share what the policy lets a target bear, and by `owners` what it grants an owner.
        `clock`: seconds that the wall's clock, which they have in common with other machines, is ahead of the
        loop's."""
        self._gates: dict[str, Gate] = {}
        self._places: dict[str, tuple[object, ...]] = {}
        self._limits: dict[str, LimitRule] = {}
        """By target, as the policy in force has them: who still goes by an older one is bound by these as well."""
        self._owners = owners if owners is not None else Owners()
        self._workers, self._clock = workers, clock
        self._serial = 0

    def enter(self, target: Target) -> bool:
        """Take a place at the target if one is free and nobody waits for it."""
        return self.of(target).enter()

    def enter_spare(self, target: Target) -> bool:
        """Begin work of our own there: only while less than half of the places are taken and nobody waits.

        It takes no place: however much of it there is, clients have all of them. Whoever got in calls `leave_spare`.
        """
        if not self.spacious(target):
            return False
        self.of(target).spare += 1
        return True

    def spacious(self, target: Target) -> bool:
        """Whether less than half of the places at the target are taken, and nobody waits for one."""
        gate = self.of(target)
        return not gate.waiting and 2 * (gate.active + gate.spare) < gate.places()

    def full(self, target: Target) -> bool:
        """Whether clients wait for a place at the target, or the next one would."""
        gate = self.of(target)
        return gate.waiting > 0 or not gate.has_room()

    def leave_spare(self, target: Target) -> None:
        """Work of our own is over."""
        self.of(target).spare -= 1

    async def queue(self, target: Target, shed: str, size: int, seconds: float) -> None:
        """Wait for a place at the target, at most `seconds`, holding `size` bytes. Raises Refused."""
        gate, rank, loop = self.of(target), RANKS[shed], asyncio.get_running_loop()
        seconds, now = min(seconds, gate.rule.wait), loop.time()
        if not gate.make_room(rank, size, seconds, now):
            why = "the queue is full" if gate.is_full(size) else "a turn would come too late"
            raise gate.refusal(why)
        self._serial += 1
        key, admitted = self._serial, loop.create_future()
        gate.queues[rank][key] = Waiting(admitted, size, now + seconds)
        gate.bytes += size
        gate.waiting += 1
        gate.admit()
        late = Alarm(loop, now + seconds, lambda: _refuse(admitted, gate))
        try:
            await admitted
        except BaseException:
            gate.drop(rank, key)
            if admitted.done() and not admitted.cancelled() and admitted.exception() is None:
                gate.leave()  # let in at the very moment of going
            raise
        finally:
            late.cancel()

    def pushed_back(self, target: Target, now: float) -> None:
        """The target said that it has too much to do."""
        self.of(target).pushed_back(now)

    def leave(self, target: Target) -> None:
        """Give the place back, to whoever waits for it."""
        self.of(target).leave()

    def admit_owner(self, quota: Quota, now: float) -> None:
        """Take one request out of the owner's quota. Raises Refused when there is none, or tokens are owed: then it
        takes nothing, so that who asks again and again while tokens are owed has requests left when they are not."""
        over = self._owners.admit(quota, now)
        if over is not None:
            what, wait = over
            why = f"owner {quota.owner} is over its {what}"
            raise Refused(why, min(LATEST, max(SOONEST, wait)))

    def charge_owner(self, quota: Quota, tokens: int, now: float) -> None:
        """Take what a request used out of the owner's tokens, into debt if need be."""
        if quota.tokens is not None:
            self._owners.charge(quota, tokens, now)

    def keep(self, targets: Iterable[Target]) -> None:
        """Forget targets that no policy names any more and where nobody is, and limits of those that moved. Where there
        is more room now, who waits gets in."""
        named = {target.name: target for target in targets}
        kept = {name: places(target) for name, target in named.items()}
        self._limits = {name: target.limit for name, target in named.items()}
        for name, before in self._places.items():
            if name in self._gates and not set(before) & set(kept.get(name, before)):
                self._gates[name].moved()
        self._places = kept
        gone = [
            name
            for name, gate in self._gates.items()
            if name not in kept and not gate.active + gate.spare + gate.waiting
        ]
        for name in gone:
            del self._gates[name]
        for name in self._gates.keys() & named.keys():
            self.of(named[name]).admit()

    def states(self) -> Iterator[tuple[str, int, int, int]]:
        """Of each target that has been asked: name, limit, requests inside, requests waiting."""
        for name, gate in self._gates.items():
            yield name, int(gate.places()), gate.active, gate.waiting

    def of(self, target: Target) -> Gate:
        """The gate of `target`; as long as anybody is in it or waits, whoever asks gets the same."""
        gate = self._gates.get(target.name)
        if gate is None:
            gate = self._gates[target.name] = Gate(self._workers, self._clock)
        limit = self._limits.get(target.name, target.limit)
        if gate.written is not limit:
            gate.written, gate.rule = limit, limit.part(self._workers)
        return gate


def _refuse(admitted: asyncio.Future[None], gate: Gate) -> None:
    if not admitted.done():
        admitted.set_exception(gate.refusal("waited too long in the queue"))
