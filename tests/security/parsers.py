"""Parsers of what clients and operators send, with their examples and the one exception that each may raise.

Anything else is a finding. `parsers_answers.py` has those of what targets answer, `parsers_files.py` those of what is
read from files, stores and other processes.
"""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path

from backends.base import Headers, Trace
from backends.wire.bearer import token_refusal
from backends.wire.container import read_attribute
from backends.wire.dialects import DialectError, Translation, pair
from backends.wire.dialects.keys import TABLES
from backends.wire.eventstream import Decoder, EventStreamError, exception_frame, payload_part
from backends.wire.framing import reframer
from backends.wire.openai import Refused, read_asked, read_model, split_model, wants_stream
from backends.wire.sagemaker import WireError, read_invocation, read_operation
from backends.wire.sigv4 import Signer
from backends.wire.sigv4_verify import Claim, Unverified, read_claim, verify
from backends.wire.trace import add_trace, read_trace
from policies.errors import PolicyError
from policies.load import load_policy
from proxy.keys import KeyFileError, read_keys, read_token

from .parser import Parser, pick, text_of
from .parsers_answers import ANSWERS, RULE, STAMP
from .parsers_files import FILES

ROOT = Path(__file__).parents[2]
AUTHORIZATION = (
    b"AWS4-HMAC-SHA256 Credential=PMKX/20261121/us-east-1/sagemaker/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=" + b"0" * 64
)
NOW = 1_795_262_400.0
CLAIM = Claim("PMKX", "us-east-1", "20261121T120000Z", ("host", "x-amz-date", ""), "0" * 64)


def _frames(data: bytes) -> None:
    decoder = Decoder()
    for at in range(0, len(data), 7):
        decoder.feed(data[at : at + 7])
    decoder.finish()


def _parts(content_type: str, data: bytes) -> None:
    whole = reframer(content_type)
    parts = [part for at in range(0, len(data), 5) for part in whole.feed(data[at : at + 5])] + whole.finish()
    assert b"".join(parts).startswith(data), "bytes were lost or changed"


SIGNER = Signer()


def _claim(data: bytes) -> None:
    value, _, rest = data.partition(b"\n")
    date, _, path = rest.partition(b"\n")
    headers: Headers = (("Host", "h"), ("X-Amz-Date", text_of(date)), ("Authorization", text_of(value)))
    claim = read_claim(headers, NOW)
    verify(claim, "POST", text_of(path), headers, data, "secret", SIGNER)


def _canonical(data: bytes) -> None:
    """Whatever the path, query and values: a flaw, never another failure."""
    path, _, rest = data.partition(b"\n")
    pairs = [(text_of(line), text_of(line)) for line in rest.split(b"\n")]
    verify(CLAIM, "POST", text_of(path), (*pairs, ("host", text_of(rest))), data, "secret", SIGNER)


def _invocation(data: bytes) -> None:
    path, _, value = data.partition(b"\n")
    operation = read_operation("POST", text_of(path))
    read_invocation(
        operation, (("X-Amzn-SageMaker-Custom-Attributes", text_of(value)), ("Accept", text_of(value))), data, "r"
    )


def _openai(data: bytes) -> None:
    path, _, body = data.partition(b"\n")
    wants_stream(body)
    read_asked("POST", text_of(path))
    split_model(read_model(body))


def _trace(data: bytes) -> None:
    parent, _, rest = data.partition(b"\n")
    read_trace([text_of(parent)], [text_of(rest)], text_of(rest))


ASKS = {
    "openai-chat": b'"messages"',
    "openai-completions": b'"prompt"',
    "bedrock-completion": b'"prompt"',
    "tgi": b'"inputs"',
    "lmi": b'"inputs"',
}
"""By which a request of each dialect may be known."""


@cache
def translations() -> tuple[Translation, ...]:
    """From each dialect to each that a policy can let it be carried to."""
    found = []
    for client in sorted(TABLES):
        for target in sorted(TABLES):
            try:
                translation = pair(client, target, RULE)
            except DialectError:
                continue
            if translation is not None:
                found.append(translation)
    return tuple(found)


def _carry(data: bytes) -> None:
    fitting = [each for each in translations() if ASKS[each.client] in data] or translations()
    pick(fitting, data).request(data, "m", STAMP)


