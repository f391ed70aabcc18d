"""Reading a client's request: what is tolerated, what is refused, and in which words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Headers, Invocation, Trace
from backends.wire.sagemaker import FIELDS, Kind, Operation, WireError, read_call, read_invocation, read_operation
from backends.wire.sagemaker.requests import _collect

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PATTERN = "Member must satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*"


def read(*headers: tuple[str, str], kind: Kind = Kind.INVOKE, endpoint: str = "e", body: bytes = b"") -> Invocation:
    return read_invocation(Operation(kind, endpoint), headers, body, "r-1")


def refusal(*headers: tuple[str, str], kind: Kind = Kind.INVOKE, endpoint: str = "e") -> str:
    with pytest.raises(WireError) as caught:
        read(*headers, kind=kind, endpoint=endpoint)
    assert (caught.value.reply.status, caught.value.reply.type) == (400, "ValidationError")
    return caught.value.reply.message


@pytest.mark.parametrize(
    ("path", "kind", "endpoint"),
    [
        ("/endpoints/my-ep/invocations", Kind.INVOKE, "my-ep"),
        ("/endpoints/my-ep/invocations-response-stream", Kind.STREAM, "my-ep"),
        ("/gw/v1/endpoints/my-ep/invocations", Kind.INVOKE, "my-ep"),
        ("/endpoints/a/endpoints/b/invocations", Kind.INVOKE, "b"),
        ("http://proxy:8080/endpoints/my-ep/invocations", Kind.INVOKE, "my-ep"),
        ("/endpoints/a%20b%2Fc/invocations", Kind.INVOKE, "a b/c"),
        ("/endpoints/my%2Dep/invocations", Kind.INVOKE, "my-ep"),
        ("/endpoints/%ff/invocations", Kind.INVOKE, "\ufffd"),
        ("/endpoints//invocations", Kind.INVOKE, ""),
        ("/endpoints/my-ep/invocations?", Kind.INVOKE, "my-ep"),
        ("/endpoints/my-ep/invocations?a=/endpoints/x/invocations", Kind.INVOKE, "my-ep"),
    ],
)
def test_an_operation_is_found_under_any_prefix(path: str, kind: Kind, endpoint: str) -> None:
    """Prefixes, percent-encoded names, and a query behind the path are all understood."""
    assert read_operation("POST", path) == Operation(kind, endpoint)


def test_operations_have_the_apis_names() -> None:
    """Logs and metrics use the operation names of the API."""
    assert Operation(Kind.INVOKE, "e").name == "InvokeEndpoint"
    assert Operation(Kind.STREAM, "e").name == "InvokeEndpointWithResponseStream"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/endpoints/e/invocations"),
        ("PUT", "/endpoints/e/invocations-response-stream"),
        ("GET", "/endpoints/e/async-invocations"),
        ("POST", "/"),
        ("POST", "/invocations"),
        ("POST", "/endpoints/e/invocations/"),
        ("POST", "/endpoints/e/Invocations"),
        ("POST", "/endpoints/e/f/invocations"),
        ("POST", "/xendpoints/e/invocations"),
        ("POST", "/endpoints/e/openai/v1/chat/completions"),
        ("<script>", "/"),
    ],
)
def test_anything_else_is_an_unknown_operation(method: str, path: str) -> None:
    """A wrong path or method is a typed 404 that does not echo what was sent."""
    with pytest.raises(WireError) as caught:
        read_operation(method, path)
    assert (caught.value.reply.status, caught.value.reply.type) == (404, "UnknownOperationException")
    assert "<" not in caught.value.reply.message


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/endpoints/e/async-invocations", "InvokeEndpointAsync"),
        ("/endpoints/e/invocations-bidirectional-stream?", "InvokeEndpointWithBidirectionalStream"),
    ],
)
def test_operations_that_are_not_offered_yet_say_so(path: str, name: str) -> None:
    """The asynchronous and bidirectional operations are a ValidationError that names the operation and a way out."""
    with pytest.raises(WireError) as caught:
        read_operation("POST", path)
    assert (caught.value.reply.status, caught.value.reply.type) == (400, "ValidationError")
    assert caught.value.reply.message.startswith(f"{name} is not offered yet")
    assert "Call InvokeEndpoint" in caught.value.reply.message


def test_a_minimal_call_has_neither_type_nor_accept() -> None:
    """A call with nothing but a body is served: what is absent is None, and the body is the same bytes."""
    body = bytes(range(256))
    assert read(("Host", "h"), body=body) == Invocation(
        endpoint="e", component=None, streaming=False, body=body, request_id="r-1", headers=(("Host", "h"),)
    )


def test_every_modelled_header_is_read_in_any_case() -> None:
    """All eleven headers of InvokeEndpoint land in their fields, however they are spelled."""
    headers: Headers = (
        ("content-type", "application/json"),
        ("ACCEPT", "text/csv"),
        ("x-amzn-sagemaker-custom-attributes", "t=1"),
        ("X-Amzn-Sagemaker-Target-Model", "m.tar.gz"),
        ("X-AMZN-SAGEMAKER-TARGET-VARIANT", "v1"),
        ("x-Amzn-SageMaker-Target-Container-Hostname", "c1"),
        ("X-Amzn-SageMaker-Inference-Id", "i 1"),
        ("X-Amzn-SageMaker-Enable-Explanations", "`true`"),
        ("X-Amzn-SageMaker-Inference-Component", "ic-1"),
        ("X-Amzn-SageMaker-Session-Id", "NEW_SESSION"),
        ("X-Amzn-SageMaker-Prefix-Aware-Id", "p1"),
        ("amz-sdk-invocation-id", "u-1"),
        ("amz-sdk-request", "attempt=2; max=3"),
        ("traceparent", TRACEPARENT),
        ("tracestate", "a=1"),
    )
    assert read(*headers, body=b"{}") == Invocation(
        endpoint="e",
        component="ic-1",
        streaming=False,
        body=b"{}",
        request_id="r-1",
        content_type="application/json",
        accept="text/csv",
        custom_attributes="t=1",
        target_model="m.tar.gz",
        target_variant="v1",
        target_container_hostname="c1",
        inference_id="i 1",
        enable_explanations="`true`",
        session_id="NEW_SESSION",
        prefix_aware_id="p1",
        sdk_invocation_id="u-1",
        sdk_attempt=2,
        trace=Trace(TRACEPARENT, "a=1"),
        headers=headers,
    )


def test_a_stream_reads_its_own_accept_and_ignores_what_it_does_not_model() -> None:
    """On the streaming operation Accept, Target-Model and Enable-Explanations are headers like any other."""
    found = read(
        ("Accept", "x" * 2000),
        ("X-Amzn-SageMaker-Accept", "application/json"),
        ("X-Amzn-SageMaker-Target-Model", " é"),
        ("X-Amzn-SageMaker-Enable-Explanations", "x" * 65),
        kind=Kind.STREAM,
    )
    assert (found.streaming, found.accept, found.target_model, found.enable_explanations) == (
        True,
        "application/json",
        None,
        None,
    )


def test_empty_headers_count_as_absent() -> None:
    """Clients send empty custom attributes; an empty value is never a violation, of minimum lengths neither."""
    found = read(
        ("X-Amzn-SageMaker-Custom-Attributes", ""),
        ("X-Amzn-SageMaker-Target-Model", " \t"),
        ("X-Amzn-SageMaker-Inference-Component", ""),
        ("Content-Type", ""),
    )
    assert (found.custom_attributes, found.target_model, found.component, found.content_type) == (None,) * 4


def test_space_around_a_value_is_not_part_of_it() -> None:
    """HTTP allows white space around a value; names are compared without it."""
    assert read(("X-Amzn-SageMaker-Inference-Component", " ic-1\t")).component == "ic-1"


def test_several_accept_lines_are_one_list() -> None:
    """Accept is a list in HTTP, so its lines are joined."""
    assert read(("Accept", "text/csv"), ("accept", "*/*")).accept == "text/csv, */*"


def test_a_header_given_twice_is_refused_unless_it_says_the_same() -> None:
    """Two different components would mean different routes to different readers of the request."""
    name = "X-Amzn-SageMaker-Inference-Component"
    assert read((name, "a"), (name.lower(), "a")).component == "a"
    assert refusal((name, "a"), (name.lower(), "b")) == (
        "1 validation error detected: Value at 'inferenceComponentName' failed to satisfy constraint: "
        "Header X-Amzn-SageMaker-Inference-Component must be given once"
    )


def test_one_violation_is_told_in_aws_words() -> None:
    """The text of a violated constraint is the one that AWS's services use."""
    assert refusal(endpoint="a/b") == (
        f"1 validation error detected: Value 'a/b' at 'endpointName' failed to satisfy constraint: {PATTERN}"
    )


