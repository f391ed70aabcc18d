"""The table header x kind: the page against the data, and the data against what the three backends do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backends.aws import StaticCredentials
from backends.base import Backend, Call, Headers, Reply
from backends.bedrock import BedrockBackend
from backends.endpoint import EndpointBackend
from backends.http.roads import Road, road_to
from backends.http.transport import Outgoing
from backends.vllm import VllmBackend
from backends.wire.contract import NEW_SESSION_ON_STREAM, REQUEST, RESPONSE, Fate, Row
from backends.wire.eventstream import encode, payload_part
from backends.wire.sagemaker import FIELDS, Kind, Operation, WireError, read_invocation, write_reply, write_stream_head
from backends.wire.sigv4 import Credentials, Signer
from policies.table import BedrockSpec, EndpointSpec, Spec, Target, VllmSpec

PAGE = Path(__file__).parents[3] / "docs" / "wire-contract.md"
KINDS = ("endpoint", "bedrock", "vllm")
ARN = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12"
SPECS: Mapping[str, Spec] = {
    "endpoint": EndpointSpec("back", component="ic-back", url="http://h"),
    "bedrock": BedrockSpec(ARN, url="http://h"),
    "vllm": VllmSpec(("http://h",), "m"),
}
VALUES = {
    "Content-Type": "application/json; charset=utf-8",
    "Accept": "application/json",
    "X-Amzn-SageMaker-Accept": "application/json",
    "X-Amzn-SageMaker-Session-Id": "s-1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "a=1",
    "x-pointsman-hop": "1",
    "any other": "x",
}
ANSWER = b'{"generation":"a"}'
CHUNK = encode(((":event-type", "chunk"), (":message-type", "event")), b'{"bytes":"eyJnZW5lcmF0aW9uIjoiYSJ9"}')


class Answer:
    """An answer that was scripted: its head, and a body in one piece."""

    status = 200

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.headers = headers
        self._body = body

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def at_hand(self, limit: int) -> bytes | None:
        return self._body

    async def read(self, limit: int) -> bytes:
        return self._body

    async def piece(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    @property
    def first(self) -> Mapping[bytes, bytes]:
        return {name.lower().encode(): value.encode() for name, value in reversed(self.headers)}

    @property
    def head(self) -> Awaitable[None]:
        return asyncio.sleep(0)

    def free(self) -> None:
        """Nothing to free."""

    async def aclose(self) -> None:
        """Nothing to free."""


class Wire:
    """`Posts` that keeps what is sent and gives the scripted answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.sent: list[Outgoing] = []

    def road(self, url: str) -> Road:
        return road_to(url)

    def begin(
        self, road: Road, fields: str, count: int, body: bytes, deadline: float, first_byte: float, between: float
    ) -> Answer:
        pairs = tuple((name, value) for name, _, value in (line.partition(": ") for line in fields.splitlines()))
        self.sent.append(Outgoing("POST", road.url, pairs, body))
        return self._answer

    async def follow(
        self,
        road: Road,
        fields: str,
        count: int,
        body: bytes,
        deadline: float,
        first_byte: float,
        between: float,
        connect_timeout: float,
    ) -> Answer:
        raise AssertionError("a connection is always idle")


def backend(kind: str, wire: Wire) -> Backend:
    signing = (
        StaticCredentials(Credentials("AKID", "secret", "session")),
        Signer(),
        lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    match kind:
        case "endpoint":
            return EndpointBackend(wire, *signing)
        case "bedrock":
            return BedrockBackend(wire, *signing)
        case _:
            return VllmBackend(wire)


async def passage(kind: str, headers: Headers, answered: Headers, *, stream: bool) -> tuple[Headers, Headers]:
    """What goes out to a target, and what comes back to the client, when a client sends `headers`."""
    wire = Wire(Answer(answered, answer_body(kind, stream=stream)))
    body = b'{"stream":true}' if stream and kind == "bedrock" else b"{}"
    invocation = read_invocation(Operation(Kind.STREAM if stream else Kind.INVOKE, "front"), headers, body, "r-own")
    call = Call(
        invocation, body, invocation.content_type, invocation.accept, invocation.custom_attributes, invocation.trace
    )
    speaks = "bedrock-completion" if kind == "bedrock" else "opaque"
    target = Target("t", kind, SPECS[kind], region="us-east-1", speaks=speaks)
    reply = await backend(kind, wire).invoke(target, call, 1e9)
    if reply.stream is not None:
        await reply.stream.aclose()
    head = write_stream_head if stream else write_reply
    return wire.sent[0].headers, head(replace(reply, stream=None), "r-own")


def answer_body(kind: str, *, stream: bool) -> bytes:
    if not stream or kind == "vllm":
        return ANSWER
    return CHUNK if kind == "bedrock" else payload_part(ANSWER)


def first(headers: Headers, name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name.lower()), None)


