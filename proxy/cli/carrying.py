"""What `pointsman explain` says of a route's dialects: how bodies get to each target, and which keys do not."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from backends.wire.dialects.keys import TABLES, fate
from policies.dialects import Passage, passage
from policies.table import Route, Target

WIDTH = 110
_HOW = {
    Passage.BYTES: "bytes pass",
    Passage.FREE: "translated",
    Passage.PROMPT_AS: "translated, a prompt as one user message (prompt_as)",
    Passage.CHAT_TEMPLATE: "translated, a chat by the policy's chat_template",
}


@dataclass(frozen=True, slots=True)
class Carried:
    """What becomes of the route's requests on the way to one target."""

    target: Target
    passage: Passage
    dropped: tuple[str, ...]
    """Keys that are left out, by the policy's word, where the target has nothing for them."""
    refused: tuple[str, ...]
    """Keys that refuse a request, unless their value asks for nothing."""


def carried(route: Route) -> Iterator[Carried]:
    """One for each target of the route, in the policy's order."""
    for target in route.targets:
        how = passage(route.clients_speak, target.speaks)
        keys = () if how is Passage.BYTES else TABLES[route.clients_speak]
        lost = {key.name for key in keys if fate(route.clients_speak, target.speaks, key) is None}
        drop = route.translate.drop
        yield Carried(target, how, tuple(sorted(lost & drop)), tuple(sorted(lost - drop)))


def lines(route: Route) -> list[str]:
    """The part of the explanation; nothing where every target is sent bytes as they are."""
    ways = list(carried(route))
    if all(way.passage is Passage.BYTES for way in ways):
        return []
    found = [f"  dialects, clients speak {route.clients_speak}"]
    for way in ways:
        found.append(f"    {way.target.name} speaks {way.target.speaks}: {_HOW[way.passage]}")
        found += _keys("dropped", way.dropped)
        found += _keys("refused", way.refused)
    return found


def facts(route: Route) -> dict[str, object]:
    """The same for a program."""
    return {
        "clients_speak": route.clients_speak,
        "targets": {
            way.target.name: {
                "speaks": way.target.speaks,
                "how": way.passage.value,
                "dropped": list(way.dropped),
                "refused": list(way.refused),
            }
            for way in carried(route)
        },
    }


def _keys(word: str, names: tuple[str, ...]) -> list[str]:
    first, rest = f"      {word} ", " " * (len(word) + 7)
    return textwrap.wrap(", ".join(names), WIDTH, initial_indent=first, subsequent_indent=rest) if names else []