def test_all_violations_are_told_at_once() -> None:
    """A client sees everything that is wrong in one message, the path first."""
    said = refusal(
        ("X-Amzn-SageMaker-Target-Variant", "v_1"),
        ("X-Amzn-SageMaker-Inference-Id", "i" * 65),
        endpoint="",
    )
    assert said == (
        "3 validation errors detected: "
        f"Value '' at 'endpointName' failed to satisfy constraint: {PATTERN}; "
        f"Value 'v_1' at 'targetVariant' failed to satisfy constraint: {PATTERN}; "
        f"Value '{'i' * 65}' at 'inferenceId' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )


def test_custom_attributes_that_are_not_ascii_are_refused_without_being_repeated() -> None:
    """boto3 sends them as raw UTF-8; AWS calls them sensitive."""
    said = refusal(("X-Amzn-SageMaker-Custom-Attributes", "kunde=Müller"))
    assert "customAttributes" in said
    assert "ller" not in said


def test_bytes_that_are_no_text_are_refused_in_clean_text() -> None:
    """A header of arbitrary bytes leads to an answer that any JSON writer can write."""
    said = refusal(("X-Amzn-SageMaker-Target-Variant", b"\xff".decode("utf-8", "surrogateescape")))
    assert json.loads(json.dumps(said)) == said
    assert "\ufffd" in said


@pytest.mark.parametrize(
    ("value", "attempt"),
    [("attempt=3; max=5", 3), ("attempt=1", 1), ("ttl=x; attempt=2", 2), ("attempt=0", 1), ("attempt=x", 1), ("", 1)],
)
def test_the_sdks_attempt_is_read_tolerantly(value: str, attempt: int) -> None:
    """A header of the SDK that is not understood means a first attempt."""
    assert read(("Amz-Sdk-Request", value)).sdk_attempt == attempt


@pytest.mark.parametrize("value", ["", "x" * 129, "é", "a\x00"])
def test_a_strange_sdk_invocation_id_is_ignored(value: str) -> None:
    """The id serves logs and de-duplication only, so a bad one is no reason to refuse a call."""
    assert read(("amz-sdk-invocation-id", value)).sdk_invocation_id is None


def test_the_count_of_proxies_that_a_request_has_passed_is_read() -> None:
    """In any case, the first of several, and as it was written: whoever asks judges it."""
    assert read(("X-Pointsman-Hop", "2"), ("x-pointsman-hop", "1")).hops == "2"
    assert read(("Accept", "a/b")).hops is None


def test_a_trace_may_come_in_custom_attributes() -> None:
    """SageMaker passes no tracing headers on, so the attributes are looked at too, and stay as they are."""
    found = read(("X-Amzn-SageMaker-Custom-Attributes", f"tenant=a,traceparent={TRACEPARENT}"))
    assert found.trace == Trace(TRACEPARENT)
    assert found.custom_attributes == f"tenant=a,traceparent={TRACEPARENT}"


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "X-Amzn-SageMaker-Custom-Attributes",
                    "x-amzn-sagemaker-session-id",
                    "X-Amzn-SageMaker-Inference-Id",
                    "Accept",
                    "traceparent",
                    "amz-sdk-request",
                    "X-Other",
                ]
            ),
            st.text(max_size=70),
        ),
        max_size=6,
    ),
    st.sampled_from(list(Kind)),
    st.text(max_size=70),
)
def test_any_headers_give_an_invocation_or_a_typed_refusal(
    headers: list[tuple[str, str]], kind: Kind, name: str
) -> None:
    """Whatever a client sends, the answer is one of two; what is accepted is ASCII."""
    refused: str | None
    try:
        found = read_invocation(Operation(kind, name), tuple(headers), b"", "r")
    except WireError as error:
        refused = error.reply.type
    else:
        refused = None
        assert all(value is None or value.isascii() for value in (found.custom_attributes, found.inference_id))
        assert found.headers == tuple(headers)
    assert refused in {None, "ValidationError"}


