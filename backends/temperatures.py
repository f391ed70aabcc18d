"""How warm every target is right now, who restores it, and who waits for it: `policies.temperature`, alive.

Tracked are the targets that the policy says may go cold (`cold:`) and those that were found cold; while there are none,
`tracked` is empty and a request pays one look at it. A target that is ready costs two comparisons a request: `calm`
holds until its idle limit has passed, and an answer moves that moment on.

A target with several addresses is one target here: it is cold when each of them has refused a call for being cold and
none has answered since. One cold replica of three says nothing of the others; the next attempt goes to another. So it
is with a call that names one model or variant of an endpoint: that one is not loaded, and the others may be.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from policies import temperature as heat
from policies.table import Target
from policies.temperature import Estimate, Temperature, Warmth

from .base import Call
from .book import places
from .patience import limit

VERDICT = 1.0
"""Seconds that callers wait for the first one's answer at a target that may be cold: a service that refuses a cold call
does so within milliseconds, and one that is warm is not held up for long."""


RECENT = 0.1
"""Weight of the newest answer in what an answer is expected to take."""


def in_part(target: Target, call: Call) -> bool:
    """Whether `call` is for one model or variant of its target, so that a refusal says nothing of the whole."""
    asked = call.invocation
    return target.kind == "endpoint" and (asked.target_model is not None or asked.target_variant is not None)


class Full(Exception):
    """As many callers wait for a target, or as many bytes, as its queue may hold."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a target, for operators."""

    target: str
    warmth: Warmth
    since: float | None
    """Seconds since it was found cold; None: it is not."""
    restore: Estimate
    waiting: int
    copies: tuple[int, int] | None


class _Entry:
    __slots__ = (
        "again",
        "askers",
        "bytes",
        "calm_until",
        "changed",
        "claimed",
        "limit",
        "shortest",
        "target",
        "took",
        "used",
        "value",
        "waiting",
    )

    def __init__(self, target: Target) -> None:
        self.value = heat.NEW
        self.used: float | None = None  # apart from the value, so that an answer of a warm target makes no object
        self.calm_until = -math.inf
        self.limit = math.inf
        self.took = 0.0
        self.claimed = -math.inf
        self.again = -math.inf
        self.askers = 0
        self.waiting = 0
        self.bytes = 0
        self.changed = asyncio.Event()
        self.aim(target)

    def forget(self) -> None:
        """It is another target from now on; whoever waits sees for himself what this one is."""
        self.value, self.used, self.took = heat.NEW, None, 0.0
        self.calm_until = self.claimed = self.again = -math.inf
        self.limit = math.inf
        self.ring()

    def aim(self, target: Target) -> None:
        self.target = target
        self.shortest = target.restore[0] if target.restore else heat.RESTORE[0]

    def now_known(self) -> Temperature:
        return self.value if self.value.used == self.used else replace(self.value, used=self.used)

    def become(self, value: Temperature, now: float) -> None:
        """Take a new value and wake everyone who waits to hear of one."""
        before, self.value, self.used = self.now_known(), value, value.used
        self.limit = heat.idle_limit(value, self.target.idle_limit)
        self.calm_until = -math.inf
        if self.warmth(now) is Warmth.READY and heat.share(value, now) >= 1.0 and value.used is not None:
            self.calm_until = value.used + self.limit
        if (before.cold_since, before.restoring, before.used) != (value.cold_since, value.restoring, value.used):
            self.ring()

    def ring(self) -> None:
        """Wake everyone who waits to hear something."""
        self.changed.set()
        self.changed = asyncio.Event()

    def warmth(self, now: float) -> Warmth:
        return heat.warmth(self.now_known(), now, self.target.idle_limit, self.shortest)


