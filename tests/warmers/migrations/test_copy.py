"""This machine's copy of where migrations stand: written when there is something new, believed for a day."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policies.migration_state import Phase, State
from warmers.migrations.copy import AGAIN, KEPT, Copy

from .fleet import PLAN

STATE = replace(State.planned(PLAN), phase=Phase.RUNNING, step=0, share=0.1)


def copy(folder: Path, worker: str = "w", address: str = "valkey://who:secret@host/0") -> Copy:
    return Copy(folder / "state", address, worker)


def test_it_is_read_back_with_its_age(tmp_path: Path) -> None:
    """By any process of this machine that has the same shared state."""
    assert copy(tmp_path).read(0.0) is None
    copy(tmp_path).keep({"apexguru": STATE}, 100.0)
    assert copy(tmp_path, "another").read(130.0) == (30.0, {"apexguru": STATE})
    assert copy(tmp_path, "another").read(99.0) == (0.0, {"apexguru": STATE})
    assert copy(tmp_path, address="valkey://elsewhere").read(130.0) is None


def test_it_is_believed_for_a_day(tmp_path: Path) -> None:
    """Not a moment longer."""
    copy(tmp_path).keep({"apexguru": STATE}, 100.0)
    assert copy(tmp_path).read(100.0 + KEPT) is not None
    assert copy(tmp_path).read(100.1 + KEPT) is None


def test_it_is_written_when_there_is_something_new(tmp_path: Path) -> None:
    """And now and then, so that its age says when the state was last heard of; no password is in its name."""
    one = copy(tmp_path)
    ages = []
    for now, share in ((0.0, 0.1), (1.0, 0.1), (2.0, 0.5), (2.0 + AGAIN, 0.5)):
        one.keep({"apexguru": replace(STATE, share=share)}, now)
        found = copy(tmp_path).read(now)
        assert found is not None
        ages.append(found[0])
    assert ages == [0.0, 1.0, 0.0, 0.0]
    (file,) = (tmp_path / "state").iterdir()
    assert "secret" not in file.name
    assert "secret" not in file.read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at":1,"states":[]}', '{"at":1,"states":{"x":"{}"}}', "\x00"])
def test_anything_else_is_none(text: str, tmp_path: Path) -> None:
    """A file that was cut off, or that another version has written, is not guessed at."""
    one = copy(tmp_path)
    one.keep({}, 0.0)
    (file,) = (tmp_path / "state").iterdir()
    file.write_text(text)
    assert one.read(1.0) is None
