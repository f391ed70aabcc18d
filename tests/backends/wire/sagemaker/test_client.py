"""Our own calls to endpoints: what goes out, and what the head of an answer says."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Call, Headers, Invocation, Reply, Trace
from backends.wire.sagemaker import (
    Kind,
    Operation,
    read_invocation,
    read_operation,
    read_reply,
    write_headers,
    write_url,
)
from policies.table import EndpointSpec

RECEIVED: Headers = (
    ("Host", "proxy:8080"),
    ("Authorization", "AWS4-HMAC-SHA256 secret"),
    ("X-Amz-Date", "20260101T000000Z"),
    ("X-Amz-Security-Token", "token"),
    ("amz-sdk-invocation-id", "u-1"),
    ("X-Custom", "x"),
)


def call(*, streaming: bool = False, body: bytes = b"{}") -> Call:
    invocation = Invocation(
        endpoint="front",
        component="front-ic",
        streaming=streaming,
        body=b"before",
        request_id="r",
        content_type="before/type",
        accept="before/accept",
        custom_attributes="before",
        target_model="m.tar.gz",
        target_variant="v1",
        target_container_hostname="c1",
        inference_id="i1",
        enable_explanations="`true`",
        session_id="s1",
        prefix_aware_id="p1",
        headers=RECEIVED,
    )
    return Call(invocation, body, "text/csv", "application/json", "t=1", Trace("00-x"))


def test_every_modelled_header_goes_out_and_nothing_else() -> None:
    """All eleven headers are forwarded, as the handler left them; the client's signature, host and others are not."""
    spec = EndpointSpec("back", component="ic-9")
    assert write_url("https://h", spec, streamed=False) == "https://h/endpoints/back/invocations"
    assert write_headers(spec, call()) == (
        ("Accept-Encoding", "identity"),
        ("Content-Type", "text/csv"),
        ("Accept", "application/json"),
        ("X-Amzn-SageMaker-Custom-Attributes", "t=1"),
        ("X-Amzn-SageMaker-Target-Model", "m.tar.gz"),
        ("X-Amzn-SageMaker-Target-Variant", "v1"),
        ("X-Amzn-SageMaker-Target-Container-Hostname", "c1"),
        ("X-Amzn-SageMaker-Inference-Id", "i1"),
        ("X-Amzn-SageMaker-Enable-Explanations", "`true`"),
        ("X-Amzn-SageMaker-Session-Id", "s1"),
        ("X-Amzn-SageMaker-Prefix-Aware-Id", "p1"),
        ("X-Amzn-SageMaker-Inference-Component", "ic-9"),
    )


def test_the_streaming_operation_has_its_own_names() -> None:
    """Accept changes its name, and what the operation does not model stays away."""
    spec = EndpointSpec("back")
    assert write_url("https://h", spec, streamed=True) == "https://h/endpoints/back/invocations-response-stream"
    sent = dict(write_headers(spec, call(streaming=True)))
    assert sent["X-Amzn-SageMaker-Accept"] == "application/json"
    for absent in ("Accept", "X-Amzn-SageMaker-Target-Model", "X-Amzn-SageMaker-Enable-Explanations"):
        assert absent not in sent


def test_the_clients_component_is_not_the_targets() -> None:
    """A component that chose the route does not go to a target that has none."""
    sent = dict(write_headers(EndpointSpec("back"), call()))
    assert "X-Amzn-SageMaker-Inference-Component" not in sent


def test_a_minimal_call_stays_minimal() -> None:
    """What the client did not say is not said for it."""
    invocation = Invocation("e", None, streaming=False, body=b"", request_id="r")
    assert write_headers(EndpointSpec("e"), Call(invocation, b"", None, None, None)) == (
        ("Accept-Encoding", "identity"),
    )


def test_names_are_percent_encoded_in_the_path() -> None:
    """A name with anything but unreserved characters is one path segment."""
    assert write_url("http://h", EndpointSpec("a b/c~-._"), streamed=False) == (
        "http://h/endpoints/a%20b%2Fc~-._/invocations"
    )


def test_a_reply_takes_what_the_head_says() -> None:
    """Names in any case; the request id is the upstream's."""
    headers = (
        ("content-type", "text/csv"),
        ("X-AMZN-SAGEMAKER-CUSTOM-ATTRIBUTES", "t=1"),
        ("x-Amzn-Invoked-Production-Variant", "v1"),
        ("X-Amzn-SageMaker-New-Session-Id", "s; Expires=2026-01-01T00:00:00Z"),
        ("X-Amzn-SageMaker-Closed-Session-Id", "s0"),
        ("x-amzn-RequestId", "up-1"),
    )
    assert read_reply(found(headers), streaming=False, body=b"x") == Reply(
        body=b"x",
        content_type="text/csv",
        custom_attributes="t=1",
        variant="v1",
        new_session_id="s; Expires=2026-01-01T00:00:00Z",
        closed_session_id="s0",
        upstream_request_id="up-1",
    )


def test_a_streams_type_is_the_containers() -> None:
    """On a stream the framing's Content-Type is not the reply's."""
    headers: Headers = (("Content-Type", "application/vnd.amazon.eventstream"),)
    assert read_reply(found(headers), streaming=True).content_type is None
    headers += (("X-Amzn-SageMaker-Content-Type", "text/event-stream"),)
    assert read_reply(found(headers), streaming=True).content_type == "text/event-stream"


def test_empty_attributes_of_a_reply_are_absent() -> None:
    """An endpoint whose container sets none sends an empty header."""
    assert read_reply(found((("X-Amzn-SageMaker-Custom-Attributes", ""),)), streaming=False).custom_attributes is None


def found(headers: Headers) -> Mapping[bytes, bytes]:
    """First values by their names, as an answer offers them."""
    return {name.lower().encode(): value.encode() for name, value in reversed(headers)}


_VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
_NAME = st.from_regex(r"[a-zA-Z0-9](-{0,2}[a-zA-Z0-9]){0,8}", fullmatch=True)


@settings(max_examples=100)
@given(st.sampled_from(list(Kind)), _NAME, _VISIBLE, _VISIBLE, st.none() | _NAME, st.binary(max_size=64))
def test_what_we_send_is_what_we_read(
    kind: Kind, name: str, attributes: str, inference: str, component: str | None, body: bytes
) -> None:
    """The client half and the server half agree on headers with any allowed characters, and on the body's bytes."""
    headers: Headers = (
        ("X-Amzn-SageMaker-Custom-Attributes", attributes),
        ("X-Amzn-SageMaker-Inference-Id", inference),
        ("X-Amzn-SageMaker-Session-Id", name),
    )
    first = read_invocation(Operation(kind, name), headers, body, "r")
    passed = Call(first, first.body, first.content_type, first.accept, first.custom_attributes)
    spec = EndpointSpec(name, component=component)
    operation = read_operation("POST", write_url("http://h/prefix", spec, streamed=passed.streaming))
    second = read_invocation(operation, write_headers(spec, passed), body, "r")
    assert operation == Operation(kind, name)
    assert (second.custom_attributes, second.inference_id, second.session_id) == (attributes, inference, name)
    assert (second.component, second.body) == (component, body)
