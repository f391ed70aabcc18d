"""What both AWS kinds share: hosts, credentials, hop counts, framed bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Headers, Trace
from backends.errors import BackendError, Said
from backends.http.transport import HttpTransport, TransportError
from backends.signed import (
    ERROR_LIMIT,
    SignedSender,
    base_url,
    primed,
    proxy_headers,
    read_body,
    read_pieces,
    read_refusal,
    refuse_garbled,
    region_of,
)
from backends.wire.eventstream import Frame, payload_part
from backends.wire.restjson import Unsigned
from backends.wire.sagemaker import read_error, read_event
from backends.wire.sigv4 import Signer
from policies.facts import FailureFacts, Fault
from policies.table import AssumedRole, EndpointSpec, Target

from .upstream import NOW, Source, call, running_upstream, soon

TARGET = Target("t", "endpoint", EndpointSpec("e"), region="eu-central-1")
NOWHERE = Target("t", "endpoint", EndpointSpec("e"))


class Body:
    """`Incoming` with scripted chunks, the last of which may be a failure."""

    status = 500
    headers: Headers = ()

    def __init__(self, *chunks: bytes | TransportError) -> None:
        self._chunks = chunks
        self.closed = 0

    def header(self, name: str) -> str | None:
        return None

    def at_hand(self, limit: int) -> bytes | None:
        return None

    async def read(self, limit: int) -> bytes:
        body = b"".join([chunk async for chunk in self.chunks()])
        if len(body) > limit:
            raise TransportError("too long", sent=True)
        return body

    async def piece(self) -> bytes:
        return b""

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, TransportError):
                raise chunk
            yield chunk

    async def aclose(self) -> None:
        self.closed += 1


def nothing_more() -> bytes:
    return b""


@pytest.mark.parametrize(
    ("region", "url", "found"),
    [
        ("eu-central-1", None, "https://runtime.sagemaker.eu-central-1.amazonaws.com"),
        ("cn-north-1", None, "https://runtime.sagemaker.cn-north-1.amazonaws.com.cn"),
        ("eu-central-1", "http://h:1/p", "http://h:1/p"),
        (None, "http://h:1", "http://h:1"),
    ],
)
def test_hosts_are_aws_regional_ones_or_the_policys(region: str | None, url: str | None, found: str) -> None:
    """As botocore's endpoint rules have them, China's partition included."""
    assert base_url("runtime.sagemaker", Target("t", "endpoint", EndpointSpec("e"), region=region), url) == found


def test_a_target_without_a_region_cannot_be_reached() -> None:
    """The failure says what to write into the policy, and that another target may be tried."""
    with pytest.raises(BackendError, match="give the target a region") as caught:
        region_of(NOWHERE)
    assert caught.value.facts == FailureFacts(Fault.CONFIG, retry_safe=True)


@pytest.mark.parametrize(
    ("given", "sent"), [(None, "1"), ("0", "1"), ("2", "3"), ("-1", "1"), ("x", "1"), ("٣", "1"), ("99999", "1")]
)
def test_hops_are_counted(given: str | None, sent: str) -> None:
    """Each proxy adds one, whatever nonsense it was told."""
    assert proxy_headers(call(hops=given)) == (("x-pointsman-hop", sent),)


def test_the_trace_goes_with_the_hops() -> None:
    """Parent and, when there is one, state."""
    assert dict(proxy_headers(call(trace=Trace("p")))) == {"x-pointsman-hop": "1", "traceparent": "p"}
    assert dict(proxy_headers(call(trace=Trace("p", "s"))))["tracestate"] == "s"


@pytest.mark.parametrize("sign", [True, False])
async def test_a_request_is_signed_unless_told_otherwise(sign: bool) -> None:
    """Signed with the role's credentials, under the service's and the region's name; unsigned it needs neither."""
    role = AssumedRole("arn:aws:iam::1:role/r", "ext")
    async with running_upstream() as upstream:
        upstream.says()
        transport, source = HttpTransport(), Source()
        sender = SignedSender(transport, source, Signer(), lambda: NOW)
        request = Unsigned(f"{upstream.url}/a%2Fb", (("X-Own", "1"),), b"body")
        incoming = await sender.send(
            TARGET if sign else NOWHERE, request, service="sagemaker", role=role, sign=sign, deadline=soon()
        )
        await incoming.aclose()
        await transport.aclose()
    sent = upstream.requests[0].headers
    assert upstream.requests[0].raw_path == "/a%2Fb"
    assert (upstream.bodies[0], sent["X-Own"]) == (b"body", "1")
    if sign:
        assert source.roles == [role]
        assert sent["X-Amz-Date"] == "20261121T120000Z"
        assert sent["X-Amz-Security-Token"] == "a-token"
        assert sent["Authorization"].startswith(
            "AWS4-HMAC-SHA256 Credential=AKIDTEST/20261121/eu-central-1/sagemaker/aws4_request, SignedHeaders="
        )
    else:
        assert source.roles == []
        assert "Authorization" not in sent


