"""A copy of the plans in force, for who has to hold or take back a migration and has no policy that can be used.

It has all that decides where traffic goes, and lacks `keep_differences`. It is for looking, pausing, rolling back and
bypassing, and for telling whether another policy says the same: nothing may grow by it, since it may be an hour old.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .calendar import Hours
from .migrating import Approvals, Gate, Keep, Measure, Member, Migration, Step


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


def apart(one: Migration, other: Migration) -> tuple[str, ...]:
    """What two plans of one name say differently, by the keys of the policy; empty: they decide alike."""
    says = zip(_said(one).items(), _said(other).values(), strict=True)
    return tuple(key for (key, mine), theirs in says if mine != theirs)


def _said(plan: Migration) -> dict[str, object]:
    return {
        "what moves where": plan.identity,
        "steps": plan.steps,
        "gates": {one.route: one.gates for one in plan.members},
        "false_alarms": plan.false_alarms,
        "on_breach": plan.to_start,
        "freeze": plan.freeze,
        "keep": {one.route: one.keep for one in plan.members},
        "approvals": plan.approvals,
    }


def _plan(plan: Migration) -> dict[str, Any]:
    return {
        "members": [
            {
                "route": one.route,
                "old": one.old,
                "new": one.new,
                "release": one.release,
                "gates": [[gate.measure.value, gate.allowed] for gate in one.gates],
                "keep": [one.keep.can_take, one.keep.until, one.keep.trust],
            }
            for one in plan.members
        ],
        "steps": [[one.share, one.shadow, one.hold, one.approve, one.budget] for one in plan.steps],
        "false_alarms": plan.false_alarms,
        "to_start": sorted(one.value for one in plan.to_start),
        "approvals": [plan.approvals.by, plan.approvals.four_eyes],
        "freeze": None if plan.freeze is None else [[sorted(h.days), h.begin, h.end, h.zone] for h in plan.freeze],
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
    hours, (by, four_eyes) = found["freeze"], found["approvals"]
    freeze = None if hours is None else tuple(Hours(frozenset(days), *rest) for days, *rest in hours)
    return Migration(name, members, steps, found["false_alarms"], to_start, freeze, Approvals(tuple(by), four_eyes))
