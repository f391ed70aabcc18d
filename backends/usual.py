"""What a target's answers usually take, by kind: what one process remembers of it for the adaptive limit.

The rule is `policies.kinds`. Promises: no more than `KINDS` kinds are remembered, however many there are, and one more
forgets the one unused for longest; and an answer costs the same however many those are, whether it came or not. So what
the kinds of a route usually take together is kept beside them: clients that leave come by the thousand where a target
has too much to do.
"""

from __future__ import annotations

from cachetools import LRUCache

from policies.kinds import Alike, Kind, Together, expected, expected_of_none
from policies.pace import Pace

KINDS = 512
"""Of a target's answers. A route whose requests and answers have all sizes has some twenty, and what one takes that is
new says nothing of the target: where twenty routes have theirs, no overload is seen by whoever remembers too few."""
NONE, NOTHING = Kind(0.0, 0), Together()


class Usual:
    """Of one target's answers."""

    __slots__ = ("_kinds", "_routes")

    def __init__(self) -> None:
        self._kinds: LRUCache[Alike, Kind] = LRUCache(KINDS)
        self._routes: dict[tuple[str, bool], Together] = {}

    def of(self, like: Alike, seconds: float, pace: Pace | None, *, came: bool = True) -> float:
        """What those like it usually take, as a logarithm, and with it from now on if it came. `pace` is that of all
        answers of late."""
        if not came:
            return expected_of_none(self._routes.get((like.route, like.streaming)), pace)
        kinds = self._kinds
        known = kinds.get(like)
        usual, learnt = expected(known, len(kinds) - (known is not None), seconds, pace)
        if learnt is not known:
            if known is None and len(kinds) == KINDS:
                self._count(*kinds.popitem(), NONE)
            self._count(like, known or NONE, learnt)
            kinds[like] = learnt
        return usual

    def _count(self, like: Alike, before: Kind, now: Kind) -> None:
        """One of a route's kinds is another now; a route that has none left is forgotten."""
        route = (like.route, like.streaming)
        them = self._routes.get(route, NOTHING)
        count = them.count - before.count + now.count
        if count:
            usual = them.usual - before.usual * before.count + now.usual * now.count
            self._routes[route] = Together(usual, count)
        else:
            del self._routes[route]
