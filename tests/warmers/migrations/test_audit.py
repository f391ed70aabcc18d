"""Records of decisions: what they hold, their order, and what is none."""

from __future__ import annotations

import pytest

from policies.evidence import Evidence, Side
from policies.migrating import Measure
from policies.migration_state import Decision, Event
from policies.verdicts import Answer, Verdict
from warmers.migrations.audit import Basis, key, read, records

GREW = Decision("apexguru", Event.GREW, 5.0, "controller", "to step 2", 0.1, 0.5, 1, 3, "1.1")


def test_record_says_who_when_why_and_from_what() -> None:
    """Gates as they were answered, requests and errors of both sides, and the room of the old target."""
    verdict = Verdict("apexguru", Measure.ERRORS, Answer.GREEN, "old 0.1 %, new 0.1 %")
    evidence = Evidence(Side(1000, 1), Side(100, 0))
    (record,) = records([GREW], Basis((verdict,), {"apexguru": evidence}, {"apexguru": 1.0}))
    found = read(record)
    assert (found["who"], found["at"], found["why"], found["event"]) == ("controller", 5.0, "to step 2", "grew")
    assert (found["before"], found["after"], found["step"], found["version"]) == (0.1, 0.5, 1, 3)
    assert found["gates"] == [
        {"route": "apexguru", "gate": "errors", "answer": "green", "text": "old 0.1 %, new 0.1 %"}
    ]
    assert found["requests"] == {"apexguru": {"old": [1000, 1], "new": [100, 0]}}
    assert found["rooms"] == {"apexguru": 1.0}
    assert "to step 2" in found["summary"]


def test_command_rests_on_what_a_person_said() -> None:
    """There is no evidence then, and the record says so by being empty there."""
    (record,) = records([GREW])
    assert (read(record)["gates"], read(record)["requests"], read(record)["rooms"]) == ([], {}, {})


def test_names_sort_as_versions_do() -> None:
    """Also the tenth before the ninth's turn."""
    names = [key(version, turn) for version in (1, 9, 10, 123456) for turn in (0, 1, 10)]
    assert names == sorted(names)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"no"])
def test_what_is_no_record(text: bytes) -> None:
    """It is an error, not an empty record."""
    with pytest.raises(ValueError, match=r".+"):
        read(text)
