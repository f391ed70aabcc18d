"""Which fault strikes which call."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.emulator.aws import BEDROCK, SAGEMAKER, errors_of, modelled_errors, stream_errors_of
from backends.emulator.faults import ENGINE, Effects, Fault, applies, draw, effects, table


def fault(name: str, **parameters: Any) -> Fault:
    return Fault.model_validate({"name": name, **parameters})


def struck(one: Fault, calls: int) -> list[int]:
    return [n for n in range(1, calls + 1) if effects([one], [n], SAGEMAKER, 7, "m").fired]


@pytest.mark.parametrize("service", [SAGEMAKER, BEDROCK])
def test_every_modelled_error_is_a_fault(service: str) -> None:
    """All errors of the service model, answered or in-stream, are in the table under their own names."""
    found = table(service)
    assert set(modelled_errors(service)) <= {name for name, kind in found.items() if kind.stage == "answer"}
    assert set(stream_errors_of(service)) == {
        name for name, kind in found.items() if kind.stage == "stream-error" and name != "unmodelled-stream-error"
    }
    assert all(found[name].status == shape.status for name, shape in errors_of(service).items())


def test_bursts() -> None:
    """Always, the first N, every Nth, or both together."""
    assert struck(fault("hang"), 3) == [1, 2, 3]
    assert struck(fault("hang", first=2), 5) == [1, 2]
    assert struck(fault("hang", every=3), 7) == [3, 6]
    assert struck(fault("hang", every=2, first=4), 8) == [2, 4]


def test_a_draw_is_seeded_and_about_as_likely_as_said() -> None:
    """The same seed breaks the same calls, another seed others; the share is near the probability."""
    one = fault("hang", probability=0.2)
    hit = struck(one, 1000)
    assert hit == struck(one, 1000)
    assert 150 < len(hit) < 250
    assert [n for n in range(1, 1001) if effects([one], [n], SAGEMAKER, 8, "m").fired] != hit
    assert struck(fault("hang", probability=0), 50) == []
    assert struck(fault("hang", probability=1), 3) == [1, 2, 3]


@settings(max_examples=100)
@given(st.text())
def test_draws_are_in_the_unit_interval(key: str) -> None:
    """So that probability 1 always strikes and 0 never does."""
    assert 0 <= draw(key.encode("utf-8", "replace").decode()) < 1


def test_a_fault_counts_only_the_calls_it_is_for() -> None:
    """`on` chooses unary calls or streams."""
    assert applies(fault("hang"), stream=True)
    assert applies(fault("hang", on="stream"), stream=True)
    assert not applies(fault("hang", on="unary"), stream=True)
    assert effects([fault("hang")], [0], SAGEMAKER, 7, "m") == Effects()


def test_faults_of_one_call_add_up() -> None:
    """Delays are summed, the first of each other kind wins, and all that struck are named."""
    names = [
        fault("slow-first-byte"),
        fault("slow-first-byte", seconds=2),
        fault("slow-parts"),
        fault("slow-parts", seconds=0.5),
        fault("ModelError"),
        fault("InternalFailure"),
        fault("reset"),
        fault("hang"),
        fault("garbage-200"),
        fault("wrong-content-length"),
        fault("cut-stream"),
        fault("ModelStreamError"),
        fault("bad-crc", after={"part": 2}, where="prelude"),
        fault("bad-crc"),
        fault("acknowledged"),
        fault("split-utf8"),
    ]
    found = effects(names, [1] * len(names), SAGEMAKER, 7, "m")
    assert (found.first_byte, found.per_part) == (7.0, 1.5)
    chosen = (found.answer, found.connection, found.body, found.stream_end)
    assert [one.name for one in chosen if one] == ["ModelError", "reset", "garbage-200", "cut-stream"]
    assert (found.acknowledged, found.reshape) == (True, ("split-utf8",))
    assert [found.bad_crc(part) for part in range(4)] == ["none", "none", "prelude", "none"]
    assert len(found.fired) == len(names)


def test_a_bad_crc_is_in_the_first_frame_unless_said() -> None:
    """Without `after` the very first frame is spoilt."""
    assert effects([fault("bad-crc")], [1], SAGEMAKER, 7, "m").bad_crc(0) == "message"
    assert Effects().bad_crc(0) == "none"


def test_complaints_name_what_there_is() -> None:
    """A wrong name is answered with the service's list, a misplaced one with its service."""
    assert fault("hang").complaint(ENGINE) is None
    assert "engine has: acknowledged, cut-stream" in str(fault("nope").complaint(ENGINE))
    assert "is one of sagemaker-runtime, not of engine" in str(fault("ModelError").complaint(ENGINE))


def test_every_fault_is_documented_where_it_can_be() -> None:
    """docs/emulator.md names each fault of the three faces, and no other; and each parameter."""
    text = (Path(__file__).parents[3] / "docs/emulator.md").read_text().split("## Faults")[1].split("\n## ")[0]
    parameters, _, faults = text.partition("| name | where |")
    there = {
        name
        for row in faults.splitlines()
        for name in re.findall(r"`([\w-]+)`", row.split("|")[1] if "|" in row else "")
    }
    assert there == {name for service in (SAGEMAKER, BEDROCK, ENGINE) for name in table(service)}
    assert {key for key in Fault.model_fields if f"`{key}" not in parameters} == set()
