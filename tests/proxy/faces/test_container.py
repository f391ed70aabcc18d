"""The container contract on a real socket, over scripted backends: health, whose route, headers, chunks, failures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from backends.base import Reply
from backends.errors import BackendError, Said
from policies.facts import FailureFacts, Fault
from policies.table import Boundary, HandlerSpec, Route, RouteTable, Target, VllmSpec, Weighted
from proxy.faces.container import Container, Started
from proxy.services import Services

from ..parts import POLICY, Pieces, TextSource
from .listening import ask, listening, send

TARGET = Target("first", "vllm", VllmSpec(("http://127.0.0.1:1",), "m"))
BROKEN = BackendError(FailureFacts(Fault.NETWORK, None), TARGET, "reset")
INVOKE = "POST /invocations"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
COMPONENT = "X-Amzn-SageMaker-Inference-Component"
ONE = """
apiVersion: pointsman/v1
account: "123456789012"
targets: {first: {kind: vllm, url: "http://127.0.0.1:1", model: m, region: us-east-1}}
endpoints: {only: {serve_from: first}}
"""


def made(
    endpoint: str | None = None,
    attribute: str | None = None,
    *,
    inside: bool = True,
    ready: Callable[[Route], str | None] = lambda _: None,
) -> Callable[[Services], Container]:
    """A container started for these."""
    return lambda parts: Container(parts, Started(endpoint, attribute, inside=inside), ready)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_ping_is_200_and_empty_when_the_route_can_be_served(method: str) -> None:
    """The platform's health check, in both of the methods that are seen; it is no request in the log."""
    async with listening(made("chat")) as running:
        heard = await ask(running.port, f"{method} /ping")
    assert (heard.status, heard.body) == (200, b"")
    assert running.log.getvalue() == b""


@pytest.mark.parametrize(
    ("make", "text", "why"),
    [
        (made(), POLICY, "several endpoints"),
        (made("nowhere"), POLICY, "unknown endpoint"),
        (made("packed"), POLICY, "component required"),
        (made("packed/two"), POLICY, "unknown component"),
        (made("chat/one"), POLICY, "component not allowed"),
        (made(ready=lambda route: f"handler of {route.key} is loading"), ONE, "handler of only is loading"),
        (made(attribute="m", ready=lambda route: "loading" if route.endpoint == "again" else None), POLICY, "loading"),
    ],
)
async def test_ping_is_503_with_the_reason_while_it_can_not(
    make: Callable[[Services], Container], text: str, why: str
) -> None:
    """No route, not whose, or something of it not loaded."""
    async with listening(make, text=text) as running:
        heard = await ask(running.port, "GET /ping")
    assert heard.status == 503
    assert why in heard.body.decode()


@pytest.mark.parametrize(
    "make",
    [
        made("packed/one"),
        made("packed", inside=False),
        made(attribute="m"),
    ],
)
async def test_ping_is_200_where_requests_say_the_rest(make: Callable[[Services], Container]) -> None:
    """A component in the name; outside SageMaker one in a header; an endpoint in CustomAttributes."""
    async with listening(make) as running:
        assert (await ask(running.port, "GET /ping")).status == 200


async def test_ping_follows_the_policy_in_force() -> None:
    """A reload that takes the route away makes the container unhealthy, one that brings it back healthy."""
    async with listening(made("only"), text=ONE) as running:
        source = running.parts.policy._source
        assert isinstance(source, TextSource)
        statuses = []
        for text in (ONE.replace("only", "other"), ONE.replace("  ", " ")):
            source.text = text
            await running.parts.policy.reload()
            statuses.append((await ask(running.port, "GET /ping")).status)
    assert statuses == [503, 200]


@pytest.mark.parametrize(
    ("make", "headers", "text", "route"),
    [
        (made("alone"), (), POLICY, "alone"),
        (made(), (), ONE, "only"),
        (made("packed/one"), (), POLICY, "packed/one"),
        (made("alone", "m"), (f"{ATTRIBUTES}: x=1;m=chat",), POLICY, "chat"),
        (made("alone", "m"), (f"{ATTRIBUTES}: x=1",), POLICY, "alone"),
        (made(attribute="m"), (f"{ATTRIBUTES}: m=packed/one",), POLICY, "packed/one"),
        (made("alone"), (f"{ATTRIBUTES}: m=chat",), POLICY, "alone"),
        (made("alone"), (f"{COMPONENT}: one",), POLICY, "alone"),
        (made("packed", inside=False), (f"{COMPONENT}: one",), POLICY, "packed/one"),
    ],
)
async def test_whose_route_it_is(
    make: Callable[[Services], Container], headers: tuple[str, ...], text: str, route: str
) -> None:
    """The endpoint that the process was started for, else a declared item; a component's header counts outside only."""
    async with listening(make, Reply(b"{}"), text=text) as running:
        heard = await ask(running.port, INVOKE, b"{}", *headers)
        line = running.last_line()
    assert heard.status == 200
    assert "/".join(filter(None, (line["endpoint"], line.get("component")))) == route
    assert line["operation"] == "Invocations"