def _attributes(data: bytes) -> None:
    text = text_of(data)
    for key in ("k", "traceparent", "a.b*"):
        read_attribute(text, key)
    added = add_trace(text, Trace(PARENT[:55].decode()))
    assert added is not None
    assert len(added) <= max(1024, len(text))


def _policy(data: bytes) -> None:
    load_policy(text_of(data), {})


def _keys(data: bytes) -> None:
    read_token(text_of(data))
    read_keys(text_of(data))


CHAT = json.dumps(
    {"model": "a/b", "messages": [{"role": "user", "content": "hi"}], "stream": True, "stop": ["x"], "n": 1}
)
REQUESTS = (
    CHAT.encode(),
    b'{"prompt": "p", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "stop": ["a", "b"]}',
    b'{"inputs": "p", "parameters": {"max_new_tokens": 5, "do_sample": true, "stop": ["a"]}, "stream": true}',
    b'{"prompt": "p", "max_gen_len": 5, "temperature": 0.5}',
    b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image_url", "image_url": '
    b'{"url": "data:image/png;base64,AA"}}]}], "tools": [{"type": "function", "function": {"name": "f"}}], '
    b'"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}, "logprobs": true, '
    b'"top_logprobs": 2, "stream_options": {"include_usage": true}, "logit_bias": {"1": 2}, "seed": 1}',
)
POLICY = b"""apiVersion: pointsman/v1
account: "123456789012"
targets:
  a: {kind: vllm, url: "http://127.0.0.1:1", model: m}
endpoints:
  e: {serve_from: a, idempotent: true}
  p:
    components:
      c: {serve_from: a}
"""
KEY = (
    b"key PMKMFQWCYLBMFQWCYLBM sha256:"
    + b"0" * 64
    + b" principal=a allow=b,c/* expires=2027-01-31T00:00:00Z\ncert x principal=y"
)
PARENT = (
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n"
    b"traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01;k=v"
)

PARSERS = (
    Parser(
        "event stream",
        _frames,
        (payload_part(b"x" * 20) + payload_part(b""), exception_frame("ModelStreamError", "m", "c")),
        (EventStreamError,),
    ),
    Parser(
        "framing of SSE",
        partial(_parts, "text/event-stream"),
        (b"data: a\n\ndata: b\r\n\r\n: c\n\n", b"event: x\rdata: y\r\r"),
    ),
    Parser("framing of lines", partial(_parts, "application/jsonlines"), (b'{"a": 1}\n{"b": 2}\r\n', b"\n\n")),
    Parser(
        "signature", _claim, (AUTHORIZATION + b"\n20261121T120000Z\n/endpoints/a%20b/invocations?x=1&y",), (Unverified,)
    ),
    Parser("what is signed", _canonical, (b"/a/../endpoints/%zz//x/./y?b=1&a&=\nx-amz-date\nhost",), (Unverified,)),
    Parser(
        "runtime request",
        _invocation,
        (b"/endpoints/a%20b/invocations?x=1\nk=v", b"/p/endpoints/a/invocations-response-stream\n"),
        (WireError,),
    ),
    Parser(
        "OpenAI request",
        _openai,
        (b"/v1/chat/completions\n" + CHAT.encode(), b"/endpoints/a/inference-components/b/openai/v1/models/x\n{}"),
        (Refused,),
    ),
    Parser("trace context", _trace, (PARENT,)),
    Parser(
        "SageMaker bearer token",
        lambda data: token_refusal(text_of(data), NOW),
        (b"sagemaker-api-key-" + b"aHR0cHM6Ly9zYWdlbWFrZXI/QWN0aW9uPUNhbGxXaXRoQmVhcmVyVG9rZW4=",),
    ),
    Parser("custom attributes", _attributes, (b"k=v,a.b*=c;x " + PARENT.partition(b"\n")[2],)),
    Parser("dialect request", _carry, REQUESTS, (DialectError,), json=True),
    Parser("key file", _keys, (KEY, b"pm-PMKMFQWCYLBMFQWCYLBM-" + b"A" * 43), (KeyFileError,)),
    Parser("policy", _policy, (POLICY,), (PolicyError,)),
    *ANSWERS,
    *FILES,
)
