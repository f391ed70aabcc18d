"""What both AWS kinds share: hosts, credentials, hop counts, streams with their first piece."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backends.addresses import Address
from backends.base import Call, Trace
from backends.errors import BackendError, Said
from backends.framed import FramedPieces
from backends.http.transport import HttpTransport, TransportError, lines
from backends.signed import (
    ERROR_LIMIT,
    SignedSender,
    WholeSeconds,
    addresses,
    base_url,
    lines_for_proxy,
    primed,
    proxy_headers,
    read_body,
    read_refusal,
    refuse_garbled,
    region_of,
)
from backends.wire.eventstream import payload_part
from backends.wire.sagemaker import read_error, read_event
from backends.wire.sigv4 import Signer
from policies.facts import FailureFacts, Fault
from policies.table import AssumedRole, EndpointSpec, Target

from .upstream import NOW, Body, Source, Unreachable, call, running_upstream, soon

TARGET = Target("t", "endpoint", EndpointSpec("e"), region="eu-central-1")
NOWHERE = Target("t", "endpoint", EndpointSpec("e"))


def address(target: Target, url: str, *, sign: bool = True) -> Address:
    """Where a request to that URL goes."""
    return addresses(target, lambda _: url, Unreachable(), service="sagemaker", sign=sign).whole


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


@pytest.mark.parametrize(
    "made",
    [call(), call(hops="2"), call(trace=Trace("p")), call(trace=Trace("p", "s")), call(hops="x", trace=Trace("p"))],
)
def test_what_a_proxy_is_told_has_one_form(made: Call) -> None:
    """As fields and as the lines that are sent: what most calls have is made once, and is the same."""
    headers = proxy_headers(made)
    assert lines_for_proxy(made) == (lines(headers), len(headers))


def test_an_address_that_is_none_fails_the_call() -> None:
    """Nothing was sent, so another target may be tried."""
    with pytest.raises(BackendError, match="not an http or https address") as caught:
        address(TARGET, "ftp://h")
    assert caught.value.facts.retry_safe is True


def test_the_trace_goes_with_the_hops() -> None:
    """Parent and, when there is one, state."""
    assert dict(proxy_headers(call(trace=Trace("p")))) == {"x-pointsman-hop": "1", "traceparent": "p"}
    assert dict(proxy_headers(call(trace=Trace("p", "s"))))["tracestate"] == "s"


def test_a_target_that_is_signed_for_needs_a_region() -> None:
    """Its addresses say so, and one that is not signed for has them without."""
    with pytest.raises(BackendError, match="give the target a region"):
        address(NOWHERE, "http://h")
    assert address(NOWHERE, "http://h", sign=False).place is None


def test_the_two_operations_have_addresses_of_their_own() -> None:
    """Each is signed as what it is."""
    both = addresses(TARGET, lambda streamed: f"http://h/{streamed}", Unreachable(), service="sagemaker", sign=True)
    assert (both.whole.road.url, both.streamed.road.url) == ("http://h/False", "http://h/True")
    assert both.whole.place is not both.streamed.place


@pytest.mark.parametrize("sign", [True, False])
async def test_a_request_is_signed_unless_told_otherwise(sign: bool) -> None:
    """Signed with the role's credentials, under the service's and the region's name; unsigned it needs neither."""
    role = AssumedRole("arn:aws:iam::1:role/r", "ext")
    async with running_upstream() as upstream:
        upstream.says()
        transport, source = HttpTransport(), Source()
        sender = SignedSender(transport, source, Signer(), lambda: NOW)
        target = TARGET if sign else NOWHERE
        where = address(target, f"{upstream.url}/a%2Fb", sign=sign)
        incoming = await sender.send(target, where, (("X-Own", "1"),), b"body", role=role, deadline=soon())
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
        await sender.send(TARGET, address(TARGET, "http://127.0.0.1:1/"), (), b"", role=None, deadline=soon())
    await transport.aclose()
    assert caught.value.facts == FailureFacts(Fault.CONFIG, retry_safe=True)


@pytest.mark.parametrize(("kind", "given_up"), [("ExpiredTokenException", True), ("AccessDeniedException", False)])
async def test_credentials_that_have_expired_are_given_up(kind: str, given_up: bool) -> None:
    """The next attempt is signed with others; a lack of rights is no reason to look for any."""
    async with running_upstream() as upstream:
        upstream.fails(f"{kind}:http://internal.amazon.com/", 403, b"{}")
        transport, source = HttpTransport(), Source()
        sender = SignedSender(transport, source, Signer(), lambda: NOW)
        incoming = await sender.send(TARGET, address(TARGET, upstream.url), (), b"", role=None, deadline=soon())
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
        await sender.send(TARGET, address(TARGET, url), (), b"", role=None, deadline=soon())
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


async def test_a_stream_is_primed_with_its_first_piece() -> None:
    """The first piece has been read, and closing frees the connection once, however far the reading got."""
    body = Body(payload_part(b"a"), payload_part(b"b"))
    stream = await primed(FramedPieces(body, TARGET, read_event, nothing_more))
    assert await anext(aiter(stream)) == b"a"
    await stream.aclose()
    await stream.aclose()
    assert body.closed == 1


async def test_a_failure_before_the_first_piece_frees_the_connection() -> None:
    """Another target may be tried, so nobody else will close it."""
    body = Body(TransportError("cut", sent=True))
    with pytest.raises(BackendError):
        await primed(FramedPieces(body, TARGET, read_event, nothing_more))
    assert body.closed == 1


async def test_an_empty_stream_is_a_stream() -> None:
    """A container may answer with nothing at all."""
    body = Body()
    stream = await primed(FramedPieces(body, TARGET, read_event, nothing_more))
    assert [piece async for piece in stream] == []


def test_a_second_is_one_value_while_it_lasts() -> None:
    """Then the next one; a clock that is set back is followed as well."""
    told = [1795219200.2, 1795219200.9, 1795219201.0, 1795219199.5]
    clock = WholeSeconds(lambda: told.pop(0))
    first = clock()
    assert first == datetime(2026, 11, 21, 0, 0, tzinfo=UTC)
    assert clock() is first
    assert [clock().second, clock().second] == [1, 59]