def rows(title: str) -> list[tuple[str, ...]]:
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/wire-contract.md has no section {title!r}"
    lines = [line for line in found[1].splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(line) == 5 and line[4] for line in cells), "each row has four cells and a sentence"
    return [tuple(line[:4]) for line in cells]


@pytest.mark.parametrize(("title", "table"), [("Request headers", REQUEST), ("Response headers", RESPONSE)])
def test_the_page_prints_the_table(title: str, table: tuple[Row, ...]) -> None:
    """Document and data say the same, row for row, and every row is explained."""
    assert rows(title) == [(row.name, *(row.fate(kind).value for kind in KINDS)) for row in table]


def test_every_modelled_header_is_in_the_table() -> None:
    """A header that is added to the fields needs a row."""
    named = {row.name for row in REQUEST}
    assert {name for field in FIELDS for name in field.wire.values()} <= named


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [row for row in REQUEST if row.name != NEW_SESSION_ON_STREAM], ids=lambda row: row.name)
async def test_a_request_header_meets_its_fate(row: Row, kind: str) -> None:
    """Sent by a client, the header arrives at the target, arrives changed, or does not arrive, as the table says."""
    name = "X-Company-Tag" if row.name == "any other" else row.name
    value = VALUES.get(row.name, "v1")
    stream = row.name == "X-Amzn-SageMaker-Accept"
    answered: Headers = (
        ("Content-Type", "application/vnd.amazon.eventstream" if stream and kind != "vllm" else "application/json"),
    )
    headers: Headers = ((name, value),)
    if name == "tracestate":  # means nothing by itself
        headers += (("traceparent", VALUES["traceparent"]),)
    sent, _ = await passage(kind, headers, answered, stream=stream)
    plain, _ = await passage(kind, (), answered, stream=stream)
    arrived = first(sent, name)
    match row.fate(kind):
        case Fate.PASSED:
            assert arrived == value
        case Fate.TRANSLATED:
            assert sent != plain or arrived not in (None, value)
            assert arrived != value or name.startswith("trace") or name == "Accept"
        case Fate.IGNORED:
            assert sent == plain
            assert arrived != value
        case Fate.REFUSED:
            pytest.fail("only the request below is refused")


async def test_opening_a_session_on_a_stream_is_refused() -> None:
    """Before any target is asked."""
    with pytest.raises(WireError, match="sessionId"):
        read_invocation(Operation(Kind.STREAM, "e"), (("X-Amzn-SageMaker-Session-Id", "NEW_SESSION"),), b"", "r")
    (row,) = (row for row in REQUEST if row.name == NEW_SESSION_ON_STREAM)
    assert {row.fate(kind) for kind in KINDS} == {Fate.REFUSED}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", RESPONSE, ids=lambda row: row.name)
async def test_a_response_header_meets_its_fate(row: Row, kind: str) -> None:
    """Sent by a target, the header reaches the client, reaches it changed, or does not."""
    name = "X-Company-Tag" if row.name == "any other" else row.name
    stream = row.name == "X-Amzn-SageMaker-Content-Type"
    framed = stream and kind != "vllm"
    answered: Headers = (("Content-Type", "application/vnd.amazon.eventstream" if framed else "text/x-own"),)
    if name != "Content-Type":
        answered += ((name, "text/x-own"),)
    _, received = await passage(kind, (), answered, stream=stream)
    match row.fate(kind):
        case Fate.PASSED:
            assert first(received, name) == "text/x-own"
        case Fate.TRANSLATED:
            expected = {("bedrock", True): "text/event-stream", ("vllm", True): "text/x-own"}
            assert first(received, name) == expected.get((kind, stream), "r-own")
        case _:
            assert first(received, name) in (None, "AllTraffic")


def test_a_reply_is_written_under_these_names_alone() -> None:
    """Every header that an answer can have is a row."""
    full = Reply(b"", None, "a", "b", "c", "d", "e")
    named = {row.name for row in RESPONSE}
    assert {name for name, _ in (*write_reply(full, "r"), *write_stream_head(full, "r"))} <= named
