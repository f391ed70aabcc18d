"""A migration's state survives the way through a store, and says in words where it stands."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.migration_state import Command, Decision, Event, Phase, State, Verb, Wait, Waiting, standing

from .moves import NOW, command, plan, reached
from .written import PATIENT

TEXT = st.text(max_size=20)
TIME = st.floats(0, 4e9, allow_nan=False)
STATES = st.builds(
    State,
    name=TEXT, identity=TEXT, course=TEXT, version=st.integers(0, 10**9), phase=st.sampled_from(Phase),
    run=st.integers(0, 99), step=st.integers(-1, 50), share=st.floats(0, 1), shadow=st.floats(0, 1), since=TIME,
    window=st.integers(0, 99), approved=st.none() | TEXT, waived=st.booleans(), paused=st.none() | TEXT,
    bypass=st.none() | TIME, goal=st.integers(-1, 50), halt=st.none() | TEXT, ramped=TIME, done_at=st.none() | TIME,
    why=TEXT, applied=st.lists(st.tuples(TEXT, TIME), max_size=3).map(tuple),
)  # fmt: skip


@PATIENT
@given(STATES)
def test_state_survives_the_store(state: State) -> None:
    """Every field comes back as it was, whatever is in it."""
    assert State.from_json(state.to_json()) == state


@PATIENT
@given(st.builds(Command, TEXT, st.sampled_from(Verb), TEXT, TEXT, TIME, st.none() | TIME))
def test_command_survives_the_store(asked: Command) -> None:
    """What the laptop wrote is what the controller reads."""
    assert Command.from_json(asked.to_json()) == asked


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"null", b'{"format": 2}', b'{"format":1,"phase":"odd","applied":[]}', b'{"verb":"fly"}'],
)
def test_anything_else_is_refused(text: bytes) -> None:
    """A state or command of another version, or no such thing at all, is not guessed at."""
    with pytest.raises(ValueError):
        State.from_json(text)
    with pytest.raises(ValueError):
        Command.from_json(text)


@pytest.mark.parametrize("value", ["0.5", math.nan, math.inf, [], {}])
@pytest.mark.parametrize(
    "name", ["version", "run", "step", "window", "goal", "share", "shadow", "since", "ramped", "bypass"]
)
def test_a_number_is_one(name: str, value: object) -> None:
    """A store that others write to keeps nobody from starting with what nobody can reckon with."""
    text = json.dumps(json.loads(State.planned(plan()).to_json()) | {name: value}).encode()
    with pytest.raises(ValueError, match="not the state of a migration"):
        State.from_json(text)


@pytest.mark.parametrize("share", [-0.5, 1.5, None])
@pytest.mark.parametrize("name", ["share", "shadow"])
def test_a_share_is_one(name: str, share: float | None) -> None:
    """Nothing that is no part of the requests."""
    text = json.dumps(json.loads(State.planned(plan()).to_json()) | {name: share}).encode()
    with pytest.raises(ValueError, match="not the state of a migration"):
        State.from_json(text)


def test_unknown_field_is_refused() -> None:
    """A state that says more than this version knows would lose it at the next write."""
    text = json.dumps(json.loads(State.planned(plan()).to_json()) | {"mood": "good"}).encode()
    with pytest.raises(ValueError, match="not the state of a migration"):
        State.from_json(text)


def test_planned_state_moves_nothing() -> None:
    """It is the plan's, at no step, and nothing is in force."""
    state = State.planned(plan(), run=3)
    assert (state.phase, state.step, state.in_force, state.window_id) == (Phase.PLANNED, -1, (0.0, 0.0), "3.0")


def test_bypass_hides_the_share() -> None:
    """What is in force is nothing, and what it will come back to is kept."""
    state = replace(reached(plan(), 1), bypass=NOW)
    assert (state.in_force, state.share) == ((0.0, 0.0), 0.1)


@pytest.mark.parametrize(
    ("index", "waits", "words"),
    [
        (0, [Waiting.HOLD], "shadow"),
        (0, [Waiting.HOLD, Waiting.STORE], "the store is lost"),
        (1, [Waiting.HOLD, Waiting.EVIDENCE], "holding"),
        (1, [Waiting.EVIDENCE, Waiting.APPROVAL], "collecting evidence"),
        (2, [Waiting.APPROVAL, Waiting.FROZEN], "awaiting approval"),
        (2, [Waiting.FROZEN], "frozen"),
        (2, [Waiting.ROOM, Waiting.FROZEN], "waiting for room for a rollback"),
        (1, [], "going on"),
        (4, [], "done"),
    ],
)
def test_where_it_stands_in_words(index: int, waits: list[Waiting], words: str) -> None:
    """The gravest of the things that keep it, in a word or two that `status` shows."""
    assert standing(reached(plan(), index), tuple(Wait(what, "") for what in waits)) == words


def test_stopped_by_people_in_words() -> None:
    """A pause and a bypass come before what it would wait for otherwise."""
    state = replace(reached(plan(), 1), paused="lunch")
    assert standing(state, (Wait(Waiting.HOLD, ""),)) == "paused"
    assert standing(replace(state, bypass=NOW)) == "bypassed"


def test_summary_fits_a_pager() -> None:
    """One line: what happened to which migration, why, how much traffic moved, and on whose word."""
    decision = Decision("apexguru", Event.BREACHED, NOW, "controller", "errors: new 2 %", 0.25, 0.0, -1, 9, alert=True)
    assert decision.summary == "migration apexguru breached: errors: new 2 % (0.25 -> 0 of the traffic; controller)"
    still = replace(decision, before=0.0, event=Event.PAUSED, why="lunch", who=command(Verb.PAUSE).who)
    assert still.summary == "migration apexguru paused: lunch (share stays; ann@laptop)"
