"""Parsers of what targets answer: heads, errors, frames, events and documents of every dialect."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from functools import cache
from typing import cast

from backends.base import Reply
from backends.http.arriving import TransportError
from backends.http.connection import Connection
from backends.tail import Tail
from backends.wire import bedrock, sagemaker
from backends.wire.bedrock import EventWriter, engines_own, read_answer, read_exception, read_usage
from backends.wire.comparison.heard import Heard
from backends.wire.comparison.meaning import read_meaning
from backends.wire.dialects import DialectError, Exchange, Stamp, pair
from backends.wire.dialects.errors import translate_error
from backends.wire.dialects.keys import TABLES
from backends.wire.eventstream import Frame
from backends.wire.sagemaker.failures import read_event
from backends.wire.usage import counted, uncounted
from policies.table import TranslateRule

from .parser import LOOP, Parser, pick, pieces_of, text_of

RULE = TranslateRule(prompt_as="user-message", chat_template="{{ messages[0].content }}")
DIALECTS = (*sorted(TABLES), "opaque")


class _Transport:
    """A socket to which nothing goes."""

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        """Nothing is known of it."""


TRANSPORT = cast("asyncio.Transport", _Transport())


def _answer(data: bytes) -> None:
    connection = Connection(LOOP, lambda _: None)
    connection.connection_made(TRANSPORT)
    answer = connection.send(b"", math.inf)
    for piece in pieces_of(data, 50):
        connection.data_received(piece)
        if connection.closed:
            break
    connection.connection_lost(None)
    assert answer.head.done(), "nobody is told of the end"
    failed = answer.head.exception()
    if failed is not None:
        raise failed
    assert answer.status in range(200, 1000)
    assert all(name and value is not None for name, value in answer.headers)
    if not answer.complete:
        assert answer._error is not None, "an answer without an end is taken for a whole one"
        raise answer._error
    whole = answer.at_hand(len(data))
    assert whole is None or len(whole) < len(data), "more was read than was sent"


def _error(data: bytes) -> None:
    kind, _, body = data.partition(b"\n")
    headers = (("x-amzn-ErrorType", text_of(kind)), ("Retry-After", text_of(kind)))
    read = pick((sagemaker.read_error, bedrock.read_error), data)
    facts, said = read(pick((400, 424, 429, 500, 503), data), headers, body)
    assert facts.retry_after is None or 0 <= facts.retry_after <= 3600
    assert isinstance(said.message, str)
    assert 0 <= said.status < 10**15


def _event(data: bytes) -> None:
    head, _, payload = data.partition(b"\n\n")
    pairs = (line.partition("=") for line in text_of(head).split("\n"))
    frame = Frame({name: value for name, _, value in pairs}, payload)
    told = read_event(frame)
    assert isinstance(told, bytes | tuple)
    read_exception(frame.headers, payload)
    writer = EventWriter(pick(DIALECTS, data), include_usage=True)
    told = writer.feed(frame)
    assert isinstance(told, tuple) or told == b"" or told.startswith(b"data: ")
    writer.finish()


def _counts(data: bytes) -> None:
    for kind in ("application/json", "application/json; charset=x", "text/plain"):
        counted(Reply(uncounted=uncounted(kind, data)))
    for details in (False, True):
        tail = Tail(marked=False, details=details)
        for piece in pieces_of(data, 60):
            tail.feed(piece)
        counted(Reply(counts=tail))
    read_answer(pick(DIALECTS, data), data)
    engines_own(pick(DIALECTS, data), data)
    count = text_of(data)[:40]
    read_usage({"x-amzn-bedrock-input-token-count": count, "x-amzn-bedrock-output-token-count": count}.get)


CHAT = b'{"messages": [{"role": "user", "content": "hi"}], "stream": true, "stop": ["x"], "logprobs": true}'
PROMPT = b'{"prompt": "p", "max_tokens": 5, "stream": true, "stop": ["x"], "logprobs": 2}'
INPUTS = b'{"inputs": "p", "parameters": {"max_new_tokens": 5, "stop": ["x"], "details": true}, "stream": true}'
MARKS = {
    "openai-chat": b'"choices"',
    "openai-completions": b'"choices"',
    "bedrock-completion": b'"generation"',
    "tgi": b'"generated_text"',
    "lmi": b'"generated_text"',
}
"""By which an answer of each dialect may be known."""
STAMP = Stamp("id", 1, "m")


@cache
def exchanges() -> tuple[Exchange, ...]:
    """A request on its way from each dialect to each that it can be carried to."""
    found = []
    for client in sorted(TABLES):
        for target in sorted(TABLES):
            for body in (CHAT, PROMPT, INPUTS, b'{"prompt": "p"}'):
                try:
                    translation = pair(client, target, RULE)
                    if translation is not None:
                        found.append(translation.request(body, "m", STAMP))
                        break
                except DialectError:  # not of this dialect
                    continue
    return tuple(found)


def _translated(data: bytes) -> None:
    fitting = [each for each in exchanges() if MARKS[each.target] in data] or exchanges()
    exchange = pick(fitting, data)
    streamed = "application/jsonlines" if exchange.target == "lmi" else "text/event-stream"
    translator, _ = exchange.answer(streamed if data.startswith(b"data") else "application/json")
    written = [part for piece in pieces_of(data, 60) for part in translator.feed(piece)]
    assert all(isinstance(part, bytes) for part in [*written, *translator.finish()])


def _failure(data: bytes) -> None:
    said = data.decode("utf-8", "replace")
    translate_error(pick(tuple(TABLES), data), pick(tuple(TABLES), data[:40]), 400, said).encode()


def _meaning(data: bytes) -> None:
    kind = pick(("application/json", "text/event-stream", "application/jsonlines"), data)
    read_meaning(pick(DIALECTS, data), Heard(content_type=kind, body=data))


def _sse(*documents: bytes) -> bytes:
    return b"".join(b"data: " + document + b"\n\n" for document in documents)


WHOLE = (
    b'{"id": "i", "created": 1, "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", '
    b'"content": "hi", '
    b'"tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]}, '
    b'"finish_reason": "stop", "logprobs": {"content": [{"token": "hi", "logprob": -0.1, "bytes": [104], '
    b'"top_logprobs": [{"token": "ho", "logprob": -2.0}]}]}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}',
    b'{"choices": [{"index": 0, "text": "hi", "finish_reason": "length", "logprobs": {"tokens": ["hi"], '
    b'"token_logprobs": [-0.1], "top_logprobs": [{"hi": -0.1}], "text_offset": [0]}}], '
    b'"usage": {"prompt_tokens": 1, "completion_tokens": 2}}',
    b'{"generation": "hi", "prompt_token_count": 1, "generation_token_count": 2, "stop_reason": "stop"}',
    b'{"generated_text": "hi", "details": {"finish_reason": "length", "generated_tokens": 2, "seed": null, '
    b'"prefill": [{"id": 1, "text": "p", "logprob": -0.2}], "tokens": [{"id": 1, "text": "hi", "logprob": -0.1, '
    b'"special": false}], "top_tokens": [[{"id": 1, "text": "hi", "logprob": -0.1}]]}}',
    b'[{"generated_text": "hi"}]',
)
PIECES = (
    b'{"id": "i", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": "hi"}, '
    b'"finish_reason": null}]}',
    b'{"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f", '
    b'"arguments": "{"}}]}}]}',
    b'{"choices": [{"index": 0, "text": "hi", "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, '
    b'"completion_tokens": 2}}',
    b'{"token": {"id": 1, "text": "hi", "logprob": -0.1, "special": false}, "top_tokens": [{"id": 2, "text": "ho", '
    b'"logprob": -2}], "generated_text": "hi", "details": {"finish_reason": "eos_token", "generated_tokens": 1}}',
    b'{"generation": "hi", "prompt_token_count": 1, "generation_token_count": 2, "stop_reason": "length", '
    b'"amazon-bedrock-invocationMetrics": {"inputTokenCount": 1, "outputTokenCount": 2}}',
    b'{"error": {"message": "no", "type": "x"}}',
)
FAILURES = (
    b'{"ErrorCode": "X", "LogStreamArn": "arn", "Message": "Received server error (500) from primary", '
    b'"OriginalMessage": "m", "OriginalStatusCode": 500}',
    b'{"originalStatusCode": 424, "originalMessage": "m", "message": "m", "__type": "x#ModelErrorException"}',
    b'{"error": {"message": "m", "type": "t", "code": 400}}',
    b'{"error": "m", "error_type": "validation"}',
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def _chunk(event: bytes) -> bytes:
    return json.dumps({"bytes": base64.b64encode(event).decode(), "p": "a"}).encode()


ANSWERS = (
    Parser(
        "answer of a target (HTTP)",
        _answer,
        (
            HEAD + b"Content-Length: 2\r\n\r\n{}",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n1\r\n \r\n0\r\nX-T: 1\r\n\r\n",
            HEAD + b"Connection: close\r\n\r\n{}",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 429 \r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
        ),
        (TransportError,),
    ),
    Parser("error of an endpoint or of Bedrock", _error, (b"ModelError:http://x\n", *FAILURES), json=True),
    Parser(
        "frame's meaning",
        _event,
        (
            b":message-type=event\n:event-type=PayloadPart\n\nx",
            b":message-type=exception\n:exception-type=ModelStreamError\n\n" + FAILURES[0],
            b":message-type=error\n:error-code=InternalStreamFailure\n:error-message=m\n\n",
            *(b":message-type=event\n:event-type=chunk\n\n" + _chunk(each) for each in PIECES),
        ),
    ),
    Parser("counts of an answer", _counts, (*WHOLE, *PIECES, _sse(*PIECES, b"[DONE]")), json=True),
    Parser("answer in a dialect, whole", _translated, WHOLE, (DialectError,), json=True),
    Parser(
        "answer in a dialect, streamed",
        _translated,
        (
            _sse(PIECES[0], PIECES[1], b"[DONE]"),
            _sse(PIECES[2], b"[DONE]"),
            _sse(PIECES[3]),
            _sse(PIECES[4], PIECES[5]),
        ),
        (DialectError,),
    ),
    Parser("error in a dialect", _failure, (*FAILURES, b"plain words"), json=True),
    Parser("what two answers mean", _meaning, (*WHOLE, *PIECES, _sse(*PIECES, b"[DONE]")), json=True),
)
