"""Each parser of our own with its examples, and the one exception that it may raise. Anything else is a finding."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backends.base import Headers
from backends.wire.bearer import token_refusal
from backends.wire.dialects import DialectError
from backends.wire.dialects.keys import TABLES
from backends.wire.dialects.requests import carry
from backends.wire.eventstream import Decoder, EventStreamError, exception_frame, payload_part
from backends.wire.framing import reframer
from backends.wire.openai import Refused, read_asked, read_model, split_model, wants_stream
from backends.wire.sagemaker import WireError, read_invocation, read_operation
from backends.wire.sigv4_verify import Unverified, read_claim
from backends.wire.trace import read_trace
from policies.errors import PolicyError
from policies.load import load_policy
from policies.table import TranslateRule
from proxy.keys import KeyFileError, read_keys, read_token

ROOT = Path(__file__).parents[2]
AUTHORIZATION = (
    b"AWS4-HMAC-SHA256 Credential=PMKX/20261121/us-east-1/sagemaker/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=" + b"0" * 64
)
NOW = 1_795_262_400.0


@dataclass(frozen=True, slots=True)
class Parser:
    """What is fed, with what it may refuse."""

    name: str
    feed: Callable[[bytes], object]
    examples: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = ()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _frames(data: bytes) -> None:
    decoder = Decoder()
    for at in range(0, len(data), 7):
        decoder.feed(data[at : at + 7])
    decoder.finish()


def _parts(content_type: str, data: bytes) -> None:
    whole = reframer(content_type)
    parts = [part for at in range(0, len(data), 5) for part in whole.feed(data[at : at + 5])] + whole.finish()
    assert b"".join(parts).startswith(data), "bytes were lost or changed"


def _claim(data: bytes) -> None:
    value, _, date = data.partition(b"\n")
    headers: Headers = (("Host", "h"), ("X-Amz-Date", _text(date)), ("Authorization", _text(value)))
    read_claim(headers, NOW)


def _invocation(data: bytes) -> None:
    path, _, value = data.partition(b"\n")
    operation = read_operation("POST", _text(path))
    read_invocation(
        operation, (("X-Amzn-SageMaker-Custom-Attributes", _text(value)), ("Accept", _text(value))), data, "r"
    )


def _openai(data: bytes) -> None:
    path, _, body = data.partition(b"\n")
    wants_stream(body)
    read_asked("POST", _text(path))
    split_model(read_model(body))


def _trace(data: bytes) -> None:
    parent, _, rest = data.partition(b"\n")
    read_trace([_text(parent)], [_text(rest)], _text(rest))


def _carry(data: bytes) -> None:
    kinds = sorted(TABLES)
    client, target = kinds[len(data) % len(kinds)], kinds[sum(data[:8]) % len(kinds)]
    if client != target and (client == "openai-chat") == (target == "openai-chat"):
        carry(client, target, data, TranslateRule(), None, "m")


def _policy(data: bytes) -> None:
    load_policy(_text(data), {})


def _keys(data: bytes) -> None:
    read_token(_text(data))
    read_keys(_text(data))


CHAT = json.dumps(
    {"model": "a/b", "messages": [{"role": "user", "content": "hi"}], "stream": True, "stop": ["x"], "n": 1}
)
REQUESTS = (
    CHAT.encode(),
    b'{"prompt": "p", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "stop": ["a", "b"]}',
    b'{"inputs": "p", "parameters": {"max_new_tokens": 5, "do_sample": true, "stop": ["a"]}, "stream": true}',
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
    Parser("signature", _claim, (AUTHORIZATION + b"\n20261121T120000Z",), (Unverified,)),
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
        lambda data: token_refusal(_text(data), NOW),
        (b"sagemaker-api-key-" + b"aHR0cHM6Ly9zYWdlbWFrZXI/QWN0aW9uPUNhbGxXaXRoQmVhcmVyVG9rZW4=",),
    ),
    Parser("dialect request", _carry, REQUESTS, (DialectError,)),
    Parser("key file", _keys, (KEY, b"pm-PMKMFQWCYLBMFQWCYLBM-" + b"A" * 43), (KeyFileError,)),
    Parser("policy", _policy, (POLICY,), (PolicyError,)),
)
