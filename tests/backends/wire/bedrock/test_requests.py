"""Calls to Bedrock: the operation that the body asks for, the model's address, the headers."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Call, Invocation, Trace
from backends.wire.bedrock import write_request, write_url
from policies.table import BedrockSpec

ARN = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12"
PATH = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aimported-model%2Fabcdefghij12"


def call(body: bytes, *, accept: str | None = None, streaming: bool = False) -> Call:
    invocation = Invocation(
        "front", "ic", streaming=streaming, body=body, request_id="r", headers=(("Authorization", "secret"),)
    )
    return Call(invocation, body, "text/plain", accept, "t=1", Trace("00-x"))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("body", "streams"),
    [
        (b'{"messages":[]}', False),
        (b'{"messages":[],"stream":true}', True),
        (b'{"messages":[],"stream":1}', True),
        (b'{"messages":[],"stream":false}', False),
        (b'{"messages":[],"stream":null}', False),
        (b'{"messages":[],"stream":"true"}', False),
        (b'{"messages":[{"content":"a \\"stream\\": true"}]}', False),
        (b'{"x":{"stream":true}}', False),
        (b'["stream"]', False),
        (b'{"stream":true', False),
    ],
)
def test_the_body_picks_the_operation(body: bytes, streams: bool, streaming: bool) -> None:
    """The client's operation does not matter: a streaming body is a stream, and a plain one is not."""
    asked = write_request(BedrockSpec(ARN), call(body, streaming=streaming))
    operation = "invoke-with-response-stream" if streams else "invoke"
    assert asked.streams is streams
    assert write_url("https://h", BedrockSpec(ARN), streamed=asked.streams) == f"https://h{PATH}/{operation}"


def test_the_address_is_encoded_as_boto3_encodes_it() -> None:
    """Colons and slash of the ARN are percent-encoded, and decode to the ARN."""
    url = write_url("http://h:1/p", BedrockSpec(ARN), streamed=False)
    assert url == f"http://h:1/p{PATH}/invoke"
    assert unquote(url.split("/model/")[1]) == f"{ARN}/invoke"


@pytest.mark.parametrize(
    ("body", "sent", "include_usage"),
    [
        ({"stream": True, "a": 1.5, "b": "é"}, {"a": 1.5, "b": "é"}, False),
        ({"stream": False, "a": None}, {"a": None}, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, {}, True),
        ({"stream": True, "stream_options": {"include_usage": 1}}, {}, False),
        ({"stream": True, "stream_options": 7}, {}, False),
        ({"stream": False, "stream_options": {"include_usage": True}}, {}, False),
    ],
)
def test_the_wish_to_stream_leaves_the_body(
    body: dict[str, object], sent: dict[str, object], include_usage: bool
) -> None:
    """Bedrock streams by operation; `stream` and `stream_options` go, everything else stays in its order."""
    asked = write_request(BedrockSpec(ARN), call(json.dumps(body).encode()))
    assert json.loads(asked.body) == sent
    assert list(json.loads(asked.body)) == list(sent)
    assert asked.include_usage is include_usage


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(max_size=6)
    | st.sampled_from(["stream", '"', "}"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("stream"), inner, max_size=3)
    ),
    max_leaves=8,
)
_NAMES = st.text(max_size=6).filter(lambda name: name != "stream")


@settings(max_examples=100)
@given(
    st.dictionaries(_NAMES, _VALUES, max_size=3),
    st.booleans(),
    st.sampled_from([(", ", ": "), (",", ":"), (",", ": "), (" ,\n\t", ": ")]),
    st.booleans(),
)
def test_a_word_at_the_end_leaves_and_all_else_stays(
    document: dict[str, object], streams: bool, separators: tuple[str, str], ascii_only: bool
) -> None:
    """However the document is written: what goes out says the same but for the word."""
    body = json.dumps({**document, "stream": streams}, separators=separators, ensure_ascii=ascii_only).encode()
    asked = write_request(BedrockSpec(ARN), call(body))
    assert (asked.streams, asked.include_usage) == (streams, False)
    assert json.loads(asked.body) == document


