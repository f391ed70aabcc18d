"""Functions that can't be called as they will be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from proxy.handlers.guest.conventions import HOOKS, MARKS
from proxy.handlers.guest.shapes import TAKES, misfits


def test_every_name_is_one_that_is_called() -> None:
    """No entry of the table waits for a name that nobody looks for."""
    assert TAKES.keys() <= HOOKS | set(MARKS.values())
    assert TAKES.keys() >= HOOKS


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("before", lambda: None),
        ("before", lambda call, context: None),
        ("during", lambda *, event: None),
        ("input_fn", lambda body: None),
        ("output_fn", lambda a, b, c, d: None),
        ("handle", lambda inputs, extra: None),
    ],
)
def test_wrong_number_of_arguments(name: str, hook: Any) -> None:
    """The sentence names the function and what it is given."""
    (said,) = misfits({name: hook})
    assert said.startswith(f"{name} can't be called with ({TAKES[name][0][0]}")


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("before", lambda call: None),
        ("before", lambda *everything: None),
        ("after", lambda reply, more=1: None),
        ("model_fn", lambda model_dir: None),
        ("model_fn", lambda model_dir, context: None),
        ("input_fn", lambda body, kind: None),
        ("input_fn", lambda body, kind, context=None: None),
        ("djl_python @input_formatter", lambda inputs, **more: None),
        ("before", dict.fromkeys),
        ("before", iter),
    ],
)
def test_what_can_be_called(name: str, hook: Any) -> None:
    """Defaults and `*` are as good as an argument, and what tells nothing of itself is believed."""
    assert list(misfits({name: hook})) == []


def test_functions_that_yield() -> None:
    """Calling one runs nothing of it: it is told to return."""

    def before(call: object) -> Iterator[object]:
        yield call

    async def handle(inputs: object) -> AsyncIterator[object]:
        yield inputs

    said = list(misfits({"before": before, "handle": handle}))
    assert [each.partition(",")[0] for each in said] == ["before yields", "handle yields"]
