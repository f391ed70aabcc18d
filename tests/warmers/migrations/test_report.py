"""What the controller saw, told to whoever asks: it is read back as it was, and anything else is nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.migrating import Measure
from policies.migration_state import Move, Phase, Seen, State, Wait, Waiting
from policies.verdicts import Answer, Verdict
from warmers.migrations.report import Report, read, report

from .fleet import PLAN


def made() -> Report:
    state = replace(State.planned(PLAN), phase=Phase.RUNNING, step=0, share=0.1, version=7)
    verdict = Verdict("apexguru", Measure.ERRORS, Answer.NOT_YET, "old 1 %, new 1 %", more=500)
    return report(
        Move(state, (), (Wait(Waiting.HOLD, "for another 1h"),)), Seen("1.1", (verdict,), {"apexguru": 0.5}), 3.0
    )


def test_it_is_read_back_as_it_was() -> None:
    """Standing, waits, gates and rooms."""
    one = made()
    assert (one.version, one.standing, one.waits) == (7, "holding", (("holding", "for another 1h"),))
    assert read(one.to_json()) == one


def test_only_what_differs_is_told_again() -> None:
    """The moment alone makes no difference."""
    assert made().same(replace(made(), at=9.0))
    assert not made().same(replace(made(), rooms={"apexguru": 1.0}))


@pytest.mark.parametrize("text", [None, b"", b"[]", b"{}", b'{"at":1}', b"7", b'{"at":1,"version":1e999}'])
def test_anything_else_is_none(text: bytes | None) -> None:
    """Nothing depends on it, so nothing breaks by it."""
    assert read(text) is None
