"""A copy of plans: what is read back is the migration that it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policies.migrating import Approvals, Keep, Measure, Migration, Step
from policies.plan_copy import apart, from_json, to_json

from .moves import ALWAYS, GATES, plan

STEPS = (Step(shadow=0.05, hold=60.0, budget=3.5), Step(share=0.1, hold=0.1 + 0.2, approve="owner"), Step(share=1.0))


def copied(whole: Migration) -> Migration:
    return from_json(to_json([whole]))[whole.name]


def test_the_copy_moves_the_same_by_the_same_steps() -> None:
    """Its identity and its course are the plan's, so that the state that is kept belongs to it; so are its gates."""
    whole = plan(*STEPS)
    whole = replace(whole, members=(replace(whole.members[0], keep=Keep(0.5, 60.0, trust=True)),), false_alarms=0.05)
    assert copied(whole) == whole
    assert (copied(whole).identity, copied(whole).course) == (whole.identity, whole.course)
    assert copied(whole).members[0].gates == GATES
    assert copied(whole).to_start == {Measure.ERRORS}


def test_what_keeps_it_from_growing_is_copied() -> None:
    """Whoever reads it can tell whether another policy freezes at the same hours, and lets the same people approve."""
    whole = plan(freeze=ALWAYS, approvals=Approvals(("ann", "bob"), four_eyes=True))
    assert copied(whole) == whole


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"steps": STEPS[1:]}, "steps"),
        ({"false_alarms": 0.2}, "false_alarms"),
        ({"to_start": frozenset(Measure)}, "on_breach"),
        ({"freeze": ALWAYS}, "freeze"),
        ({"approvals": Approvals(("ann",))}, "approvals"),
        ({"members": (replace(plan().members[0], gates=()),)}, "gates"),
        ({"members": (replace(plan().members[0], keep=Keep(0.5)),)}, "keep"),
        ({"members": (replace(plan().members[0], new="another"),)}, "what moves where"),
    ],
)
def test_what_two_plans_say_differently(changed: dict[str, Any], key: str) -> None:
    """It is named by the policy's key, and a copy says the same as its plan."""
    whole = plan(*STEPS)
    assert apart(copied(whole), whole) == ()
    assert apart(whole, replace(whole, **changed)) == (key,)


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"x": 1}', b'{"x": {"members": []}}', b'{"x": null}'])
def test_what_is_no_copy(text: bytes) -> None:
    """It is refused, whatever it is."""
    with pytest.raises(ValueError, match=r"."):
        from_json(text)
