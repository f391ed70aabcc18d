"""PURE. What the controller saw at its last look, for `pointsman migrate status`: nobody decides anything from it.

Other processes know the state and the evidence, but not how much the old target can take back: that is measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from policies.migration_state import Move, Seen, standing


@dataclass(frozen=True, slots=True)
class GateSeen:
    """A gate's answer, as `Verdict` has it."""

    route: str
    gate: str
    answer: str
    text: str
    more: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """One look at one migration."""

    at: float
    """Seconds since 1970."""
    version: int
    """Of the state that was looked at."""
    standing: str
    """In a few words: `holding`, `awaiting approval`, ..."""
    waits: tuple[tuple[str, str], ...] = ()
    """What keeps it from going on, and more about that."""
    gates: tuple[GateSeen, ...] = ()
    rooms: Mapping[str, float] = field(default_factory=dict)
    """By route: the part of its traffic that the old target was shown able to take."""

    def same(self, other: Report) -> bool:
        """Whether both say the same, whenever it was."""
        return replace(self, at=0.0) == replace(other, at=0.0)

    def to_json(self) -> bytes:
        """JSON that `read` reads back."""
        gates = [[one.route, one.gate, one.answer, one.text, one.more] for one in self.gates]
        known: dict[str, Any] = {"at": self.at, "version": self.version}
        known |= {"standing": self.standing, "waits": self.waits, "gates": gates, "rooms": dict(self.rooms)}
        return json.dumps(known, separators=(",", ":")).encode()


def report(move: Move, seen: Seen, now: float) -> Report:
    """What there is to say of a move that was worked out at `now`."""
    return Report(
        now,
        move.state.version,
        standing(move.state, move.waits),
        tuple((wait.what.value, wait.text) for wait in move.waits),
        tuple(GateSeen(one.route, one.measure.value, one.answer.value, one.text, one.more) for one in seen.verdicts),
        seen.rooms,
    )


def read(text: bytes | None) -> Report | None:
    """What `Report.to_json` gave; None for anything else, since nothing depends on it."""
    try:
        found = json.loads(text or b"null")
        return Report(
            float(found["at"]),
            int(found["version"]),
            str(found["standing"]),
            tuple((str(what), str(more)) for what, more in found["waits"]),
            tuple(GateSeen(*one) for one in found["gates"]),
            {str(route): float(part) for route, part in found["rooms"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