def test_a_word_at_the_end_is_cut_without_writing_the_rest_anew() -> None:
    """Numbers and spaces are the client's own."""
    body = b'{ "a": 1.50, "b": [1e999],  "stream" : false }\n'
    assert write_request(BedrockSpec(ARN), call(body)).body == b'{ "a": 1.50, "b": [1e999]}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream": true, "stream": false}',
        b'{"\\u0073tream": true, "stream": false}',
        b'{"stream_options": {}, "stream": false}',
    ],
)
def test_a_word_that_stands_there_twice_is_read(body: bytes) -> None:
    """The last one counts, as to any reader of JSON, and none is left."""
    assert write_request(BedrockSpec(ARN), call(body)).body == b"{}"


@pytest.mark.parametrize("deep", [200, 300, 1000, 2000])
def test_a_body_that_is_too_deep_to_be_written_anew_goes_as_it_is(deep: int) -> None:
    """Bedrock says what it is; less deep it is written."""
    body = b'{"stream": false, "x": %b}' % (b"[" * deep + b"]" * deep)
    assert (write_request(BedrockSpec(ARN), call(body)).body == body) == (deep > 254)


@settings(max_examples=100)
@given(st.binary(max_size=64).filter(lambda body: b'"stream"' not in body))
def test_other_bodies_are_not_touched(body: bytes) -> None:
    """Bytes without the word are sent as they are, whatever they are."""
    assert write_request(BedrockSpec(ARN), call(body)).body is body


@pytest.mark.parametrize(
    "body",
    [
        b'["stream"]',
        b'{"stream":true',
        b'{"x":{"stream":true}}',
        b'{,"stream":true}',
        b',"stream":true}',
        b'{"streamer": 1, "stream_options": {}}',
    ],
)
def test_what_only_looks_like_a_wish_is_not_touched(body: bytes) -> None:
    """A body that is no object, or has the word elsewhere, is the same bytes."""
    assert write_request(BedrockSpec(ARN), call(body)).body is body


def test_only_bedrocks_own_headers_go_out() -> None:
    """The type is JSON whatever the client called it; no attribute, component or signature of the client's goes on."""
    assert write_request(BedrockSpec(ARN), call(b"{}")).headers == (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    ("accept", "sent"),
    [
        (None, None),
        ("application/json", "application/json"),
        ("*/*", "*/*"),
        ("Application/JSON; charset=utf-8", "Application/JSON; charset=utf-8"),
        ("text/event-stream", None),
        ("text/csv, */*", None),
    ],
)
def test_accept_goes_on_when_bedrock_can_satisfy_it(accept: str | None, sent: str | None) -> None:
    """Under the operation's own name for it."""
    plain = dict(write_request(BedrockSpec(ARN), call(b"{}", accept=accept)).headers)
    stream = dict(write_request(BedrockSpec(ARN), call(b'{"stream":true}', accept=accept)).headers)
    assert (plain.get("Accept"), plain.get("X-Amzn-Bedrock-Accept")) == (sent, None)
    assert (stream.get("Accept"), stream.get("X-Amzn-Bedrock-Accept")) == (None, sent)


def test_a_guardrail_is_the_policys() -> None:
    """Identifier and version come from the target; a version left out is the draft."""
    sent = dict(write_request(BedrockSpec(ARN, guardrail="gr1", guardrail_version="3"), call(b"{}")).headers)
    assert (sent["X-Amzn-Bedrock-GuardrailIdentifier"], sent["X-Amzn-Bedrock-GuardrailVersion"]) == ("gr1", "3")
    draft = dict(write_request(BedrockSpec(ARN, guardrail="gr1"), call(b"{}")).headers)
    assert draft["X-Amzn-Bedrock-GuardrailVersion"] == "DRAFT"
