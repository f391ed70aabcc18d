"""Callers that come back to a target which was cold."""

from __future__ import annotations

from dataclasses import replace

from backends.base import Call
from policies.choose import first_plan
from policies.table import Sticky
from proxy import cold
from proxy.record import Record

from .parts import invocation
from .test_cold import World, world


async def where(made: World, key: str) -> str:
    """Where a request of a caller goes whose key keeps him to one side of splits."""
    route = replace(made.route("spills"), sticky=Sticky("inference-id"))
    call = Call(replace(invocation("spills"), inference_id=key), b"{}", None, None, None)
    plan = first_plan(route, {}, key, lambda: 0.5)
    record = Record("request-0", made.now, 0.0)
    plan = await cold.passed(route, plan, call, made.now + 60, record, made.services)
    return plan.attempts[0].target.name


async def test_a_caller_that_is_back_stays() -> None:
    """While the share grows from a tenth to all of it, each key goes over once, whatever is drawn."""
    async with world() as made:
        made.temperatures.met_cold(made.target("imported"), made.now)
        made.now += 90
        made.answered("imported", made.now)
        gone: dict[str, list[str]] = {f"key-{number}": [] for number in range(200)}
        for second in range(11):
            for number, (key, places) in enumerate(gone.items()):
                made.draw = (number * 7 + second * 3) % 10 / 10
                places.append(await where(made, key))
            made.now += 1.0
        assert all(places == sorted(places, reverse=True) for places in gone.values())  # `warm` until `imported`
        back = [sum(places[second] == "imported" for places in gone.values()) for second in (0, 5, 10)]
        assert 5 <= back[0] <= 40
        assert 70 <= back[1] <= 130
        assert back[2] == 200