async def test_without_credentials_nothing_is_sent() -> None:
    """The cause says why; the client's request may go to another target."""
    transport = HttpTransport()
    sender = SignedSender(transport, Source("run `aws sso login`"), Signer(), lambda: NOW)
    with pytest.raises(BackendError, match="no credentials: run `aws sso login`") as caught:
        await sender.send(
            TARGET, Unsigned("http://127.0.0.1:1/", (), b""), service="s", role=None, sign=True, deadline=soon()
        )
    await transport.aclose()
    assert caught.value.facts == FailureFacts(Fault.CONFIG, retry_safe=True)


@pytest.mark.parametrize(("kind", "given_up"), [("ExpiredTokenException", True), ("AccessDeniedException", False)])
async def test_credentials_that_have_expired_are_given_up(kind: str, given_up: bool) -> None:
    """The next attempt is signed with others; a lack of rights is no reason to look for any."""
    async with running_upstream() as upstream:
        upstream.fails(f"{kind}:http://internal.amazon.com/", 403, b"{}")
        transport, source = HttpTransport(), Source()
        sender = SignedSender(transport, source, Signer(), lambda: NOW)
        request = Unsigned(upstream.url, (), b"")
        incoming = await sender.send(TARGET, request, service="s", role=None, sign=True, deadline=soon())
        await incoming.aclose()
        await transport.aclose()
    assert source.given_up == [None] * given_up


async def test_a_refused_connection_is_safe_to_repeat() -> None:
    """Nothing was sent."""
    async with running_upstream() as upstream:
        url = upstream.url
    transport = HttpTransport()
    sender = SignedSender(transport, Source(), Signer(), lambda: NOW)
    with pytest.raises(BackendError) as caught:
        await sender.send(TARGET, Unsigned(url, (), b""), service="s", role=None, sign=True, deadline=soon())
    await transport.aclose()
    assert caught.value.facts == FailureFacts(Fault.NETWORK, retry_safe=True)


async def test_a_body_that_breaks_is_a_failure() -> None:
    """The transport's facts are kept."""
    broken = TransportError("late", sent=True, timed_out=True)
    with pytest.raises(BackendError, match="late") as caught:
        await read_body(Body(b"a", broken), TARGET, 10)
    assert caught.value.facts == FailureFacts(Fault.NETWORK, None, timed_out=True)
    assert await read_body(Body(b"a", b"b"), TARGET, 10) == b"ab"


@pytest.mark.parametrize("body", [Body(b"{", TransportError("cut", sent=True)), Body(b"x" * (ERROR_LIMIT + 1))])
async def test_an_error_whose_body_is_lost_is_judged_by_its_head(body: Body) -> None:
    """A refusal stays the refusal it is, also when its text does not arrive or has no end."""
    error = await read_refusal(body, TARGET, read_error)
    assert (error.facts, error.said) == (FailureFacts(Fault.PLATFORM, None), Said(500, "HTTP 500"))


async def test_a_refusal_says_type_and_status_in_its_cause() -> None:
    """The log shows what came, without its text."""
    error = await read_refusal(Body(b'{"__type":"InternalFailure","Message":"private"}'), TARGET, read_error)
    assert error.cause == "answered 500 InternalFailure"
    assert (await read_refusal(Body(b""), TARGET, read_error)).cause == "answered 500 without a type"


def test_an_answer_of_another_form_may_have_run() -> None:
    """It is neither the model's nor the client's fault, and not safe to repeat."""
    error = refuse_garbled(TARGET, "html", Said(502, "m"))
    assert (error.facts, error.cause) == (FailureFacts(Fault.NETWORK, None), "answered 200 with html")


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.integers(1, 30))
async def test_pieces_do_not_depend_on_chunks(parts: list[bytes], size: int) -> None:
    """However TCP cuts the frames, the same pieces come out."""
    data = b"".join(map(payload_part, parts))
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert [piece async for piece in read_pieces(Body(*chunks), TARGET, read_event, nothing_more)] == parts


