"""The structure of JSON answers: which keys there are and what kind of value each holds, whatever the values are."""

from __future__ import annotations

from typing import Any

MOST = 500
"""Places of one document that are looked at; lists of token probabilities repeat what the first of them shows."""

Shape = frozenset[tuple[str, str]]
"""Paths, with list indexes left out, and the kind of value at each."""


def shape_of(document: Any) -> Shape:
    """Paths and kinds of all values. A null counts as no key at all, for some servers write what others omit."""
    found: set[tuple[str, str]] = set()
    waiting: list[tuple[str, Any]] = [("", document)]
    for _ in range(MOST):
        if not waiting:
            break
        path, value = waiting.pop()
        match value:
            case None:
                continue
            case dict():
                found.add((path, "object"))
                waiting += [(f"{path}.{key}", inner) for key, inner in reversed(value.items())]
            case list():
                found.add((path, "list"))
                waiting += [(f"{path}[]", inner) for inner in reversed(value[:MOST])]
            case bool():
                found.add((path, "boolean"))
            case str():
                found.add((path, "text"))
            case _:
                found.add((path, "number"))
    return frozenset(found)


def likeness(one: Shape, other: Shape) -> float:
    """Share of the places of both that agree in path and kind (Jaccard's index), 0 to 1."""
    return len(one & other) / len(one | other) if one or other else 1.0
