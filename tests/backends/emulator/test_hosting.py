"""One hosted model, alive."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backends.emulator.clock import Clock
from backends.emulator.config import load_config
from backends.emulator.container import Reply
from backends.emulator.faults import Fault
from backends.emulator.hosting import AckGate, Hosted, connection_fault, timed
from backends.emulator.reading import EmulatorConfigError
from backends.emulator.roster import Copy
from tests.standins import config_of, with_model


def hosted(name: str = "dedicated", **changes: Any) -> Hosted:
    return Hosted(config_of(with_model(name, **changes)), name, Clock())


class Outlet:
    """Remembers how it was cut."""

    def __init__(self) -> None:
        self.how: list[str] = []

    async def answer(self, answer: Any) -> None: ...

    async def flow(self, flow: Any) -> None: ...

    def cut(self, how: Any) -> None:
        self.how.append(how)


def test_faults_are_replaced_and_counted_anew() -> None:
    """Setting faults returns the old ones; a burst starts at its first call again; a wrong one changes nothing."""
    one = hosted(faults=[{"name": "hang", "first": 1}])
    assert [one.effects(False).fired for _ in range(2)] == [("hang",), ()]
    assert [fault.name for fault in one.set_faults([{"name": "reset", "first": 1}])] == ["hang"]
    assert one.effects(False).fired == ("reset",)
    with pytest.raises(EmulatorConfigError):
        one.set_faults(["nope"])
    assert [fault.name for fault in one.faults] == ["reset"]


def test_calls_of_the_other_form_do_not_use_up_a_burst() -> None:
    """`on: stream` counts streams only."""
    one = hosted(faults=[{"name": "hang", "first": 1, "on": "stream"}])
    assert one.effects(False).fired == ()
    assert one.effects(True).fired == ("hang",)


async def test_a_gate_opens_part_by_part() -> None:
    """Acknowledging part 2 lets everything up to 2 pass, and not 3."""
    gate = AckGate()
    gate.acknowledge(2)
    await gate.passed(2)
    third = asyncio.ensure_future(gate.passed(3))
    await asyncio.sleep(0)
    gate.acknowledge(1)
    await asyncio.sleep(0)
    assert not third.done()
    gate.acknowledge(3)
    await third


def test_gates_exist_only_while_a_stream_is_open() -> None:
    """An acknowledgement tells how many streams it reached."""
    one = hosted()
    with one.gate(wanted=False) as none:
        assert none is None
    with one.gate(wanted=True):
        assert one.acknowledge(1) == 1
    assert one.acknowledge(1) == 0
    with hosted(acknowledged=True).gate(wanted=False) as gate:
        assert gate is not None


async def test_a_place_is_given_back_and_booked() -> None:
    """A 2xx that went out is a success; a refusal of the container or a broken answer is not."""
    one = hosted()
    for status, broken in ((200, False), (400, False), (200, True)):
        copy = await one.roster.enter()
        assert isinstance(copy, Copy)
        reply = Reply(status, "x", (), prompt_tokens=2, completion_tokens=3)
        try:
            with one.seated(copy, reply):
                if broken:
                    raise ConnectionResetError
        except ConnectionResetError:
            pass
    assert one.state()["in_flight"] == 0
    report = one.ledger.report()
    assert (report["calls"], report["failed"], report["completion_tokens"]) == (1, 2, 3)


def test_state_is_told() -> None:
    """Kind, state, copies and faults, for `GET /_emulator/models`."""
    state = hosted("imported", cold={"starts": "cold"}, faults=["hang"]).state()
    assert (state["kind"], state["state"], state["copies"], state["faults"]) == ("import", "cold", [], ["hang"])
    (copy,) = hosted().state()["copies"]
    assert copy == {"name": "copy-1", "in_flight": 0, "ready": True, "ready_in": 0.0}


@pytest.mark.parametrize(("name", "how"), [("refuse", "close"), ("reset", "reset"), ("hang", "close")])
async def test_connection_faults(name: str, how: str) -> None:
    """Refuse and a hang that is over close, reset resets."""
    outlet, clock = Outlet(), Clock()
    fault = Fault(name=name, seconds=60)
    doing = asyncio.ensure_future(connection_fault(fault, outlet, clock))
    await asyncio.sleep(0)
    clock.advance(60)
    await doing
    assert outlet.how == [how]


async def test_a_hang_without_an_end_lasts() -> None:
    """Only the client's going ends it, whatever the clock does."""
    outlet, clock = Outlet(), Clock()
    doing = asyncio.ensure_future(connection_fault(Fault(name="hang"), outlet, clock))
    await asyncio.sleep(0)
    clock.advance(1e6)
    await asyncio.sleep(0)
    assert not doing.done()
    doing.cancel()


def test_parts_have_their_waits() -> None:
    """The first has the first byte's wait."""
    assert [(part.data, part.wait) for part in timed([b"a", b"b"], 2, 1)] == [(b"a", 2), (b"b", 1)]


def test_answers_differ_by_chance_and_by_company() -> None:
    """A factor of mean 1 with the declared spread, the same for the same seed; each neighbour adds its share."""
    text = """\
apiVersion: pointsman-emulator/v1
credentials: [{access_key_id: a, secret_access_key: b}]
models: {one: {kind: endpoint, dialect: echo, latency: {first_byte: 1s, spread: 0.2, crowding: 0.1}}}
"""
    config = load_config(text, "emulator.yaml")
    alone, crowded = Copy("copy-1", 0.0, in_flight=1), Copy("copy-1", 0.0, in_flight=3)
    first, again = (Hosted(config, "one", Clock()) for _ in range(2))
    drawn = [first.slowness(alone) for _ in range(2000)]
    assert sum(drawn) / len(drawn) == pytest.approx(1.0, abs=0.02)
    assert sorted(drawn)[1900] == pytest.approx(1.36, abs=0.05)
    assert drawn[0] == again.slowness(alone)
    assert again.slowness(crowded) == pytest.approx(1.2 * drawn[1])