@settings(max_examples=100)
@given(st.text(max_size=60), st.text(max_size=8))
def test_any_request_line_gives_an_operation_or_a_typed_refusal(path: str, method: str) -> None:
    """No path and no method makes the reader fail in another way."""
    refused: str | None = None
    try:
        read_operation(method, path)
    except WireError as error:
        refused = error.reply.type
    assert refused in {None, "UnknownOperationException", "ValidationError"}


NAMES = sorted(
    {field.wire[kind] for field in FIELDS for kind in field.wire} | {"Host", "x-pointsman-hop", "traceparent"}
)


@given(
    st.sampled_from(Kind),
    st.lists(
        st.tuples(
            st.sampled_from(NAMES).flatmap(
                lambda name: st.sampled_from([name, name.lower(), name.title(), name.upper()])
            ),
            st.sampled_from(["", " ", "a", "a ", "b", "NEW_SESSION", "é", "-", "a b", "a" * 64, "a" * 65, "a" * 1025]),
        ),
        max_size=6,
    ),
)
def test_what_is_refused_has_a_reason_and_what_is_taken_has_none(kind: Kind, headers: list[tuple[str, str]]) -> None:
    """The quick look at the fields, in whatever spelling, and the one that finds words for a refusal agree."""
    given_, problems = _collect(kind, tuple(headers))
    for field, text in given_.items():
        problems.extend(field.problems(text, kind))
    if problems:
        with pytest.raises(WireError) as caught:
            read(*headers, kind=kind)
        assert all(each in caught.value.reply.message for each in problems)
    else:
        invocation = read(*headers, kind=kind)
        taken = {field: getattr(invocation, field.attribute) for field in FIELDS}
        assert {field: text for field, text in taken.items() if text is not None} == given_


def test_what_a_client_calls_a_request_is_read_whatever_else_is_wrong() -> None:
    """Names in any case; what is strange about them is left out, as of a good request."""
    good = (("Amz-Sdk-Invocation-Id", " call "), ("amz-sdk-request", "attempt=3; max=4"), ("TraceParent", TRACEPARENT))
    assert read_call((("X-Amzn-SageMaker-Target-Variant", "?"), *good)) == ("call", 3, Trace(TRACEPARENT))
    assert read_call((("amz-sdk-invocation-id", "\x00"), ("traceparent", "00-1"))) == (None, 1, None)
    assert Trace(TRACEPARENT).trace_id == "0af7651916cd43dd8448eb211c80319c"