async def test_empty_pieces_are_left_out_and_the_end_may_add_one() -> None:
    """Keep-alive frames are nothing to a client; what finishes a body is its last piece."""
    data = payload_part(b"") + payload_part(b"a") + payload_part(b"")
    found = [piece async for piece in read_pieces(Body(data), TARGET, read_event, lambda: b"end")]
    assert found == [b"a", b"end"]


@pytest.mark.parametrize(
    ("chunks", "cause"),
    [
        ((payload_part(b"a"), payload_part(b"b")[:-1]), "inside a frame"),
        ((payload_part(b"a"), payload_part(b"b")[:-1] + b"\x00"), "checksum"),
        ((payload_part(b"a"), b"data: plain text, no frames at all\n\n"), "checksum"),
        ((payload_part(b"a") + b"x" * 20, b"y"), "checksum"),
    ],
)
async def test_damage_is_never_a_clean_end(chunks: tuple[bytes, ...], cause: str) -> None:
    """What came before the damage is delivered, then the stream is broken."""
    stream = read_pieces(Body(*chunks), TARGET, read_event, lambda: b"end")
    assert await anext(stream) == b"a"
    with pytest.raises(BackendError, match=cause) as caught:
        await anext(stream)
    assert caught.value.facts == FailureFacts(Fault.NETWORK, None)
    assert caught.value.said is not None
    assert (caught.value.said.type, caught.value.said.error_code) == ("ModelStreamError", "StreamBroken")


@pytest.mark.parametrize("joins", [False, True])
async def test_damage_behind_a_frame_does_not_wait_for_more(joins: bool) -> None:
    """An upstream that sends a broken frame and then falls silent is not waited for."""
    silent = TransportError("silent for too long", sent=True, timed_out=True)
    sent = Body(payload_part(b"a") + payload_part(b"b") + b"x" * 20, silent)
    stream = read_pieces(sent, TARGET, read_event, lambda: b"end", joins=joins)
    for piece in [b"ab"] if joins else [b"a", b"b"]:
        assert await anext(stream) == piece
    with pytest.raises(BackendError, match="checksum"):
        await anext(stream)


async def test_a_lost_connection_keeps_its_facts() -> None:
    """A deadline in the middle of a stream stays a deadline."""
    broken = Body(payload_part(b"a"), TransportError("late", sent=True, timed_out=True))
    with pytest.raises(BackendError) as caught:
        _ = [piece async for piece in read_pieces(broken, TARGET, read_event, nothing_more)]
    assert caught.value.facts.timed_out


@pytest.mark.parametrize("said", [Said(500, "m", "InternalStreamFailure"), Said(502, "m")])
async def test_what_a_frame_tells_ends_the_stream(said: Said) -> None:
    """The reader's verdict becomes the failure, at the end of the stream too."""
    facts = FailureFacts(Fault.PLATFORM, None)

    def read(_: Frame) -> tuple[FailureFacts, Said]:
        return facts, said

    for stream in (
        read_pieces(Body(payload_part(b"a")), TARGET, read, nothing_more),
        read_pieces(Body(payload_part(b"a")), TARGET, read_event, lambda: (facts, said)),
    ):
        with pytest.raises(BackendError, match="the stream ended with") as caught:
            _ = [piece async for piece in stream]
        assert (caught.value.facts, caught.value.said) == (facts, said)


async def test_a_stream_is_primed_with_its_first_piece() -> None:
    """The first piece has been read, and closing frees the connection once, however far the reading got."""
    body = Body(payload_part(b"a"), payload_part(b"b"))
    stream = await primed(body, read_pieces(body, TARGET, read_event, nothing_more))
    assert await anext(aiter(stream)) == b"a"
    await stream.aclose()
    await stream.aclose()
    assert body.closed == 1


async def test_a_failure_before_the_first_piece_frees_the_connection() -> None:
    """Another target may be tried, so nobody else will close it."""
    body = Body(TransportError("cut", sent=True))
    with pytest.raises(BackendError):
        await primed(body, read_pieces(body, TARGET, read_event, nothing_more))
    assert body.closed == 1


async def test_an_empty_stream_is_a_stream() -> None:
    """A container may answer with nothing at all."""
    body = Body()
    stream = await primed(body, read_pieces(body, TARGET, read_event, nothing_more))
    assert [piece async for piece in stream] == []
