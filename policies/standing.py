"""Who may be asked now: targets that are ejected, and the replica of a target that takes the request.

A target is ejected when the breakers of all its replicas say so. At most half of a route's targets are, the ones that
will be back last: what is left of a route must be able to carry it, and a fault that all of them share is more likely
ours or the network's. When all are out, nobody is ejected: then the last resort is tried, else the least bad.

Replicas: the less busy of two drawn at random, nearly as even as the least busy of all, and no herd (Mitzenmacher, "The
power of two choices", 2001). One that is coming back counts as busier than it is. A caller with a key goes to the
replica that rendezvous hashing gives its key, where what it said before may still be cached, as long as that one has
no more than its part of the load. One that turns everybody away at once is idle for that reason, and seldom asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from .facts import TargetView
from .table import Target

Draw = Callable[[], float]
"""Uniform in [0, 1)."""

Views = Mapping[str, Sequence[TargetView]]
"""By name of target, one view for each replica; what is missing is taken as idle and well."""

IDLE = TargetView()

OVER = 1.25
"""Times the average load from which a replica takes no more callers by their key (Google, "Consistent Hashing with
Bounded Loads", 2017): without a bound one popular prefix would bury one replica."""

REFUSED_SHARE = 0.05
"""Of the requests that may still go to a replica that was found cold, or refuses all of them, while another does not:
it refuses at once, so that it would else be the least busy and draw nearly everybody, and each such request costs a
repeat. What it gets keeps a cold one being restored, and shows when it takes requests again."""


def health(target: Target, views: Views) -> float:
    """The share of its usual traffic that a target may get: that of its best replica."""
    seen = views.get(target.name, ())
    return max((view.health for view in seen), default=1.0)


def back_at(target: Target, views: Views) -> float:
    """When the first replica of an ejected target may be tried again."""
    return min((view.back_at for view in views.get(target.name, ())), default=0.0)


def place(target: Target, key: str | None, draw: Draw) -> float:
    """Where in the row of those who come back to `target` a caller stands, in [0, 1): at first are those near 0.

    A caller with a key stands at the same place each time and in every process, and not where the split has put it, so
    that who is back stays there; one without a key is drawn anew.
    """
    if key is None:
        return draw()
    seed = key.encode("utf-8", "surrogateescape") + b"\0back\0" + target.name.encode()
    return (int.from_bytes(blake2b(seed, digest_size=8).digest(), "big") >> 11) / 2**53


def ejected(
    targets: Sequence[Target], views: Views, draw: Draw, key: str | None = None, *, relieved: bool = False
) -> Sequence[Target]:
    """The targets, each of them named once, to leave out; all of them when none is well, the least bad one first.

    One that has just recovered is left out of a share of the requests, or of the callers where they have a `key`;
    nothing is drawn for one that is well, nor where all of them have: unless they are `relieved` by a last resort,
    nobody would take what they are spared.
    """
    shares = [health(target, views) for target in targets]
    if not relieved and all(0.0 < share < 1.0 for share in shares):
        return ()
    out = [
        target
        for target, share in zip(targets, shares, strict=True)
        if share < 1.0 and (share == 0.0 or place(target, key, draw) >= share)
    ]
    if not out:
        return ()
    out.sort(key=lambda target: (back_at(target, views), target.name))
    if len(out) == len(targets):
        return out
    return out[len(out) - min(len(out), len(targets) // 2) :]


def replica(target: Target, views: Views, key: str | None, draw: Draw) -> int:
    """The replica for one request; one that is ejected only when all are, and one that refuses all now and then."""
    count = target.replicas
    if count < 2:
        return 0
    seen = views.get(target.name, ())
    well = [index for index in range(count) if index >= len(seen) or seen[index].health > 0.0] or list(range(count))
    if any(view.cold or view.refuses for view in seen):
        taking = [index for index in well if index >= len(seen) or not (seen[index].cold or seen[index].refuses)]
        if taking and len(taking) < len(well) and draw() >= REFUSED_SHARE:
            well = taking
    if len(well) == 1:
        return well[0]
    if key is not None:
        return _by_key(target, seen, well, key)
    first = min(int(draw() * len(well)), len(well) - 1)
    second = (first + 1 + min(int(draw() * (len(well) - 1)), len(well) - 2)) % len(well)
    one, other = well[first], well[second]
    return one if _busy(seen, one) <= _busy(seen, other) else other


def _by_key(target: Target, seen: Sequence[TargetView], well: list[int], key: str) -> int:
    """The replica that a caller's key prefers, unless it has more than its part; then the one preferred next."""
    fair = OVER * (sum(_busy(seen, index) - 1 for index in well) + 1) / len(well)
    seed = key.encode("utf-8", "surrogateescape") + b"\0" + target.name.encode()
    order = sorted(well, key=lambda index: blake2b(seed + index.to_bytes(4, "big"), digest_size=8).digest())
    return next((index for index in order if _busy(seen, index) <= math.ceil(fair)), order[0])


def _busy(seen: Sequence[TargetView], index: int) -> float:
    view = seen[index] if index < len(seen) else IDLE
    return (view.in_flight + 1) / view.health if view.health > 0.0 else view.in_flight + 1
