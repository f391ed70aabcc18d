"""PURE. A decision as the record that is kept of it: who, when, why, and from what evidence. JSON, one object each.

A record never changes once it is written. Records of one migration are ordered by version, and within one version by
their turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from policies.evidence import Evidence
from policies.migration_state import Decision, Event
from policies.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Basis:
    """What was known when something was decided."""

    verdicts: tuple[Verdict, ...] = ()
    evidence: Mapping[str, Evidence] | None = None
    """By route."""
    rooms: Mapping[str, float] | None = None
    """By route: the part of its traffic that the old target was shown able to take."""


NOTHING = Basis()


def records(decisions: Iterable[Decision], basis: Basis = NOTHING) -> tuple[bytes, ...]:
    """What is kept of the decisions of one move."""
    known = {
        "gates": [
            {"route": one.route, "gate": one.measure.value, "answer": one.answer.value, "text": one.text}
            for one in basis.verdicts
        ],
        "requests": {route: _counts(seen) for route, seen in (basis.evidence or {}).items()},
        "rooms": dict(basis.rooms or {}),
    }
    return tuple(json.dumps(_fields(one) | known, separators=(",", ":")).encode() for one in decisions)


def key(version: int, turn: int) -> str:
    """The name that a record of one migration has; sorted by name they are in order."""
    return f"{version:09d}.{turn:02d}"


def read(record: bytes) -> dict[str, Any]:
    """The record. Raises ValueError when it is none."""
    found = json.loads(record)
    if not isinstance(found, dict) or "event" not in found:
        message = "not an audit record"
        raise ValueError(message)
    return found


def decision(record: bytes) -> Decision:
    """The decision that a record is of. Raises ValueError when it is none."""
    found = read(record)
    try:
        event = Event(found["event"])
        return Decision(**{name: found[name] for name in Decision.__slots__ if name != "event"}, event=event)
    except KeyError as error:
        message = "not a whole audit record"
        raise ValueError(message) from error


def _fields(one: Decision) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in Decision.__slots__}
    return fields | {"event": one.event.value, "summary": one.summary}


def _counts(seen: Evidence) -> dict[str, list[int]]:
    """Requests and errors of both sides: enough to see how much a decision rested on."""
    return {"old": [seen.old.requests, seen.old.errors], "new": [seen.new.requests, seen.new.errors]}