async def test_a_request_that_names_none_is_refused() -> None:
    """400, with the item that is missing."""
    async with listening(made(attribute="m")) as running:
        heard = await ask(running.port, INVOKE, b"{}")
    assert (heard.status, json.loads(heard.body)["__type"]) == (400, "ValidationError")
    assert "m=NAME" in json.loads(heard.body)["Message"]


@pytest.mark.parametrize("inside", [True, False])
async def test_only_the_contracts_headers_count_inside(inside: bool) -> None:
    """Body, type, attributes and session go on; what else arrives counts outside SageMaker only."""
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    given = ("Content-Type: text/csv", f"{ATTRIBUTES}: a=b", "X-Amzn-SageMaker-Session-Id: s", f"traceparent: {trace}")
    async with listening(made("alone", inside=inside), Reply(b"{}")) as running:
        await ask(running.port, INVOKE, b"1,2", *given)
        call = running.backend.calls[0][1]
    got = (call.body, call.content_type, call.custom_attributes, call.invocation.session_id)
    assert got == (b"1,2", "text/csv", "a=b", "s")
    assert (call.invocation.trace is not None) is not inside


async def test_an_answer_has_the_contracts_headers() -> None:
    """Type, attributes and session of the model; a whole body is not chunked."""
    reply = Reply(b"\x00", None, "text/x", "a=b", "blue", "s-1; Expires=2026-11-21T00:00:00Z")
    async with listening(made("alone"), reply) as running:
        heard = await ask(running.port, INVOKE, b"{}")
    assert (heard.status, heard.body, heard.headers["content-type"]) == (200, b"\x00", "text/x")
    assert heard.headers["x-amzn-sagemaker-custom-attributes"] == "a=b"
    assert heard.headers["x-amzn-sagemaker-new-session-id"].startswith("s-1")
    assert heard.headers["content-length"] == "1"


async def test_a_body_that_asks_for_a_stream_is_answered_in_chunks() -> None:
    """As the model wrote them, one event each, with the model's type."""
    stream = Pieces(b"data: a\n", b"\ndata: b\n\ndata: c\n\n")
    async with listening(made("alone"), Reply(stream=stream, content_type="text/event-stream")) as running:
        heard = await ask(running.port, INVOKE, b'{"stream": true}')
        call = running.backend.calls[0][1]
    assert (heard.chunks, heard.whole, call.streaming) == ([b"data: a\n\n", b"data: b\n\n", b"data: c\n\n"], True, True)
    assert heard.headers["transfer-encoding"] == "chunked"
    assert heard.headers["content-type"] == "text/event-stream"


async def test_a_stream_that_breaks_breaks_the_connection() -> None:
    """The platform must not take it for whole; it tells the client."""
    stream = Pieces(b"data: a\n\n", BROKEN)
    async with listening(made("alone"), Reply(stream=stream, content_type="text/event-stream")) as running:
        heard = await ask(running.port, INVOKE, b'{"stream": true}')
        line = running.last_line()
    assert (heard.status, heard.body, heard.whole) == (200, b"data: a\n\n", False)
    assert (line["ended"], line["error_type"]) == ("upstream_broken", "ModelStreamError")


@pytest.mark.parametrize(("body", "longest"), [(b"{}", 58.0), (b'{"stream": true}', 478.0)])
async def test_answers_come_before_the_platform_cuts_them_off(body: bytes, longest: float) -> None:
    """58 s, and 478 s for a stream, whatever the policy allows; and less where it says less."""
    text = ONE.replace("serve_from: first", "serve_from: first, timeout: 10m, stream_timeout: 1h")
    hasty = ONE.replace("serve_from: first", "serve_from: first, timeout: 5s, stream_timeout: 5s")
    for policy, allowed in ((text, longest), (hasty, 5.0)):
        async with listening(made(), Reply(b"{}"), text=policy) as running:
            before = running.parts.now()
            await ask(running.port, INVOKE, body)
            deadline, after = running.backend.calls[0][2], running.parts.now()
        assert before + allowed <= deadline <= after + allowed