class Temperatures:
    """The temperatures of one process's targets, made and used inside its loop."""

    __slots__ = ("_out", "_places", "tracked")

    def __init__(self) -> None:
        self.tracked: dict[str, _Entry] = {}
        """By target; empty while nothing can be cold."""
        self._out: dict[str, dict[int, float]] = {}
        """By target with several addresses: which of them were last found cold, and when."""
        self._places: dict[str, tuple[object, ...]] = {}
        """By target: what each of its addresses is."""

    def keep(self, targets: Iterable[Target]) -> None:
        """Track those of a new policy that declare `cold`, and forget what it does not name or has somewhere else."""
        named = {target.name: target for target in targets}
        at = {name: places(target) for name, target in named.items()}
        for name, before in self._places.items():
            self._move(name, before, at.get(name, before))
        self._places = at
        self._out = {name: out for name, out in self._out.items() if name in named}
        self.tracked = {name: entry for name, entry in self.tracked.items() if name in named or entry.waiting}
        for name, target in named.items():
            entry = self.tracked.get(name)
            if entry is not None:
                entry.aim(target)
            elif target.restore is not None:
                self.tracked[name] = _Entry(target)

    def _move(self, name: str, before: tuple[object, ...], now: tuple[object, ...]) -> None:
        """One address that answers makes a target warm, and all that refuse make it cold: of an address that is new
        nothing is known, so that a cold target is not known to be one any more, and a warm one is while it has another.
        """
        if before == now:
            return
        same = {index for index, place in enumerate(now) if before[index : index + 1] == (place,)}
        self._out[name] = {index: at for index, at in self._out.get(name, {}).items() if index in same}
        entry = self.tracked.get(name)
        if entry is not None and (not same or (len(same) < len(now) and entry.value.cold_since is not None)):
            entry.forget()

    def _is_elsewhere(self, target: Target) -> bool:
        """Whether a call went to where its target was under an older policy: it says nothing of where it is now."""
        now = self._places.get(target.name)
        return now is not None and now != places(target)

    def calm(self, target: Target, now: float) -> bool:
        """Whether the target is ready for all that is known, so that a request goes there without another look."""
        entry = self.tracked.get(target.name)
        return entry is None or now < entry.calm_until

    def warmth(self, target: Target, now: float) -> Warmth:
        """What the target is at `now`; UNKNOWN when it is not tracked."""
        entry = self.tracked.get(target.name)
        return Warmth.UNKNOWN if entry is None else entry.warmth(now)

    def proven(self, target: Target) -> bool:
        """Whether the target, or a call that it held until it was given up, has shown that it is cold."""
        entry = self.tracked.get(target.name)
        return entry is not None and entry.value.cold_since is not None

    def share(self, target: Target, now: float) -> float:
        """The share of its traffic that a target gets which may be just back."""
        entry = self.tracked.get(target.name)
        return 1.0 if entry is None else heat.share(entry.value, now)

    def first(self, target: Target, now: float) -> bool:
        """Whether nobody has been sent to a target that may be cold for `VERDICT` seconds; then the caller is now."""
        entry = self.tracked.get(target.name)
        if entry is None:
            return True
        if now - entry.claimed < VERDICT:
            return False
        entry.claimed = now
        return True

    def may_try(self, target: Target, now: float) -> bool:
        """Whether a caller's own request may be the probe of a cold target: where no other can be made, at its pace."""
        entry = self.tracked.get(target.name)
        if entry is None:
            return True
        if now < entry.again:
            return False
        entry.again = now + heat.own_pace(target.restore)
        return True

    def until_try(self, target: Target, now: float) -> float:
        """Seconds until `may_try` lets a caller's own request through."""
        entry = self.tracked.get(target.name)
        return 0.0 if entry is None else max(0.0, entry.again - now)

    def sent(self, target: Target, now: float) -> None:
        """A call is about to be sent."""
        entry = self.tracked.get(target.name)
        if entry is not None and now >= entry.calm_until and entry.warmth(now) is not Warmth.READY:
            entry.value = heat.sent(entry.now_known(), now)

    def answered(self, target: Target, sent_at: float, now: float) -> float | None:
        """The target answered a call of `sent_at`, or began to. Returns how long a restore took that is now over."""
        entry = self.tracked.get(target.name)
        if entry is None or (target is not entry.target and self._is_elsewhere(target)):
            return None
        if now < entry.calm_until:
            entry.used = now
            entry.calm_until = now + entry.limit
            entry.took += (now - sent_at - entry.took) * RECENT
            return None
        before = entry.now_known()
        after = heat.answered(before, sent_at, now, entry.shortest)
        entry.become(after, now)
        return after.restores[-1] if after.restored > before.restored else None

    def met_cold(self, target: Target, now: float, replica: int = 0) -> None:
        """The target, at that one of its addresses, refused a call in words that mean cold.

        And the call was not for a part of it (`in_part`).
        """
        entry = self.tracked.get(target.name)
        if self._is_elsewhere(target):
            return
        if target.replicas > 1 and not self._all_out(target, entry, now, replica):
            return
        if entry is None:
            entry = self.tracked[target.name] = _Entry(target)
        entry.again = max(entry.again, now + heat.own_pace(target.restore))
        entry.become(heat.met_cold(entry.now_known(), now), now)

    def is_state(self, target: Target, call: Call) -> bool:
        """Whether a refusal of `call` for cold is a state of the target by now, and not of a part or address."""
        known = target.name in self.tracked and not in_part(target, call)
        return known and (target.replicas == 1 or self.proven(target))

    def failed(self, target: Target, sent_at: float, now: float) -> bool:
        """A call of `sent_at` ended without an answer, and not in words that mean cold. True: it was held, for cold."""
        entry = self.tracked.get(target.name)
        if entry is None or entry.value.asked is None or self._is_elsewhere(target):
            return False
        entry.claimed = -math.inf
        value = heat.failed(entry.now_known(), sent_at, now, entry.shortest)
        held = value.cold_since is not None and entry.value.cold_since is None
        entry.become(value, now)
        if not held:
            entry.ring()  # whoever waits for this one's verdict goes and sees for himself
        return held

    def heard(self, target: Target, at: float, now: float) -> None:
        """Another process has had an answer of the target, where it is now, at `at`."""
        entry = self.tracked.get(target.name)
        if entry is not None and now >= entry.calm_until and not self._is_elsewhere(target):
            value = entry.now_known()
            if (after := heat.heard(value, at)) != value:
                entry.become(after, now)

    def asking(self, target: Target, now: float, delta: int) -> None:
        """A probe, or a warm-up, goes out (+1) or is over (-1)."""
        entry = self.tracked.get(target.name)
        if entry is None:
            if delta < 0:
                return
            entry = self.tracked[target.name] = _Entry(target)  # what is kept warm may be cold
        entry.askers = max(0, entry.askers + delta)
        entry.become(heat.restoring(entry.now_known(), entry.askers > 0), now)

    def asked(self, target: Target) -> bool:
        """Whether a probe or a warm-up is out."""
        entry = self.tracked.get(target.name)
        return entry is not None and entry.askers > 0

    def doubted(self, target: Target, now: float) -> None:
        """A probe failed for another reason than cold."""
        entry = self.tracked.get(target.name)
        if entry is not None and not self._is_elsewhere(target):
            entry.become(heat.doubted(entry.now_known()), now)

    def reached(self, target: Target, copies: tuple[int, int]) -> None:
        """A warm-up was answered by at least and at most so many copies."""
        entry = self.tracked.get(target.name)
        if entry is not None and not self._is_elsewhere(target):
            entry.value = replace(entry.value, copies=copies)

    def remaining(self, target: Target, now: float) -> float:
        """Seconds until the target is probably ready; see `policies.temperature.remaining`."""
        entry = self.tracked.get(target.name)
        return heat.remaining(heat.NEW if entry is None else entry.value, now, target.restore)

    def earliest(self, target: Target, now: float) -> float:
        """Seconds before which the target will not be ready; see `policies.temperature.earliest`."""
        entry = self.tracked.get(target.name)
        return 0.0 if entry is None else heat.earliest(entry.value, now, target.restore)

    def expected(self, target: Target) -> float:
        """Seconds that an answer of the target takes when it is ready, lately; 0 when that is not known."""
        entry = self.tracked.get(target.name)
        return 0.0 if entry is None else entry.took

    async def change(self, target: Target, seconds: float, size: int = 0) -> bool:
        """Wait, holding `size` bytes, until something new is known of the target; False: not within `seconds`.

        Raises Full when the target's queue, in requests or bytes, is.
        """
        entry, rule = self.tracked[target.name], target.limit
        if entry.waiting >= rule.queue or entry.bytes + size > rule.queue_bytes:
            raise Full
        entry.waiting += 1
        entry.bytes += size
        try:
            async with limit(seconds):
                await entry.changed.wait()
        except TimeoutError:
            return False
        else:
            return True
        finally:
            entry.waiting -= 1
            entry.bytes -= size

    def _all_out(self, target: Target, entry: _Entry | None, now: float, replica: int) -> bool:
        """Whether each address was found cold, since the last answer and no longer ago than a restore may take."""
        out = self._out.setdefault(target.name, {})
        out[replica] = now
        since = now - (target.restore or heat.RESTORE)[1]
        if entry is not None and entry.used is not None:
            since = max(since, entry.used)
        return sum(at >= since for number, at in out.items() if number < target.replicas) == target.replicas

    def states(self, now: float) -> Iterator[tuple[str, Warmth]]:
        """Every tracked target and what it is."""
        for name, entry in self.tracked.items():
            yield name, entry.warmth(now)

    def seen(self, now: float) -> Iterator[Seen]:
        """Every tracked target, for operators."""
        for name, entry in self.tracked.items():
            value = entry.now_known()
            since = None if value.cold_since is None else now - value.cold_since
            told = heat.estimate(value, entry.target.restore)
            yield Seen(name, entry.warmth(now), since, told, entry.waiting, value.copies)
