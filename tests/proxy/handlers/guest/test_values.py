"""What a hook is given: reading it, changing it, and what must not show."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.handlers.guest.values import Call, Event, InvokeError, Question, Reply, answered, arrived, as_body
from tests.proxy.handlers.customers import call

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def test_call_reads_and_changes() -> None:
    """A copy has the change, its content type follows JSON, and the first stays as it was."""
    first = call(b'{"a":1}', content_type="text/plain")
    assert (first.text(), first.json()) == ('{"a":1}', {"a": 1})
    second = first.replace(json={"b": "é"})
    assert (second.body, second.content_type) == ('{"b":"é"}'.encode(), "application/json")
    assert (first.body, first.content_type) == (b'{"a":1}', "text/plain")
    assert first.replace(body="x").content_type == "text/plain"
    assert first.replace(body={"x": 1}).content_type == "application/json"
    assert first.replace(json=1, content_type="x/y").content_type == "x/y"
    assert first.replace(accept="a/b", custom_attributes="c").accept == "a/b"
    assert second.state is first.state


class Asks:
    """Where a call of the proxy's own comes from."""

    def __init__(self) -> None:
        self.seen = 0

    async def __call__(self, question: Question) -> Reply:
        return Reply(question.body, None)

    def headers(self) -> dict[str, str]:
        self.seen += 1
        return {"x": "SECRET"}


def proxied(asks: Asks) -> Call:
    """The same as `call()`, made as the proxy makes it."""
    return arrived(b"{}", "application/json", None, None, "chat", None, False, "request-0", "opaque", asks)


async def test_what_the_proxy_makes_is_what_a_customers_test_makes() -> None:
    """Both ways give equal values of one type, frozen, with the same repr; the fields that few read are there too."""
    asks = Asks()
    made, written = proxied(asks), call(headers={"x": "SECRET"})
    assert type(made) is type(written) is Call
    assert asks.seen == 0
    assert (made, repr(made)) == (written, repr(written))
    assert (made.headers, made.headers is made.headers, asks.seen) == ({"x": "SECRET"}, True, 1)
    made.state["seen"] = 1
    assert proxied(asks).replace(body="x") == written.replace(body="x")
    assert made.replace(body="x").state is made.state
    assert (await made.invoke("other")).body == b"{}"
    for name in ("body", "headers"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(proxied(asks), name, b"")
    reply = answered(b"{}", "a/b", "c", made)
    assert (reply, repr(reply)) == (Reply(b"{}", "a/b", "c", made), repr(Reply(b"{}", "a/b", "c", made)))
    assert reply.call is made
    with pytest.raises(dataclasses.FrozenInstanceError):
        reply.body = b""  # type: ignore[misc]  # that it can't be is what is seen


def test_copies_and_misspelt_fields_of_a_call_of_the_proxys() -> None:
    """A copy is a whole call; a field that does not exist is told of as for any object."""
    one = proxied(Asks())
    assert copy.copy(one) == one
    assert copy.copy(one).state is one.state
    with pytest.raises(AttributeError, match="'Call' object has no attribute 'bodyy'") as caught:
        one.bodyy  # type: ignore[attr-defined]  # noqa: B018 - as above
    assert caught.value.name == "bodyy"


@pytest.mark.parametrize("changes", [{"endpoint": "other"}, {"body": b"", "json": 1}, {"headers": {}}])
def test_only_what_travels_can_be_replaced(changes: dict[str, object]) -> None:
    """A change that could have no effect, or two of one thing, is a mistake and is told."""
    with pytest.raises(TypeError, match="replace takes"):
        call().replace(**changes)
    with pytest.raises(TypeError, match="replace takes"):
        Reply(b"", None).replace(accept="x")


def test_secrets_do_not_show() -> None:
    """A value in a log or a traceback shows no body, header or custom attribute."""
    one = call(b"SECRET", custom_attributes="SECRET", headers={"x": "SECRET"})
    shown = f"{one!r} {one.reply('SECRET')!r} {Event(b'SECRET', 0, one)!r} "
    shown += repr(Question("e", None, b"SECRET", None, None, "SECRET"))
    assert "SECRET" not in shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"x", (b"x", None)),
        (bytearray(b"x"), (b"x", None)),
        ("é", ("é".encode(), None)),
        ({"a": 1}, (b'{"a":1}', "application/json")),
        ([1], (b"[1]", "application/json")),
    ],
)
def test_bodies_come_in_four_kinds(value: object, expected: tuple[bytes, str | None]) -> None:
    """Bytes, text, and what JSON can hold."""
    assert as_body(value) == expected


