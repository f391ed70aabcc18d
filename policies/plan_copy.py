"""A copy of the plans in force, for who has to hold or take back a migration and has no policy that can be used.

It has what moves where, by which steps and under which gates. It lacks `freeze` and `keep_differences`, so nothing may
grow by it: it is for looking, pausing, rolling back and bypassing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .migrating import Gate, Keep, Measure, Member, Migration, Step


def to_json(plans: Iterable[Migration]) -> bytes:
    """JSON that `from_json` reads back; the same for the same plans."""
    return json.dumps({one.name: _plan(one) for one in plans}, separators=(",", ":"), sort_keys=True).encode()


def from_json(text: bytes) -> Mapping[str, Migration]:
    """The plans by name, with the identity and the course that they had.

    Raises:
        ValueError: it is something else, or was written by a newer version of this code.
    """
    try:
        return {str(name): _read(str(name), found) for name, found in json.loads(text).items()}
    except (KeyError, TypeError, AttributeError) as error:
        message = "not a copy of migrations' plans"
        raise ValueError(message) from error


def _plan(plan: Migration) -> dict[str, Any]:
    return {
        "members": [
            {
                "route": one.route,
                "old": one.old,
                "new": one.new,
                "release": one.release,
                "gates": [[gate.measure.value, gate.allowed] for gate in one.gates],
                "keep": [one.keep.can_take, one.keep.until],
            }
            for one in plan.members
        ],
        "steps": [[one.share, one.shadow, one.hold, one.approve, one.budget] for one in plan.steps],
        "false_alarms": plan.false_alarms,
        "to_start": sorted(one.value for one in plan.to_start),
    }


def _read(name: str, found: Mapping[str, Any]) -> Migration:
    members = tuple(
        Member(
            one["route"],
            one["old"],
            one["new"],
            tuple(Gate(Measure(measure), allowed) for measure, allowed in one["gates"]),
            Keep(*one["keep"]),
            one["release"],
        )
        for one in found["members"]
    )
    steps = tuple(Step(*one) for one in found["steps"])
    to_start = frozenset(Measure(one) for one in found["to_start"])
    return Migration(name, members, steps, found["false_alarms"], to_start)
