"""A migration as the policy wants it: what identifies it, and which gates a step has."""

from __future__ import annotations

from dataclasses import replace

from policies.migrating import START, Gate, Measure, Member, Step, gates_at

from .moves import HOUR, plan

AGREEMENT = Gate(Measure.AGREEMENT, 0.97)
ERRORS = Gate(Measure.ERRORS, 0.002)


def test_identity_is_what_moves_where() -> None:
    """Another route, target or release makes another migration; gates, steps and what is kept do not."""
    whole = plan()
    (member,) = whole.members
    others = [{"route": "y"}, {"old": "a"}, {"new": "b"}, {"release": "r2"}]
    identities = {replace(whole, members=(replace(member, **change),)).identity for change in others}  # type: ignore[arg-type]  # fields by name
    assert len(identities | {whole.identity}) == 5
    same = replace(whole, members=(replace(member, gates=()),), steps=whole.steps[1:], name="z")
    assert same.identity == whole.identity


def test_course_is_the_steps() -> None:
    """A state notices that they have been rewritten; budgets and gates can be changed on the way."""
    whole = plan()
    assert plan(*(replace(step, budget=9.0) for step in whole.steps)).course == whole.course
    assert plan(replace(whole.steps[0], hold=2 * HOUR), *whole.steps[1:]).course != whole.course


def test_gates_of_a_step_are_those_that_it_gives_evidence_for() -> None:
    """Agreement where there are copies; nothing at 100 %, where the old target answers nobody."""
    member = Member("x", "old", "new", (ERRORS, AGREEMENT))
    assert gates_at(member, Step(shadow=0.05)) == (ERRORS, AGREEMENT)
    assert gates_at(member, Step(share=0.05)) == (ERRORS,)
    assert gates_at(member, Step(share=0.05, shadow=0.1)) == (ERRORS, AGREEMENT)
    assert gates_at(member, Step(share=1.0)) == ()


def test_share_of_a_step() -> None:
    """Before the first one there is none."""
    assert [plan().share_at(index) for index in (START, 0, 1, 3)] == [0.0, 0.0, 0.1, 1.0]