def test_other_bodies_are_refused() -> None:
    """A number or an object of a library would reach the model as who knows what."""
    with pytest.raises(TypeError, match="not float"):
        as_body(1.5)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_has_not_are_refused(number: float) -> None:
    """Python writes them as NaN and Infinity, which no other reader takes for JSON. Bytes are the customer's own."""
    one, value = call(), {"a": [number]}
    event = Event(b"data: 1\n\n", 0, one)
    for give in (one.reply, as_body, lambda given: one.replace(json=given), lambda given: event.replace(json=given)):
        with pytest.raises(TypeError, match="Out of range float values are not JSON compliant"):
            give(value)
    assert as_body(b"NaN") == (b"NaN", None)


def test_reply_reads_changes_and_remembers_its_call() -> None:
    """An answer from `before` belongs to its call."""
    one = call()
    reply = one.reply({"a": 1})
    assert (reply.json(), reply.text(), reply.content_type) == ({"a": 1}, '{"a":1}', "application/json")
    assert reply.call is one
    assert one.reply(b"x", "a/b").content_type == "a/b"
    assert reply.replace(json=[1]).body == b"[1]"


@given(JSON)
def test_event_keeps_its_framing(payload: object) -> None:
    """A replaced payload comes back out of the event, framed as the first was."""
    for data, tail in ((b"event: e\nid: 1\ndata: 1\n\n", b"\n\n"), (b'{"a":1}\n', b"\n"), (b'{"a":1}', b"")):
        changed = Event(data, 0, call()).replace(json=payload)
        assert changed.endswith(tail)
        assert Event(changed, 0, call()).json() == json.loads(json.dumps(payload))
        assert changed.startswith(b"event: e\nid: 1\n") == data.startswith(b"event")


@pytest.mark.parametrize("data", [b"data: [DONE]\n\n", b": keep-alive\n\n", b"\n", b""])
def test_event_without_payload(data: bytes) -> None:
    """Keep-alives and the end of an OpenAI stream are no JSON, and no error."""
    assert Event(data, 0, call()).json() is None


def test_event_of_several_lines() -> None:
    """The data lines of one server-sent event are one text, as the standard says."""
    assert Event(b"data: a\r\ndata:b\r\n\r\n", 0, call()).text() == "a\nb"


async def test_invoke_sends_what_is_said_or_the_calls_own() -> None:
    """Without a body it is this call's; JSON brings its type; what comes back is the other's reply."""
    asked: list[Question] = []

    async def invoke(question: Question) -> Reply:
        asked.append(question)
        return Reply(b"ok", None)

    one = call(b"own", content_type="text/plain", accept="a/b", invoke=invoke)
    assert (await one.invoke("other")).body == b"ok"
    await one.invoke("other", {"x": 1}, component="c", custom_attributes="t")
    assert asked == [
        Question("other", None, b"own", "text/plain", "a/b", None),
        Question("other", "c", b'{"x":1}', "application/json", "a/b", "t"),
    ]


async def test_invoke_of_a_made_up_call() -> None:
    """A call made in a customer's unit test says that it has no proxy behind it."""
    with pytest.raises(RuntimeError, match="did not come from the proxy"):
        await call().invoke("other")


def test_invoke_error_carries_the_status() -> None:
    """A customer may decide by it, and an uncaught one becomes it."""
    assert (InvokeError(429, "busy").status_code, str(InvokeError(429, "busy"))) == (429, "busy")


@pytest.mark.parametrize("value", [7, b"text/plain", "text/plain\r\nX-Other: 1", "größe"])
async def test_what_no_header_can_hold_is_refused_where_it_is_given(value: Any) -> None:
    """Left out on the way it would be missed by nobody but the client."""
    one = call()
    for name in ("content_type", "accept", "custom_attributes"):
        with pytest.raises(ValueError, match=f"^{name} goes into a header"):
            one.replace(**{name: value})
        with pytest.raises(ValueError, match=f"^{name} goes into a header"):
            await one.invoke("other", **{name: value})
    with pytest.raises(ValueError, match=r"^custom_attributes goes"):
        Reply(b"", None).replace(custom_attributes=value)
    with pytest.raises(ValueError, match=r"^content_type goes"):
        one.reply("x", content_type=value)


def test_header_values_as_they_are_used() -> None:
    """Parameters, lists and tabs are text; None takes a value away."""
    attributes = "route=a;\tb={1}, c"
    assert call().replace(custom_attributes=attributes, accept=None).custom_attributes == attributes
