"""The reference convention: what each hook may return."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from proxy.handlers.guest.native import Native, describe, run
from proxy.handlers.guest.values import Call, Event, InvokeError, Reply
from tests.proxy.handlers.customers import call, settled


async def given_back(value: Any) -> Any:
    return value


async def before(value: Any) -> Call | Reply:
    given: Call | Reply = await settled(
        Native({"before": lambda _: value}).before(call(b"in", content_type="text/plain"))
    )
    return given


async def after(value: Any) -> Reply:
    given: Reply = await settled(
        Native({"after": lambda _: value}).after(Reply(b"in", "text/plain", "attributes", call()))
    )
    return given


async def during(value: Any) -> bytes:
    return await Native({"during": lambda _: value}).during(Event(b"data: 1\n\n", 0, call()))


async def test_hooks_may_be_plain_or_async() -> None:
    """What is awaitable is awaited."""
    assert await run(lambda: 1) == 1
    assert await run(given_back, 2) == 2


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        (None, b"in", "text/plain"),
        (b"out", b"out", "text/plain"),
        ("out", b"out", "text/plain"),
        ({"a": 1}, b'{"a":1}', "application/json"),
        (call(b"own", content_type="x/y"), b"own", "x/y"),
        (call().reply(b"done", "a/b"), b"done", "a/b"),
    ],
)
async def test_before_gives_a_call_or_a_reply(value: Any, body: bytes, kind: str) -> None:
    """Nothing, a body, a call, or an answer."""
    changed = await before(value)
    assert (changed.body, changed.content_type) == (body, kind)
    assert isinstance(changed, Reply) == isinstance(value, Reply)


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        (None, b"in", "text/plain"),
        ("out", b"out", "text/plain"),
        ([1], b"[1]", "application/json"),
        (Reply(b"own", "x/y"), b"own", "x/y"),
    ],
)
async def test_after_gives_a_reply(value: Any, body: bytes, kind: str) -> None:
    """Nothing, a body, or a reply."""
    changed = await after(value)
    assert (changed.body, changed.content_type) == (body, kind)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"data: 1\n\n"),
        (Event(b"x", 0, call()), b"data: 1\n\n"),
        ({"a": 1}, b'data: {"a":1}\n\n'),
        (b"", b""),
        ("text", b"text"),
    ],
)
async def test_during_gives_bytes(value: Any, expected: bytes) -> None:
    """Nothing, a payload framed as the event was, or bytes as they are; empty ones drop the event."""
    assert await during(value) == expected


@pytest.mark.parametrize("hook", [before, after, during])
async def test_what_a_hook_cannot_return_is_named(hook: Any) -> None:
    """The message says which hook returned what, and what it may."""
    with pytest.raises(TypeError, match=f"{hook.__name__} returned float; it can return None"):
        await hook(1.5)


@pytest.mark.parametrize("hook", [before, after])
async def test_what_json_cannot_hold_is_named(hook: Any) -> None:
    """A dict may be returned: what is wrong with this one is said, not that it is a dict."""
    told = f"{hook.__name__} returned a dict that JSON can't hold: Object of type date is not JSON serializable"
    with pytest.raises(TypeError, match=told):
        await hook({"day": date(2026, 1, 1)})
    with pytest.raises(TypeError, match=f"{hook.__name__} returned a dict that JSON can't hold: Out of range float"):
        await hook({"score": float("nan")})


@pytest.mark.parametrize(
    ("status", "expected"), [(422, 422), (599, 599), (399, None), (600, None), ("422", None), (None, None)]
)
def test_status_code_is_an_error_status_or_nothing(status: object, expected: int | None) -> None:
    """Only an int that HTTP knows as an error is a status."""
    error = RuntimeError("text")
    error.status_code = status  # type: ignore[attr-defined]  # as customers' exceptions have it
    told = describe(error, Path("/nowhere"))
    assert (told.status, told.text, told.of_invoke) == (expected, "text", False)
    assert describe(InvokeError(503, "x"), Path("/nowhere")).of_invoke


def test_text_of_an_exception_can_always_be_sent() -> None:
    """Half a surrogate pair becomes a question mark, and an exception without a text has none."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert describe(RuntimeError("a \ud800 b"), Path("/nowhere")).text == "a ? b"
    told = describe(Mute(), Path("/nowhere"))
    assert (told.status, told.text) == (None, "")
    assert "Mute" in told.trace

    class Shut(Exception):
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

    told = describe(Shut(), Path("/nowhere"))
    assert (told.status, told.text, told.of_invoke) == (None, "", False)
    assert "Shut" in told.trace