async def test_a_models_error_goes_out_raw() -> None:
    """Its own status and body, so that what the platform wraps is the model's."""
    async with listening(made("alone"), FailureFacts(Fault.MODEL, retry_safe=False)) as running:
        running.backend.said = Said(422, '{"error": "bad prompt"}')
        heard = await ask(running.port, INVOKE, b"{}")
    assert (heard.status, heard.body) == (422, b'{"error": "bad prompt"}')


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /invocations", 405),
        ("DELETE /ping", 405),
        ("GET /", 404),
        ("POST /endpoints/chat/invocations", 404),
        ("GET /v1/models", 404),
        ("GET /livez", 404),
        ("GET /metrics", 404),
    ],
)
async def test_nothing_else_is_served(line: str, status: int) -> None:
    """No other contract and nothing of the operators'."""
    async with listening(made("chat")) as running:
        assert (await ask(running.port, line)).status == status


async def test_what_is_wrong_with_a_request_is_told() -> None:
    """Too large, garbage, a loop, a bug: each has its status and nothing of our insides."""
    async with listening(made("alone", inside=False), ZeroDivisionError("insides")) as running:
        large = await ask(running.port, INVOKE, b"x" * 1025)
        looped = await ask(running.port, INVOKE, b"{}", "x-pointsman-hop: 3")
        bug = await ask(running.port, INVOKE, b"{}")
        garbage = await send(running.port, b"nonsense\r\n\r\n")
        running.parts.log.close()
        told = [json.loads(line) for line in running.log.getvalue().splitlines()]
    assert [(line["operation"], line["endpoint"]) for line in told[:2]] == [("Invocations", "alone")] * 2
    assert [heard.status for heard in (large, looped, bug, garbage)] == [413, 400, 500, 400]
    assert b"insides" not in bug.body


def test_a_route_that_nothing_may_serve_is_unhealthy() -> None:
    """A boundary that leaves no target is told by the health check, not by the first client."""
    route = Route("only", None, (Weighted(TARGET, 1.0),), boundary=Boundary(regions=frozenset({"eu-west-1"})))
    table = RouteTable("1", {("only", None): route}, {}, "d")
    assert "boundary of only" in (Started().unready(table, lambda _: None) or "")


def test_a_policy_without_routes_is_unhealthy() -> None:
    """Also where requests would name their endpoint."""
    table = RouteTable("1", {}, {}, "d")
    assert Started(attribute="m").unready(table, lambda _: None)


async def test_a_route_whose_handler_is_not_loaded_is_unhealthy() -> None:
    """As the process asks it: a route without a handler waits for none."""
    async with listening(lambda parts: Container(parts, Started("chat"), parts.handlers.unready)) as running:
        heard = await ask(running.port, "GET /ping")
        route = running.parts.policy.current.table.routes["chat", None]
        handled = replace(route, handler=HandlerSpec("model.py"))
        assert "handler of chat" in (running.parts.handlers.unready(handled) or "")
    assert heard.status == 200


LATE = BackendError(FailureFacts(Fault.MODEL, None, timed_out=True), TARGET, "late")


def cut(seconds: float, *, inside: bool = True) -> Callable[[Services], Container]:
    """A container whose platform cuts then."""
    return lambda parts: Container(parts, Started("only", inside=inside, cut=seconds), lambda _: None)


async def test_a_time_out_near_the_platforms_cut_is_left_to_the_platform() -> None:
    """Nothing is said until it has cut, which ends the connection; the log has the time-out all the same."""
    async with listening(cut(0.2), LATE, text=ONE) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"POST /invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.read(1)
        writer.close()
    line = json.loads(running.log.getvalue())
    assert (line["status"], line["ended"], line["error_type"]) == (504, "failed", "ModelError")


async def test_a_platform_that_does_not_cut_is_told_in_the_end() -> None:
    """A second later."""
    loop = asyncio.get_running_loop()
    async with listening(cut(0.1), LATE, text=ONE) as running:
        began = loop.time()
        heard = await ask(running.port, INVOKE, b"{}")
        assert loop.time() - began >= 1.0
    assert heard.status == 504
    assert b"timed out while waiting" in heard.body


@pytest.mark.parametrize(
    ("make", "body", "error"),
    [
        (cut(60.0), b"{}", LATE),
        (cut(2.9, inside=False), b"{}", LATE),
        (cut(2.9), b'{"stream": true}', LATE),
        (cut(2.9), b"{}", BROKEN),
    ],
    ids=["far from the cut", "no platform", "a stream", "another failure"],
)
async def test_any_other_failure_is_told_at_once(
    make: Callable[[Services], Container], body: bytes, error: BackendError
) -> None:
    """Silence is only for a whole answer that is late, shortly before SageMaker would say so itself."""
    loop = asyncio.get_running_loop()
    async with listening(make, error, text=ONE) as running:
        began = loop.time()
        heard = await ask(running.port, INVOKE, body)
        assert loop.time() - began < 3.5  # silence would last for 3.9 s
    assert heard.status == (502 if error is BROKEN else 504)
